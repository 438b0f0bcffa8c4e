import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.domain.guard import (
    GuardVerdict,
    Limits,
    VersionStats,
    chance_of,
    judge,
    quantile,
)

LIMITS = Limits()
LE = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5)
GOOD = VersionStats(
    requests=1000,
    rows=1000,
    latency_le=LE,
    latency_counts=(900, 95, 5, 0, 0, 0, 0),
    output_min=(0.1, 0.2),
    output_max=(0.8, 0.9),
    distinct_inputs=64,
    seconds=60,
)


def served(requests: int, exceptions: int = 0, invalid: int = 0) -> VersionStats:
    return VersionStats(requests, requests, exceptions, invalid)


def action(current: VersionStats, previous: VersionStats | None = GOOD) -> str:
    return judge(current, previous, LIMITS).action


def test_a_version_that_fails_everything_is_caught_within_a_handful_of_requests():
    caught = next(n for n in range(1, 100) if action(served(n, exceptions=n), None) == "rollback")
    assert caught == LIMITS.min_requests
    assert action(served(5, invalid=5)) == "rollback"
    # Half of the requests: a few more.
    assert action(served(12, exceptions=6)) == "rollback"


@pytest.mark.parametrize(
    "current",
    [
        VersionStats(),
        served(1, exceptions=1),
        served(4, exceptions=4),
        served(5, exceptions=1),
        served(5, exceptions=2),
        served(100, exceptions=3),
        served(10_000, exceptions=120),
        served(100_000, exceptions=1_000),
    ],
)
def test_odd_requests_do_not_roll_back(current: VersionStats):
    assert judge(current, GOOD, LIMITS) == GuardVerdict()


def test_a_share_surely_above_the_limit_rolls_back_with_its_figures():
    verdict = judge(served(10_000, exceptions=190, invalid=10), GOOD, LIMITS)
    assert verdict.kinds == ("errors", "invalid outputs")
    assert "190 of 10000 requests raised an error (limit 1.00%)" in verdict.reasons[0]
    assert "10 of 10000 requests got outputs" in verdict.reasons[1]


def test_a_version_that_fails_as_often_as_the_one_before_stays():
    before = served(1000, exceptions=100)
    assert action(served(1000, exceptions=110), before) == "keep"
    assert action(served(1000, exceptions=300), before) == "rollback"
    # Even if the one before failed always, failing always is no reason to go back to it.
    assert action(served(50, exceptions=50), served(1000, exceptions=1000)) == "keep"
    # The one before is not known well enough to excuse anything.
    assert action(served(50, exceptions=50), served(2, exceptions=2)) == "rollback"


@given(st.integers(1, 400), st.floats(0.001, 0.5), st.data())
def test_the_bound_is_above_the_exact_binomial_tail(of: int, share: float, data: st.DataObject):
    count = data.draw(st.integers(0, of))
    exact = math.fsum(
        math.exp(
            math.lgamma(of + 1)
            - math.lgamma(k + 1)
            - math.lgamma(of - k + 1)
            + k * math.log(share)
            + (of - k) * math.log1p(-share)
        )
        for k in range(count, of + 1)
    )
    assert chance_of(count, of, share) >= exact * (1 - 1e-6)


def test_the_bound_is_exact_where_everything_fails():
    assert chance_of(7, 7, 0.01) == pytest.approx(1e-14)
    assert chance_of(1, 10, 0.0) == 0
    assert chance_of(0, 0, 0.5) == 1


def test_a_version_at_the_limit_is_left_alone_at_every_look():
    draw = random.Random(0)
    for _ in range(20):
        failures = 0
        for requests in range(1, 2000):
            failures += draw.random() < LIMITS.failure_share
            assert action(served(requests, exceptions=failures)) == "keep"


def slow(requests: int, slow_ones: int, seconds: float = 60) -> VersionStats:
    counts = (requests - slow_ones, 0, 0, 0, 0, slow_ones, 0)
    return VersionStats(requests, requests, latency_le=LE, latency_counts=counts, seconds=seconds)


