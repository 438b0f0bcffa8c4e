"""Whether a period's inputs or scores differ from the version's reference.

Each column is tested for its values and its missing rate, a category also for new levels.
All tests of a report share one false-alarm budget, and a difference must also be large enough to
matter, or big periods would flag trifles. Univariate tests with Bonferroni's correction keep up
with multivariate ones (Rabanser, Günnemann and Lipton 2019, arXiv 1810.11953).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mlops_assets.domain.errors import DataError
from mlops_assets.domain.profile import (
    QUANTILE_POINTS,
    ColumnProfile,
    Profile,
    profile_levels,
)

Test = Literal["kolmogorov-smirnov", "chi-square", "new levels", "missing rate"]

MOST_ROWS = 10_000
# Cells of a table below this expected count make its statistic unlike a chi-square (Cochran 1954).
LEAST_EXPECTED = 5.0
EFFECT_NAMES: dict[Test, str] = {
    "kolmogorov-smirnov": "distance between the distributions",
    "chi-square": "share of rows that changed level",
    "new levels": "change of the share of levels not seen before",
    "missing rate": "change of the missing rate",
}


@dataclass(frozen=True)
class ColumnDrift:
    """One test of one column: flagged if p_value < threshold and the effect is large enough."""

    column: str
    test: Test
    statistic: float
    p_value: float
    effect: float
    threshold: float
    flagged: bool
    reason: str


@dataclass(frozen=True)
class DriftReport:
    """All tests of a period (`columns`, several per column), and the columns that drifted."""

    rows: int
    judged: bool
    columns: tuple[ColumnDrift, ...]
    flagged: tuple[str, ...]
    reason: str

    @property
    def by_column(self) -> dict[str, ColumnDrift]:
        """The most telling test of each column: flagged before unflagged, then least p-value."""
        order = sorted(self.columns, key=lambda test: (not test.flagged, test.p_value))
        return {test.column: test for test in reversed(order)}


@dataclass(frozen=True)
class _Outcome:
    column: str
    test: Test
    statistic: float
    p_value: float
    effect: float


def drift(
    reference: Profile,
    current: Mapping[str, NDArray[Any]],
    *,
    false_alarm_rate: float,
    min_effect: float,
    min_rows: int,
    seed: int,
) -> DriftReport:
    """Test every column of the reference against the same column of a period.

    `current` holds (n,) arrays by name, score columns included (profile.score_columns). Of more
    than 10,000 rows a sample is tested. Raises DataError for a column that is not there or has
    another number of rows. Fewer than `min_rows` rows are not judged.
    """
    rows = _rows(reference, current)
    if rows < max(min_rows, 1):
        return DriftReport(rows, False, (), (), f"too few rows to judge: {rows} of {min_rows}")
    picked = np.arange(rows)
    if rows > MOST_ROWS:
        picked = np.sort(np.random.default_rng(seed).choice(rows, MOST_ROWS, replace=False))
    outcomes = [
        outcome
        for name, column in reference.columns.items()
        for outcome in _column_tests(name, column, np.asarray(current[name])[picked])
    ]
    threshold = false_alarm_rate / max(len(outcomes), 1)
    tests = tuple(_verdict(outcome, threshold, min_effect) for outcome in outcomes)
    flagged = tuple(dict.fromkeys(test.column for test in tests if test.flagged))
    reason = (
        "; ".join(test.reason for test in tests if test.flagged)
        or f"no drift in {len(reference.columns)} columns of {rows} rows"
    )
    return DriftReport(rows, True, tests, flagged, reason)


def _rows(reference: Profile, current: Mapping[str, NDArray[Any]]) -> int:
    absent = [name for name in reference.columns if name not in current]
    if absent:
        raise DataError(f"columns of the reference are not in the period: {', '.join(absent)}")
    lengths = {len(current[name]) for name in reference.columns}
    if len(lengths) != 1:
        raise DataError(f"columns must have the same number of rows, above 0 columns: {lengths}")
    return lengths.pop()


def _verdict(outcome: _Outcome, threshold: float, min_effect: float) -> ColumnDrift:
    unlikely, large = outcome.p_value < threshold, outcome.effect >= min_effect
    reason = (
        f"{outcome.column}: {EFFECT_NAMES[outcome.test]} {outcome.effect:.3f} "
        f"(limit {min_effect:g}), {outcome.test} p = {outcome.p_value:.2g} (limit {threshold:.2g})"
    )
    return ColumnDrift(
        outcome.column,
        outcome.test,
        outcome.statistic,
        outcome.p_value,
        outcome.effect,
        threshold,
        unlikely and large,
        reason,
    )


def _column_tests(name: str, reference: ColumnProfile, values: NDArray[Any]) -> list[_Outcome]:
    if reference.kind == "category":
        current = profile_levels(values)
        tests = _category_tests(name, reference, current)
        missing = current.missing
    else:
        numbers = np.asarray(values, dtype=np.float64)
        present = numbers[np.isfinite(numbers)]
        missing = len(numbers) - len(present)
        tests = _number_tests(name, reference, present)
    # Where nothing is missing on either side the test could not flag, and costs no budget.
    if reference.missing + missing:
        shares = _two_shares(reference.missing, reference.rows, missing, len(values))
        tests.append(_Outcome(name, "missing rate", *shares))
    return tests


def _number_tests(name: str, reference: ColumnProfile, present: NDArray[Any]) -> list[_Outcome]:
    """Two-sample Kolmogorov-Smirnov test with its asymptotic p-value, conservative under ties."""
    from scipy.special import kolmogorov

    if not len(present) or not reference.present:
        return []
    points = np.array(reference.quantiles)
    values = np.sort(present)
    at = np.union1d(points, values)
    below = np.searchsorted(values, at, side="right") / len(values)
    # i of the evenly spaced quantiles lie at or below x: F(x) is in [i - 1, i) / 1000.
    passed = np.searchsorted(points, at, side="right")
    expected = np.clip((passed - 0.5) / (QUANTILE_POINTS - 1), 0, 1)
    distance = float(np.abs(below - expected).max())
    size = len(values) * reference.present / (len(values) + reference.present)
    return [
        _Outcome(
            name,
            "kolmogorov-smirnov",
            distance,
            float(kolmogorov(np.sqrt(size) * distance)),
            distance,
        )
    ]


def _category_tests(name: str, reference: ColumnProfile, current: ColumnProfile) -> list[_Outcome]:
    if not current.present or not reference.present:
        return []
    tests = []
    table = _table(reference, current)
    if table.shape[1] > 1:
        tests.append(_Outcome(name, "chi-square", *_chi_square(table)))
    # A level that the reference saw once was new to the rest of the reference: the share of such
    # rows is how many new levels to expect (Good 1953). Many-level columns always have some.
    once = sum(count == 1 for count in reference.levels.values())
    new = sum(n for level, n in current.levels.items() if level not in reference.levels)
    if once + new:
        shares = _two_shares(once, reference.present, new, current.present)
        tests.append(_Outcome(name, "new levels", *shares))
    return tests


def _table(reference: ColumnProfile, current: ColumnProfile) -> NDArray[np.float64]:
    """Counts (2, cells) of the levels, where rare ones share a cell."""
    names = sorted(reference.levels.keys() | current.levels.keys())
    counts = np.array(
        [[side.levels.get(name, 0) for name in names] for side in (reference, current)],
        dtype=np.float64,
    )
    counts = counts[:, np.argsort(-counts.sum(axis=0), kind="stable")]
    needed = LEAST_EXPECTED * counts.sum() / counts.sum(axis=1).min()
    common = int((counts.sum(axis=0) >= needed).sum())
    rare = counts[:, common:].sum(axis=1, keepdims=True)
    table = np.hstack([counts[:, :common], rare])
    if rare.sum() < needed and table.shape[1] > 1:
        table[:, -2] += table[:, -1]
        table = table[:, :-1]
    return np.asarray(table, dtype=np.float64)


def _chi_square(table: NDArray[np.float64]) -> tuple[float, float, float]:
    """Statistic and p-value of two samples (both uncertain), and their total variation."""
    from scipy.special import chdtrc

    rows = table.sum(axis=1, keepdims=True)
    expected = rows * table.sum(axis=0) / table.sum()
    statistic = float(((table - expected) ** 2 / expected).sum())
    shares = table / rows
    effect = float(np.abs(shares[0] - shares[1]).sum() / 2)
    return statistic, float(chdtrc(table.shape[1] - 1, statistic)), effect


def _two_shares(a: int, rows_a: int, b: int, rows_b: int) -> tuple[float, float, float]:
    """Two-sided z-test of a / rows_a against b / rows_b: z, p-value and the size of the change.

    Where fewer than 5 cases are expected in a sample, the p-value is of the binomial test of b
    among the a + b cases, which needs no normal approximation.
    """
    from scipy.special import bdtr, bdtrc, ndtr

    cases, share = a + b, rows_b / (rows_a + rows_b)
    pooled = cases / (rows_a + rows_b)
    change = b / rows_b - a / rows_a
    spread = np.sqrt(pooled * (1 - pooled) * (1 / rows_a + 1 / rows_b))
    z = float(change / spread) if spread else 0.0
    if cases * min(share, 1 - share) >= LEAST_EXPECTED:
        return z, float(2 * ndtr(-abs(z))), abs(change)
    tail = min(bdtr(b, cases, share), bdtrc(b - 1, cases, share) if b else 1.0)
    return z, min(1.0, 2 * float(tail)), abs(change)
