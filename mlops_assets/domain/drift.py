"""Whether a period's inputs or answers differ from the version's reference.

Each column is tested in several ways (domain.column_tests). All tests of a report share one
false-alarm budget by Bonferroni's correction: it holds however columns depend on each other, and
a column's limit does not hang on what the others do. On unchanged data Holm's and Benjamini and
Hochberg's corrections give a first alarm exactly as often; what they add, more flags beside a
real one, would cost that. Univariate tests with Bonferroni's correction keep up with multivariate
ones (Rabanser, Günnemann and Lipton 2019, arXiv 1810.11953). A difference must also be large
enough to matter, or big periods would flag trifles.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from numpy.typing import NDArray

from mlops_assets.domain.column_tests import Outcome, Test, column_tests
from mlops_assets.domain.errors import DataError
from mlops_assets.domain.period_summary import Batch, PeriodSummary, summarise
from mlops_assets.domain.profile import Profile

__all__ = ["ColumnDrift", "DriftReport", "Test", "drift", "judge"]


@dataclass(frozen=True)
class ColumnDrift:
    """One test of one column: flagged if p_value < threshold and effect >= min_effect."""

    column: str
    test: Test
    statistic: float
    p_value: float
    effect: float
    threshold: float
    flagged: bool
    reason: str
    min_effect: float = 0.0


@dataclass(frozen=True)
class DriftReport:
    """All tests of a period (`columns`, several per column); `flagged` are the names, sorted."""

    rows: int
    judged: bool
    columns: tuple[ColumnDrift, ...]
    flagged: tuple[str, ...]
    reason: str

    @property
    def by_column(self) -> dict[str, ColumnDrift]:
        """The most telling test of each column: of flagged ones the most specific."""
        tests = get_args(Test)

        def order(test: ColumnDrift) -> tuple[bool, float]:
            place = tests.index(test.test) if test.flagged else test.p_value
            return (not test.flagged, place)

        return {test.column: test for test in sorted(self.columns, key=order, reverse=True)}


def drift(
    reference: Profile,
    current: Mapping[str, NDArray[Any]],
    *,
    false_alarm_rate: float,
    min_effect: float,
    min_rows: int,
    seed: int,
) -> DriftReport:
    """Test every column of the reference against the same column of a period in memory.

    `current` holds (n,) arrays by name, answers included (domain.answer_columns). Raises
    DataError for a column that is not there or has another number of rows.
    """
    if not reference.columns:
        raise DataError("the reference has no columns: a period cannot be compared with it")
    summary = summarise(reference, [Batch(current)], seed=seed)
    return judge(
        reference,
        summary,
        false_alarm_rate=false_alarm_rate,
        min_effect=min_effect,
        min_rows=min_rows,
    )


def judge(
    reference: Profile,
    current: PeriodSummary,
    *,
    false_alarm_rate: float,
    min_effect: float,
    min_rows: int,
) -> DriftReport:
    """Test every column of the reference against a summarised period.

    Fewer than `min_rows` rows are not judged.
    """
    rows = current.rows
    if rows < max(min_rows, 1):
        return DriftReport(rows, False, (), (), f"too few rows to judge: {rows} of {min_rows}")
    outcomes = [
        outcome
        for name, column in reference.columns.items()
        for outcome in column_tests(name, column, current.columns[name])
    ]
    threshold = false_alarm_rate / max(len(outcomes), 1)
    tests = tuple(_verdict(outcome, threshold, min_effect) for outcome in outcomes)
    flagged = tuple(sorted({test.column for test in tests if test.flagged}))
    reason = (
        "; ".join(test.reason for test in tests if test.flagged)
        or f"no drift in {len(reference.columns)} columns of {rows} rows"
    )
    return DriftReport(rows, True, tests, flagged, reason)


def _verdict(outcome: Outcome, threshold: float, min_effect: float) -> ColumnDrift:
    unlikely, large = outcome.p_value < threshold, outcome.effect >= min_effect
    reason = (
        f"{outcome.column}: {outcome.detail}; {outcome.test} p = {outcome.p_value:.2g} "
        f"(limit {threshold:.2g}), effect {outcome.effect:.3f} (limit {min_effect:g})"
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
        min_effect,
    )
