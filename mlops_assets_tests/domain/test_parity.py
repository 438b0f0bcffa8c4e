import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.domain.parity import compare


def probabilities(rows: int = 2000) -> np.ndarray:
    return np.random.default_rng(0).dirichlet([1, 1], rows)


def judge(expected: np.ndarray, actual: np.ndarray):
    return compare(expected, actual, tolerance=1e-5, share=0.999, max_difference=0.01)


def test_float32_rounding_holds():
    result = judge(probabilities(), probabilities().astype(np.float32))
    assert result.holds
    assert result.rows == 2000
    assert result.share_within == 1
    assert 0 < result.max_difference < 1e-6


def test_a_few_slightly_different_rows_hold_and_many_do_not():
    few, many = probabilities(), probabilities()
    few[:2] += 0.001
    many[:3] += 0.001
    assert judge(probabilities(), few).holds
    result = judge(probabilities(), many)
    assert not result.holds
    assert "99.8500% of 2000 rows" in result.reason


def test_a_single_row_far_off_does_not_hold():
    off = probabilities()
    off[7] += 0.02
    result = judge(probabilities(), off)
    assert not result.holds
    assert "0.02 (limit 0.01)" in result.reason


def test_a_regression_is_compared_in_units_of_its_usual_size():
    values = np.random.default_rng(1).gamma(2, 100, (2000, 1))
    assert judge(values, values.astype(np.float32)).holds
    assert not judge(values, values + 0.5).holds


@pytest.mark.parametrize(
    ("expected", "actual", "reason"),
    [
        (np.ones((3, 2)), np.ones((2, 2)), "shapes (3, 2) and (2, 2)"),
        (np.ones((3, 1)), np.ones(3), "shapes"),
        (np.empty((0, 2)), np.empty((0, 2)), "no rows"),
        (np.ones((1, 2)), np.full((1, 2), np.nan), "NaN"),
        (np.full((1, 2), np.nan), np.full((1, 2), np.nan), "NaN"),
    ],
)
def test_outputs_that_cannot_be_compared_do_not_hold(
    expected: np.ndarray, actual: np.ndarray, reason: str
):
    result = judge(expected, actual)
    assert not result.holds
    assert reason in result.reason


@given(st.lists(st.floats(0, 1), min_size=1), st.floats(0.011, 1))
def test_no_difference_above_the_limit_ever_holds(values: list[float], difference: float):
    outputs = np.array(values)[:, None]
    off = outputs.copy()
    off[-1] += difference
    assert judge(outputs, outputs).holds
    assert not judge(outputs, off).holds