def test_a_slow_version_is_taken_back_once_it_is_sure():
    verdict = judge(slow(1000, 60), GOOD, LIMITS)
    assert verdict.kinds == ("latency",)
    assert "60 of 1000 requests took more than 50 ms" in verdict.reasons[0]
    assert "it was 5 ms" in verdict.reasons[0]


@pytest.mark.parametrize(
    ("current", "previous"),
    [
        (slow(1000, 12), GOOD),
        # Too early: what slows a swap down slows every version down.
        (slow(1000, 60, seconds=29), GOOD),
        (slow(99, 60), GOOD),
        (slow(1000, 60), None),
        (slow(1000, 60), replace(GOOD, latency_counts=(50, 0, 0, 0, 0, 0, 0))),
        # Not three times as slow as before.
        (slow(1000, 60), slow(1000, 60)),
        # Within the budget, though ten times as slow.
        (VersionStats(900, 900, latency_le=LE, latency_counts=(0, 0, 0, 900, 0, 0, 0)), GOOD),
    ],
)
def test_latency_that_is_not_surely_out_of_bounds_stays(
    current: VersionStats, previous: VersionStats | None
):
    assert action(replace(current, seconds=current.seconds or 60), previous) == "keep"


STUCK = replace(GOOD, output_max=GOOD.output_min)


def test_a_version_that_says_the_same_of_every_row_is_taken_back():
    verdict = judge(STUCK, GOOD, LIMITS)
    assert verdict.kinds == ("constant outputs",)
    assert (
        "all of 1000 rows, different ones among them, got the same outputs (0.1, 0.2)"
        in (verdict.reasons[0])
    )


@pytest.mark.parametrize(
    ("current", "previous"),
    [
        (GOOD, GOOD),
        (replace(STUCK, rows=499), GOOD),
        # A load test that repeats one row gets one answer.
        (replace(STUCK, distinct_inputs=1), GOOD),
        (STUCK, STUCK),
        (STUCK, None),
        (STUCK, replace(GOOD, rows=10)),
        (replace(STUCK, output_max=(0.1, 0.3)), GOOD),
    ],
)
def test_outputs_that_may_be_right_stay(current: VersionStats, previous: VersionStats | None):
    assert action(current, previous) == "keep"


def test_processes_add_up_and_windows_subtract():
    other = replace(GOOD, requests=10, output_min=(0.0, 0.3), output_max=(0.5, 1.0))
    both = GOOD + other
    assert (both.requests, both.rows, both.output_min) == (1010, 2000, (0.0, 0.2))
    assert (both.output_max, both.latency_counts[0]) == ((0.8, 1.0), 1800)
    assert both + VersionStats() == both
    window = both.since(GOOD, 7)
    assert (window.requests, window.latency_counts, window.seconds) == (
        10,
        GOOD.latency_counts,
        7,
    )


def test_histograms_of_different_cuts_are_not_added():
    other = replace(GOOD, latency_le=(1.0,), latency_counts=(5, 5))
    assert (GOOD + other).latency_counts == ()
    assert action(GOOD + other) == "keep"


def test_a_quantile_is_the_upper_end_of_its_bucket():
    assert quantile(GOOD, 0.5) == 0.001
    assert quantile(GOOD, 0.99) == 0.005
    assert quantile(replace(GOOD, latency_counts=(1, 0, 0, 0, 0, 0, 9)), 0.99) is None
    assert quantile(VersionStats(), 0.5) is None


counts = st.integers(0, 10**6)


@given(counts, counts, counts, counts)
def test_no_counts_break_the_judgement(requests: int, exceptions: int, invalid: int, before: int):
    verdict = judge(served(requests, exceptions, invalid), served(before, exceptions), LIMITS)
    assert (verdict.action == "rollback") == bool(verdict.reasons)
