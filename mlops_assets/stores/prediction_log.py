"""The prediction log: what was answered, appended before the answer leaves.

Each replica process writes its own segment per model, one JSON line per request with a single
`write`, so a crash loses no answered prediction and tears at most the last line. Readers start
at a byte offset and ignore a torn tail, so an open segment can be read again and again without
a row being seen twice. The log survives the process, not the machine's power: there is no fsync.
"""

import fcntl
import os
import re
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import orjson

from mlops_assets.domain.contract import MISSING_CATEGORY, Contract
from mlops_assets.domain.errors import DataError
from mlops_assets.stores.packed_rows import PACKED, PackedRequest, unpack

if TYPE_CHECKING:
    import pyarrow as pa

SEGMENT_BYTES = 64 * 1024 * 1024
READ_BYTES = 64 * 1024 * 1024
# Columns of the table that are about the prediction; no input may have such a name.
RESERVED_COLUMNS = (
    "prediction_id",
    "request_id",
    "entity",
    "event_time",
    "served_at",
    "model",
    "version",
    "variant",
    "latency_ms",
    "prediction",
)


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """One answered request: n predictions of one model version.

    `at` and `event_times` are ISO 8601 in UTC. `features` has one list of n values per input,
    with None for a missing number. `outputs` has n lists: probabilities by class, or one value.
    """

    request_id: str
    at: str
    version: str
    variant: str
    latency_ms: float
    ids: list[str]
    entities: list[str | None]
    event_times: list[str | None]
    features: dict[str, list[Any]]
    outputs: list[list[float]]

    def line(self) -> bytes:
        """The line of the log, with its newline."""
        return orjson.dumps(self, option=orjson.OPT_APPEND_NEWLINE)


def node_name() -> str:
    """This machine or pod, as the names of its segments have it."""
    return re.sub(r"[^0-9A-Za-z.]", "_", socket.gethostname()) or "node"


def new_segment_id(writer: str = "") -> str:
    """A segment name that no other process and no other segment of this one has.

    `writer` tells who writes it, by default the processes that answer on this node.
    """
    time = f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
    return f"{time}-{writer or node_name()}-{os.getpid()}-{uuid4().hex[:12]}"


class SegmentWriter:
    """Appends to one segment, and starts the next when it is full. Safe to share by threads."""

    def __init__(
        self, folder: Path, segment_id: str = "", limit: int = SEGMENT_BYTES, writer: str = ""
    ) -> None:
        self._folder = folder
        self._limit = limit
        self._writer = writer
        self._lock = threading.Lock()
        self._size, self._failed = 0, False
        folder.mkdir(parents=True, exist_ok=True)
        self._open(segment_id or new_segment_id(writer))

    def append(self, record: LoggedRequest | PackedRequest) -> None:
        """Write one line with a single system call; raises OSError when the disk refuses it."""
        self._write(record.line())

    def append_all(self, records: Sequence[LoggedRequest]) -> None:
        """Write many lines with one system call; an OSError says that not all of them are there."""
        self._write(b"".join(record.line() for record in records))

    def _write(self, lines: bytes) -> None:
        with self._lock:
            if self._failed or (self._size and self._size + len(lines) > self._limit):
                self._roll()
            # A line that may be torn must stay the last of its segment, where readers ignore it.
            # Only a segment without any line can be tried again, so a full disk makes no crowd.
            self._failed = self._size > 0
            written = os.write(self._handle, lines)
            self._size += written
            self._failed = written != len(lines)
            if self._failed:
                raise OSError(f"{self.path}: only {written} of {len(lines)} bytes were written")

    def close(self) -> None:
        """Close the segment; nothing may be appended afterwards."""
        os.close(self._handle)

    def _open(self, segment_id: str) -> None:
        path = self._folder / f"{segment_id}.jsonl"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._handle = os.open(path, flags, 0o640)
        # The kernel lets go of it whatever end this process meets: see log_lag.torn_bytes.
        with suppress(OSError):
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.path, self._failed = path, False
        self._size = os.fstat(self._handle).st_size

    def _roll(self) -> None:
        """Start the next segment; where it cannot be opened, this one stays."""
        before = self._handle
        self._open(new_segment_id(self._writer))
        os.close(before)


def segments(folder: Path) -> list[Path]:
    """Every segment of one model, oldest first; the segment id is the path's stem."""
    return sorted(folder.glob("*.jsonl"))


