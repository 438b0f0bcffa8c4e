"""Rows that are read without Python objects, against Python's own reader of JSON and numbers."""

import json
import math
import struct
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

row_reader = pytest.importorskip(
    "mlops_assets.compiled.row_reader",
    reason="not built: there was no C compiler when the project was installed",
)

LARGEST = 2**53
INPUTS = [
    ("a", "number", True, ()),
    ("b", "integer", True, ()),
    ("c", "boolean", True, ()),
    ("d", "category", True, ("x", "café", "", "a longer one")),
]
EXTRAS = ["e", "f"]
READER = row_reader.RowReader(INPUTS, EXTRAS, LARGEST)
NUMBERS = row_reader.RowReader([("a", "number", False, ())], [], LARGEST)
WHOLE = row_reader.RowReader([("a", "integer", False, ())], [], LARGEST)


def number(text: str, reader: Any = NUMBERS) -> float | None:
    """What a number in a record is read as; in a column it must be the same."""
    answers = [
        reader.read(f'{{"records":[{{"a":{text}}}]}}'.encode()),
        reader.read(f'{{"columns":{{"a":[{text}]}}}}'.encode()),
    ]
    found = [None if one is None else one[1][0].tolist() for one in answers]
    assert found[0] == found[1]
    return None if found[0] is None else found[0][0]


def bits(value: float) -> bytes:
    return struct.pack("d", value)


DIGITS = st.text("0123456789", min_size=1, max_size=25)


@settings(max_examples=1000)
@given(
    st.booleans(),
    DIGITS,
    st.none() | DIGITS,
    st.none() | st.tuples(st.sampled_from(["e", "E", "e+", "e-", "E-"]), st.integers(0, 330)),
)
@example(False, "9007199254740993", None, None)
@example(False, "9007199254740993", "0", None)
@example(False, "18446744073709551615", None, None)
@example(False, "0", "1234567890123456789", None)
@example(True, "9999999999999999999", None, ("e-", 19))
@example(False, "1", None, ("e", 309))
@example(False, "0", "0000000000000000000000000000001", None)
def test_a_number_is_the_nearest_float_to_its_text(
    is_negative: bool, whole: str, fraction: str | None, power: tuple[str, int] | None
):
    text = "-" * is_negative + whole
    text += "" if fraction is None else f".{fraction}"
    text += "" if power is None else f"{power[0]}{power[1]}"
    found, expected = number(text), float(text)
    if (len(whole) > 1 and whole[0] == "0") or math.isinf(expected):
        assert found is None
    elif is_negative and expected == 0:
        assert found is None or bits(found) == bits(expected), "whether -0 is whole is left open"
    else:
        assert found is not None
        assert bits(found) == bits(expected)


@settings(max_examples=500)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_comes_back_from_its_own_text(value: float):
    found = number(repr(value))
    assert (found is None and value == 0) or (found is not None and bits(found) == bits(value))


@settings(max_examples=500)
@given(st.integers(2**52, 2**54), st.integers(-25, 25), st.sampled_from(["", "5", "50000001"]))
def test_numbers_halfway_between_two_floats_are_rounded_as_python_rounds(
    whole: int, power: int, more: str
):
    text = f"{whole}.{more}e{power}" if more else f"{whole}e{power}"
    found = number(text)
    assert found is not None
    assert bits(found) == bits(float(text))


@pytest.mark.parametrize(
    "text",
    [
        *("", "-", "+1", ".5", "1.", "01", "-01", "00", "1e", "1e+", "0x1", "1_0", "1 2", "1,"),
        *("NaN", "Infinity", "-Infinity", '"1"', "true", "null", "[1]", "{}", "\uff11", "1e309"),
        "1\0",
    ],
)
def test_what_is_no_number_is_left_to_others(text: str):
    assert number(text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0", 0.0), ("-7", -7.0), (str(LARGEST), float(LARGEST)), (f"-{LARGEST}", -float(LARGEST))]
    + [(text, None) for text in ("1.0", "1e2", str(LARGEST + 1), f"-{LARGEST + 1}", "9" * 40, "-")],
)
def test_a_whole_number_is_written_as_one_and_within_its_limits(text: str, expected: float | None):
    assert number(text, WHOLE) == expected


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
ROW = st.fixed_dictionaries(
    {
        "a": st.none() | st.floats(allow_nan=False, allow_infinity=False).filter(bool),
        "b": st.none() | st.integers(-LARGEST, LARGEST),
        "c": st.none() | st.booleans(),
        "d": st.none() | st.sampled_from([*INPUTS[3][3], "new", "née"]) | TEXT,
    },
)


