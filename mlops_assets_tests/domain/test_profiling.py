from datetime import date

import numpy as np
import pandas as pd
import pytest

from mlops_assets.domain.profiling import choose_key, named_like_id, profile
from mlops_assets_tests.churn import churn


def one(values: object, dtype: object = None):
    return profile(pd.DataFrame({"a": pd.Series(values, dtype=dtype)}))["a"]


@pytest.mark.parametrize(
    ("values", "dtype", "kind"),
    [
        ([1, 2], "int64", "integer"),
        ([1, None], "Int64", "integer"),
        ([1.5, None], None, "number"),
        ([True, None], "boolean", "boolean"),
        (["a", "b"], None, "category"),
        (["1", "2"], None, "integer"),
        (["1.5", "2"], None, "number"),
        ([date(2026, 1, 1)], None, "time"),
        ([pd.Timestamp("2026-01-01", tz="UTC")], None, "time"),
        ([[1], [2]], None, "other"),
        ([b"\xe9"], None, "other"),
    ],
)
def test_the_kind_of_a_column_follows_from_its_values(values, dtype, kind):
    assert one(values, dtype).kind == kind


def test_ranges_levels_and_missing_values_are_counted():
    numbers = one([3.0, None, -1.0, np.inf])
    assert (numbers.low, numbers.high, numbers.missing_share) == (-1, 3, 0.25)
    levels = one(["a", "b", "b", None])
    assert levels.levels == ("b", "a")
    assert levels.distinct == 2


def test_levels_are_settled_only_if_the_later_half_brings_no_new_one():
    assert one(["a", "b", "a", "b"]).settled
    assert not one(["a", "a", "a", "b"]).settled


def test_text_among_numbers_is_told_with_the_texts():
    found = one(["1", "2", "n/a", "4", "5", "6", "7", "8", "9", "10", "11"])
    assert found.is_mixed
    assert found.levels == ("n/a",)
    assert (found.low, found.high) == (1, 11)


def test_a_column_of_nothing_has_no_present_values():
    found = one([None, None], object)
    assert (found.present, found.distinct, found.missing) == (0, 0, 2)


def test_copies_are_found_whatever_their_type():
    frame = pd.DataFrame({"a": [1, 2], "b": [1, 2], "c": [2, 1], "d": [1.0, np.nan]})
    frame["e"] = frame["d"]
    found = profile(frame)
    assert {name: column.copy_of for name, column in found.items()} == {
        "a": "",
        "b": "a",
        "c": "",
        "d": "",
        "e": "d",
    }


@pytest.mark.parametrize(
    ("name", "is_id"),
    [
        ("customer_id", True),
        ("id", True),
        ("orderId", True),
        ("Order ID ", True),
        ("order id", True),
        ("paid", False),
        ("width", False),
    ],
)
def test_names_of_ids_are_told_from_words_that_end_alike(name, is_id):
    assert named_like_id(name) == is_id


def key_of(frame: pd.DataFrame):
    return choose_key(frame, profile(frame), "snapshot_at")


def test_the_id_that_is_unique_with_the_time_is_preferred_to_unique_prose():
    frame = churn(4)
    assert frame["note"].is_unique
    assert key_of(frame).column == "customer_id"


def test_a_unique_id_wins():
    frame = churn(4).assign(order_id=range(600))
    assert key_of(frame).column == "order_id"


def test_without_ids_a_unique_time_identifies_the_row():
    frame = churn(4)[["snapshot_at", "usage_hours"]].drop_duplicates("snapshot_at")
    found = key_of(frame)
    assert found.column == "snapshot_at"
    assert "no column is an id" in found.reason


def test_where_nothing_tells_rows_apart_the_nearest_is_named():
    frame = pd.concat([churn(2)] * 2)[["snapshot_at", "plan", "tickets"]]
    found = key_of(frame)
    assert not found.column
    assert "closest is" in found.reason
    assert "rows still have the same" in found.reason
