import math

import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mlops_assets.domain.draft_columns import DraftColumn, draft_columns, slack
from mlops_assets.domain.leaks import Leak
from mlops_assets.domain.profiling import profile

FINITE = st.floats(-1e12, 1e12, allow_nan=False)


def drafted(values: object, name: str = "a", **leaks: Leak) -> DraftColumn:
    series = pd.Series(values, name=name)
    at = pd.Series(pd.date_range("2026-01-01", periods=len(series), freq="h", tz="UTC"), name="at")
    frame = pd.concat([at, series], axis=1)
    columns = {name: profile(frame)[name]}
    (found,) = draft_columns(frame, columns, leaks, "at")
    return found


@given(FINITE, FINITE)
@example(0.0, 5e-324)
@example(-1e-310, 1e-305)
def test_slack_holds_what_was_seen_and_rejects_another_magnitude(a: float, b: float):
    low, high = min(a, b), max(a, b)
    least, most = slack(low, high)
    assert least <= low <= high <= most
    assert math.isfinite(least)
    assert math.isfinite(most)
    assert most < 20 * max(abs(low), abs(high), 1)


@pytest.mark.parametrize(
    ("low", "high", "bounds"),
    [(0, 23, (0, 46)), (1, 4, (0, 7)), (10.94, 100.04, (-79, 190)), (-5, 0, (-10, 0))],
)
def test_slack_is_the_range_again_and_amounts_stay_amounts(low, high, bounds):
    assert slack(low, high) == bounds


ROWS = 200
LEFT_OUT = {
    "missing in every row": [None] * ROWS,
    "the same in every row": ["x"] * ROWS,
    "looks like an id, 200 distinct values in 200 rows": [f"x{i}" for i in range(ROWS)],
    "looks like an id, 200 distinct values": list(range(ROWS)),
    "free text": [f"quite a long note {i}" for i in range(ROWS)],
    "mixes numbers and text (5.0% are text such as 'n/a')": ["1", "2", "3", "4", "5"] * 38
    + ["n/a"] * 10,
    "numbers written with signs, such as": [f"{1000 + i:,} €" for i in range(ROWS)],
    "holds neither numbers nor text": [[1]] * ROWS,
    "known only afterwards: after at in 100% of the rows": pd.date_range(
        "2027-01-01", periods=ROWS, tz="UTC"
    ),
    "no value before 2026-01-03: take it in when": [None] * 50 + [1.5, 2.5, 0.5] * 50,
    "no value after 2026-01-07: does the source": [1.5, 2.5, 0.5] * 50 + [None] * 50,
    "goes with at: what it says of one period": [1990 + i // 10 for i in range(ROWS)],
    "a time: put what matters of it": pd.date_range("1990-01-01", periods=ROWS, tz="UTC"),
}


@pytest.mark.parametrize("reason", LEFT_OUT)
def test_what_teaches_nothing_is_left_out_with_its_reason(reason: str):
    found = drafted(LEFT_OUT[reason])
    assert not found.kept
    assert found.reason.startswith(reason)
    assert found.is_earlier == reason.startswith("a time")


def test_thousands_of_levels_are_left_out():
    found = drafted([f"x{i % 600}" for i in range(2000)])
    assert not found.kept
    assert (
        found.reason
        == "600 levels are too many: group the rare ones, with a derived column of kind frequent"
    )


def test_few_levels_are_listed_and_many_are_open():
    assert drafted(["a", "b"] * 50).categories == ("a", "b")
    assert drafted([f"x{i % 20}" for i in range(ROWS)]).categories == ()


def test_levels_that_still_appear_are_not_listed():
    assert drafted(["a"] * 60 + ["b"] * 60).categories == ()


def test_codes_named_like_ids_are_categories():
    assert drafted([1, 2, 3, 4] * 50, name="store_id").type == "category"
    assert drafted([1, 2, 3, 4] * 50, name="floors").type == "integer"


def test_missing_values_make_a_column_nullable_and_are_told():
    found = drafted([1.5, None] * 50)
    assert found.nullable
    assert found.reason == "seen 1.5 to 1.5, 50.0% missing"
    assert drafted([None] + [1.5, 2.5] * 2000).reason == "seen 1.5 to 2.5, < 0.1% missing"


def test_a_certain_leak_is_left_out_and_a_suspected_one_is_marked():
    certain = drafted([1.5, 2.0] * 50, a=Leak("a", "it is the label", certain=True))
    assert (certain.kept, certain.reason) == (False, "suspected leak: it is the label")
    suspected = drafted([1.5, 2.0] * 50, a=Leak("a", "AUC 0.95", certain=False))
    assert suspected.kept
    assert suspected.warns
    assert "look at it: AUC 0.95" in suspected.reason


def test_infinite_values_are_left_out_or_told():
    few, many = [1.5, 2.5] * 200 + [float("inf")], [1.5, float("inf")] * 50
    assert "1 infinite values will be rejected" in drafted(few).reason
    assert drafted(many).reason == "50 values are infinite: clean it in the source"


def test_whole_numbers_that_floats_cannot_hold_are_left_out():
    assert not drafted([2**60 + step % 7 for step in range(200)]).kept
