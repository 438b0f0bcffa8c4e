from collections.abc import Mapping
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.domain.contract import MISSING_CATEGORY, ColumnType
from mlops_assets.domain.errors import DataError
from mlops_assets.domain.rows import ColumnRule, LabelRule, RowRule, RowsContract
from mlops_assets.domain.validation import DTYPES, REASONS, Validated, validate

BOUNDED = ColumnRule("a", "number", nullable=False, min=0, max=10)


def contract(*columns: ColumnRule, **checks: str) -> RowsContract:
    rules = tuple(RowRule(name, expression) for name, expression in checks.items())
    return RowsContract(columns, ("id", "at"), ("id", "at"), rules)


def rows(count: int | None = None, **columns: Any) -> pd.DataFrame:
    frame = pd.DataFrame(columns)
    if count is not None:
        frame = frame.reindex(range(count))
    frame.insert(0, "id", range(len(frame)))
    frame.insert(1, "at", pd.Timestamp("2024-01-01", tz="UTC"))
    return frame


def checked(
    values: Any, kind: ColumnType = "number", *, nullable: bool = True, **rule: Any
) -> Validated:
    return validate(rows(a=values), contract(ColumnRule("a", kind, nullable, **rule)))


def reasons(found: Validated) -> dict[int, str]:
    return dict(zip(found.rejected["id"], found.rejected[REASONS], strict=True))


def test_good_rows_come_out_in_the_types_of_the_contract():
    columns = [ColumnRule(kind, kind, nullable=True) for kind in DTYPES]
    frame = rows(number=[1, 2], integer=[1.0, None], category=[1, None], boolean=[1, None])
    found = validate(frame, contract(*columns))
    assert found.rejected.empty
    assert found.rejected_share == 0
    for kind, dtype in DTYPES.items():
        assert str(found.valid[kind].dtype) == dtype
    assert found.valid["boolean"].tolist() == [True, pd.NA]


def test_every_fault_of_a_row_is_told():
    frame = rows(a=[-1.0, 5.0], b=[None, "x"], c=["z", "y"], d=[1.5, 2.0])
    found = validate(
        frame,
        contract(
            BOUNDED,
            ColumnRule("b", "category", nullable=False),
            ColumnRule("c", "category", nullable=False, categories=("y",)),
            ColumnRule("d", "integer", nullable=False),
            small="a > 4",
        ),
    )
    (told,) = reasons(found).values()
    assert "a: '-1.0' is outside greater_than_or_equal_to(0)" in told
    assert "b: missing, but not nullable" in told
    assert "c: 'z' is outside isin(['y'])" in told
    assert "d: '1.5' is no integer" in told
    assert "rule 'small' does not hold" in told
    assert found.failures == {"a": 1, "b": 1, "c": 1, "d": 1, "rule 'small' does not hold": 1}
    assert found.rejected_share == 0.5


def test_a_value_of_the_wrong_type_is_told_as_such_and_not_as_missing():
    assert reasons(checked(["x"], nullable=False)) == {0: "a: 'x' is no number"}


@pytest.mark.parametrize("bad", [np.inf, -np.inf])
def test_an_infinity_is_no_number(bad: float):
    assert list(reasons(checked([1.0, bad, None]))) == [1]


@pytest.mark.parametrize(
    ("kind", "values", "bad"),
    [
        ("number", ["1.5", "x", None, ""], [1, 3]),
        ("number", [[1], {}, 3.0], [0, 1]),
        ("number", pd.to_datetime(["2024-01-01", None]), [0]),
        ("number", pd.to_timedelta(["1h", None]), [0]),
        ("integer", [1, 2.5, 3.0, -(2.0**53)], [1]),
        ("integer", [2.0**60, 1.0], [0]),
        ("boolean", [True, 0, 1.0, 2, "yes", None], [3, 4]),
    ],
)
def test_values_of_the_wrong_type_are_rejected_alone(kind: ColumnType, values: Any, bad: list[int]):
    assert list(reasons(checked(values, kind))) == bad


def test_categories_become_text_and_the_same_text_beside_missing_values():
    assert checked([1, 20], "category").valid["a"].tolist() == ["1", "20"]
    assert checked([1, None], "category").valid["a"].tolist() == ["1", None]
    assert checked(pd.array([1, None], "Int64"), "category").valid["a"].tolist() == ["1", None]
    assert checked([0.5, 1.0], "category").valid["a"].tolist() == ["0.5", "1"]


