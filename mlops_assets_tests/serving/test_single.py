"""The short way must be a part of the long way, and it must be taken."""

import json
import math
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mlops_assets.domain.column_requests import ColumnParser
from mlops_assets.domain.contract import MISSING_CATEGORY, Contract, ContractColumn
from mlops_assets.domain.errors import RequestError
from mlops_assets.domain.requests import RequestParser
from serving.bodies import BodyError, decode
from serving.single import MAX_BYTES, SingleRecordReader

CONTRACT = Contract(
    model="m",
    task="binary",
    columns=(
        ContractColumn("city", "category", nullable=False),
        ContractColumn("distance", "number", nullable=False),
        ContractColumn("gate", "category", nullable=True),
        ContractColumn("seats", "integer", nullable=True),
        ContractColumn("weight", "number", nullable=True),
        ContractColumn("weekend", "boolean", nullable=False),
        ContractColumn("full", "boolean", nullable=True),
    ),
    classes=("no", "yes"),
    entity="flight",
    event_time="departs",
    max_rows=50,
)
BY_TIME = Contract(**{**CONTRACT.__dict__, "entity": "departs"})
NAMELESS = Contract(**{**CONTRACT.__dict__, "entity": "", "event_time": ""})
PARTS = (
    ContractColumn("hour", "integer", False, "hour", "America/New_York"),
    ContractColumn("day", "integer", False, "weekday"),
)
TIMED = Contract(**{**CONTRACT.__dict__, "columns": (*CONTRACT.columns, *PARTS)})
CONTRACTS = (CONTRACT, BY_TIME, NAMELESS, TIMED)
READERS = {contract: SingleRecordReader(contract) for contract in CONTRACTS}
PARSERS = {contract: RequestParser(contract) for contract in CONTRACTS}
GOOD = {
    "city": "café",
    "distance": 1.5,
    "gate": None,
    "seats": 3,
    "weight": 2,
    "weekend": True,
    "full": None,
}


def body(record: dict[str, Any], **others: Any) -> bytes:
    return json.dumps({"records": [record], **others}, ensure_ascii=False).encode(
        errors="surrogatepass"
    )


def same(read: float | None, parsed: float) -> bool:
    return math.isnan(parsed) if read is None else read == parsed and type(read) is not bool


def check(contract: Contract, raw: bytes) -> bool:
    """Whether the short way takes the body; if so, the long way must understand the same."""
    one = READERS[contract].read(raw)
    if one is None:
        return False
    parsed = PARSERS[contract].parse(decode(raw))
    assert parsed.rows == 1
    assert one.request_id == parsed.request_id
    assert [one.entity] == parsed.entities
    assert [one.event_time] == parsed.event_times
    numbers = [c.name for c in contract.columns if c.type != "category"]
    texts = [c.name for c in contract.columns if c.type == "category"]
    assert all(map(same, one.numbers, [parsed.columns[n][0] for n in numbers]))
    assert list(one.categories) == [parsed.columns[name][0] for name in texts]
    return True


NUMBER = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**20), 10**20)
TEXT = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters='"\\'), max_size=8
).filter(lambda text: text != MISSING_CATEGORY)
GOOD_RECORD = st.fixed_dictionaries(
    {
        "city": TEXT,
        "distance": NUMBER,
        "gate": st.none() | TEXT,
        "seats": st.none() | st.integers(-(2**53), 2**53),
        "weight": st.none() | NUMBER,
        "weekend": st.booleans(),
        "full": st.none() | st.booleans(),
    }
)
MAYBE_TEXT = st.none() | TEXT


