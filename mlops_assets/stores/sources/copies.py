"""Copies on this machine of files at http(s) addresses: one download per version of a file.

A server is asked whether the file is still the one of the copy (ETag, else Last-Modified), and
only another one is downloaded, as a stream into a file that is renamed when it is whole. All of a
reading sees one copy, so that a file that changes in the meantime changes nothing. A copy and the
one before it are kept, so that who reads the older one may end.
"""

import errno
import hashlib
import json
import logging
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from http.client import HTTPResponse
from pathlib import Path
from typing import IO

from filelock import FileLock, Timeout

from mlops_assets.domain.errors import SourceAwayError, SourceError
from mlops_assets.settings import Settings
from mlops_assets.stores.files import write_atomically
from mlops_assets.stores.sources.contents import decode, ending
from mlops_assets.stores.sources.web import (
    PassingError,
    Version,
    WebFile,
    asked,
    failures,
    place,
)

logger = logging.getLogger(__name__)
# Dagster and the command line listen to this logger, others hear warnings alone.
logger.setLevel(logging.INFO)

TRIES = 3
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
# In one process, a copy counts as current for so long, so that an evaluation of many readings asks
# once. Where a server does not tell versions apart, asking is downloading.
CURRENT_SECONDS = 10.0
CURRENT_SECONDS_UNTOLD = 300.0
# Of the time that a process runs, at most a tenth goes into downloads of an unchanged file.
CURRENT_PER_DOWNLOAD = 10
# A server that sends less than this per second, over a whole timeout, is too slow.
SLOWEST = 1024
TOLD_EVERY = 5.0
BLOCK = 1 << 20
# Unused for so long, a copy is of a model that is gone.
KEPT = timedelta(days=30)
NOTE = "copy.json"
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Copy:
    """A file as it was at its address.

    `type` is what the server calls its kind of content; `took` are the seconds of its download.
    """

    path: Path
    version: Version
    type: str
    took: float

    def begins_with(self, mark: bytes) -> bool:
        """Whether these are the first bytes."""
        with self.path.open("rb") as file:
            return file.read(len(mark)) == mark


# By process, folder and whose token: until when a copy counts as current.
_current: dict[tuple[int, Path, str], tuple[float, Copy]] = {}


def copy_of(file: WebFile) -> Copy:
    """The file as it is now.

    Raises SourceAwayError when it is not there, does not come whole or in time; SourceError where
    it is refused or no table.
    """
    folder = Settings.load().downloads / hashlib.sha256(file.address.encode()).hexdigest()[:16]
    reader = (os.getpid(), folder, file.token_env)
    until, copy = _current.get(reader, (0.0, None))
    if copy is not None and time.monotonic() < until and copy.path.exists():
        return copy
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(file, folder):
            copy = _patiently(file, folder)
    except OSError as error:
        raise _no_place(file, folder, error) from error
    least = CURRENT_SECONDS if copy.version else CURRENT_SECONDS_UNTOLD
    lasting = max(least, 0 if copy.version else CURRENT_PER_DOWNLOAD * copy.took)
    _current[reader] = (time.monotonic() + lasting, copy)
    return copy


@contextmanager
def _alone(file: WebFile, folder: Path) -> Iterator[None]:
    """One process at a time: the next one finds the copy that it needs."""
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=TOLD_EVERY)
    except Timeout:
        logger.info("%s: waiting for another process that downloads it", file.address)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _patiently(file: WebFile, folder: Path) -> Copy:
    for tried in range(1, TRIES + 1):
        try:
            return _refreshed(file, folder)
        except PassingError as error:
            if tried == TRIES:
                raise SourceAwayError(f"{error} Tried {TRIES} times.") from error
            pause = error.pause or FIRST_PAUSE * 2 ** (tried - 1)
            time.sleep(min(pause, LONGEST_PAUSE))
    raise AssertionError("unreachable")


