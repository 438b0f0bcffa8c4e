"""The short way for many rows must be a part of the long way, and it must be taken."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mlops_assets.domain.coded import Coded
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
# Levels that rows of the tests have, and some that no row has.
KNOWN = {"city": ["café", "", "a", "Zürich"], "gate": ["B7", "café", MISSING_CATEGORY]}
# Compiled, where that is built, and in Python.
KNOWING = {contract: BulkReader(contract, KNOWN) for contract in CONTRACTS}
UNCOMPILED = {
    contract: BulkReader(contract, KNOWN, may_be_compiled=False) for contract in CONTRACTS
}
PARSERS = {contract: Parsers.of(contract) for contract in CONTRACTS}
ROWS = 200
# A request that is long enough, whatever is in its rows.
PADDING = b" " * LEAST_BYTES
TIME = "2013-06-01T17:30:00Z"
FORMS = ("records", "columns")
in_both_forms = pytest.mark.parametrize("form", FORMS)


def body(rows: list[dict[str, Any]], form: str, is_escaped: bool = False, **others: Any) -> bytes:
    content: Any = rows
    if form == "columns":
        content = {name: [row.get(name) for row in rows] for row in rows for name in row}
    text = json.dumps({form: content, **others}, ensure_ascii=is_escaped)
    return text.encode(errors="surrogatepass") + PADDING


def the_long_way(contract: Contract, raw: bytes) -> ParsedRequest:
    """What is understood of a body that is just too short for the short way, as JSON goes."""
    shorter = raw.removesuffix(PADDING)
    assert len(shorter) < LEAST_BYTES
    return native.parse(PARSERS[contract], shorter, {}).request


def check(contract: Contract, raw: bytes, *readers: BulkReader) -> bool:
    """Whether the short way takes the body; if so, the long way must understand the same.

    That must not depend on the levels that a reader knows, and on what is compiled only where
    colons are escaped, which msgspec cannot count.
    """
    answers = [one.read(raw) for one in (READERS[contract], KNOWING[contract], *readers)]
    uncompiled = UNCOMPILED[contract].read(raw)
    if uncompiled is not None or b"\\u003" not in raw:
        answers.append(uncompiled)
    if None in answers:
        assert answers == [None] * len(answers)
        return False
    expected = the_long_way(contract, raw)
    for found in answers:
        assert found is not None
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
    st.integers(0, 12),
    st.randoms(),
    st.booleans(),
)
def test_plain_rows_take_the_short_way(
    contract: Contract,
    form: str,
    rows: list[dict[str, Any]],
    others: Any,
    entities: list[str | None],
    times: list[str],
    familiar: int,
    order: Any,
    is_escaped: bool,
):
    names = list(rows[0])
    order.shuffle(names)
    rows = [{name: row[name] for name in names} for row in rows]
    for place, row in enumerate(rows):
        if contract.entity == "flight":
            row["flight"] = entities[place % len(entities)]
        if contract.event_time:
            row["departs"] = times[place % len(times)]
    raw = body(rows, form, is_escaped, **others)
    try:
        the_long_way(contract, raw)
    except RequestError:  # a time zone before year 1, a very long number of seconds
        return
    known = {name: [row[name] or "" for row in rows[:familiar]] for name in ("city", "gate")}
    assert check(contract, raw, BulkReader(contract, known))


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
    assert not check(CONTRACT, twice)
    with pytest.raises(BodyError, match="occurs twice"):
        the_long_way(CONTRACT, twice)
    # The colon that the second key brings must not be taken for one of the text.
    escaped = twice.replace("café".encode(), rb"caf\u003A", 1)
    assert not check(CONTRACT, escaped)
    envelope = raw.replace(b"{", b'{"request_id": "a", "request_id": "b", ', 1)
    assert not check(CONTRACT, envelope)


@in_both_forms
@pytest.mark.parametrize("readers", [KNOWING, UNCOMPILED], ids=["compiled", "in Python"])
def test_known_levels_are_read_as_codes_and_others_with_them(
    form: str, readers: dict[Contract, BulkReader]
):
    rows = [{**GOOD, "gate": gate} for gate in ("B7", None, "B7", "café") * 3]
    known = readers[CONTRACT].read(body(rows, form))
    assert known is not None
    city, gate = known.columns["city"], known.columns["gate"]
    assert isinstance(city, Coded)
    assert isinstance(gate, Coded)
    assert city.values == ("", "Zürich", "a", "café"), "all that the model knows, in order"
    assert gate.tolist() == ["B7", MISSING_CATEGORY, "B7", "café"] * 3
    rows[2]["gate"] = "new"
    found = readers[CONTRACT].read(body(rows, form))
    assert found is not None
    city, gate = found.columns["city"], found.columns["gate"]
    assert isinstance(city, Coded)
    assert gate.tolist()[:5] == ["B7", MISSING_CATEGORY, "new", "café", "B7"]
    if readers is KNOWING:
        assert city.values == known.columns["city"].values, "as without the new gate"
    else:
        assert city.values == ("café",), "those of the rows"


@in_both_forms
def test_categories_and_keys_of_clients_that_escape_are_read_by_the_compiled_reader(form: str):
    pytest.importorskip("mlops_assets.compiled.row_reader", reason="not built: no C compiler")
    rows = [{**GOOD, "city": city, "flight": "Zürich: 1"} for city in ("Zürich", "a", "São", "a:b")]
    raw = body(rows * 3, form, is_escaped=True).replace(b"a:b", rb"a\u003Ab")
    assert check(CONTRACT, raw)
    found = KNOWING[CONTRACT].read(raw)
    assert found is not None
    assert found.columns["city"].tolist() == ["Zürich", "a", "São", "a:b"] * 3


@in_both_forms
@pytest.mark.parametrize("levels", [["a:b", "café"], ["a\0", "café"], [], None])
def test_a_category_whose_levels_cannot_be_coded_is_read_as_text(
    form: str, levels: list[str] | None
):
    known = {} if levels is None else {"city": levels}
    rows = [{**GOOD, "city": city} for city in ("café", "a:b")]
    assert check(CONTRACT, body(rows, form), BulkReader(CONTRACT, known))


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
    assert check(CONTRACT, body(rows, form))
    rows[7] |= change
    assert not check(CONTRACT, body(rows, form))


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
    assert not check(CONTRACT, raw + PADDING)


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


@in_both_forms
def test_a_model_that_is_only_asked_for_times_takes_the_short_way(form: str):
    contract = Contract(**{**CONTRACT.__dict__, "columns": PARTS})
    found = BulkReader(contract).read(body([{"flight": "a", "departs": TIME}] * 3, form))
    assert found is not None
    assert found.columns["hour"].tolist() == [13.0] * 3
    assert found.entities == ["a"] * 3


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\nb", "a\0b", "\u200b", "a:b"])
@in_both_forms
def test_odd_names_of_columns_are_read_the_long_way_and_not_refused(form: str, name: str):
    contract = Contract(
        **{**CONTRACT.__dict__, "columns": (ContractColumn(name, "number", nullable=False),)}
    )
    raw = body([{name: 1.5}] * 9, form)
    assert BulkReader(contract, may_be_compiled=False).read(raw) is None
    # The compiled reader counts no colons, so that one in a name does it no harm.
    found = BulkReader(contract).read(raw)
    assert found is None or (name == "a:b" and found.columns[name].tolist() == [1.5] * 9)
    assert native.parse(Parsers.of(contract), raw, {}).request.columns[name][0] == 1.5


@pytest.mark.parametrize("extra", ["entity", "event_time"])
@in_both_forms
def test_an_input_that_is_also_logged_is_read_the_long_way(form: str, extra: str):
    contract = Contract(**{**CONTRACT.__dict__, extra: "city"})
    assert BulkReader(contract).read(body([GOOD], form)) is None


def test_short_requests_are_left_to_others():
    assert READERS[CONTRACT].read(body([GOOD], "records").removesuffix(PADDING)) is None
