from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.flights import Flights, scored_flights
from mlops_assets.domain.errors import DataError
from mlops_assets.domain.evaluation import row_losses
from mlops_assets.domain.label_maturity import (
    LabelLag,
    best_case_losses,
    immature,
    loss_at_best,
    share_outstanding,
)
from mlops_assets.domain.performance import LossReference, PerformanceReport, performance

RUNS = 60


@pytest.fixture(scope="module")
def flights() -> Flights:
    """A year of real flights, shuffled: nothing drifts."""
    return scored_flights()


def judged_early(
    flights: Flights, order: np.ndarray, coverage: float, *, bounded: bool, flipped: float = 0.0
) -> float:
    """Share of quiet periods of 2,000 flights that alarm when labels come in this order."""
    rng, alarms = np.random.default_rng(0), 0
    limit = np.quantile(order, coverage)
    for _ in range(RUNS):
        drawn = rng.choice(len(flights.y), 8_000, replace=False)
        release, period = drawn[:6_000], drawn[6_000:]
        known = order[period] <= limit
        y = np.where(rng.random(2_000) < flipped, 1 - flights.y[period], flights.y[period])
        losses = row_losses("binary", flights.y[release], flights.outputs[release])
        found = judge(y, flights.outputs[period], known, LossReference.of(losses), bounded)
        alarms += found.harmed or found.decaying
    return alarms / RUNS


def judge(
    y: np.ndarray, outputs: np.ndarray, known: np.ndarray, reference: LossReference, bounded: bool
) -> PerformanceReport:
    """Without `bounded`, as if the known labels were all there are."""
    return performance(
        "binary",
        y[known],
        outputs[known],
        ("0", "1"),
        predictions=len(y) if bounded else int(known.sum()),
        reference=reference,
        min_rows=200,
        min_coverage=0.75,
        false_alarm_rate=0.01,
        previous_losses=None,
        seed=0,
        missing_outputs=outputs[~known] if bounded else None,
    )


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.98])
def test_labels_of_short_flights_arrive_first_and_raise_no_alarm(flights: Flights, coverage: float):
    assert judged_early(flights, flights.lag, coverage, bounded=True) <= 0.02


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.98])
@pytest.mark.parametrize("which", ["long flights", "late flights"])
def test_labels_of_the_hard_rows_arriving_first_raise_no_alarm_either(
    flights: Flights, which: str, coverage: float
):
    """As where frauds are reported first; a test of the known labels alone takes it for harm."""
    noise = np.random.default_rng(1).random(len(flights.y))
    order = -flights.lag if which == "long flights" else noise * 0.1 - flights.y
    if coverage == 0.8:
        assert judged_early(flights, order, coverage, bounded=False) >= 0.25
    assert judged_early(flights, order, coverage, bounded=True) <= 0.02


def test_harm_is_still_proven_while_a_few_labels_are_missing(flights: Flights):
    found = judged_early(flights, flights.lag, 0.97, bounded=True, flipped=0.1)
    assert found >= 0.95


def test_a_period_is_immature_until_its_labels_had_their_time():
    end = datetime(2026, 3, 9, tzinfo=UTC)
    assert immature(end, end) == ""
    assert immature(datetime(2026, 3, 8, 23, tzinfo=UTC), end) == (
        "labels have their time until 2026-03-09 00:00, and it is 03-08 23:00"
    )


def test_the_lag_is_told_by_its_median_and_ninetieth_percentile():
    assert LabelLag.of(np.arange(101.0)) == LabelLag(50.0, 90.0)
    assert LabelLag.of(np.empty(0)) == LabelLag(None, None)


@given(st.integers(0, 2**32), st.sampled_from([2, 3, 7]))
def test_no_label_gives_a_lower_loss_than_the_best_case(seed: int, classes: int):
    rng = np.random.default_rng(seed)
    outputs = rng.dirichlet(np.ones(classes), 20)
    y = rng.integers(classes, size=20)
    task = "binary" if classes == 2 else "multiclass"
    losses = row_losses(task, y, outputs)  # type: ignore[arg-type]
    assert (best_case_losses(task, outputs) <= losses + 1e-12).all()  # type: ignore[arg-type]
    assert (best_case_losses("regression", outputs[:, :1]) == 0).all()


def test_rows_that_never_get_a_label_are_not_waited_for():
    assert share_outstanding(0.97, 0.97) == 0
    assert share_outstanding(0.98, 0.97) == 0
    assert share_outstanding(0.485, 0.97) == pytest.approx(0.5)
    with pytest.raises(DataError, match="between 0 and 1"):
        share_outstanding(1.2, 1.0)


def test_what_is_missing_counts_at_its_best():
    losses, best = np.array([0.4, 0.6]), np.array([0.1, 0.3])
    assert loss_at_best(losses, best, 0.0) == pytest.approx(0.5)
    assert loss_at_best(losses, best, 0.25) == pytest.approx(0.75 * 0.5 + 0.25 * 0.2)
    assert loss_at_best(losses, np.empty(0), 0.5) == pytest.approx(0.25)
    # Missing rows that are harder than the known ones never raise the loss.
    assert loss_at_best(losses, best + 5, 0.5) == pytest.approx(0.5)
