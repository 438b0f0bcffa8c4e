import string

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.domain.contract import MISSING_CATEGORY
from mlops_assets.domain.errors import DataError
from mlops_assets.reports.drawn_columns import MOST_LEVELS, Drawn, drawn_columns, safe_text


def drawn(reference: dict, current: dict, rows: int = 100) -> Drawn:
    return drawn_columns(
        {name: np.array(values, dtype=kind(values)) for name, values in reference.items()},
        {name: np.array(values, dtype=kind(values)) for name, values in current.items()},
        rows,
        seed=0,
    )


def kind(values: list) -> type:
    return object if any(isinstance(value, str) for value in values) else float


@given(st.text(max_size=500))
def test_no_text_stays_markup_and_none_is_long(text: str):
    safe = safe_text(text)
    assert not set("<>&`\\\n\r\t\u2028\u2029\x00") & set(safe)
    assert len(safe) <= 40


@given(st.text(alphabet=string.ascii_letters + string.digits + "_-.$'", max_size=40))
def test_ordinary_text_is_left_alone(text: str):
    assert safe_text(text) == text


def test_names_that_become_equal_stay_apart():
    made = {"a<": [1.0], "a\u2039": [2.0], "": [3.0]}
    found = drawn(made, made)
    assert found.names == {"a<": "a\u2039", "a\u2039": "a\u2039 (2)", "": "unnamed"}
    assert list(found.reference.columns) == list(found.names.values())


def test_a_sample_is_small_in_order_and_the_same_for_the_same_seed():
    columns = {"x": np.arange(1000.0), "y": np.arange(1000.0) * 2}
    first, second = (drawn_columns(columns, columns, 50, seed=3) for _ in range(2))
    assert len(first.reference) == len(first.current) == 50
    assert first.reference.equals(second.reference)
    assert first.reference["x"].is_monotonic_increasing
    assert (first.reference["y"] == 2 * first.reference["x"]).all()


def test_rare_levels_share_one_and_missing_has_a_name():
    levels = [f"L{index:03d}" for index in range(100)]
    often = ["common"] * 50 + [MISSING_CATEGORY] * 30
    found = drawn({"c": levels + often}, {"c": often}, rows=1000)
    assert found.categories == ("c",)
    texts = set(found.reference["c"])
    assert {"common", "missing", "82 other levels"} <= texts
    assert len(texts) == MOST_LEVELS + 1


def test_a_column_without_numbers_on_a_side_is_drawn_as_present_or_missing():
    nan = float("nan")
    found = drawn({"x": [1.0, nan]}, {"x": [nan, nan]})
    assert found.numbers == ()
    assert list(found.reference["x"]) == ["present", "missing"]
    assert list(found.current["x"]) == ["missing", "missing"]


def test_numbers_near_the_largest_float_are_bounded_and_infinities_missing():
    found = drawn({"x": [1e308, -1e308, float("inf")]}, {"x": [0.0]})
    assert found.reference["x"].dropna().tolist() == [1e100, -1e100]


def test_sides_that_differ_are_refused_by_name():
    with pytest.raises(DataError, match="they differ in \\['b'\\]"):
        drawn({"a": [1.0]}, {"a": [1.0], "b": [1.0]})


def test_no_rows_and_no_columns_are_refused():
    with pytest.raises(DataError, match="at least one row"):
        drawn({"a": []}, {"a": [1.0]})
    with pytest.raises(DataError, match="one at least"):
        drawn({}, {})
