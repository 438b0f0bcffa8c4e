import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.domain.decay import (
    LossSample,
    cusum_limit,
    decay,
    deviation,
    pooled,
)
from mlops_assets.domain.errors import DataError

RATE = 0.002


def drawn(rng: np.random.Generator, rows: int, rise: float = 0.0) -> LossSample:
    """What `rows` losses with mean 0.45 + rise and deviation 0.5 look like, at any size."""
    std = 0.5 * math.sqrt(rng.chisquare(rows - 1) / (rows - 1))
    return LossSample(0.45 + rise + 0.5 * rng.standard_normal() / math.sqrt(rows), std, rows)


def alarms(
    seed: int, release: int, rows: int, *, rise: float = 0.0, periods: int = 20, runs: int = 100
) -> np.ndarray:
    """Whether each period of each run alarms, (runs, periods); the loss rises each period."""
    rng = np.random.default_rng(seed)
    found = np.zeros((runs, periods), dtype=bool)
    for run in range(runs):
        reference, seen = drawn(rng, release), []
        for period in range(periods):
            seen.append(drawn(rng, rows, rise * (period + 1)))
            found[run, period] = decay(
                reference, seen, false_alarm_rate=RATE, min_rise=0.0
            ).decaying
    return found


@pytest.mark.parametrize("release", [200, 2_000, 20_000])
@pytest.mark.parametrize("rows", [200, 2_000, 1_000_000])
def test_an_unchanged_world_alarms_in_few_periods_at_any_size_of_both_sides(
    release: int, rows: int
):
    # The limit lets 0.2% of the periods alarm; runs of alarms make the count scatter.
    assert alarms(release + rows, release, rows).mean() <= 0.01


def test_the_promised_rate_is_what_a_long_unchanged_run_shows():
    rng = np.random.default_rng(0)
    seen = [drawn(rng, 1000) for _ in range(600)]
    release, limit = drawn(rng, 1000), 0.05
    # Each prefix anew, as each report does; from the 100th on the start is forgotten.
    share = np.mean(
        [
            decay(release, seen[:n], false_alarm_rate=limit, min_rise=-9.0).decaying
            for n in range(100, 600, 5)
        ]
    )
    assert 0.005 <= share <= 0.12


def test_the_holdouts_own_error_does_not_pile_up():
    """A CUSUM of deviations from the holdout alone alarms after every fourth small release."""
    rng = np.random.default_rng(1)
    naive = []
    for _ in range(100):
        release, statistic = drawn(rng, 200), 0.0
        for _ in range(10):
            period = drawn(rng, 2000)
            z = (period.mean - release.mean) / (period.std / math.sqrt(period.rows))
            statistic = max(0.0, statistic + z - 0.5)
        naive.append(statistic > 5)
    assert np.mean(naive) > 0.2
    assert alarms(1, 200, 2000, periods=10)[:, -1].mean() <= 0.02


@pytest.mark.parametrize("release", [2_000, 12_000])
def test_decay_of_a_point_per_period_is_found_within_six_periods(release: int):
    # One more label of a hundred flipped raises the log loss by 0.012 (see test_performance).
    found = alarms(2, release, 2_000, rise=0.012, periods=6)
    assert found.any(axis=1).mean() >= 0.95
    assert found[:, 0].mean() <= 0.05, "the first period alone proves nothing yet"


def test_a_sure_rise_that_is_a_trifle_is_no_decay():
    release, trifle = LossSample(0.45, 0.5, 10**8), LossSample(0.452, 0.5, 10**8)
    found = decay(release, [trifle] * 10, false_alarm_rate=RATE, min_rise=0.009)
    assert found.statistic > found.limit
    assert not found.decaying
    assert found.rise == pytest.approx(0.002)
    assert decay(release, [trifle] * 10, false_alarm_rate=RATE, min_rise=0.001).decaying


def test_the_rise_is_that_of_the_periods_since_the_loss_began_to_rise():
    release, low, high = (LossSample(mean, 0.5, 1000) for mean in (0.45, 0.3, 0.7))
    found = decay(release, [low, low, high, high], false_alarm_rate=RATE, min_rise=0.0)
    assert found.since == 2
    assert found.rise == pytest.approx(0.25)
    assert found.decaying
    recovered = decay(release, [high, *[low] * 20], false_alarm_rate=RATE, min_rise=0.0)
    assert (recovered.statistic, recovered.since, recovered.rise) == (0.0, 0, 0.0)


def test_a_version_without_periods_does_not_decay():
    found = decay(LossSample(0.4, 0.5, 100), [], false_alarm_rate=RATE, min_rise=0.0)
    assert (found.statistic, found.decaying) == (0.0, False)


def test_the_usual_limit_of_five_belongs_to_two_of_a_thousand_periods():
    assert cusum_limit(0.0021) == pytest.approx(5.0, abs=0.01)
    for share in (0.0, 1.0, -1.0):
        with pytest.raises(DataError, match="between 0 and 1"):
            cusum_limit(share)


def test_a_skewed_small_release_does_not_look_surer_than_it_is():
    """Few rows that are low by chance have a low deviation too, which a plain z-test believes."""
    rng = np.random.default_rng(3)
    sure, plain = [], []
    for _ in range(400):
        release, period = (
            LossSample(float(x.mean()), float(x.std(ddof=1)), len(x))
            for x in (rng.lognormal(0, 1.2, 200), rng.lognormal(0, 1.2, 10_000))
        )
        apart = math.sqrt(period.std**2 / period.rows + release.std**2 / release.rows)
        plain.append((period.mean - release.mean) / apart > 2.326)
        sure.append(deviation(period, release) > 2.326)
    assert np.mean(plain) > 0.03
    assert np.mean(sure) <= 0.01


@given(
    st.lists(st.floats(-5, 5), min_size=2, max_size=30),
    st.lists(st.floats(-5, 5), min_size=2, max_size=30),
)
def test_pooling_two_samples_keeps_their_mean_and_rows(a: list[float], b: list[float]):
    one, other = (LossSample(float(np.mean(x)), float(np.std(x)), len(x)) for x in (a, b))
    both = pooled(one, other)
    assert both.rows == len(a) + len(b)
    assert both.mean == pytest.approx(float(np.mean([*a, *b])), abs=1e-9)
    assert both.std <= max(one.std, other.std) + 1e-9


@pytest.mark.parametrize(
    ("mean", "std", "rows"), [(math.nan, 1, 5), (1, math.inf, 5), (1, -1, 5), (1, 1, 1)]
)
def test_losses_that_are_no_sample_are_refused(mean: float, std: float, rows: int):
    with pytest.raises(DataError, match="are no sample"):
        LossSample(mean, std, rows)


def test_losses_without_any_spread_do_not_divide_by_zero():
    flat = LossSample(0.5, 0.0, 100)
    assert deviation(flat, flat) == 0
    assert deviation(LossSample(0.6, 0.0, 100), flat) > 1e6
