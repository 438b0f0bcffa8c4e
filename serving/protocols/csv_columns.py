"""CSV as pandas writes it, read by the contract's types instead of by guessing."""

import csv
import io
import re
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

from mlops_assets.domain.contract import Contract
from mlops_assets.domain.errors import RequestError
from mlops_assets.domain.requests import TooManyRowsError, clip
from serving.bodies import BodyError
from serving.protocols.exchange import repeated

_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,5})?")
_BOOLEANS: dict[str, object] = {"true": True, "false": False}


def read_csv(body: bytes, contract: Contract) -> dict[str, Sequence[Any]]:
    """The columns that the header names; an empty cell is a missing value.

    Raises BodyError for what is no CSV in UTF-8, RequestError for rows that do not fit the header.
    A cell that cannot be of its column's type stays text, for the column parser to refuse.
    """
    try:
        text = body.decode("utf-8-sig")
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        # pandas writes a row that is empty as "", so a blank line is no row.
        filled = (row for row in reader if row)
        names = next(filled, [])
        rows = list(islice(filled, contract.max_rows + 1))
    except (UnicodeDecodeError, csv.Error) as error:
        raise BodyError("the body is not valid CSV in UTF-8") from error
    twice = repeated(names)
    if twice is not None:
        raise RequestError("occurs twice in the header", f"csv.{clip(twice)}")
    if not rows:
        raise RequestError("must have a header and at least one row", "csv")
    if len(rows) > contract.max_rows:
        raise TooManyRowsError(
            f"has more than {contract.max_rows} rows, which is the limit: split the request", "csv"
        )
    for index, row in enumerate(rows):
        if len(row) != len(names):
            raise RequestError(
                f"has {len(row)} cells, the header has {len(names)}", f"csv[{index}]"
            )
    readers: dict[str, Callable[[str], Any]] = {
        column.name: _text if column.type == "category" else _figure for column in contract.asked
    }
    return {
        name: [readers.get(name, _text)(cell) for cell in cells]
        for name, cells in zip(names, zip(*rows, strict=True), strict=True)
    }


def _text(cell: str) -> str | None:
    return cell or None


def _figure(cell: str) -> Any:
    """The number or truth value that a cell is, or its text."""
    if _WHOLE.fullmatch(cell):
        return int(cell)
    if _NUMBER.fullmatch(cell):
        return float(cell)
    return _BOOLEANS.get(cell.lower(), cell) if cell else None
