"""Data sets of the benchmark: Parquet files with features, `y` in {0, 1} and `period` from 0."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlops_assets.domain.contract import MISSING_CATEGORY, ContractColumn

MOST_ROWS = 2_000
FEWEST_PERIODS = 8


@dataclass(frozen=True)
class Table:
    """Rows in order of their period: columns (n,) by name, `y` (n,), and `starts` (periods + 1,).

    Numbers are float64 with NaN for missing, categories text.
    """

    name: str
    columns: Mapping[str, NDArray[Any]]
    y: NDArray[np.int64]
    starts: NDArray[np.int64]

    @property
    def periods(self) -> int:
        """How many periods there are."""
        return len(self.starts) - 1

    @property
    def contract(self) -> tuple[ContractColumn, ...]:
        """The columns, as a model's contract describes them."""
        return tuple(
            ContractColumn(name, "category" if values.dtype == object else "number", True)
            for name, values in self.columns.items()
        )

    def rows(self, first: int, last: int) -> slice:
        """The rows of the periods first … last - 1."""
        return slice(int(self.starts[first]), int(self.starts[last]))

    def take(self, rows: NDArray[np.int64], starts: NDArray[np.int64]) -> "Table":
        """Other rows, in this order, cut into periods at `starts`."""
        columns = {name: values[rows] for name, values in self.columns.items()}
        return replace(self, columns=columns, y=self.y[rows], starts=starts)


def load(path: Path) -> Table:
    """Read a data set; a period without rows is closed up. Exits on a file that is none."""
    frame = pd.read_parquet(path)
    if not {"y", "period"} <= set(frame) or not frame["y"].isin([0, 1]).all():
        raise SystemExit(f"{path}: needs columns y (0 or 1) and period; it has {list(frame)}")
    frame = frame.sort_values("period", kind="stable")
    _, counts = np.unique(frame["period"], return_counts=True)
    if len(counts) < FEWEST_PERIODS:
        raise SystemExit(f"{path}: {len(counts)} periods, at least {FEWEST_PERIODS} are needed")
    columns = {str(name): _values(frame[name]) for name in frame if name not in ("y", "period")}
    y = frame["y"].to_numpy().astype(np.int64)
    return Table(path.stem, columns, y, np.concatenate([[0], np.cumsum(counts)]))


def draw(table: Table, seed: int, *, shuffled: bool = False) -> Table:
    """80% of each period's rows, at most 2,000; `shuffled` over the periods, so nothing changes."""
    rng = np.random.default_rng(seed)
    picked = []
    for period in range(table.periods):
        rows = np.arange(table.starts[period], table.starts[period + 1])
        size = min(MOST_ROWS, int(np.ceil(0.8 * len(rows))))
        picked.append(np.sort(rng.choice(rows, size, replace=False)))
    chosen = np.concatenate(picked)
    starts = np.concatenate([[0], np.cumsum([len(rows) for rows in picked])])
    return table.take(rng.permutation(chosen) if shuffled else chosen, starts)


def _values(series: pd.Series) -> NDArray[Any]:
    if pd.api.types.is_numeric_dtype(series) and not pd.api.types.is_bool_dtype(series):
        return series.to_numpy(dtype=np.float64, na_value=np.nan)
    return (
        series.astype(object).where(series.notna(), MISSING_CATEGORY).astype(str).to_numpy(object)
    )