@settings(max_examples=300)
@given(
    st.lists(ROW, min_size=1, max_size=150),
    st.lists(st.none() | TEXT, min_size=1),
    st.sets(st.sampled_from(EXTRAS)),
    st.sampled_from(["missing", "before", "after"]),
    st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t:\r\n ")]),
    st.randoms(),
    st.booleans(),
    st.booleans(),
)
def test_rows_in_any_order_and_with_any_space_are_what_json_says(
    rows: list[dict[str, Any]],
    texts: list[str | None],
    extras: set[str],
    place: str,
    separators: tuple[str, str],
    order: Any,
    is_by_column: bool,
    is_escaped: bool,
):
    rows = [{**row, **dict.fromkeys(extras, texts[i % len(texts)])} for i, row in enumerate(rows)]
    names = list(rows[0])
    order.shuffle(names)
    content: Any = [{name: row[name] for name in names} for row in rows]
    if is_by_column:
        content = {name: [row[name] for row in rows] for name in names}
    body = {"columns" if is_by_column else "records": content}
    if place != "missing":
        body = {"request_id": "r", **body} if place == "before" else {**body, "request_id": "r"}
    raw = json.dumps(body, ensure_ascii=is_escaped, separators=separators).encode()
    found = READER.read(raw)
    assert found is not None
    request_id, inputs, new, others = found
    assert request_id == (None if place == "missing" else "r")
    assert others == {name: [row[name] for row in rows] for name in extras}
    for (name, kind, _, known), texts, values in zip(INPUTS, new, inputs, strict=True):
        expected = [row[name] for row in rows]
        if kind == "category":
            levels = tuple(dict.fromkeys([*known, *(one for one in expected if one is not None)]))
            assert texts == levels[len(known) :], "in the order in which they first occur"
            expected = [None if one is None else levels.index(one) for one in expected]
        else:
            assert texts == ()
        want = np.array([math.nan if one is None else one for one in expected], dtype=float)
        np.testing.assert_array_equal(values, want)
        assert values.flags.c_contiguous


GOOD = {"a": 1.5, "b": 2, "c": True, "d": "x"}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"\xef\xbb\xbf" + json.dumps({"records": [GOOD]}).encode(),
        json.dumps({"records": []}).encode(),
        json.dumps({"columns": {}}).encode(),
        json.dumps({"columns": {name: [] for name in GOOD}}).encode(),
        json.dumps({"records": [GOOD, {}]}).encode(),
        json.dumps({"records": [GOOD, dict(reversed(GOOD.items()))]}).encode(),
        json.dumps({"records": [GOOD, {**GOOD, "g": 1}]}).encode(),
        json.dumps({"records": [{**GOOD, "d": "\ud800"}]}).encode(),
        rb'{"records":[{"a":1,"b":2,"c":true,"d":"\x"}]}',
        rb'{"records":[{"a":1,"b":2,"c":true,"d":"\u00e"}]}',
        b'{"records":[{"a":1,"b":2,"c":true,"d":"\\\0"}]}',
        b'{"records":[{"a":1,"b":2,"c":true,"d":"\n"}]}',
        b'{"records":[{"a":1,"b":2,"c":true,"d":"\xff"}]}',
        b'{"columns":{"a":[1],"b":[2],"c":[true],"d":["\xff"]}}',
        json.dumps({"records": [{**GOOD, "e": 1}]}).encode(),
        json.dumps({"records": [{**GOOD, "e": "\udc00"}]}).encode(),
        b'{"records":[{"a":1,"b":2,"c":true,"d":"x","e":"a\n"}]}',
        rb'{"records":[{"a":1,"b":2,"c":true,"d":"x"}],"request_id":"\n"}',
        json.dumps({"records": [GOOD], "request_id": ""}).encode(),
        json.dumps({"records": [GOOD], "request_id": 1}).encode(),
        json.dumps({"records": [GOOD], "columns": {}}).encode(),
        json.dumps({"records": [GOOD], "other": 1}).encode(),
        b'{"records":[{"a":1,"b":2,"c":true,"d":"x"}],"records":[]}',
        b'{"records":[{"a":1,"a":1,"b":2,"c":true,"d":"x"}]}',
        b'{"records":[{"a":1,"b":2,"c":true,"d":"x","e":"\xff"}]}',
        b'{"records":[{"a":1,"b":2,"c":true,"d":"x"}],"request_id":"\xff"}',
        b'{"records":[{"a":1,"b":2,"c":true,"d":"x"},]}',
        b'{"records":[{"a":1,"b":2,"c":true,"d":"x"}]}x',
        b'{"records":[{"a":1,"b":2,"c":true,"d":"x"}]}\0',
        b'{"columns":{"a":[1],"a":[1],"b":[2],"c":[true],"d":["x"]}}',
        b'{"columns":{"a":[1],"b":[2],"c":[true],"d":["x"],"e":["y"],"e":["y"]}}',
        b'{"columns":{"a":[1],"b":[2],"c":[true]}}',
    ],
)
def test_whatever_is_not_plain_is_left_to_others(raw: bytes):
    assert READER.read(raw) is None


