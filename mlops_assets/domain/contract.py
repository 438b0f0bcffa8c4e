"""What a model's requests and answers look like: the contract that travels in its bundle.

The process that answers requests imports this module, so it needs nothing but the standard
library and numpy.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

ColumnType = Literal["number", "integer", "category", "boolean"]
TimePart = Literal["hour", "weekday", "month"]
Task = Literal["binary", "multiclass", "regression"]

# A missing category travels as this text through pipelines and ONNX graphs, which have no null.
MISSING_CATEGORY = "__missing__"


@dataclass(frozen=True)
class ContractColumn:
    """One input of the model. With `part` it is computed from the event time, in `zone`."""

    name: str
    type: ColumnType
    nullable: bool
    part: TimePart | None = None
    zone: str = "UTC"


@dataclass(frozen=True)
class Contract:
    """Inputs, outputs and identifying columns of one model version.

    `classes` holds the class labels as text in the order of the probabilities, and is empty for
    a regression. `entity` and `event_time` name optional request columns that are logged, not
    scored; the event time is required where columns are computed from it.
    """

    model: str
    task: Task
    columns: tuple[ContractColumn, ...]
    classes: tuple[str, ...]
    entity: str
    event_time: str
    max_rows: int

    @property
    def asked(self) -> tuple[ContractColumn, ...]:
        """The inputs that clients send."""
        return tuple(column for column in self.columns if column.part is None)

    @property
    def computed(self) -> tuple[ContractColumn, ...]:
        """The inputs that are parts of the event time."""
        return tuple(column for column in self.columns if column.part is not None)

    def to_json(self) -> bytes:
        """Serialise, with sorted keys so that equal contracts have equal bytes."""
        return json.dumps(asdict(self), sort_keys=True, indent=1).encode()

    @classmethod
    def from_json(cls, raw: bytes | str) -> "Contract":
        """Read what `to_json` wrote."""
        data: Mapping[str, Any] = json.loads(raw)
        return cls(
            **{
                **data,
                "columns": tuple(ContractColumn(**column) for column in data["columns"]),
                "classes": tuple(data["classes"]),
            }
        )
