import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.domain.evaluation import UNKNOWN_CLASS
from mlops_assets.domain.excess import excess_of, least_excess


@given(
    st.lists(st.floats(0.01, 1.0), min_size=2, max_size=6),
    st.integers(0, 5),
)
def test_the_excess_has_mean_zero_and_the_told_variance_under_the_models_own_probabilities(
    raw: list[float], label: int
):
    p = np.array(raw) / sum(raw)
    outputs = np.tile(p, (len(p), 1))
    excess = excess_of("multiclass", np.arange(len(p)), outputs)
    assert excess.variances is not None
    assert float(excess.values @ p) == pytest.approx(0.0, abs=1e-12)
    assert float(excess.values**2 @ p) == pytest.approx(float(excess.variances[0]), abs=1e-12)
    assert least_excess("multiclass", outputs) == pytest.approx(excess.values.min())
    one = label % len(p)
    brier = ((p - np.eye(len(p))[one]) ** 2).sum() / 2
    expected = (1 - (p**2).sum()) / 2
    assert float(excess.values[one]) == pytest.approx(brier - expected)


def test_an_unknown_class_costs_all_that_was_expected_of_the_known_ones():
    outputs = np.array([[0.5, 0.3, 0.2]])
    excess = excess_of("multiclass", np.array([UNKNOWN_CLASS]), outputs)
    assert excess.values == pytest.approx([0.38])


def test_weights_count_rows_in_proportion():
    rng = np.random.default_rng(12)
    p = rng.uniform(0.1, 0.9, 100)
    y, outputs = (rng.random(100) < p).astype(int), np.column_stack([1 - p, p])
    plain, heavy = excess_of("binary", y, outputs), excess_of("binary", y, outputs, np.full(100, 7))
    np.testing.assert_allclose(plain.values, heavy.values)
    double = excess_of("binary", y, outputs, np.where(np.arange(100) < 50, 2.0, 1.0))
    np.testing.assert_allclose(double.values[:50] / plain.values[:50], 4 / 3)


def test_a_regression_has_its_loss_and_no_variance():
    found = excess_of("regression", np.array([1.0, 2.0]), np.array([[1.5], [-1.0]]))
    assert found.values.tolist() == [0.5, 3.0]
    assert found.variances is None
    assert least_excess("regression", np.zeros((3, 1))).tolist() == [0.0, 0.0, 0.0]