def test_the_text_that_stands_for_missing_is_refused_as_by_serving():
    assert list(reasons(checked(["x", MISSING_CATEGORY], "category"))) == [1]


def test_bounds_are_inside():
    found = checked([-0.1, 0, 10, 10.1, None], min=0, max=10)
    assert list(reasons(found)) == [0, 3]


def test_of_equal_keys_the_first_stays():
    frame = rows(a=[1.0, 2.0, 3.0])
    frame["id"] = [7, 7, 8]
    found = validate(frame, contract(BOUNDED))
    assert found.valid["a"].tolist() == [1.0, 3.0]
    assert found.rejected[REASONS].tolist() == ["key: appears more than once"]


def test_of_equal_keys_the_first_good_one_stays():
    frame = rows(a=[99.0, 2.0, 3.0, 77.0])
    frame["id"] = 7
    found = validate(frame, contract(BOUNDED))
    assert found.valid["a"].tolist() == [2.0]
    assert "more than once" not in found.rejected[REASONS][0]
    assert found.rejected[REASONS][1] == "key: appears more than once"
    assert "outside" in found.rejected[REASONS][2]
    assert "more than once" in found.rejected[REASONS][2]


def test_a_row_without_a_key_is_rejected():
    frame = rows(a=[1.0, 2.0])
    frame["id"] = [None, 3.0]
    assert list(validate(frame, contract(BOUNDED)).rejected[REASONS]) == [
        "id: missing, but not nullable"
    ]


@pytest.mark.parametrize(
    ("expression", "refused"),
    [
        ("a > b", [1]),  # a null leaves it open
        ("a > b or c == 'x'", []),
        ("a > b and c == 'x'", [1, 2, 3, 4]),  # false, whatever the missing number is
        ("a.notna()", [2, 4]),
        ("a.isna() or b.isna() or a > b", [1]),
        ("c == 'x'", [2, 3, 4]),  # a missing category equals no text
        ("c != 'x'", [0, 1]),
        ("d", [1]),
        ("not d", [0]),
        ("0 < a < 4", [0]),
    ],
)
def test_rules_over_several_columns_and_missing_values(expression: str, refused: list[int]):
    frame = rows(
        a=[5.0, 1.0, None, 3.0, None],
        b=[1.0, 2.0, 3.0, None, None],
        c=["x", "x", None, "y", None],
        d=[True, False, None, None, None],
    )
    columns = [
        ColumnRule("a", "number", nullable=True),
        ColumnRule("b", "integer", nullable=True),
        ColumnRule("c", "category", nullable=True),
        ColumnRule("d", "boolean", nullable=True),
    ]
    assert list(reasons(validate(frame, contract(*columns, rule=expression)))) == refused


@pytest.mark.parametrize("expression", ["nope > 1", "a >", "a + 1", "1 > 0", "a > 'x'"])
def test_a_rule_that_cannot_be_judged_stops_the_period(expression: str):
    with pytest.raises(DataError, match="rule 'odd'"):
        validate(rows(a=[1.0, 2.0]), contract(BOUNDED, odd=expression))


def test_a_missing_column_is_no_fault_of_rows():
    with pytest.raises(DataError, match=r"no column 'a' .*id, at, b.*defs\.yaml"):
        validate(rows(b=[1.0]), contract(BOUNDED))


def test_an_empty_period_has_nothing_to_reject():
    found = validate(rows(a=[1.0]).iloc[:0], contract(BOUNDED, rule="a > 1"))
    assert (len(found.valid), len(found.rejected), found.rejected_share) == (0, 0, 0.0)
    assert str(found.valid["a"].dtype) == "float64"
    assert REASONS in found.rejected


def test_a_period_of_bad_rows_keeps_them_all_as_they_came():
    found = checked(["x", "y"])
    assert found.valid.empty
    assert found.rejected["a"].tolist() == ["x", "y"]
    assert found.rejected_share == 1


def test_the_input_is_not_touched():
    frame = rows(a=["1", "x", None])
    before = frame.copy(deep=True)
    validate(frame, contract(BOUNDED, rule="a > 1"))
    pd.testing.assert_frame_equal(frame, before)


