import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mlops_assets.domain.profile import profile_levels, profile_numbers
from mlops_assets.domain.two_samples import (
    chi_square,
    kolmogorov_smirnov,
    outside_range,
    two_shares,
    unseen,
)

sizes = st.integers(1, 3000)


@settings(deadline=None)
@given(st.data(), sizes, sizes)
def test_two_shares_is_twice_the_smaller_tail_of_fishers_exact_test(
    data: st.DataObject, rows_a: int, rows_b: int
):
    a, b = data.draw(st.integers(0, rows_a)), data.draw(st.integers(0, rows_b))
    table = [[a, rows_a - a], [b, rows_b - b]]
    tails = [stats.fisher_exact(table, side).pvalue for side in ("less", "greater")]
    assert two_shares(a, rows_a, b, rows_b)[1] == pytest.approx(
        min(1, 2 * min(tails)), rel=1e-6, abs=1e-300
    )


def test_two_shares_of_ten_million_rows_are_exact_and_soon_done():
    z, p = two_shares(2_500, 5_000, 5_030_000, 10_000_000)
    assert p == pytest.approx(2 * stats.norm.sf(abs(z)), rel=0.05)
    z, p = two_shares(4_990_000, 10_000_000, 5_003_000, 10_000_000)
    assert p == pytest.approx(2 * stats.norm.sf(abs(z)), rel=0.01)


@given(sizes, sizes, st.data())
def test_values_outside_the_range_are_beta_binomial(rows: int, new: int, data: st.DataObject):
    outside = data.draw(st.integers(1, new))
    # The share between the extremes of n values is Beta(n - 1, 2).
    if rows > 1:
        truth = stats.betabinom.sf(outside - 1, new, 2, rows - 1)
        assert outside_range(rows, outside, new) == pytest.approx(truth, rel=1e-6, abs=1e-9)


def test_a_few_extremes_are_expected_and_a_wrong_unit_is_not():
    assert outside_range(5_000, 0, 100_000) == 1
    assert outside_range(500, 40, 10_000) > 0.3
    assert outside_range(5_000, 3, 5_000) > 0.2
    assert outside_range(5_000, 100, 5_000) < 1e-20
    # Beyond a constant, every other value is; one of them in 500 rows may be chance.
    assert outside_range(500, 1, 500) > 0.5


def test_chi_square_is_scipys():
    table = np.array([[30.0, 50, 20], [44, 40, 31]])
    truth = stats.chi2_contingency(table, correction=False)
    assert chi_square(table) == pytest.approx((truth.statistic, truth.pvalue))


def test_kolmogorov_smirnov_knows_the_first_sample_by_its_quantiles():
    rng = np.random.default_rng(0)
    old, new = rng.exponential(size=4000), rng.exponential(1.1, size=900)
    profile = profile_numbers(old)
    distance, p = kolmogorov_smirnov(np.array(profile.quantiles), profile.present, new)
    truth = stats.ks_2samp(old, new, method="asymp")
    assert distance == pytest.approx(truth.statistic, abs=0.002)
    assert p == pytest.approx(truth.pvalue, rel=0.25)


def test_a_large_period_of_many_levels_has_as_many_new_ones_as_chance_brings():
    """The reference's own uncertainty counts: without it 1 in 13 of these is below 1%."""
    rng = np.random.default_rng(1)

    def levels(rows: int) -> np.ndarray:
        return rng.integers(0, 700, rows)

    small = 0
    for _ in range(150):
        before = profile_levels(levels(2000).astype(str).astype(object)).levels
        counts = list(before.values())
        known = np.isin(levels(50_000), [int(level) for level in before])
        _, p = unseen(counts.count(1), counts.count(2), 2000, int((~known).sum()), 50_000)
        small += p < 0.01
    assert small <= 4


def test_fewer_new_levels_than_expected_are_no_alarm():
    assert unseen(50, 10, 1000, 0, 1000)[1] == 1
    assert unseen(0, 0, 1000, 200, 1000)[1] < 1e-20
    assert unseen(0, 0, 1000, 1, 1000)[1] > 0.5
