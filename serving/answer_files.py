"""The answers that a process gave lately, in a file that every process of the node reads.

A file has an index and a ring. The ring holds entries one after another and begins anew when it is
full. The index has a set of slots for each key; a slot says whose entry is where, and the oldest of
its set gives way. Only the process that made a file writes it, and readers take no lock: one that
meets a half-written slot or entry, or one that was overwritten, sees a wrong key or checksum, and
finds nothing. Files are not mapped into memory, where a full disk would be the process's end.
"""

import fcntl
import logging
import os
import struct
import tempfile
import threading
import weakref
import zlib
from pathlib import Path
from typing import Self
from uuid import uuid4

import orjson

from serving.answers import Answer

logger = logging.getLogger(__name__)

SUFFIX = ".answers"
KEY_BYTES = 16
# Of a request and an answer of a few hundred bytes, tens of thousands.
RING_BYTES = 32 * 1024 * 1024
SETS, WAYS = 16_384, 4
# Key, and the place of its entry in all that was ever written, from 1 on.
_SLOT = struct.Struct(f"<{KEY_BYTES}sQ")
_SET_BYTES = WAYS * _SLOT.size
_INDEX_BYTES = SETS * _SET_BYTES
# Key, digest of the request, checksum of the rest, status, lengths of headers and body.
_ENTRY = struct.Struct(f"<{KEY_BYTES}s16sIHHI")


class AnswerReader:
    """Looks for answers in one file, which may be written meanwhile. Owns the open file."""

    def __init__(self, handle: int) -> None:
        self.handle = handle
        self._room = os.fstat(handle).st_size - _INDEX_BYTES
        # At the latest when the last thread that looks for something has let go of it.
        self.close = weakref.finalize(self, os.close, handle)

    @classmethod
    def of(cls, path: Path) -> Self:
        """Open another process's file."""
        return cls(os.open(path, os.O_RDONLY | os.O_CLOEXEC))

    def find(self, key: bytes) -> tuple[bytes, Answer] | None:
        """The digest of the request that has this key, and its answer; None for an unknown key."""
        for known, place in self.slots(key):
            if known == key:
                return self._entry(key, (place - 1) % self._room + _INDEX_BYTES)
        return None

    def slots(self, key: bytes) -> list[tuple[bytes, int]]:
        """The slots of the key's set."""
        return list(_SLOT.iter_unpack(os.pread(self.handle, _SET_BYTES, set_of(key))))

    def _entry(self, key: bytes, begin: int) -> tuple[bytes, Answer] | None:
        raw = os.pread(self.handle, _ENTRY.size, begin)
        if len(raw) < _ENTRY.size:
            return None
        known, digest, checksum, status, head, body = _ENTRY.unpack(raw)
        if known != key or head + body > self._room:
            return None
        content = os.pread(self.handle, head + body, begin + _ENTRY.size)
        if zlib.crc32(content, status) != checksum:
            return None
        return digest, Answer(status, content[head:], orjson.loads(content[:head]))


class AnswerFile:
    """This process's own file. Safe to share by threads.

    Without a folder, or where none can be made in it, nobody else sees the file.
    """

    def __init__(self, folder: Path | None, ring_bytes: int = RING_BYTES) -> None:
        handle, self.path = _made(folder, _INDEX_BYTES + ring_bytes)
        self._room = ring_bytes
        self._at = 0
        self._lock = threading.Lock()
        self.reader = AnswerReader(handle)

    def add(self, key: bytes, digest: bytes, answer: Answer) -> None:
        """Keep an answer; does nothing for one that would take the room of too many others.

        `key` and `digest` have KEY_BYTES each. Raises OSError where the disk is full.
        """
        head = orjson.dumps(answer.headers)
        content = head + answer.body
        size = _ENTRY.size + len(content)
        if size > self._room // 4:
            return
        about = (zlib.crc32(content, answer.status), answer.status, len(head), len(answer.body))
        entry = _ENTRY.pack(key, digest, *about) + content
        with self._lock:
            left = self._room - self._at % self._room
            begin = self._at if size <= left else self._at + left
            self._at = begin + size
            os.pwrite(self.reader.handle, entry, _INDEX_BYTES + begin % self._room)
            slots = self.reader.slots(key)
            ranks = [(known != key, place) for known, place in slots]
            slot = set_of(key) + ranks.index(min(ranks)) * _SLOT.size
            os.pwrite(self.reader.handle, _SLOT.pack(key, begin + 1), slot)

    def close(self) -> None:
        """Let go of the file, which others may go on reading."""
        self.reader.close()


def set_of(key: bytes) -> int:
    """Where the key's slots begin."""
    return int.from_bytes(key[:4], "little") % SETS * _SET_BYTES


def is_left(path: Path) -> bool:
    """Whether the process that wrote the file has ended."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return False
    return True


def _made(folder: Path | None, size: int) -> tuple[int, Path | None]:
    """A new file of this size, full of zeros, and its path where others can read it."""
    if folder is not None:
        try:
            return _shared(folder, size)
        except OSError as error:
            logger.warning("Answers are not shared with other replicas: %s", error)
    with tempfile.TemporaryFile(buffering=0) as hidden:
        hidden.truncate(size)
        return os.dup(hidden.fileno()), None


def _shared(folder: Path, size: int) -> tuple[int, Path]:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"{os.getpid()}-{uuid4().hex[:12]}{SUFFIX}"
    # Its name tells nobody of it before it has its size.
    begun = path.with_suffix(".new")
    handle = os.open(begun, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        # The kernel lets go of it whatever end this process meets.
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.truncate(handle, size)
        begun.rename(path)
    except OSError:
        os.close(handle)
        raise
    return handle, path
