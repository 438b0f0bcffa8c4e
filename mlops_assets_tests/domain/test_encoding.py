from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.domain.encoding import (
    BINS,
    MOST_LEVELS,
    MOST_WIDTH,
    EncodedColumn,
    Encoding,
    fit_encoding,
)
from mlops_assets.domain.errors import DataError

NAN = float("nan")


def one(name: str, values: Any, kind: Any = "numeric") -> tuple[Encoding, np.ndarray]:
    array = np.array(values, dtype=object if kind == "category" else float)
    encoding = fit_encoding({name: array}, {name: kind})
    return encoding, encoding.encode({name: array})


@given(
    numbers=st.lists(st.floats(allow_infinity=True), min_size=1, max_size=60),
    levels=st.lists(st.text(max_size=3), min_size=1, max_size=60),
)
def test_each_row_has_one_indicator_per_column_and_the_constant(
    numbers: list[float], levels: list[str]
):
    n = min(len(numbers), len(levels))
    columns = {"x": np.array(numbers[:n]), "c": np.array(levels[:n], dtype=object)}
    encoding = fit_encoding(columns, {"x": "numeric", "c": "category"})
    encoded = encoding.encode(columns)
    assert encoded.shape == (n, encoding.width)
    width = encoding.columns[0].width
    np.testing.assert_array_equal(encoded[:, :width].sum(axis=1), 1)
    np.testing.assert_array_equal(encoded[:, width:-1].sum(axis=1), 1)
    np.testing.assert_array_equal(encoded[:, -1], 1)


@given(st.lists(st.floats(allow_nan=True), min_size=1, max_size=30), st.integers(1, 30))
def test_an_encoding_survives_json(numbers: list[float], levels: int):
    columns = {
        "x": np.array(numbers),
        "c": np.array([str(i % levels) for i in range(len(numbers))], dtype=object),
    }
    encoding = fit_encoding(columns, {"x": "numeric", "c": "category"})
    assert Encoding.from_json(encoding.to_json()) == encoding


def test_bins_hold_about_the_same_number_of_rows():
    encoding, encoded = one("x", np.random.default_rng(0).exponential(size=8000))
    assert encoding.columns[0].width == BINS + 1
    np.testing.assert_allclose(encoded[:, :BINS].mean(axis=0), 1 / BINS, atol=0.002)


def test_missing_numbers_have_an_indicator_of_their_own():
    encoding, encoded = one("x", [1.0, 2.0, NAN, float("inf"), 3.0])
    missing = encoded[:, encoding.columns[0].width - 1]
    np.testing.assert_array_equal(missing, [0, 0, 1, 1, 0])


def test_a_column_without_any_number_has_no_bins():
    encoding, encoded = one("x", [NAN, NAN])
    assert encoding.columns[0].edges == ()
    np.testing.assert_array_equal(encoded, [[0, 1, 1], [0, 1, 1]])


def test_frequent_levels_have_a_column_and_the_rest_share_one():
    common = [f"level {i:02d}" for i in range(MOST_LEVELS)]
    values = np.array(common * 3 + ["rare", "rarer"], dtype=object)
    encoding = fit_encoding({"c": values}, {"c": "category"})
    assert encoding.columns[0].levels == tuple(common)
    encoded = encoding.encode({"c": np.array(["rare", "never seen", "level 03"], dtype=object)})
    np.testing.assert_array_equal(encoded[:, MOST_LEVELS], [1, 1, 0])
    assert encoded[2, 3] == 1


def test_later_rows_meet_the_bins_of_the_first_ones():
    encoding, _ = one("x", np.arange(80.0))
    later = encoding.encode({"x": np.array([-1e9, 1e9])})
    assert later[0, 0] == 1
    assert later[1, BINS - 1] == 1


def test_many_columns_get_fewer_indicators_each():
    draw = np.random.default_rng(0)
    columns = {f"x{i}": draw.normal(size=100) for i in range(90)}
    encoding = fit_encoding(columns, dict.fromkeys(columns, "numeric"))
    assert len(encoding.columns) == 90
    assert encoding.width <= MOST_WIDTH
    assert encoding.columns[0].width < BINS + 1


def test_a_column_that_is_not_there_is_named():
    encoding = Encoding((EncodedColumn("speed", "numeric"),))
    with pytest.raises(DataError, match="speed"):
        encoding.encode({"height": np.zeros(2)})


@pytest.mark.parametrize("raw", ["", "{}x", '[{"name": "x"}]', "[1]", "3"])
def test_what_is_no_encoding_is_refused(raw: str):
    with pytest.raises(DataError, match="no encoding"):
        Encoding.from_json(raw)
