"""How far the prediction log is ahead of the lake, and what crashes tore off its segments."""

import fcntl
import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import orjson

from mlops_assets.stores.files import write_atomically
from mlops_assets.stores.prediction_log import segments

POSITIONS = "ingested.json"


@dataclass(frozen=True)
class LogLag:
    """What of one model's log is not in the lake: bytes that will be, and torn lines, which won't.

    A torn line was being written when its process died or its disk was full, so it was never
    answered.
    """

    pending_bytes: int
    torn_lines: int


def write_positions(folder: Path, positions: Mapping[str, int]) -> None:
    """Tell the serving side how far each segment is in the lake."""
    write_atomically(folder / POSITIONS, orjson.dumps(dict(positions)))


def log_lag(folder: Path) -> LogLag:
    """The lag of one model's log."""
    try:
        positions: dict[str, int] = orjson.loads((folder / POSITIONS).read_bytes())
    except FileNotFoundError:
        positions = {}
    pending = torn = 0
    for path in segments(folder):
        behind = path.stat().st_size - positions.get(path.stem, 0)
        lost = torn_bytes(path) if behind else 0
        pending += behind - lost
        torn += lost > 0
    return LogLag(pending, torn)


def torn_bytes(path: Path) -> int:
    """The length of a segment's last line if that was torn; 0 as long as it may be completed.

    Whoever writes a segment holds a lock on it, which ends with the process. Where the file
    system has no locks, a line that is being written may be taken for a torn one for a moment.
    """
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return 0
        if not path.stat().st_size:
            return 0
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return len(content) - 1 - content.rfind(b"\n")
