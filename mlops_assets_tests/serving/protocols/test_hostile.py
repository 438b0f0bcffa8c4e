"""Whatever is sent, each protocol parses it or refuses it with a short text, and nothing else."""

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.domain.errors import RequestError
from mlops_assets_tests.domain.test_requests import ANYTHING
from mlops_assets_tests.serving.protocols.samples import GOOD, PARSERS, PROTOCOLS, Message
from serving.answers import Refusal
from serving.bodies import BodyError
from serving.protocols.arrow import ARROW
from serving.protocols.open_inference import HEADER_LENGTH
from serving.protocols.routes import PARSE

ROWS = [GOOD, {**GOOD, "wind": 3.5, "gate": "B:2", "departs": None}, {**GOOD, "flight": None}]
MESSAGES = {name: to_message(ROWS) for name, to_message in PROTOCOLS.items()}
HEADERS = (
    {},
    {"content-type": ARROW},
    {"content-type": "text/csv"},
    {"content-type": "application/json", HEADER_LENGTH: "2"},
)
# Bodies that have broken servers of this kind, or might.
CORPUS = [
    b"",
    b"\0",
    b"null",
    b"[]",
    b"{}",
    b'"' + b"a" * 1000 + b'"',
    b"\xff\xfe\xfd",
    b"\xef\xbb\xbf{}",
    b"[" * 100_000,
    b'{"inputs":' * 5_000,
    b'{"columns": {"distance": ' + b"[" * 900 + b"]" * 900 + b"}}",
    b'{"columns": {"distance": [1e999]}, "columns": {}}',
    b'{"columns": {"distance": [1' + b"0" * 400 + b"]}}",
    b'{"inputs": [{"name": "distance", "shape": [9223372036854775807, 9223372036854775807], '
    b'"datatype": "FP64", "data": []}]}',
    b'{"inputs": [{"name": "distance", "shape": [0], "datatype": "FP64", "data": []}]}',
    b'{"inputs": [{"name": "\\ud800", "shape": [1], "datatype": "BYTES", "data": ["a"]}]}',
    b'{"inputs": {"distance": {"a": [1]}}}',
    b'{"inputs": {"distance": [[1, 2], [3]]}}',
    b'{"instances": [[[[[]]]]]}',
    b'{"dataframe_split": {"columns": [], "data": [[]]}}',
    b'{"dataframe_split": {"columns": ["distance"], "data": [[1], [2, 3]]}}',
    b'{"dataframe_split": {"columns": ["distance"], "index": [NaN], "data": [[NaN]]}}',
    b'{"dataframe_records": [{}]}',
    b'{"dataframe_records": [null], "params": null}',
    b"distance\n",
    b"\n\n\n",
    b",,,\n1,2,3,4\n",
    b'"distance\n1',
    b"distance\r1\r\r2",
    b"\xff\xff\xff\xff\0\0\0\0",
    b"\xff\xff\xff\xff\xff\xff\xff\x7f",
]


def check(operation: str, body: bytes, headers: dict[str, str]) -> bool:
    """Whether the request is valid; fails for any other error than a proper refusal."""
    try:
        PARSE[operation](PARSERS, body, headers)
    except RequestError as error:
        texts = (error.field, str(error))
    except (BodyError, Refusal) as error:
        texts = ("body", str(error))
    else:
        return True
    assert 0 < len(texts[0]) < 200
    assert 0 < len(texts[1]) < 500
    json.dumps(texts).encode()
    return False


@pytest.mark.parametrize("operation", PARSE)
def test_no_body_of_the_corpus_is_valid_or_breaks_anything(operation: str):
    for body in CORPUS:
        for headers in HEADERS:
            assert not check(operation, body, headers)


@pytest.mark.parametrize("operation", PARSE)
@settings(deadline=None, max_examples=60)
@given(body=st.binary(max_size=60), headers=st.sampled_from(HEADERS))
def test_no_bytes_break_anything(operation: str, body: bytes, headers: dict[str, str]):
    check(operation, body, headers)


def replaced(value: Any, path: random.Random, by: Any) -> Any:
    """The value with some part of it replaced."""
    if path.random() < 0.25 or not isinstance(value, dict | list) or not value:
        return by
    key = path.choice(list(value) if isinstance(value, dict) else range(len(value)))
    copy: Any = value.copy()
    copy[key] = replaced(value[key], path, by)
    return copy


@pytest.mark.parametrize(
    "protocol", [name for name, one in MESSAGES.items() if one.body.startswith(b"{")]
)
@settings(deadline=None, max_examples=80)
@given(seed=st.integers(0, 2**32), value=ANYTHING)
def test_no_value_in_any_place_breaks_anything(protocol: str, seed: int, value: Any):
    message = MESSAGES[protocol]
    split = int(message.headers.get(HEADER_LENGTH, len(message.body)))
    decoded = json.loads(message.body[:split])
    head = json.dumps(replaced(decoded, random.Random(seed), value)).encode()
    headers = {**message.headers}
    if HEADER_LENGTH in headers:
        headers[HEADER_LENGTH] = str(len(head))
    check(message.operation, head + message.body[split:], headers)


def damaged(message: Message, draw: random.Random) -> bytes:
    """The body with bytes changed, dropped, repeated, or set to what breaks lengths."""
    body = bytearray(message.body)
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(body))
        kind = draw.randrange(4)
        if kind == 0:
            body[at] = draw.randrange(256)
        elif kind == 1:
            body[at : at + 8] = draw.choice(
                (b"\xff" * 8, b"\0" * 8, b"\xff\xff\xff\x7f", b"\1" * 8)
            )
        elif kind == 2:
            del body[at : at + draw.randint(1, 16)]
        else:
            body[at:at] = body[at : at + draw.randint(1, 64)]
    return bytes(body)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_no_damaged_request_breaks_anything(protocol: str):
    draw = random.Random(protocol)
    message = MESSAGES[protocol]
    assert check(message.operation, message.body, message.headers)
    results = [
        check(message.operation, damaged(message, draw), message.headers) for _ in range(300)
    ]
    assert not all(results)
