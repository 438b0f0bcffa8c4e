"""Strict validation of prediction requests, compiled once from a model's contract.

A request that breaks the contract is refused with the field that breaks it; nothing is coerced,
filled in or ignored. The parser works column by column, so that a request of thousands of rows
costs a few passes in C instead of a Python loop over every value. Standard library and numpy only.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any

import numpy as np

from mlops_assets.domain.coded import Column
from mlops_assets.domain.contract import Contract
from mlops_assets.domain.date_parts import parts_of
from mlops_assets.domain.errors import RequestError
from mlops_assets.domain.values import is_portable, kind_of, read_column

MAX_REQUEST_ID = 200


class TooManyRowsError(RequestError):
    """The request has more records than the contract allows; HTTP calls it 413."""


@dataclass(frozen=True, slots=True)
class ParsedRequest:
    """A request that keeps the contract, by column.

    `columns` holds float64 arrays of shape (n,) with NaN for a missing number, and text (by its
    levels, or object arrays of str) with `MISSING_CATEGORY` for a missing category. `entities` and
    `event_times` have one entry per record; times are ISO 8601 in UTC. `request_id` is empty where
    the client sent none. `absent` says of inputs that can be looked up which rows, bool of shape
    (n,), left them out.
    """

    request_id: str
    columns: dict[str, Column]
    entities: list[str | None]
    event_times: list[str | None]
    absent: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """How many records the request has."""
        return len(self.entities)


class RequestParser:
    """Turns JSON-decoded bodies into columns, or refuses them."""

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._columns = contract.asked
        self._names = tuple(column.name for column in contract.asked)
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
        rows = self._plain_rows(records) or [
            self._row(record, index) for index, record in enumerate(records)
        ]
        columns = {
            column.name: read_column(column, values)
            for column, values in zip(self._columns, zip(*rows, strict=True), strict=True)
        }
        times = _event_times(records, self._time)
        parts = parts_of(self._contract, times, lambda index: f"records[{index}].{self._time}")
        return ParsedRequest(
            request_id=request_id,
            columns={**columns, **parts},
            entities=times
            if self._contract.is_known_by_time
            else _entities(records, self._contract.entity),
            event_times=times,
            absent=self._absent(records),
        )

    def _absent(self, records: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
        """Which records leave out inputs that can be looked up; a null is an answer."""
        looked_up = self._contract.looked_up
        found = {name: np.array([name not in one for one in records]) for name in looked_up}
        return {name: absent for name, absent in found.items() if absent.any()}

    def _plain_rows(self, records: Sequence[Any]) -> list[tuple[Any, ...]] | None:
        """The inputs of records that all have the same keys, the right ones; None for others."""
        if set(map(type, records)) != {dict}:
            return None
        more = len(self._extras & records[0].keys())
        if {len(record) for record in records} != {len(self._names) + more}:
            return None
        if more and any(len(self._extras & record.keys()) != more for record in records):
            return None
        try:
            return list(map(self._get, records))
        except KeyError:
            return None

    def _row(self, record: Any, index: int) -> tuple[Any, ...]:
        """The record's inputs in the contract's order; an absent nullable one is None."""
        if type(record) is not dict:
            raise RequestError(f"must be an object, not {kind_of(record)}", f"records[{index}]")
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
            raise RequestError(f"the body must be an object, not {kind_of(body)}", "body")
        for name in body:
            if name not in ("request_id", "records"):
                raise RequestError(
                    "is not part of a request; send request_id (optional) and records",
                    f"body.{clip(name)}",
                )
        request_id = request_id_of(body.get("request_id"))
        records = body.get("records")
        if not isinstance(records, list) or not records:
            raise RequestError("must be a list with at least one record", "records")
        if len(records) > self._contract.max_rows:
            raise TooManyRowsError(
                f"has {len(records)} records, the limit is {self._contract.max_rows}: "
                "split the request",
                "records",
            )
        return request_id, records

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
                    f"{clip(', '.join(sorted(self._inputs)), 300)}",
                    f"records[{index}].{clip(name)}",
                )


def _entities(records: Sequence[Mapping[str, Any]], name: str) -> list[str | None]:
    if not name:
        return [None] * len(records)
    return [entity_of(record.get(name), index, name) for index, record in enumerate(records)]


def _event_times(records: Sequence[Mapping[str, Any]], name: str) -> list[str | None]:
    if not name:
        return [None] * len(records)
    return [event_time_of(record.get(name), index, name) for index, record in enumerate(records)]


def request_id_of(value: Any) -> str:
    """The client's id of its request, empty where it sent none."""
    if value is None:
        return ""
    if type(value) is str and 0 < len(value) <= MAX_REQUEST_ID and is_portable(value):
        return value
    raise RequestError(
        f"must be text of 1 to {MAX_REQUEST_ID} characters, or left out", "request_id"
    )


def entity_of(value: Any, index: int, name: str) -> str | None:
    """Whom a record is about, as text."""
    if value is None or (type(value) is str and is_portable(value)):
        return value
    if type(value) in (int, bool) or (type(value) is float and math.isfinite(value)):
        return str(value)
    problem = f"must be text, a finite number or null, not {kind_of(value)}"
    if type(value) is str:
        problem = "must not hold a NUL character or half a surrogate"
    raise RequestError(problem, f"records[{index}].{name}")


def event_time_of(value: Any, index: int, name: str) -> str | None:
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


def clip(text: object, limit: int = 60) -> str:
    """Client text short enough for an answer, and always encodable."""
    clean = str(text).encode("utf-8", "replace").decode()
    return clean if len(clean) <= limit else clean[:limit] + "…"