values = st.one_of(
    st.none(),
    st.integers(-(2**62), 2**62),
    st.floats(),
    st.booleans(),
    st.text(max_size=3),
    st.sampled_from(["1", "nan", "", MISSING_CATEGORY]),
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 6), values), max_size=25),
    st.sampled_from(list(DTYPES)),
    st.booleans(),
)
def test_no_row_is_lost_or_doubled_whatever_it_holds(
    data: list[tuple[int, Any]], kind: ColumnType, nullable: bool
):
    frame = pd.DataFrame(
        {"a": pd.Series([value for _, value in data], dtype=object), "row": range(len(data))}
    )
    frame["id"] = [key for key, _ in data]
    frame["at"] = pd.Timestamp("2024-01-01", tz="UTC")
    found = validate(frame, contract(ColumnRule("a", kind, nullable)))
    assert sorted([*found.valid["row"], *found.rejected["row"]]) == list(range(len(data)))
    assert not found.valid.duplicated(["id", "at"]).any()
    assert (found.rejected[REASONS].str.len() > 0).all()
    assert str(found.valid["a"].dtype) == DTYPES[kind]
    if not nullable:
        assert found.valid["a"].notna().all()
    if kind == "number":
        assert not np.isinf(found.valid["a"]).any()
    counts: Mapping[str, int] = found.failures
    assert max(counts.values(), default=0) <= len(found.rejected) <= sum(counts.values())
    # Good rows are good: a second look changes nothing.
    again = validate(found.valid, contract(ColumnRule("a", kind, nullable)))
    assert again.rejected.empty
    pd.testing.assert_frame_equal(again.valid, found.valid)


def label_rule(**changes: Any) -> RowsContract:
    rule = {"column": "a", "numeric": True, "known_at": "", "event_time": "at", **changes}
    return RowsContract((), ("id", "at"), ("id", "at"), label=LabelRule(**rule))


def test_a_label_that_is_no_number_is_set_apart_where_numbers_are_asked_for():
    frame = rows(a=["1.5", "lost", None])
    assert reasons(validate(frame, label_rule())) == {1: "a: the label 'lost' is no number"}
    assert validate(frame, label_rule(numeric=False)).rejected.empty


def test_a_label_that_was_known_before_its_event_is_set_apart():
    known = pd.to_datetime(["2024-01-02", "2023-12-31", None, "2024-01-01"], utc=True)
    found = validate(rows(a=[1, 2, 3, 4], b=known), label_rule(known_at="b"))
    assert reasons(found) == {1: "b: '2023-12-31 00:00:00+00:00' is before at"}
    assert found.failures == {"b": 1}


def test_a_label_whose_time_is_none_is_set_apart():
    frame = rows(a=[1, 2], b=["2024-01-02T00:00:00", "soon"])
    assert reasons(validate(frame, label_rule(known_at="b"))) == {1: "b: 'soon' is no time"}


def test_a_missing_label_column_is_no_fault_of_single_rows():
    with pytest.raises(DataError, match="no column 'b'"):
        validate(rows(a=[1]), label_rule(known_at="b"))


def test_a_label_known_on_the_day_of_its_event_is_not_early():
    noon = rows(a=[1, 2]).assign(at=pd.Timestamp("2024-01-01T12:00", tz="UTC"))
    dates = noon.assign(b=[date(2024, 1, 1), date(2023, 12, 31)])
    assert list(reasons(validate(dates, label_rule(known_at="b")))) == [1]
    times = noon.assign(b=pd.to_datetime(["2024-01-01T11:59", "2024-01-01T12:00"], utc=True))
    assert list(reasons(validate(times, label_rule(known_at="b")))) == [0]


def test_weights_that_are_no_numbers_above_0_are_told():
    frame = rows(a=[1.0] * 6, share=[0.5, 0, -1, None, float("inf"), "much"])
    rule = RowsContract((BOUNDED,), ("id",), ("id",), weight="share")
    found = validate(frame, rule)
    assert found.valid["id"].tolist() == [0]
    told = reasons(found)
    assert told[1] == "share: the weight '0' is no number above 0"
    assert "'much'" in told[5]
    assert found.failures == {"share": 5}
    with pytest.raises(DataError, match="no column 'share'"):
        validate(frame.drop(columns="share"), rule)
