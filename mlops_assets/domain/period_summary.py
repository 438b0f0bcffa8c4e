"""What a drift report needs of a period, gathered batch by batch in flat memory.

Counts are exact over all rows: missing values, values outside the reference's range, the levels
that the reference knows. Distributions are told by a sample of at most 10,000 rows. The result
is the same however the rows are cut into batches.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mlops_assets.domain.coded import Coded, Column
from mlops_assets.domain.contract import MISSING_CATEGORY
from mlops_assets.domain.errors import DataError
from mlops_assets.domain.profile import ColumnProfile, Profile
from mlops_assets.domain.row_sample import Keys, RowSample, row_numbers

MOST_ROWS = 10_000


@dataclass(frozen=True)
class Batch:
    """Rows of a period by column: float64 with NaN for missing, or categories.

    `keys` (n,) identify the rows, such as a hash of their ids, for a sample that does not depend
    on the order of the rows; without them it goes by the rows' places.
    """

    columns: Mapping[str, Column]
    keys: Keys | None = None


@dataclass(eq=False)
class ColumnSummary:
    """One column of a period.

    `rows`, `missing` and, of present values, `outside` the reference's range, their `least` and
    `greatest`, `levels` that the reference has, with counts, and rows of `new` levels: of all
    rows. `sample` holds the values of the sampled rows, missing ones included.
    """

    rows: int = 0
    missing: int = 0
    outside: int = 0
    least: float = float("inf")
    greatest: float = float("-inf")
    levels: dict[str, int] = field(default_factory=dict)
    new: int = 0
    sample: NDArray[Any] = field(default_factory=lambda: np.empty(0))

    @property
    def present(self) -> int:
        """Rows with a value."""
        return self.rows - self.missing

    @property
    def present_sample(self) -> NDArray[Any]:
        """The sampled values that are not missing."""
        values = self.sample
        is_present = values != MISSING_CATEGORY if values.dtype == object else np.isfinite(values)
        present: NDArray[Any] = values[is_present]
        return present


@dataclass(frozen=True, eq=False)
class PeriodSummary:
    """A period of `rows` rows, by column of the reference."""

    rows: int
    columns: Mapping[str, ColumnSummary]

    @property
    def sample(self) -> dict[str, NDArray[Any]]:
        """The sampled rows, by column."""
        return {name: column.sample for name, column in self.columns.items()}


class PeriodSummariser:
    """Takes the batches of a period one by one; what it holds does not grow with them."""

    def __init__(self, reference: Profile, *, seed: int, most_rows: int = MOST_ROWS) -> None:
        self._reference = reference
        self._columns = {name: ColumnSummary() for name in reference.columns}
        self._sample = RowSample(most_rows, seed)
        self._rows = 0

    def add(self, batch: Batch) -> Self:
        """Add a batch; other columns than the reference's are passed over.

        Raises DataError if a column of the reference is not there or has other rows.
        """
        rows = _rows(self._reference, batch)
        found: dict[str, Column] = {}
        for name, profile in self._reference.columns.items():
            if profile.kind == "category":
                found[name] = _categories(batch.columns[name])
                _count_levels(self._columns[name], profile, found[name])
            else:
                found[name] = numbers = np.asarray(batch.columns[name], dtype=np.float64)
                _count_numbers(self._columns[name], profile, numbers)
        keys = batch.keys if batch.keys is not None else row_numbers(self._rows, rows)
        self._sample.add(keys, found)
        self._rows += rows
        return self

    def summary(self) -> PeriodSummary:
        """The period so far."""
        for name, sample in self._sample.columns().items():
            self._columns[name].sample = sample
        return PeriodSummary(self._rows, dict(self._columns))


def summarise(reference: Profile, batches: Iterable[Batch], *, seed: int) -> PeriodSummary:
    """Summarise a period whose rows come in batches, in one pass."""
    summariser = PeriodSummariser(reference, seed=seed)
    for batch in batches:
        summariser.add(batch)
    return summariser.summary()


def _rows(reference: Profile, batch: Batch) -> int:
    absent = [name for name in reference.columns if name not in batch.columns]
    if absent:
        raise DataError(f"columns of the reference are not in the period: {', '.join(absent)}")
    columns = [batch.columns[name] for name in reference.columns]
    lengths = {len(c.codes) if isinstance(c, Coded) else len(c) for c in columns}
    if batch.keys is not None:
        lengths.add(len(batch.keys))
    if len(lengths) != 1:
        raise DataError(f"columns must have the same number of rows, above 0 columns: {lengths}")
    return lengths.pop()


def _categories(column: Column) -> Column:
    return column if isinstance(column, Coded) else np.asarray(column, dtype=object)


def _count_numbers(
    summary: ColumnSummary, reference: ColumnProfile, numbers: NDArray[np.float64]
) -> None:
    summary.rows += len(numbers)
    present = numbers[np.isfinite(numbers)]
    summary.missing += len(numbers) - len(present)
    if not len(present):
        return
    summary.least = min(summary.least, float(present.min()))
    summary.greatest = max(summary.greatest, float(present.max()))
    if reference.quantiles:
        low, high = reference.quantiles[0], reference.quantiles[-1]
        summary.outside += int(((present < low) | (present > high)).sum())


def _count_levels(summary: ColumnSummary, reference: ColumnProfile, column: Column) -> None:
    if isinstance(column, Coded):
        summary.rows += len(column.codes)
        counts = np.bincount(column.codes, minlength=len(column.values)).tolist()
        found = list(zip(column.values, counts, strict=True))
    else:
        summary.rows += len(column)
        found = list(Counter(column.tolist()).items())
    for level, count in found:
        if level == MISSING_CATEGORY:
            summary.missing += count
        elif level in reference.levels:
            summary.levels[level] = summary.levels.get(level, 0) + count
        else:
            summary.new += count
