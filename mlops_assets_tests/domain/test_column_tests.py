import numpy as np
import pytest

from mlops_assets.domain.column_tests import Outcome, column_tests
from mlops_assets.domain.contract import MISSING_CATEGORY
from mlops_assets.domain.period_summary import Batch, summarise
from mlops_assets.domain.profile import Profile, profile_levels, profile_numbers

HOSTILE = "</script><img src=x onerror=alert(1)> [a](javascript:1) " + "x" * 100


def outcomes(before: np.ndarray, now: np.ndarray) -> dict[str, Outcome]:
    profiled = profile_levels(before) if before.dtype == object else profile_numbers(before)
    summary = summarise(Profile({"x": profiled}), [Batch({"x": now})], seed=0)
    found = column_tests("x", profiled, summary.columns["x"])
    assert len({one.test for one in found}) == len(found)
    return {one.test: one for one in found}


def texts(rng: np.random.Generator, names: str, rows: int) -> np.ndarray:
    return rng.choice(np.array(list(names), dtype=object), rows)


def test_which_tests_are_made_does_not_depend_on_what_they_find():
    rng = np.random.default_rng(0)
    before = rng.normal(size=1000)
    quiet, loud = outcomes(before, rng.normal(size=300)), outcomes(before, np.full(300, 99.0))
    assert list(quiet) == list(loud) == ["stuck", "range", "kolmogorov-smirnov"]


def test_a_number_that_varied_and_now_does_not_is_stuck_and_the_reason_says_where():
    rng = np.random.default_rng(1)
    found = outcomes(rng.normal(size=1000), np.full(200, 0.25))["stuck"]
    assert found.p_value < 1e-50
    assert found.effect > 0.9
    assert found.detail == "100.0% of values are 0.25, before 0.1%"


def test_a_value_that_suddenly_dominates_is_stuck_though_others_still_come():
    rng = np.random.default_rng(2)
    now = rng.normal(size=500)
    now[:300] = 0.0
    assert outcomes(rng.normal(size=1000), now)["stuck"].p_value < 1e-50
    level = texts(rng, "abc", 500)
    level[:400] = "b"
    found = outcomes(texts(rng, "abc", 2000), level)["stuck"]
    assert found.p_value < 1e-20
    assert "are 'b', before 3" in found.detail


def test_a_level_that_came_more_often_but_does_not_fill_the_column_is_not_stuck():
    rng = np.random.default_rng(2)
    found = outcomes(texts(rng, "abcde", 5000), texts(rng, "aabcd", 5000))
    assert found["stuck"].p_value == 1
    assert found["chi-square"].p_value < 1e-50


def test_a_column_that_was_constant_before_is_not_stuck():
    for before, now in (
        (np.ones(1000), np.ones(300)),
        (np.array(["a"] * 1000, dtype=object), np.array(["a"] * 300, dtype=object)),
    ):
        assert outcomes(before, now)["stuck"].p_value == 1


def test_a_rare_flag_that_does_not_come_in_few_rows_is_chance():
    rng = np.random.default_rng(3)
    flag = (rng.random(5000) < 0.01).astype(float)
    assert outcomes(flag, np.zeros(200))["stuck"].p_value > 0.2


def test_values_beyond_the_range_are_told_with_both_ranges():
    rng = np.random.default_rng(4)
    now = rng.uniform(0, 1, 500)
    now[:50] = -999
    found = outcomes(rng.uniform(0, 1, 2000), now)["range"]
    assert found.p_value < 1e-30
    assert found.effect > 0.2
    assert "10.0% of values outside 0.000" in found.detail
    assert "(now -999 to 0.99" in found.detail


def test_a_few_extremes_of_a_continuous_column_are_no_range_alarm():
    rng = np.random.default_rng(5)
    small = sum(
        outcomes(rng.standard_cauchy(500), rng.standard_cauchy(5000))["range"].p_value < 0.05
        for _ in range(200)
    )
    # 10 of 200 are expected; 22 or more have a probability below 0.1%.
    assert 1 <= small < 22


def test_a_column_nine_tenths_missing_is_told():
    rng = np.random.default_rng(6)
    now = rng.normal(size=500)
    now[rng.random(500) < 0.9] = np.nan
    found = outcomes(rng.normal(size=1000), now)["missing rate"]
    assert found.p_value < 1e-100
    assert found.effect > 0.7
    assert found.detail.startswith("missing in 9")


def test_new_levels_are_named_most_frequent_first_and_their_text_is_inert():
    before = np.array(["a"] * 500, dtype=object)
    now = np.array([HOSTILE] * 30 + ["q"] * 20 + ["r"] * 10 + ["s"] + ["a"] * 439, dtype=object)
    found = outcomes(before, now)["new levels"]
    assert "12.2% of values: '··script··img src·x" in found.detail
    assert found.detail.endswith("…', 'q', 'r' and others")
    for markup in '<>()[]`*=&"':
        assert markup not in found.detail
    assert len(found.detail) < 120


def test_levels_that_changed_their_shares_are_told():
    rng = np.random.default_rng(7)
    found = outcomes(texts(rng, "ab", 5000), texts(rng, "aaab", 5000))["chi-square"]
    assert found.p_value < 1e-50
    assert found.effect == pytest.approx(0.22, abs=0.02)
    assert found.detail.startswith("2")


def test_nothing_but_missing_values_leaves_the_missing_rate():
    rng = np.random.default_rng(8)
    assert set(outcomes(rng.normal(size=100), np.full(100, np.nan))) == {"missing rate"}
    gone = np.full(100, MISSING_CATEGORY, dtype=object)
    assert set(outcomes(texts(rng, "ab", 100), gone)) == {"missing rate"}


@pytest.mark.parametrize("kind", ["number", "level"])
def test_tests_of_odd_columns_are_finite(kind: str):
    rng = np.random.default_rng(9)
    odd = {
        "number": [np.array([1.0]), np.array([1e308, -1e308]), np.ones(5), rng.normal(size=3)],
        "level": [
            np.array(["a"], dtype=object),
            np.array(["", "\x00", "é" * 500], dtype=object),
            np.array([str(i) for i in range(300)], dtype=object),
        ],
    }[kind]
    for before in odd:
        for now in odd:
            for found in outcomes(before, now).values():
                assert np.isfinite([found.statistic, found.p_value, found.effect]).all(), found
                assert 0 <= found.p_value <= 1
                assert found.effect >= 0
