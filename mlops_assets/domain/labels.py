"""What is predicted, and from when on the truth is known."""

from collections.abc import Iterable
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from mlops_assets.domain.contract import Task

LABEL = "label"
KNOWN_AT = "label_known_at"
# How much a row counts, where the spec names a column that tells it.
WEIGHT = "row_weight"
# Which features.py the inputs from the past were computed with.
DIGEST = "history_digest"


def labels(
    rows: pd.DataFrame,
    *,
    task: Task,
    column: str,
    above: float | None,
    known_at: str,
    known_after: timedelta,
    event_time: str,
) -> pd.DataFrame:
    """Return `label` and `label_known_at` (UTC), one row per input row.

    A label is a float for a regression and text for a class; a row without truth has neither
    label nor time.
    """
    truth = rows[column]
    known = rows[known_at] if known_at else rows[event_time] + known_after
    has_label = truth.notna() & known.notna()
    if task == "regression":
        label = truth.astype("Float64").astype("float64").where(has_label)
    elif above is not None:
        exceeds = truth.astype("Float64").astype("float64") > above
        label = pd.Series(np.where(exceeds, "1", "0"), index=rows.index, dtype="object")
        label = label.where(has_label, None)
    else:
        label = truth.map(_class_name, na_action="ignore").astype("object").where(has_label, None)
    # A cache would only be asked whether it is worth while, which takes longer than converting.
    times = pd.to_datetime(known, utc=True, cache=known.dtype.kind != "M").where(has_label)
    return pd.DataFrame({LABEL: label, KNOWN_AT: times})


def row_weights(values: pd.Series) -> pd.Series:
    """Weights as numbers; NaN for what is no finite number above 0."""
    numbers = pd.to_numeric(values, errors="coerce").astype("Float64").astype("float64")
    return numbers.where((numbers > 0) & np.isfinite(numbers))


def known(rows: pd.DataFrame, now: datetime) -> pd.Series:
    """Which rows have a label that was known at `now`; boolean."""
    return rows[LABEL].notna() & (rows[KNOWN_AT] <= now)


def classes_of(label: pd.Series) -> tuple[str, ...]:
    """Class labels in the order of the probabilities: numeric order where all are numbers."""
    names = sorted({str(value) for value in label.dropna()})
    try:
        return tuple(sorted(names, key=float))
    except ValueError:
        return tuple(names)


def twin_classes(names: Iterable[str]) -> tuple[str, str] | None:
    """Two classes that differ only in case, as Yes and yes; None if there are none.

    Predictions have a column per class, and a Delta table does not tell such columns apart.
    """
    seen: dict[str, str] = {}
    for name in names:
        first = seen.setdefault(name.lower(), name)
        if first != name:
            return first, name
    return None


def encode(label: pd.Series, task: Task, classes: tuple[str, ...]) -> np.ndarray:
    """Targets for an estimator: values of a regression, class indices otherwise.

    A class that is not among `classes` becomes -1 (evaluation.UNKNOWN_CLASS).
    """
    if task == "regression":
        return label.to_numpy(dtype=np.float64)
    index = {name: place for place, name in enumerate(classes)}
    return np.array([index.get(str(value), -1) for value in label], dtype=np.int64)


def recode(y: np.ndarray, classes: tuple[str, ...], known: tuple[str, ...]) -> np.ndarray:
    """Class indices (n,) among `classes` as indices among `known`, -1 for a class not in it."""
    index = {name: place for place, name in enumerate(known)}
    # The last place is what the index -1 finds.
    table = np.array([*(index.get(name, -1) for name in classes), -1], dtype=np.int64)
    return np.asarray(table[y])


def _class_name(value: object) -> str:
    """Whole numbers lose their `.0`, truth values become 0 and 1."""
    if isinstance(value, bool | np.bool_):
        return str(int(value))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
