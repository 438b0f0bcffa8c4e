import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.domain.coded import plain
from mlops_assets.domain.contract import MISSING_CATEGORY, Contract, ContractColumn
from mlops_assets.domain.features import (
    AsFloat32,
    DeriveColumns,
    as_arrays,
    model_frame,
    pipeline,
)
from mlops_assets.domain.requests import RequestParser

CONTRACT = Contract(
    model="m",
    task="binary",
    columns=(
        ContractColumn("n", "number", nullable=True),
        ContractColumn("i", "integer", nullable=True),
        ContractColumn("b", "boolean", nullable=True),
        ContractColumn("c", "category", nullable=True),
    ),
    classes=("0", "1"),
    entity="id",
    event_time="at",
    max_rows=1000,
)
quick = settings(max_examples=80, deadline=None)


def derived(kind: str, *columns: Any, cycle: float | None = None) -> np.ndarray:
    return DeriveColumns(kind, cycle).fit_transform(np.array(columns, dtype=float).T)


@pytest.mark.parametrize(
    ("kind", "first", "last", "expected"),
    [
        ("difference", 5.0, 3.0, 2.0),
        ("difference", 5.0, np.nan, np.nan),
        ("sum", 5.0, 3.0, 8.0),
        ("sum", 5.0, np.nan, np.nan),
        ("product", 5.0, 3.0, 15.0),
        ("product", np.nan, 0.0, np.nan),
        ("ratio", 6.0, 3.0, 2.0),
        ("ratio", 6.0, 0.0, np.nan),
        ("ratio", 0.0, 0.0, np.nan),
        ("ratio", 0.0, 5.0, 0.0),
        ("ratio", np.nan, 5.0, np.nan),
        ("ratio", 5.0, np.nan, np.nan),
    ],
)
def test_a_column_from_two(kind: str, first: float, last: float, expected: float):
    np.testing.assert_equal(derived(kind, [first], [last]), [[expected]])


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.0, 0.0), (math.e - 1, 1.0), (-1.0, np.nan), (-5.0, np.nan), (np.nan, np.nan)],
)
def test_log1p_of_minus_one_or_less_is_missing(value: float, expected: float):
    np.testing.assert_allclose(derived("log1p", [value]), [[expected]])


@quick
@given(st.integers(-50, 50), st.integers(0, 23))
def test_a_cycle_meets_itself_and_its_zeros_are_exact(rounds: int, hour: int):
    here = derived("cyclical", [hour], cycle=24)
    there = derived("cyclical", [hour + 24 * rounds], cycle=24)
    np.testing.assert_allclose(there, here, atol=2e-12)
    np.testing.assert_array_equal(there == 0, here == 0)
    np.testing.assert_allclose(np.hypot(*here[0]), 1, atol=1e-9)


def test_a_cycle_has_exact_zeros_and_keeps_missing_values():
    waves = derived("cyclical", [0, 6, 12, 18, np.nan], cycle=24)
    np.testing.assert_array_equal(waves[:4], [[0, 1], [1, 0], [0, -1], [-1, 0]])
    assert np.isnan(waves[4]).all()


def test_derived_columns_have_names():
    step = DeriveColumns("ratio").fit(np.ones((2, 2)))
    assert step.get_feature_names_out(["a", "b"]).tolist() == ["ratio(a,b)"]
    wave = DeriveColumns("cyclical", 24.0).fit(np.ones((2, 1)))
    assert wave.get_feature_names_out(["h"]).tolist() == ["cyclical(h)_sin", "cyclical(h)_cos"]


def test_float32_is_what_trees_compare():
    out = AsFloat32().fit_transform(np.array([[0.1, np.nan]]))
    assert out.dtype == np.float32
    assert out[0, 0] == np.float32(0.1)


records = st.lists(
    st.fixed_dictionaries(
        {
            "n": st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)),
            "i": st.one_of(st.none(), st.integers(-(2**53), 2**53)),
            "b": st.one_of(st.none(), st.booleans()),
            "c": st.one_of(
                st.none(),
                st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")).filter(
                    lambda text: text != MISSING_CATEGORY
                ),
            ),
        }
    ),
    min_size=1,
    max_size=30,
)


@quick
@given(records)
def test_training_and_serving_see_the_same_rows(rows: list[dict[str, Any]]):
    served = plain(RequestParser(CONTRACT).parse({"records": rows}).columns)
    frame = pd.DataFrame(
        {
            "n": pd.Series([row["n"] for row in rows], dtype="float64"),
            "i": pd.array([row["i"] for row in rows], dtype="Int64"),
            "b": pd.array([row["b"] for row in rows], dtype="boolean"),
            "c": pd.Series([row["c"] for row in rows], dtype="object"),
        }
    )
    trained = as_arrays(model_frame(frame, CONTRACT.columns))
    assert list(trained) == list(served)
    for name, values in trained.items():
        assert values.dtype == served[name].dtype
        np.testing.assert_array_equal(values, served[name])


