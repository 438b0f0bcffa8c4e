"""How a model's labelled rows become the sums that scouts are made of (domain.scouts).

The bins, levels, classes and limits are those of the oldest rows and never change, so the sums of
all periods can be added. Values of a regression are winsorised at the 0.5% and 99.5% quantiles of
the oldest rows: squared losses of a few extreme rows would drown those of all others.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_assets.domain.contract import ColumnType, Task
from mlops_assets.domain.encoding import Encoding, fit_encoding
from mlops_assets.domain.errors import DataError
from mlops_assets.domain.evaluation import Floats
from mlops_assets.domain.scouts import Moments, moments

TAILS = (0.005, 0.995)


@dataclass(frozen=True)
class ScoutRows:
    """The `encoding` of the inputs, and what the label is compared with.

    Of a classification `classes` in their order, of a regression the `limits` that values are
    winsorised at.
    """

    task: Task
    encoding: Encoding
    classes: tuple[str, ...] = ()
    limits: tuple[float, float] = (0.0, 0.0)

    @property
    def id(self) -> str:
        """16 hex digits: sums under the same id can be added."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    def moments(self, columns: Mapping[str, NDArray[Any]], labels: NDArray[Any]) -> Moments:
        """Sums over rows given by column and label (n,). DataError for a missing column."""
        return moments(self.encoding.encode(columns), self.targets(labels))

    def targets(self, labels: NDArray[Any]) -> Floats:
        """(n, 1) values, or whether it is the last of two classes; (n, k) indicators of more.

        A class that the oldest rows did not have is none of them.
        """
        if self.task == "regression":
            values = np.asarray(labels, dtype=np.float64)
            return np.clip(values, *self.limits).reshape(-1, 1)
        known = self.classes[-1:] if self.task == "binary" else self.classes
        texts = np.asarray(labels, dtype=object).astype(str)
        return np.asarray(texts[:, None] == np.array(known, dtype=str), dtype=np.float64)

    def to_json(self) -> str:
        """Serialise."""
        return json.dumps(
            {
                "task": self.task,
                "encoding": json.loads(self.encoding.to_json()),
                "classes": self.classes,
                "limits": self.limits,
            },
            sort_keys=True,
        )

    @classmethod
    def from_json(cls, raw: str) -> "ScoutRows":
        """Read what `to_json` wrote. Raises DataError for anything else."""
        try:
            data = json.loads(raw)
            lower, upper = data["limits"]
            return cls(
                task=data["task"],
                encoding=Encoding.from_json(json.dumps(data["encoding"])),
                classes=tuple(data["classes"]),
                limits=(float(lower), float(upper)),
            )
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(f"these are no rules for the rows of scouts: {error!r}") from error


def fit_scout_rows(
    task: Task,
    types: Mapping[str, ColumnType],
    columns: Mapping[str, NDArray[Any]],
    labels: NDArray[Any],
    classes: tuple[str, ...],
) -> ScoutRows:
    """Choose bins, levels and limits from the oldest rows: columns and labels (n,).

    `classes` are those of the labels, in order; empty for a regression. Raises DataError for no
    rows.
    """
    if not len(labels):
        raise DataError("scouts cannot be made of no rows: no label of the oldest periods is known")
    encoding = fit_encoding(
        columns,
        {name: "category" if kind == "category" else "numeric" for name, kind in types.items()},
    )
    if task != "regression":
        return ScoutRows(task, encoding, classes)
    lower, upper = np.quantile(np.asarray(labels, dtype=np.float64), TAILS)
    return ScoutRows(task, encoding, limits=(float(lower), float(upper)))
