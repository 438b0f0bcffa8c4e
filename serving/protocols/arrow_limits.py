"""What an Arrow IPC stream would become in memory, read from its messages before decoding them.

A compressed buffer begins with its decoded length, which is what the decoder allocates and fills
exactly, so the sum of these lengths bounds the memory. Layouts: format/Message.fbs of Apache Arrow
(columnar format 1.5) and the FlatBuffers internals. Vectors and tables are read from metadata that
Arrow's own verifier has passed; what is out of bounds all the same raises.
"""

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

_DICTIONARY, _RECORDS = 2, 3
MAX_LENGTH = 2**31


@dataclass(frozen=True)
class Size:
    """Rows of all record batches, bytes of all buffers when decoded, batches of both kinds."""

    rows: int
    decoded_bytes: int
    batches: int


def measure(messages: Any) -> Size:
    """Measure a `pyarrow.ipc.MessageReader`; raises struct.error or ValueError for nonsense."""
    rows = decoded = batches = 0
    for message in messages:
        metadata = message.metadata.to_pybytes()
        root = _indirect(metadata, 0)
        kind_at = _field(metadata, root, 1)
        kind = metadata[kind_at] if kind_at else 0
        if kind not in (_DICTIONARY, _RECORDS):
            continue
        batch = _table(metadata, root, 2)
        if kind == _DICTIONARY:
            if _is_delta(metadata, batch):
                raise ValueError("a dictionary grows, which is not supported")
            batch = _table(metadata, batch, 1)
        length_at = _field(metadata, batch, 0)
        length = struct.unpack_from("<q", metadata, length_at)[0] if length_at else 0
        if not 0 <= length < MAX_LENGTH:
            raise ValueError("a batch has an impossible number of rows")
        rows += length if kind == _RECORDS else 0
        decoded += _decoded_bytes(metadata, batch, message.body)
        batches += 1
    return Size(rows, decoded, batches)


def _is_delta(metadata: bytes, dictionary: int) -> bool:
    """Whether the batch extends a dictionary: Arrow would join both before they are validated."""
    at = _field(metadata, dictionary, 2)
    return bool(at and metadata[at])


def _decoded_bytes(metadata: bytes, batch: int, body: Any) -> int:
    vector_at = _field(metadata, batch, 2)
    if not vector_at:
        return 0
    if not _field(metadata, batch, 3):
        return len(body) if body is not None else 0
    vector = _indirect(metadata, vector_at)
    (count,) = struct.unpack_from("<I", metadata, vector)
    # struct Buffer { offset: int64; length: int64 }
    buffers = np.frombuffer(metadata, "<i8", count * 2, vector + 4).reshape(count, 2)
    total = 0
    raw = memoryview(body)
    for offset, length in buffers.tolist():
        if length:
            (decoded,) = struct.unpack_from("<q", raw, offset)
            total += length if decoded == -1 else decoded
            if decoded < -1 or offset < 0 or length < 0:
                raise ValueError("a buffer has a negative length")
    return total


def _indirect(data: bytes, at: int) -> int:
    """Where the table or vector is, to which the offset at this place points."""
    return int(at + struct.unpack_from("<I", data, at)[0])


def _field(data: bytes, table: int, number: int) -> int:
    """Where a field of the table is; 0 where the writer left it out."""
    vtable = table - struct.unpack_from("<i", data, table)[0]
    (size,) = struct.unpack_from("<H", data, vtable)
    entry = 4 + 2 * number
    offset = struct.unpack_from("<H", data, vtable + entry)[0] if entry < size else 0
    return table + offset if offset else 0


def _table(data: bytes, table: int, number: int) -> int:
    at = _field(data, table, number)
    if not at:
        raise ValueError("a message has no header")
    return _indirect(data, at)
