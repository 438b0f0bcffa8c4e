"""Following one model's prediction log while it is written."""

import logging
import mmap
from pathlib import Path

from mlops_assets.domain.errors import DataError
from mlops_assets.stores.prediction_log import LoggedRequest, node_name, read_from, segments

logger = logging.getLogger(__name__)

READ_BYTES = 1024 * 1024


class LogTail:
    """What this node's answering processes append from now on.

    Other nodes may share the folder: each follows its own segments. Nothing is remembered beyond
    this process.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mark = f"-{node_name()}-"
        self._positions = {path.stem: _end_of_lines(path) for path in self._segments()}

    def read(self, limit: int = READ_BYTES) -> list[LoggedRequest]:
        """The next whole lines, about `limit` bytes of each segment at most."""
        found: list[LoggedRequest] = []
        for path, position, _ in self._behind():
            try:
                records, self._positions[path.stem] = read_from(path, position, limit)
            except DataError as error:
                logger.error("%s; what else it holds by now is left out", error)
                self._positions[path.stem] = _end_of_lines(path)
            else:
                found += records
        return found

    def leave_out(self, most: int) -> int:
        """Leave out what is more than `most` bytes behind; returns how many requests it was."""
        left_out = 0
        for path, position, size in self._behind():
            if size - position <= most:
                continue
            with path.open("rb") as file:
                file.seek(position)
                skipped = file.read(size - position - most) + file.readline()
            # A line that is still being written is left for the next time.
            whole = skipped.rfind(b"\n") + 1
            self._positions[path.stem] = position + whole
            left_out += skipped.count(b"\n")
        return left_out

    def _behind(self) -> list[tuple[Path, int, int]]:
        """Segments with something new: position and size in bytes."""
        found = []
        for path in self._segments():
            try:
                size = path.stat().st_size
            except FileNotFoundError:
                continue
            position = self._positions.get(path.stem, 0)
            if size > position:
                found.append((path, position, size))
        return found

    def _segments(self) -> list[Path]:
        return [path for path in segments(self._folder) if self._mark in path.stem]


def _end_of_lines(path: Path) -> int:
    """Bytes up to the end of the last whole line."""
    with path.open("rb") as file:
        if not path.stat().st_size:
            return 0
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.rfind(b"\n") + 1
