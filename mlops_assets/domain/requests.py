"""Strict validation of prediction requests, compiled once from a model's contract.

A request that breaks the contract is refused with the field that breaks it; nothing is coerced,
filled in or ignored. The parser works column by column, so that a request of thousands of rows
costs a few passes in C instead of a Python loop over every value. Standard library and numpy only.
"""

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any

import numpy as np

from mlops_assets.domain.contract import MISSING_CATEGORY, Contract, ContractColumn
from mlops_assets.domain.errors import RequestError

MAX_REQUEST_ID = 200
# Integers travel as float64, which holds every whole number up to here and no further.
LARGEST_INTEGER = 2**53
LARGEST_NUMBER = sys.float_info.max
# Below this many values, looking at each is cheaper than numpy's fixed costs.
FEW = 8

Check = Callable[[Any], str | None]


class TooManyRowsError(RequestError):
    """The request has more records than the contract allows; HTTP calls it 413."""


@dataclass(frozen=True, slots=True)
class ParsedRequest:
    """A request that keeps the contract, by column.

    `columns` holds float64 arrays of shape (n,) with NaN for a missing number, and object arrays
    of str with `MISSING_CATEGORY` for a missing category. `entities` and `event_times` have one
    entry per record; times are ISO 8601 in UTC. `request_id` is empty where the client sent none.
    """

    request_id: str
    columns: dict[str, np.ndarray]
    entities: list[str | None]
    event_times: list[str | None]

    @property
    def rows(self) -> int:
        """How many records the request has."""
        return len(self.entities)


class RequestParser:
    """Turns JSON-decoded bodies into columns, or refuses them."""

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._columns = contract.columns
        self._names = tuple(column.name for column in contract.columns)
        self._inputs = frozenset(self._names)
        # Keys that a record may carry beside the inputs.
        self._extras = frozenset((contract.entity, contract.event_time)) - self._inputs - {""}
        get = itemgetter(*self._names)
        self._get = get if len(self._names) > 1 else lambda record: (get(record),)
        # A time that is also an input is typed by the contract, so it isn't read as ISO text.
        self._time = "" if contract.event_time in self._inputs else contract.event_time

    def parse(self, body: object) -> ParsedRequest:
        """Validate one decoded body; raises RequestError naming the first offending field."""
        request_id, records = self._envelope(body)
        rows = [self._row(record, index) for index, record in enumerate(records)]
        return ParsedRequest(
            request_id=request_id,
            columns={
                column.name: _column(column, values)
                for column, values in zip(self._columns, zip(*rows, strict=True), strict=True)
            },
            entities=_entities(records, self._contract.entity),
            event_times=_event_times(records, self._time),
        )

    def _row(self, record: Any, index: int) -> tuple[Any, ...]:
        """The record's inputs in the contract's order; an absent nullable one is None."""
        if type(record) is not dict:
            raise RequestError(f"must be an object, not {_kind(record)}", f"records[{index}]")
        try:
            row = self._get(record)
        except KeyError:
            self._refuse_keys(record, index)
            return tuple(record.get(name) for name in self._names)
        if len(record) != len(row) and len(record) != len(row) + len(record.keys() & self._extras):
            self._refuse_keys(record, index)
        return row

    def _envelope(self, body: object) -> tuple[str, list[Any]]:
        if not isinstance(body, dict):
            raise RequestError(f"the body must be an object, not {_kind(body)}", "body")
        for name in body:
            if name not in ("request_id", "records"):
                raise RequestError(
                    "is not part of a request; send request_id (optional) and records",
                    f"body.{_clip(name)}",
                )
        request_id = body.get("request_id")
        if request_id is not None and not (
            isinstance(request_id, str)
            and 0 < len(request_id) <= MAX_REQUEST_ID
            and _is_portable(request_id)
        ):
            raise RequestError(
                f"must be text of 1 to {MAX_REQUEST_ID} characters, or left out", "request_id"
            )
        records = body.get("records")
        if not isinstance(records, list) or not records:
            raise RequestError("must be a list with at least one record", "records")
        if len(records) > self._contract.max_rows:
            raise TooManyRowsError(
                f"has {len(records)} records, the limit is {self._contract.max_rows}: "
                "split the request",
                "records",
            )
        return request_id or "", records

    def _refuse_keys(self, record: Mapping[str, Any], index: int) -> None:
        for column in self._columns:
            if column.name not in record and not column.nullable:
                raise RequestError(
                    f"is missing; it is a required {column.type}",
                    f"records[{index}].{column.name}",
                )
        for name in record:
            if name not in self._inputs and name not in self._extras:
                raise RequestError(
                    f"is not a column of {self._contract.model}; it has "
                    f"{_clip(', '.join(sorted(self._inputs)), 300)}",
                    f"records[{index}].{_clip(name)}",
                )


