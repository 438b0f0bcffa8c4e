"""The same request id gets the same answer: what the node's replicas answered lately, by id."""

import hashlib
import logging
import threading
import time
from contextlib import suppress
from pathlib import Path

from serving.answer_files import (
    KEY_BYTES,
    RING_BYTES,
    SUFFIX,
    AnswerFile,
    AnswerReader,
    is_left,
)
from serving.answers import Answer, Refusal

logger = logging.getLogger(__name__)

# Files of processes that have ended: whoever repeats a request does so within minutes.
KEPT_FILES = 8
# Two changes of a folder may get the same time; after this long there is no other to come.
SETTLED_NANOSECONDS = 1_000_000_000


class Repeats:
    """Answers by model and request id; forgets the oldest. Safe to share by threads.

    With a folder, processes know each other's answers, and those of processes that have ended.
    Two that get the same new request at once both answer it, under the same prediction ids, of
    which the ingestion keeps one; so does another node.
    """

    def __init__(self, folder: Path | None = None, ring_bytes: int = RING_BYTES) -> None:
        self._folder = folder
        self._own = AnswerFile(folder, ring_bytes)
        self._others: dict[Path, AnswerReader] = {}
        self._seen = -1
        self._looking = threading.Lock()
        self._is_full = False
        if folder is not None:
            _forget(folder)

    def find(self, model: str, request_id: str, body: bytes) -> Answer | None:
        """The answer that this request got before.

        Raises Refusal (409) when the id was used for another body.
        """
        key = _digest(f"{model}\0{request_id}".encode())
        found = self._own.reader.find(key) or self._elsewhere(key)
        if found is None:
            return None
        if found[0] != _digest(body):
            raise Refusal(
                409, "request_id", "was used for another request: give each request its own id"
            )
        return found[1]

    def remember(self, model: str, request_id: str, body: bytes, answer: Answer) -> None:
        """Keep an answer; on a full disk it is forgotten, and its prediction is in the log."""
        try:
            self._own.add(_digest(f"{model}\0{request_id}".encode()), _digest(body), answer)
            self._is_full = False
        except OSError as error:
            if not self._is_full:
                logger.warning("Answers cannot be remembered: %s", error)
            self._is_full = True

    def close(self) -> None:
        """Let go of all files."""
        self._own.close()
        for reader in self._others.values():
            reader.close()

    def _elsewhere(self, key: bytes) -> tuple[bytes, Answer] | None:
        if self._folder is None:
            return None
        self._look(self._folder)
        for reader in self._others.values():
            found = reader.find(key)
            if found is not None:
                return found
        return None

    def _look(self, folder: Path) -> None:
        """Open the files that have come since."""
        try:
            changed = folder.stat().st_mtime_ns
            if changed == self._seen and time.time_ns() - changed > SETTLED_NANOSECONDS:
                return
            with self._looking:
                others: dict[Path, AnswerReader] = {}
                for path in set(folder.glob(f"*{SUFFIX}")) - {self._own.path}:
                    with suppress(FileNotFoundError):
                        others[path] = self._others.get(path) or AnswerReader.of(path)
                self._others, self._seen = others, changed
        except (OSError, ValueError) as error:
            logger.warning("The answers of other replicas cannot be read: %s", error)


def _forget(folder: Path) -> None:
    """Remove the files of processes that have ended, but for the newest."""
    with suppress(OSError):
        left = [path for path in folder.glob(f"*{SUFFIX}") if is_left(path)]
        left.sort(key=lambda path: path.stat().st_mtime_ns)
        for path in left[: max(len(left) - KEPT_FILES, 0)]:
            path.unlink(missing_ok=True)


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=KEY_BYTES).digest()
