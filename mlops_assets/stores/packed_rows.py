"""One line of the prediction log for many rows: JSON about the request, its columns in base64.

Writing every value of thousands of rows as text takes longer than scoring them. So the columns are
written as they are in memory, one after another, and then the outputs, row by row. In base64, lines
stay lines: whoever follows, cuts or counts them sees no difference.

`columns` says how each column is written, all of it little-endian: null is float64; `{"bytes": b,
"places": p}` are whole numbers of so many bytes with a sign, to be divided by 10 ** p; a list has
the levels of a category, of which places in as few bytes as they fit. Outputs are float64.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from mlops_assets.domain.coded import Coded, Column
from mlops_assets.domain.decimals import LONG, SHORT, Decimals, decimals_of

# Fewer rows are logged as text, which anyone can read.
LEAST_ROWS = 128
PACKED = "packed"
NUMBER = np.dtype("<f8")
WHOLE = {kind.itemsize: kind for kind in (SHORT, LONG)}


@dataclass(frozen=True, slots=True)
class PackedRequest:
    """One answered request of n rows by one model version: `LoggedRequest` in arrays.

    `ids` is what the prediction ids `<ids>-0`, `<ids>-1`, … begin with, or the list of them.
    `entities` and `event_times` are None where no row has one. `outputs` is of shape (n, outputs).
    """

    request_id: str
    at: str
    version: str
    variant: str
    latency_ms: float
    ids: str | list[str]
    entities: list[str | None] | None
    event_times: list[str | None] | None
    columns: Mapping[str, Column]
    outputs: np.ndarray

    def line(self) -> bytes:
        """The line of the log, with its newline."""
        names: dict[str, Any] = {}
        parts: list[np.ndarray] = []
        decimals = _decimals(self.columns)
        for name, column in self.columns.items():
            found = decimals.get(name)
            if found is None:
                values, names[name] = _packed(column)
            else:
                values = found.whole
                names[name] = {"bytes": values.itemsize, "places": found.places}
            parts.append(values)
        parts.append(np.asarray(self.outputs, NUMBER))
        data = base64.b64encode(b"".join(np.ascontiguousarray(part).data for part in parts))
        content = {
            "request_id": self.request_id,
            "at": self.at,
            "version": self.version,
            "variant": self.variant,
            "latency_ms": self.latency_ms,
            "ids": self.ids,
            "entities": self.entities,
            "event_times": self.event_times,
            "rows": len(self.outputs),
            "columns": names,
        }
        # Put together here, since orjson would copy the data twice.
        return b'%b,"%b":"%b"}\n' % (orjson.dumps(content)[:-1], PACKED.encode(), data)


def unpack(content: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `LoggedRequest` of a decoded line.

    Raises KeyError, TypeError or ValueError for one that `PackedRequest` did not write.
    """
    raw, rows = base64.b64decode(content[PACKED], validate=True), content["rows"]
    at = 0
    features: dict[str, list[Any]] = {}
    for name, kind in content["columns"].items():
        values = np.frombuffer(raw, _type_of(kind), rows, at)
        at += values.nbytes
        if kind is None:
            features[name] = _numbers(values)
        elif isinstance(kind, dict):
            features[name] = Decimals(values, kind["places"]).numbers().tolist()
        else:
            features[name] = [kind[code] for code in values.tolist()]
    outputs = np.frombuffer(raw, NUMBER, offset=at).reshape(rows, -1)
    ids = content["ids"]
    about = ("request_id", "at", "version", "variant", "latency_ms")
    return {
        **{name: content[name] for name in about},
        "ids": [f"{ids}-{row}" for row in range(rows)] if isinstance(ids, str) else ids,
        "entities": content["entities"] or [None] * rows,
        "event_times": content["event_times"] or [None] * rows,
        "features": features,
        "outputs": outputs.tolist(),
    }


def _decimals(columns: Mapping[str, Column]) -> dict[str, Decimals | None]:
    """The columns of numbers that can be written as whole ones, by name."""
    numbers = {
        name: column
        for name, column in columns.items()
        if not isinstance(column, Coded) and column.dtype == np.float64
    }
    if not numbers:
        return {}
    return dict(zip(numbers, decimals_of(np.stack(list(numbers.values()))), strict=True))


def _packed(column: Column) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """The column as it is written, and its levels if it is a category."""
    if not isinstance(column, Coded):
        if column.dtype != object:
            return column.astype(NUMBER, copy=False), None
        column = Coded.of(column.tolist())
    codes, levels = column.codes, column.values
    if len(levels) > len(codes):
        # A client's dictionary may hold more levels than its rows have.
        used, codes = np.unique(codes, return_inverse=True)
        levels = tuple(levels[place] for place in used.tolist())
    return codes.astype(_dtype(len(levels)), copy=False), levels


def _type_of(kind: Any) -> np.dtype[Any]:
    """The type of a column's values, from what `columns` says of it."""
    if kind is None:
        return NUMBER
    return WHOLE[kind["bytes"]] if isinstance(kind, dict) else _dtype(len(kind))


def _dtype(levels: int) -> np.dtype[Any]:
    return np.dtype("u1" if levels <= 2**8 else "<u2" if levels <= 2**16 else "<u4")


def _numbers(values: np.ndarray) -> list[float | None]:
    found: list[float | None] = values.tolist()
    for place in np.flatnonzero(np.isnan(values)).tolist():
        found[place] = None
    return found
