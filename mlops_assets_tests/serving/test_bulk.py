"""The short way for many rows must be a part of the long way, and it must be taken."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mlops_assets.domain.contract import MISSING_CATEGORY, Contract, ContractColumn
from mlops_assets.domain.errors import RequestError
from mlops_assets.domain.requests import ParsedRequest
from mlops_assets_tests.serving.protocols.samples import assert_same
from mlops_assets_tests.serving.test_single import CONTRACT as SMALL
from mlops_assets_tests.serving.test_single import GOOD, GOOD_RECORD, ODD, PARTS, TEXT, edited
from serving.bodies import BodyError
from serving.bulk import LEAST_BYTES, BulkReader
from serving.protocols import native
from serving.protocols.exchange import Parsers

CONTRACT = Contract(**{**SMALL.__dict__, "max_rows": 1000})
BY_TIME = Contract(**{**CONTRACT.__dict__, "entity": "departs"})
NAMELESS = Contract(**{**CONTRACT.__dict__, "entity": "", "event_time": ""})
TIMED = Contract(**{**CONTRACT.__dict__, "columns": (*CONTRACT.columns, *PARTS)})
CONTRACTS = (CONTRACT, BY_TIME, NAMELESS, TIMED)
READERS = {contract: BulkReader(contract) for contract in CONTRACTS}
PARSERS = {contract: Parsers.of(contract) for contract in CONTRACTS}
ROWS = 200
# A request that is long enough, whatever is in its rows.
PADDING = b" " * LEAST_BYTES
TIME = "2013-06-01T17:30:00Z"
FORMS = ("records", "columns")
in_both_forms = pytest.mark.parametrize("form", FORMS)


def body(rows: list[dict[str, Any]], form: str, **others: Any) -> bytes:
    content: Any = rows
    if form == "columns":
        content = {name: [row.get(name) for row in rows] for row in rows for name in row}
    text = json.dumps({form: content, **others}, ensure_ascii=False)
    return text.encode(errors="surrogatepass") + PADDING


def the_long_way(contract: Contract, raw: bytes) -> ParsedRequest:
    """What is understood of a body that is just too short for the short way, as JSON goes."""
    shorter = raw.removesuffix(PADDING)
    assert len(shorter) < LEAST_BYTES
    return native.parse(PARSERS[contract], shorter, {}).request


def check(contract: Contract, raw: bytes) -> bool:
    """Whether the short way takes the body; if so, the long way must understand the same."""
    found = READERS[contract].read(raw)
    if found is None:
        return False
    expected = the_long_way(contract, raw)
    assert_same(found, expected)
    assert found.request_id == expected.request_id
    assert found.absent == expected.absent == {}
    return True


@settings(max_examples=200)
@given(
    st.sampled_from(CONTRACTS),
    st.sampled_from(FORMS),
    st.lists(GOOD_RECORD, min_size=1, max_size=12),
    st.fixed_dictionaries({}, optional={"request_id": st.none() | TEXT.filter(bool)}),
    st.lists(st.none() | TEXT, min_size=1, max_size=3),
    st.lists(st.datetimes().map(str) | st.datetimes(timezones=st.timezones()).map(str), min_size=1),
    st.randoms(),
)
def test_plain_rows_take_the_short_way(
    contract: Contract,
    form: str,
    rows: list[dict[str, Any]],
    others: Any,
    entities: list[str | None],
    times: list[str],
    order: Any,
):
    names = list(rows[0])
    order.shuffle(names)
    rows = [{name: row[name] for name in names} for row in rows]
    for place, row in enumerate(rows):
        if contract.entity == "flight":
            row["flight"] = entities[place % len(entities)]
        if contract.event_time:
            row["departs"] = times[place % len(times)]
    raw = body(rows, form, **others)
    try:
        the_long_way(contract, raw)
    except RequestError:  # a time zone before year 1, a very long number of seconds
        return
    assert check(contract, raw)


@settings(max_examples=800)
@given(
    st.sampled_from(CONTRACTS),
    st.sampled_from(FORMS),
    st.dictionaries(
        st.sampled_from([*GOOD, "flight", "departs", "x", "", "c0", "e0", "entity"]),
        ODD,
        max_size=3,
    ),
    st.sets(st.sampled_from(list(GOOD)), max_size=1),
    st.fixed_dictionaries({}, optional={"request_id": ODD, "other": ODD, "columns": ODD}),
    st.integers(0, 11),
    st.integers(0, 12),
)
@example(CONTRACT, "records", {"seats": 1.0, "weekend": 1, "distance": 10**400}, set(), {}, 1, 2)
@example(CONTRACT, "columns", {"flight": 7, "departs": "10:00"}, set(), {}, 0, 1)
def test_what_the_short_way_takes_the_long_way_takes_with_the_same_meaning(
    contract: Contract,
    form: str,
    change: dict[str, Any],
    drop: set[str],
    others: dict[str, Any],
    place: int,
    count: int,
):
    rows: list[dict[str, Any]] = [dict(GOOD) for _ in range(count)]
    for row in rows[place : place + 1]:
        row.update(change)
        for name in drop:
            row.pop(name, None)
    check(contract, body(rows, form, **others))


FLIGHTS = [{"flight": f"F:{i}", "departs": TIME, **GOOD} for i in range(4)]
SHORT = [body(FLIGHTS, form, request_id="r:1").removesuffix(PADDING) for form in FORMS]


@settings(max_examples=800)
@given(st.one_of(map(edited, SHORT)))
def test_no_edit_of_the_bytes_makes_the_two_ways_differ(raw: bytes):
    check(CONTRACT, raw + PADDING)


@in_both_forms
@pytest.mark.parametrize(
    "again",
    ['"city": "ab"', '"city": ["ab"]', '"city": "a:b"', '"city": ["a:b"]', '"weekend": true'],
)
def test_a_repeated_key_never_takes_the_short_way(form: str, again: str):
    raw = body([{**GOOD, "flight": "a:b"}], form)
    twice = raw.replace(b'"city"', f'{again}, "city"'.encode(), 1)
    assert READERS[CONTRACT].read(twice) is None
    with pytest.raises(BodyError, match="occurs twice"):
        the_long_way(CONTRACT, twice)
    # The colon that the second key brings must not be taken for one of the text.
    escaped = twice.replace("café".encode(), rb"caf\u003A", 1)
    assert READERS[CONTRACT].read(escaped) is None
    envelope = raw.replace(b"{", b'{"request_id": "a", "request_id": "b", ', 1)
    assert READERS[CONTRACT].read(envelope) is None


@in_both_forms
@pytest.mark.parametrize(
    "change",
    [
        {"distance": "1.5"},
        {"distance": True},
        {"distance": None},
        {"distance": float("nan")},
        {"distance": float("inf")},
        {"weekend": 1},
        {"seats": 3.5},
        {"seats": 2**53 + 1},
        {"gate": MISSING_CATEGORY},
        {"gate": "a\0"},
        {"city": 3},
        {"city": None},
        {"city": "\ud800"},
        {"city": []},
        {"flight": 3},
        {"departs": "soon"},
        {"colour": "red"},
    ],
)
def test_anything_odd_in_one_row_is_left_to_the_long_way(form: str, change: dict[str, Any]):
    rows = [dict(GOOD) for _ in range(12)]
    assert READERS[CONTRACT].read(body(rows, form)) is not None
    rows[7] |= change
    assert READERS[CONTRACT].read(body(rows, form)) is None


@pytest.mark.parametrize(
    "raw",
    [
        b"[]",
        b"{}",
        b'{"records": []}',
        b'{"columns": {}}',
        body([GOOD], "records").replace(b"records", b"\xff"),
        body([GOOD], "records").replace(b'"records"', b'"columns": null, "records"'),
        body([GOOD], "records", columns={}),
        body([GOOD], "records", request_id=""),
        body([GOOD], "records", request_id="x" * 201),
        body([GOOD], "records", other=1),
        body([{"city": "x:y"}], "columns"),
        body([GOOD], "columns").replace(b"[1.5]", b"[1.5, 2]"),
        body([GOOD] * (CONTRACT.max_rows + 1), "records"),
        body([GOOD] * (CONTRACT.max_rows + 1), "columns"),
        body([GOOD], "records") + b"x",
        b"\xef\xbb\xbf" + body([GOOD], "records"),
        b"[" * 10_000,
    ],
)
def test_a_body_that_is_no_request_is_left_to_the_long_way(raw: bytes):
    assert READERS[CONTRACT].read(raw + PADDING) is None


def test_a_nullable_column_that_is_not_there_is_missing_in_every_row():
    rows = [{"city": "Zürich: main", "distance": 1, "weekend": False}] * ROWS
    found = READERS[CONTRACT].read(body(rows, "columns"))
    assert found is not None
    assert np.isnan(found.columns["weight"]).all()
    assert found.columns["gate"].tolist() == [MISSING_CATEGORY] * ROWS
    # Of records, the long way tells who left it out.
    assert READERS[CONTRACT].read(body(rows, "records")) is None


@in_both_forms
def test_parts_of_the_time_are_computed_and_a_missing_time_goes_the_long_way(form: str):
    found = READERS[TIMED].read(body([{**GOOD, "departs": TIME}] * 3, form))
    assert found is not None
    assert found.columns["hour"].tolist() == [13.0] * 3
    assert READERS[TIMED].read(body([GOOD, {**GOOD, "departs": TIME}], form)) is None


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\nb", "a\0b", "\u200b", "a:b"])
@in_both_forms
def test_odd_names_of_columns_are_read_the_long_way_and_not_refused(form: str, name: str):
    contract = Contract(
        **{**CONTRACT.__dict__, "columns": (ContractColumn(name, "number", nullable=False),)}
    )
    raw = body([{name: 1.5}] * 9, form)
    assert BulkReader(contract).read(raw) is None
    assert native.parse(Parsers.of(contract), raw, {}).request.columns[name][0] == 1.5


@pytest.mark.parametrize("extra", ["entity", "event_time"])
@in_both_forms
def test_an_input_that_is_also_logged_is_read_the_long_way(form: str, extra: str):
    contract = Contract(**{**CONTRACT.__dict__, extra: "city"})
    assert BulkReader(contract).read(body([GOOD], form)) is None


def test_short_requests_are_left_to_others():
    assert READERS[CONTRACT].read(body([GOOD], "records").removesuffix(PADDING)) is None
