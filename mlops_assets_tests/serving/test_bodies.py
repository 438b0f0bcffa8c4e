import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.bodies import MAX_EXPLAINED_BYTES, BodyError, decode


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"\xff\xfe{}",
        b'{"a": NaN, "a": 1}',
        b'{"a": NaN} NaN',
        b'{"a": NAN}',
        b'{"a": NaN, "b": ' + b"[" * 100_000,
        rb'{"a": "\ud800"}',
        '{"a": NaN}'.encode("utf-16"),
        b'{"a": NaN, "b": "' + b"x" * MAX_EXPLAINED_BYTES + b'"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"records": ' + b"[" * 900 + b"]" * 900 + b', "records": 1}',
        b'{"records": [{"a": 1, "a": 2}]}',
        b'{"records": [{"a": 1}], "records": []}',
        b'{"records": [{"a": 1, "b": {"c": 1, "c": 2}}]}',
        b'{"records": [{"t": "10:00:00", "a": 1, "a": "1:2"}]}',
        rb'{"records": [{"a": "\u003a", "b": 1, "b": 2}]}',
        b'{"a": 1, "a": 2}',
    ],
)
def test_what_is_not_strict_json_is_refused(raw: bytes):
    with pytest.raises(BodyError) as caught:
        decode(raw)
    assert len(str(caught.value)) < 300


def test_colons_inside_of_text_are_no_keys():
    body = {"request_id": "a:b", "records": [{"t": "10:00:00", "x:y": "::", "n": 1}]}
    assert decode(json.dumps(body).encode()) == body


@pytest.mark.parametrize(
    "text",
    ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "9" * 309, "-1" + "0" * 5000],
    ids=lambda text: text[:9],
)
def test_numbers_that_are_not_finite_are_left_to_the_request_parser(text: str):
    (value,) = decode(f'{{"a": {text}}}'.encode()).values()
    assert not math.isfinite(value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(':\\"u03aA', max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("ab:", max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)
BODY = st.fixed_dictionaries({"records": st.lists(st.dictionaries(st.text("ab:"), JSON))}) | JSON


@given(BODY, st.booleans())
def test_every_body_without_repeated_keys_is_decoded(body: Any, is_ascii: bool):
    assert decode(json.dumps(body, ensure_ascii=is_ascii).encode()) == body


@given(st.dictionaries(st.sampled_from("abc:"), JSON, min_size=1), JSON)
def test_every_repeated_key_is_refused(record: dict[str, Any], value: Any):
    name = next(iter(record))
    inner = json.dumps(record)[:-1] + f", {json.dumps(name)}: {json.dumps(value)}}}"
    with pytest.raises(BodyError, match="occurs twice"):
        decode(f'{{"records": [{inner}]}}'.encode())


def test_one_repeated_key_among_very_many_is_found_at_once():
    keys = ",".join(f'"k{number}":1' for number in range(200_000))
    with pytest.raises(BodyError, match="'k199999' occurs twice"):
        decode(f'{{{keys},"k199999":1}}'.encode())
