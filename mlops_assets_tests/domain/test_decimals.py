"""Numbers as whole ones, and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.domain.decimals import LONG, SHORT, decimals_of


def found(*numbers: float) -> np.ndarray | None:
    """What comes back of a column, or None where it is left as it is."""
    (one,) = decimals_of(np.array([numbers]))
    return None if one is None else one.numbers()


@given(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=30), st.integers(0, 6))
def test_decimals_of_up_to_six_places_come_back_bit_by_bit(whole: list[int], places: int):
    numbers = np.array([float(f"{one}e-{places}") for one in whole])
    back = found(*numbers)
    # Rows after the first sixteen may have more places than those.
    if back is None:
        assert len(whole) > 16
    else:
        assert back.tobytes() == numbers.tobytes()


@given(st.lists(st.floats(), min_size=1, max_size=30))
def test_any_column_comes_back_bit_by_bit_or_is_left_as_it_is(numbers: list[float]):
    back = found(*numbers)
    assert back is None or back.tobytes() == np.array(numbers).tobytes()


@pytest.mark.parametrize("odd", [np.nan, np.inf, -0.0, 0.1 + 0.2, 1e-7, 2.0**31, 1e300])
def test_one_value_that_would_change_leaves_the_column_as_it_is(odd: float):
    assert found(1.5, 2.5) is not None
    assert found(1.5, odd) is None
    assert found(*[1.5] * 20, odd) is None


def test_each_column_is_looked_at_by_itself():
    whole, odd, long = decimals_of(np.array([[1.0, -7.25], [0.1 + 0.2, 1.0], [70_000.5, 1.0]]))
    assert whole is not None
    assert (whole.places, whole.whole.dtype, whole.whole.tolist()) == (2, SHORT, [100, -725])
    assert odd is None
    assert long is not None
    assert (long.places, long.whole.dtype) == (1, LONG)
