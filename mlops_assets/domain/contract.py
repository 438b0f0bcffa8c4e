"""What a model's requests and answers look like: the contract that travels in its bundle.

The process that answers requests imports this module, so it needs nothing but the standard
library and numpy.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from mlops_assets.domain.periods import Every

ColumnType = Literal["number", "integer", "category", "boolean"]
TimePart = Literal["hour", "weekday", "month"]
Task = Literal["binary", "multiclass", "regression"]
Aggregate = Literal["count", "sum", "mean", "min", "max", "last", "days_since_last"]

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
class HistoryRule:
    """One input that is looked up: an aggregate over the past events of one key.

    Events count that lie in the `window_seconds` before a cutoff: the beginning of the period
    (hourly, …) that holds the row's event time, or with `until` "event" that time itself. Without
    a `column` the events themselves are counted. With `function` a function of the project's code
    takes the place of the aggregate and sees `columns`; `digest` is the sha256 of its file.
    """

    name: str
    key: str
    aggregate: Aggregate | Literal[""]
    column: str
    window_seconds: float
    every: Every
    until: Literal["period", "event"]
    columns: tuple[str, ...] = ()
    function: str = ""
    digest: str = ""

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns of events whose values it needs."""
        return (self.column,) if self.column else self.columns


@dataclass(frozen=True)
class Contract:
    """Inputs, outputs and identifying columns of one model version.

    `classes` holds the class labels as text in the order of the probabilities, and is empty for
    a regression. `entity` and `event_time` name optional request columns that are logged, not
    scored; the event time is required where columns are computed from it. The inputs that
    `history` names are looked up by their key where a client leaves them out; `store_away` says
    whether such a request is refused, or scored with missing values, while the store is away;
    `log_away` whether requests are refused, or answered without a record, while the prediction log
    cannot be written.
    """

    model: str
    task: Task
    columns: tuple[ContractColumn, ...]
    classes: tuple[str, ...]
    entity: str
    event_time: str
    max_rows: int
    history: tuple[HistoryRule, ...] = ()
    store_away: Literal["refuse", "missing"] = "refuse"
    log_away: Literal["refuse", "answer"] = "refuse"

    @property
    def is_known_by_time(self) -> bool:
        """Whether the event time is the entity, too: one time is one subject, however written."""
        return self.entity == self.event_time != "" and all(
            column.name != self.entity for column in self.asked
        )

    @property
    def looked_up(self) -> frozenset[str]:
        """Names of the inputs that clients may leave out, because the online store has them."""
        return frozenset(rule.name for rule in self.history)

    @property
    def asked(self) -> tuple[ContractColumn, ...]:
        """The inputs that clients send."""
        return tuple(column for column in self.columns if column.part is None)

    @property
    def computed(self) -> tuple[ContractColumn, ...]:
        """The inputs that are parts of the event time."""
        return tuple(column for column in self.columns if column.part is not None)

    @property
    def watched(self) -> tuple[ContractColumn, ...]:
        """The inputs whose drift says something: of those that clients send, all but the past of
        categories. In a period it has one value per category, not one per row.
        """
        shared = {rule.name for rule in self.history if rule.key != self.entity}
        return tuple(column for column in self.asked if column.name not in shared)

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
                "history": tuple(
                    HistoryRule(**{**rule, "columns": tuple(rule.get("columns", ()))})
                    for rule in data.get("history", ())
                ),
            }
        )
