import json
import math
import string
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.domain.contract import MISSING_CATEGORY, Contract, ContractColumn
from mlops_assets.domain.errors import RequestError
from mlops_assets.domain.requests import ParsedRequest, RequestParser, TooManyRowsError

CONTRACT = Contract(
    model="flight_delay",
    task="binary",
    columns=(
        ContractColumn("distance", "number", nullable=False),
        ContractColumn("seats", "integer", nullable=True),
        ContractColumn("carrier", "category", nullable=False),
        ContractColumn("gate", "category", nullable=True),
        ContractColumn("weekend", "boolean", nullable=False),
    ),
    classes=("0", "1"),
    entity="flight",
    event_time="departs",
    max_rows=50,
)
PARSER = RequestParser(CONTRACT)
GOOD = {"distance": 1.5, "seats": 3, "carrier": "AA", "gate": None, "weekend": True}


def refused(change: dict[str, object], drop: str = "") -> RequestError:
    record = {key: value for key, value in {**GOOD, **change}.items() if key != drop}
    with pytest.raises(RequestError) as caught:
        PARSER.parse({"records": [GOOD, GOOD, GOOD, record]})
    # Long requests take the vectorised path: it must say the same.
    with pytest.raises(RequestError) as caught_again:
        PARSER.parse({"records": [GOOD, GOOD, GOOD, record, *[GOOD] * 20]})
    assert str(caught_again.value) == str(caught.value)
    assert caught_again.value.field == caught.value.field
    return caught.value


def test_columns_arrive_typed_and_in_the_order_of_the_contract():
    parsed = PARSER.parse({"request_id": "r1", "records": [GOOD, {**GOOD, "seats": None}]})
    assert list(parsed.columns) == [column.name for column in CONTRACT.columns]
    assert parsed.columns["distance"].dtype == np.float64
    assert parsed.columns["weekend"].tolist() == [1.0, 1.0]
    assert parsed.columns["seats"][0] == 3.0
    assert math.isnan(parsed.columns["seats"][1])
    assert parsed.columns["gate"].tolist() == [MISSING_CATEGORY] * 2
    assert parsed.columns["carrier"].dtype == object
    assert (parsed.request_id, parsed.rows) == ("r1", 2)


def test_a_nullable_column_may_be_absent():
    record = {key: value for key, value in GOOD.items() if key not in ("seats", "gate")}
    parsed = PARSER.parse({"records": [record]})
    assert math.isnan(parsed.columns["seats"][0])
    assert parsed.columns["gate"][0] == MISSING_CATEGORY


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"distance": math.nan}, "distance"),
        ({"distance": math.inf}, "distance"),
        ({"distance": 10**400}, "distance"),
        ({"distance": True}, "distance"),
        ({"distance": "3"}, "distance"),
        ({"distance": None}, "distance"),
        ({"distance": [1]}, "distance"),
        ({"seats": math.nan}, "seats"),
        ({"seats": 1.5}, "seats"),
        ({"seats": True}, "seats"),
        ({"seats": 2**53 + 2}, "seats"),
        ({"carrier": 7}, "carrier"),
        ({"carrier": None}, "carrier"),
        ({"carrier": MISSING_CATEGORY}, "carrier"),
        ({"gate": MISSING_CATEGORY}, "gate"),
        ({"gate": "a\0b"}, "gate"),
        ({"gate": "\ud800"}, "gate"),
        ({"weekend": 2}, "weekend"),
        ({"weekend": "true"}, "weekend"),
        ({"weekend": math.nan}, "weekend"),
        ({"colour": "red"}, "colour"),
        ({"flight": ["AA1"]}, "flight"),
        ({"flight": math.nan}, "flight"),
        ({"flight": "\ud800"}, "flight"),
        ({"departs": "yesterday"}, "departs"),
        ({"departs": 5}, "departs"),
        ({"departs": "0001-01-01T00:00:00+23:00"}, "departs"),
    ],
)
def test_a_bad_value_is_refused_with_its_field(change: dict[str, object], field: str):
    assert refused(change).field == f"records[3].{field}"


