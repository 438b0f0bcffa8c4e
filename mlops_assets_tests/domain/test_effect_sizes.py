import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

from mlops_assets.domain.effect_sizes import jensen_shannon, share_distance, wasserstein
from mlops_assets.domain.profile import profile_numbers


def quantiles(values: np.ndarray) -> np.ndarray:
    return np.array(profile_numbers(values).quantiles)


def test_a_shift_counts_in_standard_deviations_of_the_reference():
    rng = np.random.default_rng(0)
    before = rng.normal(300, 20, 20_000)
    for shift in (0.1, 0.5, 1.0):
        now = rng.normal(300 + 20 * shift, 20, 20_000)
        assert wasserstein(quantiles(before), now) == pytest.approx(shift, abs=0.04)


def test_it_is_scipys_distance_of_the_winsorised_samples():
    rng = np.random.default_rng(1)
    before, now = rng.lognormal(size=5000), rng.lognormal(0.3, 1.2, size=1500)
    low, high = np.quantile(before, [0.01, 0.99])
    truth = wasserstein_distance(before.clip(low, high), now.clip(low, high))
    spread = before.clip(low, high).std()
    assert wasserstein(quantiles(before), now) == pytest.approx(truth / spread, rel=0.03)


@pytest.mark.parametrize("outlier", [1e12, -1e300, 1e308])
def test_no_outlier_on_either_side_moves_it(outlier: float):
    rng = np.random.default_rng(2)
    before, now = rng.normal(size=2000), rng.normal(size=2000)
    plain = wasserstein(quantiles(before), now)
    now[0] = outlier
    assert wasserstein(quantiles(before), now) == pytest.approx(plain, abs=0.005)
    before[0] = outlier
    assert wasserstein(quantiles(before), now) == pytest.approx(plain, abs=0.005)


def test_columns_that_hardly_vary_have_effects_too():
    rare = np.r_[np.zeros(1990), np.ones(10)]
    assert wasserstein(quantiles(rare), np.r_[np.zeros(500), np.ones(500)]) > 1
    assert wasserstein(quantiles(rare), rare) == 0
    assert wasserstein(quantiles(np.ones(50)), np.array([1.0, 1.0, 1.0, 7.0])) == 0.25


def test_jensen_shannon_is_scipys_in_bits():
    p, q = np.array([5.0, 0, 3, 2]), np.array([1.0, 1, 1, 7])
    assert jensen_shannon(p, q) == pytest.approx(jensenshannon(p, q, base=2))
    assert jensen_shannon(p, p) == 0
    assert jensen_shannon(np.array([1.0, 0]), np.array([0, 1.0])) == 1


def test_the_shares_that_documents_name_for_a_distance_of_a_tenth():
    for before, now in ((0, 0.02), (0.01, 0.05), (0.5, 0.62)):
        assert share_distance(before, now) == pytest.approx(0.1, abs=0.005)
