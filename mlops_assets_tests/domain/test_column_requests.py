import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.domain.coded import Coded
from mlops_assets.domain.column_requests import CodedText, ColumnParser
from mlops_assets.domain.contract import MISSING_CATEGORY, Contract, ContractColumn
from mlops_assets.domain.errors import RequestError
from mlops_assets.domain.requests import ParsedRequest, RequestParser, TooManyRowsError
from mlops_assets_tests.domain.test_requests import ANYTHING, CONTRACT, GOOD

PARSER = ColumnParser(CONTRACT)
BY_RECORD = RequestParser(CONTRACT)
COLUMNS: dict[str, Any] = {name: [value] * 3 for name, value in GOOD.items()}


def refused(change: dict[str, Any], drop: str = "") -> RequestError:
    columns = {name: values for name, values in {**COLUMNS, **change}.items() if name != drop}
    with pytest.raises(RequestError) as caught:
        PARSER.parse(columns, where="columns.")
    return caught.value


def test_columns_arrive_typed_and_in_the_order_of_the_contract():
    parsed = PARSER.parse(dict(reversed(COLUMNS.items())), "r1")
    assert list(parsed.columns) == [column.name for column in CONTRACT.columns]
    assert parsed.columns["distance"].tolist() == [1.5] * 3
    assert parsed.columns["gate"].tolist() == [MISSING_CATEGORY] * 3
    assert (parsed.request_id, parsed.rows) == ("r1", 3)


def test_columns_that_were_checked_before_are_taken_as_they_are():
    distance, gate = np.array([1.5, np.inf, 2.0]), Coded(np.zeros(3, int), ("a\0",))
    columns = {name: COLUMNS[name] for name in COLUMNS if name not in ("distance", "gate")}
    parsed = PARSER.parse(columns, valid={"gate": gate, "distance": distance})
    assert list(parsed.columns) == [column.name for column in CONTRACT.columns]
    assert parsed.columns["distance"] is distance
    assert parsed.columns["gate"] is gate
    with pytest.raises(RequestError, match="has 3 values, gate has 2"):
        PARSER.parse(columns, valid={"gate": gate[:2], "distance": distance})


@given(
    st.lists(
        st.fixed_dictionaries(
            {name: st.just(GOOD[name]) | ANYTHING for name in GOOD},
            optional={"flight": ANYTHING, "departs": ANYTHING},
        ),
        min_size=1,
        max_size=12,
    )
)
@settings(deadline=None)
def test_lists_are_accepted_and_refused_exactly_as_the_values_of_records(
    records: list[dict[str, Any]],
):
    names = list(dict.fromkeys(name for record in records for name in record))
    columns = {name: [record.get(name) for record in records] for name in names}
    refusal, expected = outcome(lambda: BY_RECORD.parse({"records": records}))
    refusal_by_column, parsed = outcome(lambda: PARSER.parse(columns))
    if refusal is not None and refusal_by_column is not None:
        assert str(refusal_by_column) == str(refusal)
        index, _, name = refusal.field.removeprefix("records[").partition("].")
        assert refusal_by_column.field == f"{name}[{index}]"
        return
    assert parsed is not None
    assert expected is not None
    assert parsed.entities == expected.entities
    assert parsed.event_times == expected.event_times
    for name, values in expected.columns.items():
        np.testing.assert_array_equal(parsed.columns[name], values, strict=True)


def outcome(
    parse: Callable[[], ParsedRequest],
) -> tuple[RequestError | None, ParsedRequest | None]:
    try:
        return None, parse()
    except RequestError as error:
        return error, None


def test_a_nullable_column_may_be_absent():
    parsed = PARSER.parse({name: COLUMNS[name] for name in ("distance", "carrier", "weekend")})
    assert np.isnan(parsed.columns["seats"]).all()
    assert parsed.columns["gate"].tolist() == [MISSING_CATEGORY] * 3
    assert parsed.entities == parsed.event_times == [None] * 3


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ([1.0, math.nan, 1.0], "columns.distance[1]"),
        ([1.0, "2", 1.0], "columns.distance[1]"),
        ([1.0, 2.0], "columns.seats"),
        ("abc", "columns.distance"),
        ({"0": 1}, "columns.distance"),
        (None, "columns.distance"),
        (3, "columns.distance"),
        (np.ones((3, 1)), "columns.distance"),
        (np.array([1, math.nan, math.nan]), "columns.distance[1]"),
        (np.array([1, 1, math.inf]), "columns.distance[2]"),
        (np.array([True, False, True]), "columns.distance"),
        (np.array([1j, 1, 1]), "columns.distance"),
        (np.array(["2013-01-01"] * 3, "datetime64[s]"), "columns.distance"),
        (np.ma.MaskedArray([1, 2, 3], [False, True, False]), "columns.distance[1]"),
        (CodedText(np.zeros(3, int), ["a"]), "columns.distance"),
    ],
)
def test_a_bad_number_is_refused_with_its_field(values: Any, field: str):
    assert refused({"distance": values}).field == field