@settings(max_examples=300)
@given(
    st.sampled_from(CONTRACTS),
    GOOD_RECORD,
    st.fixed_dictionaries({}, optional={"request_id": st.none() | TEXT.filter(bool)}),
    MAYBE_TEXT,
    st.none() | st.datetimes().map(str) | st.datetimes(timezones=st.timezones()).map(str),
    st.randoms(),
)
def test_every_plain_record_takes_the_short_way(
    contract: Contract, record: dict[str, Any], others: Any, entity: Any, time: Any, order: Any
):
    names = list(record)
    order.shuffle(names)
    record = {name: record[name] for name in names}
    if contract is CONTRACT:
        record = {"flight": entity, **record}
    if contract.event_time:
        record["departs"] = time
    try:
        PARSERS[contract].parse({"records": [record], **others})
    except RequestError:  # a time zone before year 1, a very long number of seconds
        return
    assert check(contract, body(record, **others))


ODD = st.sampled_from(
    [
        *(None, True, False, 0, 1, 1.0, -0.0, 2.5, 2**53, 2**53 + 1, 2**63, 10**400, 1e308),
        *("", "a:b", ":", "x" * 300, "\0", "\ud800", "\x7f", "é", MISSING_CATEGORY, '"', "\\"),
        *("2013-06-01T10:00:00Z", "0001-01-01T00:00:00+14:00", "10:00", "2013-W01"),
        *([], {}, [1], {"a": 1}, float("nan"), float("inf"), float("-inf")),
    ]
)
NAME = st.sampled_from([*GOOD, "flight", "departs", "x", "", "c0", "entity", "time"])


@settings(max_examples=800)
@given(
    st.sampled_from(CONTRACTS),
    st.dictionaries(NAME, ODD, max_size=3),
    st.sets(st.sampled_from(list(GOOD)), max_size=1),
    st.fixed_dictionaries({}, optional={"request_id": ODD, "other": ODD}),
    st.integers(0, 2),
)
@example(CONTRACT, {"seats": 1.0, "weekend": 1, "distance": 10**400}, set(), {}, 1)
@example(CONTRACT, {"flight": 7, "departs": "10:00"}, set(), {}, 1)
def test_what_the_short_way_takes_the_long_way_takes_with_the_same_meaning(
    contract: Contract, change: dict[str, Any], drop: set[str], others: dict[str, Any], count: int
):
    record = {name: value for name, value in GOOD.items() if name not in drop} | change
    raw = json.dumps({"records": [record] * count, **others}, ensure_ascii=False)
    check(contract, raw.encode(errors="surrogatepass"))


PIECES = st.sampled_from(
    [b'"', b":", b",", b"{", b"}", b"null", b"NaN", b"1e999", b"-", b'"city":"a:b",']
)


@st.composite
def edited(draw: st.DrawFn, raw: bytes) -> bytes:
    """The bytes with up to three places changed."""
    for _ in range(draw(st.integers(0, 3))):
        start, length = draw(st.integers(0, len(raw))), draw(st.integers(0, 4))
        raw = raw[:start] + draw(st.binary(max_size=4) | PIECES) + raw[start + length :]
    return raw


@settings(max_examples=800)
@given(edited(body({"flight": "F:1", "departs": "2013-06-01T10:00:00Z", **GOOD}, request_id="r:1")))
def test_no_edit_of_the_bytes_makes_the_two_ways_differ(raw: bytes):
    check(CONTRACT, raw)