def read_from(path: Path, offset: int, limit: int = READ_BYTES) -> tuple[list[LoggedRequest], int]:
    """Whole lines from byte `offset` on, and the offset to continue from.

    Reads at most about `limit` bytes, but always a whole line. A last line without its newline
    is still being written, or was torn by a crash: it is left for the next time. Raises DataError
    for a whole line that is no record.
    """
    with path.open("rb") as file:
        file.seek(offset)
        raw = file.read(limit)
        if not raw.endswith(b"\n"):
            raw += file.readline()
    lines = raw.split(b"\n")
    torn = lines.pop()
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            content = orjson.loads(line)
            records.append(LoggedRequest(**(unpack(content) if PACKED in content else content)))
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(
                f"Prediction log {path}: line {number} after byte {offset} is no record ({error}); "
                "move the segment away to go on without it."
            ) from error
    return records, offset + len(raw) - len(torn)


def output_columns(contract: Contract) -> list[str]:
    """The table's output columns: p_<class> for each class, or value."""
    return [f"p_{name}" for name in contract.classes] or ["value"]


def to_table(records: Sequence[LoggedRequest], contract: Contract) -> "pa.Table":
    """One row per prediction.

    Columns: prediction_id, request_id, entity, event_time and served_at (timestamp[us, UTC]; the
    event time is the served time where the client sent none), model, version, variant,
    latency_ms, the outputs of `output_columns` (float64), prediction (class label, or float64)
    and the contract's inputs (float64, or text with null for missing). Inputs that a record's
    version did not have are null. Raises DataError when a record has other outputs, or an input has
    the name of one of the other columns.
    """
    import pyarrow as pa

    taken = {*RESERVED_COLUMNS, *output_columns(contract)}
    for column in contract.columns:
        if column.name in taken:
            raise DataError(
                f"Input {column.name!r} of {contract.model} has the name of a column that the "
                "prediction log needs itself: rename it in the source."
            )
    counts = [len(record.ids) for record in records]
    time = pa.timestamp("us", "UTC")
    at = [datetime.fromisoformat(record.at) for record in records]
    columns: dict[str, pa.Array] = {
        "prediction_id": pa.array(_flat([r.ids for r in records]), pa.string()),
        "request_id": pa.array(_spread([r.request_id for r in records], counts), pa.string()),
        "entity": pa.array(_flat([r.entities for r in records]), pa.string()),
        "event_time": pa.array(
            [
                datetime.fromisoformat(value) if value else served
                for record, served in zip(records, at, strict=True)
                for value in record.event_times
            ],
            time,
        ),
        "served_at": pa.array(_spread(at, counts), time),
        "model": pa.array([contract.model] * sum(counts), pa.string()),
        "version": pa.array(_spread([r.version for r in records], counts), pa.string()),
        "variant": pa.array(_spread([r.variant for r in records], counts), pa.string()),
        "latency_ms": pa.array(_spread([r.latency_ms for r in records], counts), pa.float64()),
    }
    columns.update(_output_arrays(records, contract))
    for column in contract.columns:
        values = _flat([r.features.get(column.name) or [None] * len(r.ids) for r in records])
        if column.type == "category":
            values = [None if value == MISSING_CATEGORY else value for value in values]
            columns[column.name] = pa.array(values, pa.string())
        else:
            columns[column.name] = pa.array(values, pa.float64())
    return pa.table(columns)


def _output_arrays(records: Sequence[LoggedRequest], contract: Contract) -> dict[str, "pa.Array"]:
    import numpy as np
    import pyarrow as pa

    names = output_columns(contract)
    for record in records:
        if any(len(row) != len(names) for row in record.outputs):
            raise DataError(
                f"Request {record.request_id} of version {record.version} has "
                f"{len(record.outputs[0])} outputs, the contract of {contract.model} {len(names)}: "
                "read each version with its own contract."
            )
    outputs = np.array(_flat([r.outputs for r in records]), dtype=np.float64)
    outputs = outputs.reshape(-1, len(names))
    arrays = {name: pa.array(outputs[:, index]) for index, name in enumerate(names)}
    if contract.classes:
        # argmax takes the lower index at a tie: the rule of predicted classes everywhere.
        labels = np.array(contract.classes, dtype=object)[outputs.argmax(axis=1)]
        return {**arrays, "prediction": pa.array(labels, pa.string())}
    return {**arrays, "prediction": pa.array(outputs[:, 0])}


def _flat(lists: Sequence[Sequence[Any]]) -> list[Any]:
    return [value for values in lists for value in values]


def _spread(values: Sequence[Any], counts: Sequence[int]) -> list[Any]:
    return [v for value, n in zip(values, counts, strict=True) for v in [value] * n]
