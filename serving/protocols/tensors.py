"""Tensors of the Open Inference Protocol, in JSON or as bytes after it, to and from columns."""

import math
import struct
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from mlops_assets.domain.column_requests import CodedText, Values
from mlops_assets.domain.errors import RequestError
from mlops_assets.domain.values import kind_of

BYTES, BOOL = "BYTES", "BOOL"
# Little endian, as the binary tensor data extension says.
DTYPES = {
    BOOL: "|b1",
    **{f"INT{bits}": f"<i{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": f"<u{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": f"<f{bits // 8}" for bits in (16, 32, 64)},
}
_KINDS: dict[str, tuple[set[type], str]] = {
    "b": ({bool}, "true or false"),
    "i": ({int}, "a whole number"),
    "u": ({int}, "a whole number"),
    "f": ({int, float}, "a number"),
    "": ({str}, "text"),
}
_PREFIX = struct.Struct("<I")


def from_json(data: Any, datatype: str, shape: Sequence[int], field: str) -> list[Any]:
    """The values in row-major order, None where null; each of the datatype that was declared.

    `data` may be flat or nested; null is missing, which the standard has no word for.
    """
    if not isinstance(data, list):
        raise RequestError(f"must be a list, not {kind_of(data)}", f"{field}.data")
    if len(shape) == 2 and data and type(data[0]) is list:
        for index, row in enumerate(data):
            if type(row) is not list or len(row) != shape[1]:
                raise RequestError(f"must be a list of {shape[1]} values", f"{field}[{index}]")
        if len(data) != shape[0]:
            raise RequestError(f"has {len(data)} rows, its shape says {shape[0]}", field)
        data = list(chain.from_iterable(data))
    size = math.prod(shape)
    if len(data) != size:
        raise RequestError(f"has {len(data)} values, its shape says {size}", field)
    kind = "" if datatype == BYTES else np.dtype(DTYPES[datatype]).kind
    allowed, wanted = _KINDS[kind]
    if not set(map(type, data)) <= {*allowed, type(None)}:
        index, value = next(
            (i, one) for i, one in enumerate(data) if one is not None and type(one) not in allowed
        )
        raise RequestError(f"must be {wanted}, not {kind_of(value)}", f"{field}[{index}]")
    if kind in ("i", "u"):
        _check_range(data, datatype, field)
    values: list[Any] = data
    return values


def _check_range(data: Sequence[int | None], datatype: str, field: str) -> None:
    limits = np.iinfo(DTYPES[datatype])
    low, high = int(limits.min), int(limits.max)
    for index, value in enumerate(data):
        if value is not None and not low <= value <= high:
            raise RequestError(f"must fit {datatype}", f"{field}[{index}]")


def from_bytes(data: memoryview, datatype: str, size: int, field: str) -> np.ndarray | CodedText:
    """The values of a binary tensor; NaN is missing, and there is no missing text."""
    if datatype == BYTES:
        return _texts(data, size, field)
    dtype = np.dtype(DTYPES[datatype])
    if len(data) != size * dtype.itemsize:
        raise RequestError(
            f"has {len(data)} bytes, its shape and datatype say {size * dtype.itemsize}", field
        )
    if datatype == BOOL:
        truth = np.frombuffer(data, np.uint8)
        if truth.size and truth.max() > 1:
            raise RequestError("must be 0 or 1", f"{field}[{int((truth > 1).argmax())}]")
    return np.frombuffer(data, dtype)


def _texts(data: memoryview, size: int, field: str) -> CodedText:
    """Each text is preceded by its length in four bytes."""
    raw = bytes(data)
    codes = np.empty(min(size, len(raw) // 4), np.int64)
    levels: dict[bytes, int] = {}
    at = 0
    try:
        for index in range(size):
            begin = at + 4
            at = begin + _PREFIX.unpack_from(raw, at)[0]
            if at > len(raw):
                raise RequestError("ends before its text does", f"{field}[{index}]")
            codes[index] = levels.setdefault(raw[begin:at], len(levels))
    except struct.error as error:
        raise RequestError(f"has fewer texts than the {size} of its shape", field) from error
    if at != len(raw):
        raise RequestError(f"has more bytes than the {size} texts of its shape", field)
    try:
        return CodedText(codes, [text.decode() for text in levels])
    except UnicodeDecodeError as error:
        raise RequestError("must hold UTF-8", field) from error


def columns_of(values: Values, names: Sequence[str], rows: int) -> dict[str, Values]:
    """The columns of one row-major tensor of numbers with a column for each name."""
    width = len(names)
    if isinstance(values, np.ndarray):
        table = values.reshape(rows, width)
        return {name: table[:, number] for number, name in enumerate(names)}
    assert isinstance(values, list)  # noqa: S101 - text is refused before
    return {name: values[number::width] for number, name in enumerate(names)}


def to_bytes(data: Sequence[Any], datatype: str) -> bytes:
    """The binary form of values in row-major order."""
    if datatype != BYTES:
        return np.asarray(data, DTYPES[datatype]).tobytes()
    return b"".join(_PREFIX.pack(len(text)) + text for text in map(str.encode, data))
