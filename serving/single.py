"""The short way for the usual request: one record, every column there, nothing odd in it.

msgspec decodes and type-checks the bytes in one pass, by types compiled from the contract. What
it takes is a subset of what `RequestParser` takes, and means the same; for anything else `read`
gives None, and the long way decides, and says what is wrong.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from mlops_assets.domain.contract import MISSING_CATEGORY, Contract, ContractColumn
from mlops_assets.domain.date_parts import part_of
from mlops_assets.domain.errors import RequestError
from mlops_assets.domain.requests import MAX_REQUEST_ID, event_time_of
from mlops_assets.domain.values import LARGEST_INTEGER

# A request with a longer body has long texts in it, which deserve a closer look.
MAX_BYTES = 16 * 1024

_WHOLE = Annotated[int, msgspec.Meta(ge=-LARGEST_INTEGER, le=LARGEST_INTEGER)]
_TYPES: dict[str, Any] = {"number": float, "integer": _WHOLE, "boolean": bool, "category": str}
_MISSING = MISSING_CATEGORY.encode()


@dataclass(frozen=True, slots=True)
class SingleRecord:
    """One record that keeps the contract.

    `numbers` and `categories` are in the order of the contract's columns of that kind; None is a
    missing number, MISSING_CATEGORY a missing category.
    """

    request_id: str
    numbers: Sequence[float | None]
    categories: Sequence[str]
    entity: str | None
    event_time: str | None


class SingleRecordReader:
    """Reads requests of one record for one contract."""

    def __init__(self, contract: Contract) -> None:
        self._time = contract.event_time
        # A row that its time identifies (an hour, a day) carries both under one key.
        self._is_known_by_time = contract.is_known_by_time
        numbers = [column for column in contract.asked if column.type != "category"]
        texts = [column for column in contract.asked if column.type == "category"]
        self._computed = contract.computed
        self._numbers = len(numbers)
        self._has_booleans = any(column.type == "boolean" for column in numbers)
        self._inputs = self._numbers + len(texts)
        self._decoder = None
        if are_readable(contract):
            record = record_type(contract, [*numbers, *texts])
            rows: Any = tuple[record]  # type: ignore[valid-type]
            self._decoder = msgspec.json.Decoder(request_type(("records", rows)))

    def read(self, raw: bytes) -> SingleRecord | None:
        """The record, or None for a request that must be looked at more closely."""
        if self._decoder is None or len(raw) > MAX_BYTES or b"\\" in raw or _MISSING in raw:
            return None
        try:
            request = self._decoder.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        record = request.records[0]
        values = msgspec.structs.astuple(record)
        entity, time = getattr(record, "entity", _UNSET), getattr(record, "time", _UNSET)
        texts = values[self._numbers : self._inputs]
        request_id = request.request_id
        keys = 1 + self._inputs
        keys += (request_id is not _UNSET) + (entity is not _UNSET) + (time is not _UNSET)
        # A key that occurs twice shows as a colon too many, see bodies.decode.
        surplus = raw.count(b":") - keys
        if surplus and surplus != sum(
            text.count(":") for text in (*texts, entity, time, request_id) if type(text) is str
        ):
            return None
        if self._is_known_by_time:
            time = entity
        if type(time) is str:
            try:
                time = event_time_of(time, 0, self._time)
            except RequestError:
                return None
            if self._is_known_by_time:
                entity = time
        if None in texts:
            texts = tuple(MISSING_CATEGORY if text is None else text for text in texts)
        figures = values[: self._numbers]
        if self._has_booleans:
            figures = tuple(float(one) if one is True or one is False else one for one in figures)
        if self._computed:
            if type(time) is not str:
                return None
            try:
                figures = (*figures, *(part_of(time, column) for column in self._computed))
            except OverflowError:
                return None
        return SingleRecord(
            request_id or "" if request_id is not _UNSET else "",
            figures,
            texts,
            entity if entity is not _UNSET else None,
            time if time is not _UNSET else None,
        )


_UNSET = msgspec.UNSET


def are_readable(contract: Contract) -> bool:
    """Whether records of the contract can be decoded by type.

    Read the long way: an input that is also logged as entity or time, names that the decoder
    cannot look for, and what may have to be looked up.
    """
    inputs = {column.name for column in contract.asked}
    extras = {contract.entity, contract.event_time} - {""}
    is_plain = inputs.isdisjoint(extras) and all(map(_is_plain, inputs | extras))
    return is_plain and not contract.history


def type_of(column: ContractColumn, plain: Any = None) -> Any:
    """The type of the column's values in JSON, `plain` but for missing ones."""
    plain = plain or _TYPES[column.type]
    return plain | None if column.nullable else plain


def record_type(
    contract: Contract,
    columns: Sequence[ContractColumn],
    kind: Callable[[ContractColumn], Any] = type_of,
) -> Any:
    """The type of a record: the fields of `columns`, then entity and event time if there are any.

    Fields are numbered, since any text can name a column.
    """
    fields: list[Any] = [(f"c{i}", kind(column)) for i, column in enumerate(columns)]
    optional = str | None | msgspec.UnsetType
    names = {f"c{i}": column.name for i, column in enumerate(columns)}
    for field, name in (("entity", contract.entity), ("time", contract.event_time)):
        if name and name not in names.values():
            fields.append((field, optional, _UNSET))
            names[field] = name
    return msgspec.defstruct("Record", fields, rename=names, forbid_unknown_fields=True, gc=False)


def request_type(*rows: Any) -> Any:
    """The type of a body: the fields that hold its rows, and the request id."""
    request_id = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_REQUEST_ID)]
    return msgspec.defstruct(
        "Request",
        [*rows, ("request_id", request_id | None | msgspec.UnsetType, _UNSET)],
        forbid_unknown_fields=True,
        gc=False,
    )


def _is_plain(name: str) -> bool:
    """Whether msgspec can look for a key of this name."""
    return name.isprintable() and "\\" not in name and '"' not in name