@pytest.mark.parametrize("form", ["records", "columns"])
def test_a_body_that_ends_anywhere_is_left_to_others(form: str):
    content: Any = [{**GOOD, "e": "é"}] * 3
    if form == "columns":
        content = {name: [row[name] for row in content] for name in content[0]}
    raw = json.dumps({"request_id": "r", form: content}, ensure_ascii=False).encode()
    assert READER.read(raw) is not None
    for end in range(len(raw)):
        assert READER.read(raw[:end]) is None


def test_values_that_must_not_be_missing_are_not():
    reader = row_reader.RowReader([(n, k, False, v) for n, k, _, v in INPUTS], EXTRAS, LARGEST)
    assert reader.read(json.dumps({"records": [GOOD]}).encode()) is not None
    for name in GOOD:
        assert reader.read(json.dumps({"records": [{**GOOD, name: None}]}).encode()) is None


def test_thousands_of_levels_and_rows_are_read():
    levels = [f"level {i}" for i in range(5000)]
    reader = row_reader.RowReader([("d", "category", False, levels)], [], LARGEST)
    found = reader.read(json.dumps({"records": [{"d": one} for one in levels]}).encode())
    assert found is not None
    assert found[1][0].tolist() == list(range(5000))
    assert found[2] == [()]


@pytest.mark.parametrize("known", [[], ["x"]], ids=["no level known", "one known"])
def test_texts_that_are_no_level_are_told_and_at_most_so_many(known: list[str]):
    reader = row_reader.RowReader([("d", "category", False, known)], [], LARGEST)
    texts = [f"text {i}" for i in range(30_000)]
    rows = [{"d": one} for one in (*known, *texts, *texts)]
    found = reader.read(json.dumps({"records": rows}).encode())
    assert found is not None
    places = [*range(len(known), len(known) + 30_000)]
    assert found[1][0].tolist() == [*range(len(known)), *places, *places]
    assert found[2] == [tuple(texts)]
    rows.append({"d": "one more"})
    assert reader.read(json.dumps({"records": rows}).encode()) is None


@pytest.mark.parametrize("name", ['a"', "a\\", "a\n", "\0"])
def test_names_that_json_writes_otherwise_are_refused(name: str):
    with pytest.raises(ValueError, match="no key can be looked for"):
        row_reader.RowReader([(name, "number", False, ())], [], LARGEST)


def test_two_columns_of_one_name_are_refused():
    with pytest.raises(ValueError, match="two columns have the name 'a'"):
        row_reader.RowReader(INPUTS, ["a"], LARGEST)


def test_threads_may_share_a_reader():
    raws = [json.dumps({"records": [{**GOOD, "a": i}] * 500}).encode() for i in range(1, 9)]

    def first(raw: bytes) -> float:
        found = READER.read(raw)
        assert found is not None
        return float(found[1][0].mean())

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(first, raws * 5)) == [*map(float, range(1, 9))] * 5