def test_the_normal_form_has_the_contracts_columns_only_and_in_order():
    frame = pd.DataFrame({"extra": [1], "c": ["x"], "b": [True], "i": [2], "n": ["3.5"]}, index=[9])
    found = model_frame(frame, CONTRACT.columns)
    assert found.to_dict("records") == [{"n": 3.5, "i": 2.0, "b": 1.0, "c": "x"}]
    assert list(found.columns) == ["n", "i", "b", "c"]


def test_the_normal_form_is_its_own_normal_form():
    frame = pd.DataFrame({"n": [None, 1.0], "i": [1, None], "b": [None, False], "c": [None, "x"]})
    once = model_frame(frame, CONTRACT.columns)
    assert once["c"].tolist() == [MISSING_CATEGORY, "x"]
    pd.testing.assert_frame_equal(model_frame(once, CONTRACT.columns), once)


def test_categories_that_are_no_text_become_the_text_that_they_are_written_as():
    found = model_frame({"c": [1, True, "x", None]}, CONTRACT.columns[3:])
    assert found["c"].tolist() == ["1", "True", "x", MISSING_CATEGORY]
    texts = pd.Series(["x", None, "y"])
    model_frame({"c": texts}, CONTRACT.columns[3:])
    assert texts.isna().tolist() == [False, True, False], "the input is not touched"


@pytest.mark.parametrize("family", ["linear", "forest", "boosting"])
def test_every_family_takes_missing_numbers_and_unknown_categories(family: str):
    from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
    from sklearn.linear_model import Ridge

    estimators = {
        "linear": Ridge(),
        "forest": RandomForestRegressor(5, random_state=0),
        "boosting": HistGradientBoostingRegressor(random_state=0),
    }
    draw = np.random.default_rng(0)
    frame = model_frame(
        {
            "n": np.where(draw.random(60) < 0.2, np.nan, draw.normal(size=60)),
            "i": draw.integers(0, 9, 60),
            "b": draw.random(60) < 0.5,
            "c": draw.choice(["x", "y"], 60),
        },
        CONTRACT.columns,
    )
    rules = [{"name": "r", "kind": "ratio", "columns": ["n", "i"]}]
    model = pipeline(family, CONTRACT.columns, rules, estimators[family])
    model.fit(frame, draw.normal(size=60))
    new = model_frame({"n": [np.nan], "i": [np.nan], "b": [None], "c": ["z"]}, CONTRACT.columns)
    assert np.isfinite(model.predict(new)).all()


def of_levels(rows: int, levels: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """A category of many levels that has nothing to do with the answer."""
    draw = np.random.default_rng(seed)
    columns = CONTRACT.columns[3:]
    texts = [f"k{level}" for level in draw.integers(0, levels, rows)]
    return model_frame({"c": texts}, columns), draw.integers(0, 2, rows)


MEAN: list[dict[str, Any]] = [
    {"name": "m", "kind": "target_mean", "columns": ["c"], "replaces": True}
]


def test_the_mean_of_the_label_leaks_nothing_into_training():
    from sklearn.linear_model import LogisticRegression

    frame, y = of_levels(2000, 700, seed=0)
    model = pipeline("boosting", CONTRACT.columns[3:], MEAN, LogisticRegression())
    encoder = model.named_steps["features"]
    crossed = encoder.fit_transform(frame, y).ravel()
    # What a row's own label gives away: the encoding that a request would get.
    direct = encoder.transform(frame).ravel()
    assert abs(np.corrcoef(crossed, y)[0, 1]) < 0.1
    assert np.corrcoef(direct, y)[0, 1] > 0.3


def test_the_mean_of_an_unknown_level_is_that_of_all_rows():
    from sklearn.linear_model import Ridge

    frame, y = of_levels(500, 5, seed=1)
    model = pipeline("boosting", CONTRACT.columns[3:], MEAN, Ridge()).fit(frame, y * 10.0)
    encoded = model.named_steps["features"].transform(
        model_frame({"c": ["z"]}, CONTRACT.columns[3:])
    )
    np.testing.assert_allclose(encoded, [[10 * y.mean()]])


@pytest.mark.parametrize("family", ["linear", "forest", "boosting"])
def test_a_replaced_column_is_seen_through_its_rule_alone(family: str):
    from sklearn.linear_model import Ridge

    rule = {"name": "f", "kind": "frequent", "columns": ["c"], "min_share": 0.3}
    frame = model_frame({"c": ["x"] * 6 + ["y"] * 3 + ["r", "s"]}, CONTRACT.columns[3:])
    for replaces in (True, False):
        rules = [{**rule, "replaces": replaces}]
        model = pipeline(family, CONTRACT.columns[3:], rules, Ridge()).fit(frame, range(11))
        rare = model_frame({"c": ["r", "s"]}, CONTRACT.columns[3:])
        first, second = model.named_steps["features"].transform(rare)
        assert (first == second).all() == replaces