def test_a_missing_required_column_is_refused_with_its_field():
    error = refused({}, drop="distance")
    assert error.field == "records[3].distance"
    assert "missing" in str(error)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], "body"),
        (None, "body"),
        ({}, "records"),
        ({"records": []}, "records"),
        ({"records": {}}, "records"),
        ({"records": [1]}, "records[0]"),
        ({"records": [GOOD], "instances": []}, "body.instances"),
        ({"records": [GOOD], "request_id": 5}, "request_id"),
        ({"records": [GOOD], "request_id": ""}, "request_id"),
        ({"records": [GOOD], "request_id": "\udc00"}, "request_id"),
        ({"records": [GOOD], "request_id": "x" * 201}, "request_id"),
    ],
)
def test_a_broken_envelope_is_refused(body: object, field: str):
    with pytest.raises(RequestError) as caught:
        PARSER.parse(body)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("entity", "problem"),
    [("a\0b", "NUL"), ("\ud800", "surrogate"), ([], "not a list"), (math.nan, "finite")],
)
def test_an_entity_that_cannot_be_logged_is_told_why(entity: object, problem: str):
    with pytest.raises(RequestError, match=problem) as caught:
        PARSER.parse({"records": [{**GOOD, "flight": entity}]})
    assert caught.value.field == "records[0].flight"


def test_too_many_rows_are_refused_with_the_limit():
    with pytest.raises(TooManyRowsError, match="51 records, the limit is 50"):
        PARSER.parse({"records": [GOOD] * 51})


def test_long_client_text_is_never_echoed_at_length():
    assert len(refused({"x" * 100_000: 1}).field) < 100
    assert len(str(refused({"distance": "secret" * 1000}))) < 100


def test_entities_and_times_are_normalised():
    records = [
        {**GOOD, "flight": 42, "departs": "2013-06-01T12:00:00-04:00"},
        {**GOOD, "flight": "AA1", "departs": "2013-06-01T12:00:00"},
        GOOD,
    ]
    parsed = PARSER.parse({"records": records})
    assert parsed.entities == ["42", "AA1", None]
    assert parsed.event_times == ["2013-06-01T16:00:00+00:00", "2013-06-01T12:00:00+00:00", None]


NUMBER = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**60), 2**60)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
RECORD = st.fixed_dictionaries(
    {
        "distance": NUMBER,
        "carrier": TEXT,
        "weekend": st.booleans() | st.sampled_from([0, 1, 0.0, 1.0]),
    },
    optional={
        "seats": st.none() | st.integers(-(2**53), 2**53),
        "gate": st.none() | TEXT,
        "flight": st.none() | TEXT | st.integers(),
        "departs": st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat),
    },
)


@given(st.lists(RECORD, min_size=1, max_size=20))
def test_every_good_request_keeps_its_values(records: list[dict[str, Any]]):
    parsed = PARSER.parse({"records": records})
    for name, array in parsed.columns.items():
        for record, value in zip(records, array.tolist(), strict=True):
            sent = record.get(name)
            if sent is None:
                assert value == MISSING_CATEGORY or math.isnan(value)
            else:
                assert value == (sent if isinstance(sent, str) else float(sent))


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([1e999, 10**400, MISSING_CATEGORY]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from([*GOOD, "flight", "departs"]) | st.text(string.ascii_letters, max_size=4)


@given(st.lists(st.dictionaries(NAMES, ANYTHING, max_size=7), max_size=4), ANYTHING)
def test_any_body_is_parsed_or_refused_with_a_field_and_a_short_message(
    changes: list[dict[str, object]], extra: object
):
    for body in (extra, {"records": extra}, {"records": [{**GOOD, **one} for one in changes]}):
        refusal, parsed = _try(body)
        if refusal is not None:
            assert refusal.field
            assert len(str(refusal)) < 500
            json.dumps({"field": refusal.field, "message": str(refusal)}).encode()
        if parsed is not None:
            assert all(len(array) == parsed.rows for array in parsed.columns.values())
            assert not any(
                np.isinf(array).any() for array in parsed.columns.values() if array.dtype != object
            )


def _try(body: object) -> tuple[RequestError | None, ParsedRequest | None]:
    try:
        return None, PARSER.parse(body)
    except RequestError as error:
        return error, None


@pytest.mark.parametrize("rows", [1, 20])
def test_a_whole_number_that_float64_would_round_is_refused_in_any_company(rows: int):
    record = {**GOOD, "seats": 2**53 + 1}
    with pytest.raises(RequestError, match="between") as caught:
        PARSER.parse({"records": [*[GOOD] * (rows - 1), record]})
    assert caught.value.field == f"records[{rows - 1}].seats"
    PARSER.parse({"records": [*[GOOD] * (rows - 1), {**GOOD, "seats": 2**53}]})
