"""Validation of prediction requests that arrive by column, as strict as that of records.

Lists hold values as JSON has them and mean the same as in records. In typed arrays a masked value
is missing, and so is NaN, since not every format of numbers has a null. Text with its levels listed
once (`CodedText`) is checked level by level, whatever the number of rows. Standard library and
numpy only.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlops_assets.domain.coded import Coded, Column
from mlops_assets.domain.contract import MISSING_CATEGORY, Contract, ContractColumn
from mlops_assets.domain.date_parts import parts_of
from mlops_assets.domain.errors import RequestError
from mlops_assets.domain.requests import (
    ParsedRequest,
    TooManyRowsError,
    clip,
    entity_of,
    event_time_of,
    request_id_of,
)
from mlops_assets.domain.values import (
    LARGEST_INTEGER,
    are_categories,
    is_portable,
    kind_of,
    read_column,
)


@dataclass(frozen=True, slots=True)
class CodedText:
    """Text by dictionary: `codes` of shape (n,) index `levels`, and -1 is a missing value."""

    codes: np.ndarray
    levels: Sequence[str]

    def __len__(self) -> int:
        return len(self.codes)


Values = Sequence[Any] | np.ndarray | CodedText


class ColumnParser:
    """Turns columns into a ParsedRequest, or refuses them."""

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        inputs = {column.name for column in contract.asked}
        self._known = inputs | ({contract.entity, contract.event_time} - {""})
        # A time that is also an input is typed by the contract, so it isn't read as ISO text.
        self._time = "" if contract.event_time in inputs else contract.event_time

    def parse(
        self,
        columns: Mapping[str, Values],
        request_id: object = None,
        where: str = "",
        valid: Mapping[str, Column] | None = None,
    ) -> ParsedRequest:
        """Validate columns; raises RequestError naming the first offending field.

        Fields are `<where><column>` or `<where><column>[row]`. A nullable column that is not
        there is missing in every row. Inputs in `valid` are taken as they are: whoever decoded
        them has checked each value.
        """
        known_id = request_id_of(request_id)
        valid = valid or {}
        given = {**valid, **columns}
        rows = self._rows(given, where)
        entity, time = self._contract.entity, self._time
        read: dict[str, Column] = {}
        for column in self._contract.asked:
            name, values = column.name, columns.get(column.name)
            if name in valid:
                read[name] = valid[name]
            elif isinstance(values, CodedText):
                read[name] = _coded(column, values, f"{where}{name}")
            elif values is None:
                read[name] = _missing(column, rows)
            else:
                read[name] = _read(column, values, where)
        times = _extras(event_time_of, columns.get(time), rows, time, where)
        parts = parts_of(
            self._contract,
            times,
            lambda row: f"{where}{time}[{row}]" if time in columns else f"{where}{time}",
        )
        return ParsedRequest(
            request_id=known_id,
            columns={**read, **parts},
            entities=times
            if self._contract.is_known_by_time
            else _extras(entity_of, columns.get(entity), rows, entity, where),
            event_times=times,
            absent={
                name: np.ones(rows, dtype=bool)
                for name in self._contract.looked_up
                if name not in given
            },
        )

    def _rows(self, columns: Mapping[str, Values | Column], where: str) -> int:
        """How many rows all columns have, which are those that the contract wants."""
        for name in columns:
            if name not in self._known:
                inputs = ", ".join(sorted(column.name for column in self._contract.asked))
                raise RequestError(
                    f"is not a column of {self._contract.model}; it has {clip(inputs, 300)}",
                    f"{where}{clip(name)}",
                )
        for column in self._contract.asked:
            if column.name not in columns and not column.nullable:
                raise RequestError(
                    f"is missing; it is a required {column.type}", f"{where}{column.name}"
                )
        lengths = {name: _length(values, f"{where}{name}") for name, values in columns.items()}
        rows = next(iter(lengths.values()), 0)
        for name, length in lengths.items():
            if length != rows:
                raise RequestError(
                    f"has {length} values, {next(iter(lengths))} has {rows}", f"{where}{name}"
                )
        if rows == 0:
            raise RequestError("must have at least one row", where.rstrip(".") or "body")
        if rows > self._contract.max_rows:
            raise TooManyRowsError(
                f"has {rows} rows, the limit is {self._contract.max_rows}: split the request",
                where.rstrip(".") or "body",
            )
        return rows


def _length(values: Any, field: str) -> int:
    if isinstance(values, np.ndarray):
        if values.ndim != 1:
            raise RequestError("must have one value per row", field)
    elif not isinstance(values, CodedText | Coded | list | tuple):
        raise RequestError(f"must be a list with one value per row, not {kind_of(values)}", field)
    return len(values)


def _missing(column: ContractColumn, rows: int) -> Column:
    if column.type == "category":
        return Coded(np.zeros(rows, dtype=np.int32), (MISSING_CATEGORY,))
    return np.full(rows, np.nan)


def _read(column: ContractColumn, values: Sequence[Any] | np.ndarray, where: str) -> Column:
    if isinstance(values, np.ndarray) and values.dtype != object:
        return _typed(column, values, f"{where}{column.name}")
    try:
        return read_column(column, tuple(values) if isinstance(values, np.ndarray) else values)
    except RequestError as error:
        raise _by_column(error, where) from None


def _by_column(error: RequestError, where: str) -> RequestError:
    """The error with its field by column instead of by record."""
    index, _, name = error.field.removeprefix("records[").partition("].")
    return RequestError(str(error), f"{where}{name}[{index}]")


def _coded(column: ContractColumn, values: CodedText, field: str) -> Coded:
    if column.type != "category":
        raise RequestError(f"must hold {_wanted(column)}, not text", field)
    codes, levels = values.codes, tuple(values.levels)
    if len(codes) and codes.min() < 0:
        if not column.nullable:
            _refuse_first(codes < 0, "must not be null; it is a required category", field)
        codes = np.where(codes < 0, len(levels), codes)
        found = Coded(codes, (*levels, MISSING_CATEGORY))
    else:
        found = Coded(codes, levels)
    if are_categories(levels):
        return found
    for level, text in enumerate(levels):
        if text == MISSING_CATEGORY:
            problem = "must not be the text that stands for a missing value; send null instead"
        elif not is_portable(text):
            problem = "must not hold a NUL character or half a surrogate"
        else:
            continue
        # A level that no row has does no harm.
        _refuse_first(codes == level, problem, field)
    return found


def _typed(column: ContractColumn, values: np.ndarray, field: str) -> np.ndarray:
    data, kind = np.ma.getdata(values), values.dtype.kind
    accepted = {"category": "", "boolean": "biuf"}.get(column.type, "iuf")
    if kind not in accepted:
        name = {"b": "booleans", "i": "numbers", "u": "numbers", "f": "numbers"}.get(kind, "text")
        raise RequestError(f"must hold {_wanted(column)}, not {name}", field)
    if kind == "f" and column.type == "number" and np.isfinite(data).all() and data is values:
        return data.astype(np.float64, copy=False)
    numbers = data.astype(np.float64)
    if np.ma.isMaskedArray(values):
        numbers[np.ma.getmaskarray(values)] = np.nan
    is_missing = np.isnan(numbers)
    if not column.nullable:
        _refuse_first(is_missing, f"must not be null; it is a required {column.type}", field)
    if kind == "f":
        _refuse_first(np.isinf(numbers), "must be a finite number that fits 64 bits", field)
    if column.type == "integer":
        _refuse_first(~is_missing & (np.floor(numbers) != numbers), "must be a whole number", field)
        # Of the values as they came: a float64 can't tell 2^53 from the integer after it.
        exact = numbers if kind == "f" else data
        too_large = (exact > LARGEST_INTEGER) | (exact < -LARGEST_INTEGER)
        _refuse_first(too_large & ~is_missing, "must lie between -2^53 and 2^53", field)
    if column.type == "boolean":
        is_truth = is_missing | (numbers == 0) | (numbers == 1)
        _refuse_first(~is_truth, "must be true or false, not a number", field)
    return numbers


def _wanted(column: ContractColumn) -> str:
    return {
        "number": "numbers",
        "integer": "whole numbers",
        "boolean": "booleans",
        "category": "text",
    }[column.type]


def _refuse_first(is_bad: np.ndarray, problem: str, field: str) -> None:
    if is_bad.any():
        raise RequestError(problem, f"{field}[{int(is_bad.argmax())}]")


def _extras(
    read: Callable[[Any, int, str], str | None],
    values: Values | None,
    rows: int,
    name: str,
    where: str,
) -> list[str | None]:
    """The values of a column that is logged, not scored; none where there is no such column."""
    if values is None or not name:
        return [None] * rows
    codes = None
    if isinstance(values, CodedText):
        codes, values = values.codes, values.levels
    elif isinstance(values, np.ndarray):
        values = [None if value != value else value for value in values.tolist()]
    try:
        texts = [read(value, index, name) for index, value in enumerate(values)]
    except RequestError as error:
        # Of a level it would be the number of the level, so then the column alone is named.
        raise (
            _by_column(error, where)
            if codes is None
            else RequestError(str(error), f"{where}{name}")
        ) from None
    if codes is None:
        return texts
    # The code of a missing value, -1, is the last place.
    texts.append(None)
    return [texts[code] for code in codes.tolist()]
