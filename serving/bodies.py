"""Reading JSON bodies: fast, and stricter than the parser alone."""

import json
import math
from typing import Any

import orjson

# Above this size, a body that is no JSON isn't read again to tell what is wrong with it.
MAX_EXPLAINED_BYTES = 1024 * 1024


class BodyError(ValueError):
    """The body is no JSON that can be trusted to mean what the client meant."""


def decode(raw: bytes) -> Any:
    """Decode a body; raises BodyError for anything that isn't strict JSON.

    Invalid UTF-8 and nesting deeper than the parser's limit are refused by orjson; a key that
    occurs twice in one object, of which it silently keeps the last, by us. NaN, Infinity and
    numbers beyond float64 are no JSON either, but clients send them by mistake: they are decoded
    as what they mean, so that the request parser can refuse them with the name of the field.
    """
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        return _decode_not_finite(raw, f"the body is not valid JSON: {str(error)[:200]}")
    if _may_repeat_keys(raw, body):
        _decode_exactly(raw)
    return body


def _decode_not_finite(raw: bytes, problem: str) -> Any:
    """The body, if numbers that are not finite are all that is wrong with it."""
    if len(raw) > MAX_EXPLAINED_BYTES:
        raise BodyError(problem)
    body, is_not_finite = _decode_exactly(raw, problem)
    if not is_not_finite:
        raise BodyError(problem)
    return body


def _may_repeat_keys(raw: bytes, body: Any) -> bool:
    """Whether the exact check is needed: it costs ten times as much as decoding.

    Outside of strings, a colon stands only between a key and its value. So in a body without
    escaped colons, the colons are as many as the keys that survived decoding plus the colons
    inside of strings, unless a key was repeated.
    """
    if not isinstance(body, dict) or not isinstance(body.get("records"), list):
        return True
    records = body["records"]
    try:
        surplus = raw.count(b":") - len(body) - sum(map(len, records))
    except TypeError:
        return True
    if surplus == 0 and b"\\u003" not in raw:
        return False
    if b"\\u003" in raw or not all(type(record) is dict for record in records):
        return True
    texts = [body.get("request_id"), *(v for record in records for v in record.values())]
    return surplus != sum(text.count(":") for text in texts if type(text) is str)


def _decode_exactly(raw: bytes, problem: str = "") -> tuple[Any, bool]:
    """Decode slowly but refuse repeated keys; also tells whether some number isn't finite."""
    not_finite: list[str] = []

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        for name, value in found:
            if name in kept:
                raise BodyError(f"the key {name[:60]!r} occurs twice in one object")
            kept[name] = value
        return kept

    def number(text: str) -> float:
        value = float(text)
        if not math.isfinite(value):
            not_finite.append(text)
        return value

    def whole(text: str) -> float:
        # One beyond float64 is no more finite than 1e999.
        return int(text) if math.isfinite(float(text)) else number(text)

    try:
        body = json.loads(
            raw.decode(),
            object_pairs_hook=pairs,
            parse_float=number,
            parse_int=whole,
            parse_constant=number,
        )
    except RecursionError as error:
        raise BodyError("the body is nested too deeply") from error
    except BodyError:
        raise
    except ValueError as error:
        raise BodyError(problem or f"the body is not valid JSON: {str(error)[:200]}") from error
    return body, bool(not_finite)
