import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets_tests.serving.test_bodies import JSON
from serving.bodies import BodyError, decode
from serving.protocols.strict_json import MANY, decode_strictly, without_nan


@given(JSON, st.booleans())
@settings(deadline=None)
def test_every_body_without_repeated_keys_is_decoded(body: Any, is_ascii: bool):
    assert decode_strictly(json.dumps(body, ensure_ascii=is_ascii).encode()) == body


def _outcome(read: Any, raw: bytes) -> Any:
    try:
        return read(raw)
    except BodyError:
        return BodyError


# Keys and values that make many duplicates, colons and escapes.
_PIECES = st.lists(
    st.sampled_from(
        [
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            '"a"',
            '"b:"',
            '"a":1,',
            '{"a":1}',
            "1",
            '"\\u003a"',
            '"\\""',
        ]
    ),
    max_size=14,
).map("".join)


@given(_PIECES | st.lists(_PIECES).map(lambda pieces: f"[{','.join(pieces)}]"))
@settings(max_examples=300, deadline=None)
def test_what_is_refused_is_what_the_exact_decoder_refuses(text: str):
    raw = text.encode()
    assert _outcome(decode_strictly, raw) == _outcome(decode, raw)


@given(st.dictionaries(st.sampled_from("abc:"), JSON, min_size=1), JSON)
@settings(deadline=None)
def test_every_repeated_key_is_refused_wherever_it_is(found: dict[str, Any], value: Any):
    name = json.dumps(next(iter(found)))
    twice = f"{json.dumps(found)[:-1]}, {name}: {json.dumps(value)}}}"
    rows = ", ".join(["{}"] * MANY)
    for text in (twice, f'{{"x": [1, {twice}]}}', f"[[{twice}]]", f"[{rows}, {twice}]"):
        with pytest.raises(BodyError, match="occurs twice"):
            decode_strictly(text.encode())


def test_an_escaped_colon_hides_no_repeated_key():
    assert decode_strictly(rb'{"columns": {"a": "\u003a", "b": 1}}')
    with pytest.raises(BodyError, match="occurs twice"):
        decode_strictly(rb'{"columns": {"a": "\u003a", "b": 1, "b": 2}}')


@pytest.mark.parametrize("text", ["[" * 100_000, "[" * 1020 + "]" * 1020, '{"a":' * 1020])
def test_deep_nesting_is_decoded_or_refused(text: str):
    assert isinstance(_outcome(decode_strictly, text.encode()), list | type)


@given(
    st.lists(st.sampled_from(["NaN", '"', "\\", ",", "[", "]", "null", "a", "é", "-"]), max_size=12)
    | st.lists(st.sampled_from(["NaN", '"NaN"', '"\\"NaN"', '"\\\\"', "1"])).map(
        lambda values: ["[", ",".join(values), "]"]
    )
)
def test_nan_becomes_null_except_inside_of_strings(pieces: list[str]):
    raw = "".join(pieces).encode()
    try:
        expected = json.loads(raw, parse_constant=lambda name: None)
    except ValueError:
        without_nan(raw)
    else:
        assert json.loads(without_nan(raw)) == expected