def _column(column: ContractColumn, values: tuple[Any, ...]) -> np.ndarray:
    """One column of the request as an array, or RequestError for its first bad value."""
    if len(values) > FEW:
        array = _categories(values) if column.type == "category" else _numbers(values, column)
        if array is not None and (column.nullable or None not in values):
            return array
    check = _CHECKS[column.type]
    for index, value in enumerate(values):
        problem = check(value)
        if problem and value is None:
            problem = (
                None if column.nullable else f"must not be null; it is a required {column.type}"
            )
        if problem:
            raise RequestError(problem, f"records[{index}].{column.name}")
    if column.type == "category":
        return _text_array([MISSING_CATEGORY if value is None else value for value in values])
    return np.array(values, dtype=np.float64)


def _text_array(values: Sequence[str]) -> np.ndarray:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _categories(values: tuple[Any, ...]) -> np.ndarray | None:
    """The column as text, or None where some value needs a closer look."""
    if not set(map(type, values)) <= {str, type(None)} or MISSING_CATEGORY in values:
        return None
    text = [MISSING_CATEGORY if value is None else value for value in values]
    return _text_array(text) if _is_portable("".join(text)) else None


def _numbers(values: tuple[Any, ...], column: ContractColumn) -> np.ndarray | None:
    """The column as float64, or None where some value needs a closer look."""
    kinds = set(map(type, values))
    allowed = {int, float, type(None)} | ({bool} if column.type == "boolean" else set())
    if not kinds <= allowed:
        return None
    try:
        array = np.array(values, dtype=np.float64)  # None becomes NaN
    except OverflowError:
        return None
    present = array
    if not np.isfinite(array).all():
        present = array[np.isfinite(array)]
        if len(array) - len(present) != sum(value is None for value in values):
            return None
    if column.type == "integer" and not _all_whole(present):
        return None
    if column.type == "boolean" and not ((present == 0) | (present == 1)).all():
        return None
    return array


def _all_whole(array: np.ndarray) -> bool:
    return bool((np.floor(array) == array).all() and (np.abs(array) <= LARGEST_INTEGER).all())


def _number_problem(value: Any) -> str | None:
    if type(value) not in (int, float):
        return f"must be a number, not {_kind(value)}"
    if -LARGEST_NUMBER <= value <= LARGEST_NUMBER:
        return None
    return "must be a finite number that fits 64 bits"


def _integer_problem(value: Any) -> str | None:
    problem = _number_problem(value)
    if problem:
        return problem
    if value != math.floor(value):
        return "must be a whole number"
    return None if abs(value) <= LARGEST_INTEGER else "must lie between -2^53 and 2^53"


def _boolean_problem(value: Any) -> str | None:
    if type(value) in (bool, int, float) and value in (0, 1):
        return None
    return f"must be true or false, not {_kind(value)}"


def _category_problem(value: Any) -> str | None:
    if type(value) is not str:
        return f"must be text, not {_kind(value)}"
    if value == MISSING_CATEGORY:
        return "must not be the text that stands for a missing value; send null instead"
    return None if _is_portable(value) else "must not hold a NUL character or half a surrogate"


_CHECKS: dict[str, Check] = {
    "number": _number_problem,
    "integer": _integer_problem,
    "boolean": _boolean_problem,
    "category": _category_problem,
}


def _is_portable(text: str) -> bool:
    """Whether text survives C strings and UTF-8, which compiled models and logs need."""
    if text.isascii():
        return "\0" not in text
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def _entities(records: Sequence[Mapping[str, Any]], name: str) -> list[str | None]:
    if not name:
        return [None] * len(records)
    entities: list[str | None] = []
    for index, record in enumerate(records):
        value = record.get(name)
        if value is None or (type(value) is str and _is_portable(value)):
            entities.append(value)
        elif type(value) in (int, bool) or (type(value) is float and math.isfinite(value)):
            entities.append(str(value))
        else:
            raise RequestError(
                f"must be text, a finite number or null, not {_kind(value)}",
                f"records[{index}].{name}",
            )
    return entities


def _event_times(records: Sequence[Mapping[str, Any]], name: str) -> list[str | None]:
    if not name:
        return [None] * len(records)
    return [_event_time(record.get(name), index, name) for index, record in enumerate(records)]


def _event_time(value: Any, index: int, name: str) -> str | None:
    """The time in UTC; one without an offset is already in UTC, as the spec's times are."""
    if value is None:
        return None
    if type(value) is str:
        try:
            time = datetime.fromisoformat(value)
            return (time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)).isoformat()
        except (ValueError, OverflowError):
            pass
    raise RequestError(
        "must be ISO 8601 text such as 2013-06-01T17:30:00Z", f"records[{index}].{name}"
    )


def _kind(value: object) -> str:
    """The JSON name of a value's type; the value itself is never echoed."""
    names = {dict: "an object", list: "a list", str: "text", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _clip(text: object, limit: int = 60) -> str:
    """Client text short enough for an answer, and always encodable."""
    clean = str(text).encode("utf-8", "replace").decode()
    return clean if len(clean) <= limit else clean[:limit] + "…"
