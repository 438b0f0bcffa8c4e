"""Rows that nothing can be learned from are refused before an estimator chokes on them."""

from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd

from mlops_assets.domain.contract import MISSING_CATEGORY, Contract
from mlops_assets.domain.errors import NotTrainableError
from mlops_assets.domain.labels import twin_classes

# A linear model gets a column per level, in memory that grows with rows times levels.
MOST_LEVELS = 500


def refuse_untrainable(
    frame: pd.DataFrame,
    y: np.ndarray,
    contract: Contract,
    linear: Sequence[str],
    replaced: Collection[str] = (),
) -> None:
    """Raise NotTrainableError, with what to change, if training rows can teach nothing.

    `frame` holds the contract's columns, `y` class indices or values, shape (n,); `linear` names
    the estimators that get a column per level;
    no estimator sees the columns in `replaced`, because derived ones take their place.
    """
    _refuse_classes(y, contract)
    for column in contract.columns:
        values = frame[column.name]
        missing = values == MISSING_CATEGORY if column.type == "category" else values.isna()
        if missing.all():
            raise NotTrainableError(
                f"column {column.name!r} is missing in all {len(frame):,} training rows, so "
                "nothing can be learned from it: remove it from columns, or correct the source. If "
                "it came into defs.yaml after these periods were ingested, run the job "
                f"{contract.model}__ingest for them again."
            )
        seen = column.type == "category" and column.name not in replaced
        levels = values.nunique() if linear and seen else 0
        if levels > MOST_LEVELS:
            raise NotTrainableError(
                f"column {column.name!r} has {levels:,} levels in {len(frame):,} training rows, "
                f"and {linear[0]} makes a column of each (at most {MOST_LEVELS}): group the rare "
                "ones with a derived column of kind frequent, or remove the column."
            )


def _refuse_classes(y: np.ndarray, contract: Contract) -> None:
    if contract.task == "regression":
        return
    names = contract.classes
    present = np.unique(y[y >= 0])
    if len(present) < 2:
        only = repr(names[present[0]]) if len(present) else "none of the known ones"
        raise NotTrainableError(
            f"the label has one class, {only}, in all {len(y):,} training rows: there is nothing "
            "to learn. Correct label.column or label.above, or train on a longer history."
        )
    twins = twin_classes(names)
    if twins:
        raise NotTrainableError(
            f"the classes {twins[0]!r} and {twins[1]!r} of the label differ only in case: make one "
            "of them in the source, as the lake does not tell their columns apart."
        )
    if contract.task == "binary" and len(names) > 2:
        some = ", ".join(map(repr, names[:5]))
        raise NotTrainableError(
            f"the label of a binary task has {len(names)} classes ({some}): correct label.column, "
            "set label.above, or set the task to multiclass or regression."
        )
