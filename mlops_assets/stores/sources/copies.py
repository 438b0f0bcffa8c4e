"""Copies on this machine of files at http(s) addresses: one download per version of a file.

A server is asked whether the file is still the one of the copy (ETag, else Last-Modified), and
only another one is downloaded, as a stream into a file that is renamed when it is whole. All of a
reading sees one copy, so that a file that changes in the meantime changes nothing. A copy and the
one before it are kept, so that who reads the older one may end.
"""

import errno
import gzip
import hashlib
import json
import logging
import os
import re
import shutil
import time
import uuid
from dataclasses import asdict, dataclass
from datetime import timedelta
from http.client import HTTPResponse
from pathlib import Path
from typing import IO

from filelock import FileLock

from mlops_assets.domain.errors import SourceAwayError, SourceError
from mlops_assets.settings import Settings
from mlops_assets.stores.files import write_atomically
from mlops_assets.stores.sources.web import (
    PassingError,
    Version,
    WebFile,
    asked,
    failures,
    without_query,
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
COMPRESSED = {b"\x1f\x8b": ".gz", b"\x28\xb5\x2f\xfd": ".zst", b"\x04\x22\x4d\x18": ".lz4"}
BZIP2 = re.compile(rb"BZh\d1AY&SY")
PAGE = re.compile(
    rb"(\xef\xbb\xbf)?\s*<(!doctype|!--|\?xml|(html|head|body|title|meta|script|svg|rss)[\s>])",
    re.IGNORECASE,
)
POINTER = b"version https://git-lfs.github.com/spec/"
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
    place = (os.getpid(), folder, file.token_env)
    until, copy = _current.get(place, (0.0, None))
    if copy is not None and time.monotonic() < until and copy.path.exists():
        return copy
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        copy = _patiently(file, folder)
    least = CURRENT_SECONDS if copy.version else CURRENT_SECONDS_UNTOLD
    lasting = max(least, 0 if copy.version else CURRENT_PER_DOWNLOAD * copy.took)
    _current[place] = (time.monotonic() + lasting, copy)
    return copy


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
    address = file.address
    begun = time.monotonic()
    part = folder / f".{uuid.uuid4().hex}.part"
    try:
        with part.open("wb") as target:
            _receive(answer, target, file)
            target.flush()
            os.fsync(target.fileno())
        _decode(part, answer.headers.get("Content-Encoding", ""), address)
        kind = answer.headers.get_content_type() if answer.headers.get("Content-Type") else ""
        path = part.with_name(part.stem.removeprefix(".") + _ending(part, kind, answer, address))
        part.replace(path)
    except OSError as error:
        if error.errno in NO_SPACE:
            raise _no_space(address, folder) from error
        raise
    finally:
        part.unlink(missing_ok=True)
    return Copy(path, Version.of(answer), kind, time.monotonic() - begun)


def _receive(answer: HTTPResponse, target: IO[bytes], file: WebFile) -> None:
    """Write the body as it comes, in blocks."""
    address, seconds = file.address, file.timeout.total_seconds()
    size, folder = answer.length, Path(target.name).parent
    if size is not None and size > shutil.disk_usage(folder).free:
        raise _no_space(address, folder, size)
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


def _decode(part: Path, encoding: str, address: str) -> None:
    """Undo a compression of the transfer, which was not asked for."""
    if encoding.lower() in ("", "identity"):
        return
    if encoding.lower() not in ("gzip", "x-gzip"):
        raise SourceError(f"{address} comes with the content encoding {encoding!r}: use gzip.")
    decoded = part.with_suffix(".decoded")
    try:
        with gzip.open(part) as source, decoded.open("wb") as target:
            shutil.copyfileobj(source, target, BLOCK)
        decoded.replace(part)
    except (EOFError, gzip.BadGzipFile) as error:
        raise PassingError(f"{address} comes with broken gzip: {error}.") from error
    finally:
        decoded.unlink(missing_ok=True)


def _ending(part: Path, kind: str, answer: HTTPResponse, address: str) -> str:
    """The ending that tells a reader the compression. Raises SourceError for what is no table."""
    with part.open("rb") as file:
        start = file.read(512)
    what = ""
    if PAGE.match(start) or (kind == "text/html" and start.lstrip().startswith(b"<")):
        what = (
            "a web page or another document with markup, not a table. A source is the address of "
            "one file, which a browser would download (on GitHub: Raw); a page that lists files "
            "cannot be read"
        )
    elif start.startswith(b"PK\x03\x04"):
        what = "a ZIP archive or a spreadsheet. Put the table itself there, as CSV or Parquet"
    elif start.startswith(POINTER):
        what = "a pointer of Git LFS. Name the address of the file that it points to"
    if what:
        final = answer.geturl()
        led = f", where {without_query(final)} answers," if final != address else ""
        sent = f" (sent as {kind})" if kind else ""
        raise SourceError(f"at {address}{led} is {what}{sent}.")
    if BZIP2.match(start):
        return ".bz2"
    return next((end for mark, end in COMPRESSED.items() if start.startswith(mark)), "")


def _tidy(folder: Path, kept: set[Path]) -> None:
    """Remove older copies of this file, what broken downloads left, and copies long unused."""
    for path in folder.iterdir():
        if path not in kept and path.name not in (NOTE, "lock"):
            path.unlink(missing_ok=True)
    for note in folder.parent.glob(f"*/{NOTE}"):
        if time.time() - note.stat().st_mtime > KEPT.total_seconds():
            shutil.rmtree(note.parent, ignore_errors=True)


def _no_space(address: str, folder: Path, size: int | None = None) -> SourceError:
    free = _megabytes(shutil.disk_usage(folder).free)
    needed = f" of {_megabytes(size)}" if size else ""
    return SourceError(
        f"{folder} has no space for a copy{needed} of {address} ({free} are free): make room, or "
        "set MLOPS_HOME to a larger disk."
    )


def _of(size: int | None) -> str:
    return "" if size is None else f" of {_megabytes(size)}"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