def _refreshed(file: WebFile, folder: Path) -> Copy:
    held = _held(folder)
    with asked(file, held.version if held else Version()) as answer:
        if answer is None and held is not None:
            os.utime(folder / NOTE)
            return held
        if answer is None:
            raise PassingError(f"{file.address} answers as if its file were known already.")
        copy = _downloaded(answer, file, folder)
    if copy.version:
        with asked(file, copy.version) as newer:
            if newer is not None:
                copy.path.unlink()
                raise PassingError(
                    f"the file at {file.address} changes while it is downloaded: put finished "
                    "files there, by renaming them."
                )
    note = {**asdict(copy), "path": copy.path.name, "bytes": copy.path.stat().st_size}
    write_atomically(folder / NOTE, json.dumps(note).encode())
    if held:
        logger.info("%s: downloaded again, %s", file.address, _megabytes(note["bytes"]))
    _tidy(folder, {copy.path, held.path} if held else {copy.path})
    return copy


def _held(folder: Path) -> Copy | None:
    """The copy that the note is of, if it is there as a whole."""
    try:
        note = json.loads((folder / NOTE).read_bytes())
        path = folder / note["path"]
        if path.stat().st_size != note["bytes"]:
            return None
        return Copy(path, Version(**note["version"]), note["type"], note["took"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _downloaded(answer: HTTPResponse, file: WebFile, folder: Path) -> Copy:
    begun = time.monotonic()
    part = folder / f".{uuid.uuid4().hex}.part"
    try:
        with part.open("wb") as target:
            _receive(answer, target, file)
            target.flush()
            os.fsync(target.fileno())
        at = place(file, answer)
        decode(part, answer.headers.get("Content-Encoding", ""), at)
        kind = answer.headers.get_content_type() if answer.headers.get("Content-Type") else ""
        path = part.with_name(part.stem.removeprefix(".") + ending(part, kind, at))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return Copy(path, Version.of(answer), kind, time.monotonic() - begun)


def _receive(answer: HTTPResponse, target: IO[bytes], file: WebFile) -> None:
    """Write the body as it comes, in blocks."""
    address, seconds = file.address, file.timeout.total_seconds()
    size, folder = answer.length, Path(target.name).parent
    if size is not None and size > shutil.disk_usage(folder).free:
        raise _no_space(file, folder, size)
    done = since = 0
    window = told = time.monotonic()
    while True:
        with failures(file):
            block = answer.read1(BLOCK)
        if not block:
            break
        target.write(block)
        done += len(block)
        now = time.monotonic()
        if now - window > seconds:
            if done - since < SLOWEST * seconds:
                raise SourceAwayError(
                    f"{address} sends less than {SLOWEST} bytes a second: it is too slow."
                )
            window, since = now, done
        if now - told > TOLD_EVERY:
            logger.info("%s: %s%s received", address, _megabytes(done), _of(size))
            told = now
    if size is not None and done != size:
        raise PassingError(f"{address} ends after {done:,} of {size:,} bytes.")


def _tidy(folder: Path, kept: set[Path]) -> None:
    """Remove older copies of this file, what broken downloads left, and copies long unused."""
    for path in folder.iterdir():
        if path not in kept and path.name not in (NOTE, "lock"):
            path.unlink(missing_ok=True)
    for other in folder.parent.iterdir():
        with suppress(FileNotFoundError):  # another process may tidy up, too
            note = other / NOTE
            used = (note if note.exists() else other).stat().st_mtime
            if time.time() - used > KEPT.total_seconds():
                shutil.rmtree(other, ignore_errors=True)


def _no_space(file: WebFile, folder: Path, size: int | None = None) -> SourceError:
    free = _megabytes(shutil.disk_usage(folder).free)
    needed = f" of {_megabytes(size)}" if size else ""
    return SourceError(
        f"{folder} has no space for a copy{needed} of {file.address} ({free} are free): make room, "
        "or set MLOPS_HOME to a larger disk."
    )


def _no_place(file: WebFile, folder: Path, error: OSError) -> SourceError:
    if error.errno in NO_SPACE:
        return _no_space(file, folder)
    return SourceError(
        f"no copy of {file.address} can be kept in {folder}: {error}. Set MLOPS_HOME to a folder "
        "that may be written to."
    )


def _of(size: int | None) -> str:
    return "" if size is None else f" of {_megabytes(size)}"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
