import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.domain.errors import RequestError
from mlops_assets_tests.serving.protocols.samples import (
    GOOD,
    PARSERS,
    PROTOCOLS,
    ROWS,
    Message,
    Row,
    assert_same,
)
from serving.protocols.exchange import idempotency_key, media_type, repeated
from serving.protocols.routes import PARSE


def parse(message: Message):
    return PARSE[message.operation](PARSERS, message.body, message.headers)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@settings(max_examples=40, deadline=None)
@given(rows=ROWS)
def test_the_same_rows_mean_the_same_in_every_protocol(protocol: str, rows: list[Row]):
    expected = PARSERS.by_record.parse({"records": rows})
    assert_same(expected, parse(PROTOCOLS[protocol](rows)).request)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@settings(max_examples=20, deadline=None)
@given(rows=ROWS, absent=st.sets(st.sampled_from(["wind", "seats", "gate", "flight", "departs"])))
def test_a_nullable_column_may_be_absent_in_every_protocol(
    protocol: str, rows: list[Row], absent: set[str]
):
    rows = [{name: value for name, value in row.items() if name not in absent} for row in rows]
    expected = PARSERS.by_record.parse({"records": rows})
    assert_same(expected, parse(PROTOCOLS[protocol](rows)).request)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_repeated_request_is_known_by_its_header_in_protocols_without_a_place_for_its_id(
    protocol: str,
):
    message = PROTOCOLS[protocol]([GOOD])
    headers = {**message.headers, "idempotency-key": '"r-1"'}
    parsed = parse(Message(message.operation, message.body, headers)).request
    assert parsed.request_id == ("" if protocol == "columns" else "r-1")


def test_header_values_are_read_without_their_decoration():
    assert media_type({"content-type": " Application/JSON; charset=utf-8"}) == "application/json"
    assert media_type({}) == ""
    assert idempotency_key({"idempotency-key": " abc "}) == "abc"
    assert idempotency_key({"idempotency-key": '""'}) is None


def test_a_header_that_is_too_long_is_told_by_its_name():
    assert idempotency_key({"idempotency-key": "a" * 200}) == "a" * 200
    with pytest.raises(RequestError, match="at most 200 characters") as caught:
        idempotency_key({"idempotency-key": "a" * 201})
    assert caught.value.field == "idempotency-key"


def test_the_first_repeated_name_is_found():
    assert repeated(["a", "b", "c", "b", "a"]) == "b"
    assert repeated(["a", "b"]) is None
