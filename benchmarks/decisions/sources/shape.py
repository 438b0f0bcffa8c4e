"""The form of a history: features, `y` in {0, 1} and `period` from 0, in order of time."""

from typing import Any

import numpy as np
import pandas as pd

MOST_ROWS = 200_000
FEWEST_ROWS = 100


def history(
    features: pd.DataFrame,
    *,
    y: "pd.Series[Any]",
    time: "pd.Series[Any]",
    fewest: int = FEWEST_ROWS,
    most: int = MOST_ROWS,
) -> pd.DataFrame:
    """Features with `y` and `period`, the rank of `time`: both indexed as `features`.

    Rows of the same time keep their order. Times with less than `fewest` rows are left out, and
    of more than `most` rows the same share of each time is drawn (always the same rows).
    """
    rows = time.groupby(time).transform("size")
    keep = time.notna() & (rows >= fewest)
    table = features[keep].assign(y=y[keep].astype("int64"))
    table["period"] = np.unique(time[keep], return_inverse=True)[1].astype("int64")
    table = table.sort_values("period", kind="stable")
    if len(table) > most:
        drawn = table.groupby("period").sample(frac=most / len(table), random_state=0)
        table = table.loc[drawn.index.sort_values()].sort_values("period", kind="stable")
    return table.reset_index(drop=True)