@pytest.mark.parametrize(
    ("name", "values", "field"),
    [
        ("seats", np.array([1.5, 2, 3]), "columns.seats[0]"),
        ("seats", np.array([1, 2, 2**53 + 1]), "columns.seats[2]"),
        ("seats", np.array([1, 2, 2**64 - 1], np.uint64), "columns.seats[2]"),
        ("seats", np.array([-(2**63), 2, 3]), "columns.seats[0]"),
        ("weekend", np.array([0, 1, 2]), "columns.weekend[2]"),
        ("weekend", np.array([0, 1, math.nan]), "columns.weekend[2]"),
        ("carrier", np.array([0, 1, 2]), "columns.carrier"),
        ("carrier", CodedText(np.array([0, -1, 0]), ["a"]), "columns.carrier[1]"),
        ("carrier", CodedText(np.array([0, 0, 1]), ["a", MISSING_CATEGORY]), "columns.carrier[2]"),
        ("gate", CodedText(np.array([0, 1, 1]), ["a", "b\0"]), "columns.gate[1]"),
        ("gate", CodedText(np.array([0, 1, 1]), ["a", "\ud800"]), "columns.gate[1]"),
        ("flight", CodedText(np.array([0, 1, 1]), ["a", "\ud800"]), "columns.flight"),
        ("flight", [None, [], None], "columns.flight[1]"),
        ("departs", np.array([1, 2, 3]), "columns.departs[0]"),
        ("departs", CodedText(np.zeros(3, int), ["now"]), "columns.departs"),
        ("colour", [1, 2, 3], "columns.colour"),
    ],
)
def test_a_bad_column_is_refused_with_its_field(name: str, values: Any, field: str):
    assert refused({name: values}).field == field


def test_typed_arrays_say_what_is_missing_by_mask_or_nan():
    parsed = PARSER.parse(
        {
            "distance": np.array([1, 2, 3], np.float16),
            "seats": np.ma.MaskedArray([1, 2**60, 3], [False, True, False]),
            "carrier": CodedText(np.array([1, 0, 1]), ["AA", "UA", "a level without rows\0"]),
            "gate": CodedText(np.array([0, -1, 0], np.int8), ["A1"]),
            "weekend": np.array([True, False, True]),
            "flight": np.array([7, math.nan, 8.5]),
            "departs": CodedText(np.array([0, -1, 0]), ["2013-06-01"]),
        }
    )
    np.testing.assert_array_equal(parsed.columns["seats"], [1, math.nan, 3])
    assert parsed.columns["carrier"].tolist() == ["UA", "AA", "UA"]
    assert parsed.columns["gate"].tolist() == ["A1", MISSING_CATEGORY, "A1"]
    assert parsed.columns["weekend"].tolist() == [1, 0, 1]
    assert parsed.entities == ["7.0", None, "8.5"]
    assert parsed.event_times == ["2013-06-01T00:00:00+00:00", None, "2013-06-01T00:00:00+00:00"]


def test_a_missing_required_column_is_refused():
    assert refused({}, drop="carrier").field == "columns.carrier"


def test_rows_are_counted():
    with pytest.raises(TooManyRowsError, match="51 rows, the limit is 50"):
        PARSER.parse({name: values * 17 for name, values in COLUMNS.items()})
    assert refused({name: [] for name in COLUMNS}).field == "columns"
    optional = Contract(
        "m", "regression", (ContractColumn("a", "number", nullable=True),), (), "", "", 5
    )
    with pytest.raises(RequestError, match="at least one row"):
        ColumnParser(optional).parse({})


@pytest.mark.parametrize("request_id", ["", 5, "x" * 201, "\udc00", "a\0"])
def test_a_bad_request_id_is_refused(request_id: object):
    with pytest.raises(RequestError) as caught:
        PARSER.parse(COLUMNS, request_id)
    assert caught.value.field == "request_id"


def test_an_input_that_is_also_entity_or_time_is_read_as_the_input_that_it_is():
    contract = Contract(
        "m",
        "regression",
        (ContractColumn("hour", "integer", False), ContractColumn("who", "category", True)),
        (),
        "who",
        "hour",
        5,
    )
    records = [{"hour": 3, "who": "a"}, {"hour": 4, "who": None}]
    expected = RequestParser(contract).parse({"records": records})
    parsed = ColumnParser(contract).parse({"hour": [3, 4], "who": ["a", None]})
    assert parsed.entities == expected.entities == ["a", None]
    assert parsed.event_times == expected.event_times == [None, None]


def test_long_client_text_is_never_echoed_at_length():
    assert len(refused({"x" * 100_000: [1]}).field) < 100
