from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.domain.contract import Task
from mlops_assets.domain.labels import KNOWN_AT, LABEL, classes_of, encode, known, labels, recode

DAY = datetime(2024, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def made(truth: Any, task: Task = "binary", **options: Any) -> pd.DataFrame:
    rows = pd.DataFrame({"truth": truth})
    rows["at"] = pd.Series([DAY] * len(rows), dtype="datetime64[us, UTC]")
    if "known" in options:
        rows["known"] = pd.Series(options.pop("known"), dtype="datetime64[us, UTC]")
        options["known_at"] = "known"
    defaults = {"above": None, "known_at": "", "known_after": HOUR}
    return labels(rows, task=task, column="truth", event_time="at", **{**defaults, **options})


def test_above_is_a_binary_label_and_the_threshold_itself_is_not_above():
    found = made([14.9, 15.0, 15.1, None], above=15.0)
    assert found[LABEL].tolist() == ["0", "0", "1", None]


def test_above_takes_whole_numbers_with_missing_ones():
    assert made(pd.array([1, None, 3], dtype="Int64"), above=2)[LABEL].tolist() == ["0", None, "1"]


def test_a_label_is_known_after_the_delay_and_not_a_moment_before():
    found = made([1.0], above=0)
    assert not known(found, DAY + HOUR - timedelta(microseconds=1)).any()
    assert known(found, DAY + HOUR).all()


def test_a_column_tells_when_a_label_is_known():
    found = made([1.0, 1.0], above=0, known=[DAY + 2 * HOUR, None])
    assert known(found, DAY + 2 * HOUR).tolist() == [True, False]
    assert found[LABEL].tolist() == ["1", None]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.one_of(st.none(), st.floats(-5, 5)), st.one_of(st.none(), st.integers(-100, 100))
        ),
        max_size=20,
    ),
    st.integers(-120, 120),
)
def test_only_a_truth_with_a_time_that_has_come_is_known(
    rows: list[tuple[float | None, int | None]], hours: int
):
    times = [None if hour is None else DAY + hour * HOUR for _, hour in rows]
    truth = pd.Series([value for value, _ in rows], dtype="float64")
    for task, above in (("binary", 0.0), ("regression", None)):
        found = made(truth, task, above=above, known=times)  # type: ignore[arg-type]
        now = DAY + hours * HOUR
        expected = [
            value is not None and time is not None and time <= now
            for (value, _), time in zip(rows, times, strict=True)
        ]
        assert known(found, now).tolist() == expected
        # What has no label has no time either, so no join can find one.
        assert (found[LABEL].isna() == found[KNOWN_AT].isna()).all()


def test_no_truth_at_all_is_never_known():
    for truth in ([None, None], [np.nan, np.nan]):
        found = made(truth, "multiclass")
        assert not known(found, DAY + timedelta(days=999)).any()


@pytest.mark.parametrize(
    ("truth", "names"),
    [
        ([1, 2, 10], ["1", "2", "10"]),
        ([1.0, None, 10.0], ["1", None, "10"]),
        (pd.array([1, None, 3], dtype="Int64"), ["1", None, "3"]),
        (pd.array([1.0, 2.0], dtype="float32"), ["1", "2"]),
        ([0.5, 1.0], ["0.5", "1"]),
        ([True, False], ["1", "0"]),
        (pd.array([True, None], dtype="boolean"), ["1", None]),
        (["no", None, "yes"], ["no", None, "yes"]),
    ],
)
def test_a_class_has_one_name_however_it_is_stored(truth: Any, names: list[str | None]):
    assert made(truth, "multiclass")[LABEL].tolist() == names


def test_classes_are_in_numeric_order_where_all_are_numbers():
    assert classes_of(pd.Series(["10", "9", None, "9"])) == ("9", "10")
    assert classes_of(pd.Series(["10", "9", "low"])) == ("10", "9", "low")
    assert classes_of(pd.Series([], dtype=object)) == ()


def test_a_regression_keeps_values():
    found = made(pd.array([1, None, 3], dtype="Int64"), "regression")
    assert found[LABEL].dtype == np.float64
    assert found[LABEL].tolist()[::2] == [1.0, 3.0]
    assert encode(found[LABEL].dropna(), "regression", ()).tolist() == [1.0, 3.0]


def test_targets_are_places_among_the_classes_and_a_new_class_has_none():
    assert encode(pd.Series(["b", "a", "c"]), "multiclass", ("a", "b")).tolist() == [1, 0, -1]


def test_no_rows_give_no_labels():
    for task, above in (("binary", 1.0), ("multiclass", None), ("regression", None)):
        found = made(pd.Series([], dtype="float64"), task, above=above)  # type: ignore[arg-type]
        assert list(found.columns) == [LABEL, KNOWN_AT]
        assert not len(known(found, DAY))


def test_classes_are_told_to_a_model_that_knows_others():
    y = np.array([0, 1, 2, -1])
    assert recode(y, ("a", "b", "c"), ("c", "a")).tolist() == [1, -1, 0, -1]
    assert recode(y, ("a", "b", "c"), ("a", "b", "c")).tolist() == y.tolist()