@settings(max_examples=500)
@given(
    st.sampled_from(["city", "flight", "departs", "distance"]),
    ODD | TEXT,
    ODD | TEXT,
    st.sampled_from(["record", "envelope"]),
)
def test_a_repeated_key_never_takes_the_short_way(name: str, first: Any, second: Any, where: str):
    record = json.dumps({**GOOD, "flight": "a:b", name: first}, ensure_ascii=False)
    if where == "record":
        record = f"{record[:-1]}, {json.dumps(name)}: {json.dumps(second, ensure_ascii=False)}}}"
        raw = f'{{"records": [{record}]}}'
    else:
        again = json.dumps(second, ensure_ascii=False)
        raw = f'{{"records": [{record}], "request_id": {again}, "request_id": "b"}}'
    encoded = raw.encode(errors="surrogatepass")
    assert READERS[CONTRACT].read(encoded) is None
    with pytest.raises(BodyError):
        decode(encoded)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{}",
        b'{"records": []}',
        body(GOOD).replace(b"1.5", b"NaN"),
        body(GOOD).replace(b"1.5", b"Infinity"),
        body(GOOD).replace(b"1.5", b"1e999"),
        body(GOOD).replace(b"1.5", b'"1.5"'),
        body(GOOD).replace(b"1.5", b"true"),
        body(GOOD).replace(b"1.5", b"null"),
        body(GOOD).replace(b"true", b"1"),
        body(GOOD).replace(b"true", b'"true"'),
        body({**GOOD, "seats": 3.5}),
        body({**GOOD, "seats": 2**53 + 1}),
        body({**GOOD, "gate": MISSING_CATEGORY}),
        body({**GOOD, "city": 3}),
        body({**GOOD, "city": "\ud800"}),
        body({**GOOD, "flight": 3}),
        body({**GOOD, "departs": "soon"}),
        body({**GOOD, "colour": "red"}),
        body({name: value for name, value in GOOD.items() if name != "gate"}),
        body(GOOD, other=1),
        body(GOOD, request_id=""),
        body(GOOD, request_id="x" * 201),
        body(GOOD, request_id=1),
        body(GOOD).replace("café".encode(), "café".encode("latin-1")),
        body(GOOD).replace("café".encode(), b"\xed\xa0\x80"),
        body(GOOD).replace(b"records", b"\xff"),
        b"\xef\xbb\xbf" + body(GOOD),
        body(GOOD) + b"x",
        body(GOOD) + b" " * MAX_BYTES,
        body(GOOD).decode().encode("utf-16"),
        json.dumps({"records": [GOOD, GOOD]}).encode(),
        b"[" * 10_000,
    ],
)
def test_anything_odd_is_left_to_the_long_way(raw: bytes):
    assert READERS[CONTRACT].read(raw) is None


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\nb", "a\0b", "\u200b", "a:b"])
def test_odd_names_of_columns_are_read_the_long_way_and_not_refused(name: str):
    contract = Contract(
        **{**CONTRACT.__dict__, "columns": (ContractColumn(name, "number", nullable=False),)}
    )
    raw = json.dumps({"records": [{name: 1.5}]}).encode()
    assert SingleRecordReader(contract).read(raw) is None
    assert RequestParser(contract).parse(decode(raw)).columns[name][0] == 1.5


@pytest.mark.parametrize("extra", ["entity", "event_time"])
def test_an_input_that_is_also_logged_is_read_the_long_way(extra: str):
    contract = Contract(**{**CONTRACT.__dict__, extra: "city"})
    assert SingleRecordReader(contract).read(body(GOOD)) is None


@pytest.mark.parametrize(
    "time",
    [
        "2013-06-01T15:30:00Z",
        "2013-06-01T15:30",
        "2013-06-01 15:30:00.000",
        "20130601T153000Z",
        "2013-06-01T21:00:00+05:30",
    ],
)
def test_a_time_that_is_the_subject_is_one_subject_however_it_is_written(time: str):
    record = {**GOOD, "departs": time}
    alone = READERS[BY_TIME].read(body(record))
    assert alone is not None
    columns = {name: [value] for name, value in record.items()}
    known = {
        alone.entity,
        *PARSERS[BY_TIME].parse({"records": [record]}).entities,
        *ColumnParser(BY_TIME).parse(columns).entities,
    }
    assert known == {"2013-06-01T15:30:00+00:00"} == {alone.event_time}


def test_parts_of_the_time_are_computed_and_a_missing_time_goes_the_long_way():
    found = READERS[TIMED].read(body({**GOOD, "departs": "2013-06-01T17:30:00Z"}))
    assert found is not None
    assert found.numbers[-2:] == (13.0, 5.0)
    for record in (GOOD, {**GOOD, "departs": None}):
        assert READERS[TIMED].read(body(record)) is None
        with pytest.raises(RequestError, match="is required, because m computes hour, day"):
            PARSERS[TIMED].parse(decode(body(record)))
