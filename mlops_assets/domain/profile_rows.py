"""Rows that look like a reference profile, for pictures of it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_assets.domain.contract import MISSING_CATEGORY
from mlops_assets.domain.profile import ColumnProfile, Profile


def draw(profile: Profile, rows: int, seed: int) -> dict[str, NDArray[Any]]:
    """Rows (n,) per column that look like the profile.

    Each column is drawn alone: relations between columns are not kept.
    """
    rng = np.random.default_rng(seed)
    return {name: _draw_column(column, rows, rng) for name, column in profile.columns.items()}


def _draw_column(column: ColumnProfile, rows: int, rng: np.random.Generator) -> NDArray[Any]:
    if column.kind == "category":
        names = np.array([*column.levels, MISSING_CATEGORY], dtype=object)
        counts = np.array([*column.levels.values(), column.missing], dtype=np.float64)
        if not counts.sum():
            return np.full(rows, MISSING_CATEGORY, dtype=object)
        return np.asarray(rng.choice(names, size=rows, p=counts / counts.sum()), dtype=object)
    if not column.quantiles:
        return np.full(rows, np.nan)
    drawn = rng.choice(np.array(column.quantiles), size=rows)
    return np.where(rng.random(rows) < column.missing / column.rows, np.nan, drawn)
