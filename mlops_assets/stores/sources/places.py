"""Where files lie: on this machine, in S3 or on the web, alone, in a folder, or as a glob says."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from mlops_assets.domain.errors import SourceAwayError, SourceError
from mlops_assets.spec.source import S3, CsvSource, ParquetSource, is_web

# What AWS calls a failure that may pass; all others (no access, no such bucket) stay.
PASSING = re.compile(
    r"AWS Error (NETWORK_CONNECTION|SLOW_DOWN|THROTTLING|SERVICE_UNAVAILABLE|INTERNAL_FAILURE"
    r"|REQUEST_TIMEOUT|REQUEST_EXPIRED|UNKNOWN)"
)
WILDCARD = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class Files:
    """Files of one source, in the order of their names; the last is taken as the newest.

    A copy of a file on the web has its `address`.
    """

    system: Any
    paths: tuple[str, ...]
    address: str = ""

    def name(self, path: str) -> str:
        """What people know a file by."""
        return self.address or path


def is_remote(path: str) -> bool:
    """Whether it lies in S3."""
    return path.startswith(S3)


def find(source: CsvSource | ParquetSource, folder: Path) -> Files:
    """The files that a source's path means.

    Of a folder these are all files below it whose names, and whose folders' names, begin with
    neither a dot nor an underscore. Of an address on the web it is a copy of what stands there
    now. Raises SourceAwayError if there is none.
    """
    from pyarrow.fs import LocalFileSystem

    path, timeout = source.path, source.timeout
    if is_web(path):
        from mlops_assets.stores.sources.copies import copy_of
        from mlops_assets.stores.sources.web import WebFile

        copy = copy_of(WebFile(path, timeout, source.token_env))
        return Files(LocalFileSystem(), (str(copy.path),), path)
    system = s3(timeout) if is_remote(path) else LocalFileSystem()
    place = path.removeprefix(S3) if is_remote(path) else str(folder / path)
    with reading(path):
        if not WILDCARD.search(path):
            place = place.rstrip("/") if is_remote(path) else str(Path(place).resolve())
            found = _below(system, place, path)
        else:
            found = _matching(system, place)
    if not found:
        raise SourceAwayError(
            f"source {path!r} is not there: {place} "
            + ("matches no file" if WILDCARD.search(path) else "does not exist")
            + (
                ". Check the bucket and AWS_ENDPOINT_URL, or correct source.path in defs.yaml."
                if is_remote(path)
                else ". Paths are relative to the folder of the defs.yaml."
            )
        )
    return Files(system, tuple(sorted(found)))


def _below(system: Any, place: str, path: str) -> list[str]:
    from pyarrow.fs import FileSelector, FileType

    kind = system.get_file_info(place).type
    if kind == FileType.File:
        return [place]
    if kind != FileType.Directory:
        return []
    infos = system.get_file_info(FileSelector(place, recursive=True))
    below = {info.path: info.path.removeprefix(place).lstrip("/").split("/") for info in infos}
    if any("_delta_log" in parts for parts in below.values()):
        raise SourceError(
            f"source {path!r} is a Delta table: its folder holds files that are no longer part of "
            "it. Write kind: delta."
        )
    return [
        info.path
        for info in infos
        if info.type == FileType.File
        and not any(part.startswith((".", "_")) for part in below[info.path])
    ]


def _matching(system: Any, place: str) -> list[str]:
    from fsspec.implementations.arrow import ArrowFSWrapper

    # A server that is away is asked once for what no wildcard is in, not for each part of it.
    system.get_file_info(WILDCARD.split(place)[0].rpartition("/")[0] or "/")
    found = ArrowFSWrapper(system).glob(place, detail=True)
    return [name for name, info in found.items() if info["type"] == "file"]


def s3(timeout: timedelta) -> Any:
    """The S3 of the environment's AWS variables. Each request is tried three times at most."""
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

    seconds = timeout.total_seconds()
    return S3FileSystem(
        region=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"),
        endpoint_override=endpoint(),
        anonymous=is_public(),
        connect_timeout=seconds,
        request_timeout=seconds,
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=3),
    )


def endpoint() -> str | None:
    """Address of the S3 server, None for Amazon's."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None


def is_public() -> bool:
    """Whether requests go without a signature."""
    return os.environ.get("AWS_SKIP_SIGNATURE", "").lower() in ("1", "true")


@contextmanager
def reading(path: str, kind: str = "") -> Iterator[None]:
    """Errors of Arrow and of the file system as SourceError, those that may pass as away."""
    try:
        yield
    except FileNotFoundError as error:
        raise SourceAwayError(
            f"source {path!r} is not there: {error}. Correct source.path in defs.yaml, or bring "
            "the file back."
        ) from error
    except OSError as error:
        if PASSING.search(str(error)) or isinstance(error, TimeoutError | ConnectionError):
            raise SourceAwayError(
                f"source {path!r} does not answer at {endpoint() or 'Amazon S3'}: {error}. Check "
                "the network and AWS_ENDPOINT_URL; raise source.timeout if it is only slow."
            ) from error
        if is_remote(path) and "AWS Error" in str(error):
            raise SourceError(
                f"source {path!r} cannot be read: {error}. Check AWS_ACCESS_KEY_ID, "
                "AWS_SECRET_ACCESS_KEY and AWS_REGION in the environment, and the bucket's policy."
            ) from error
        raise _unreadable(path, kind, error) from error
    except pa.ArrowException as error:
        raise _unreadable(path, kind, error) from error


def _unreadable(path: str, kind: str, error: Exception) -> SourceError:
    what = f"cannot be read as {kind}" if kind else "cannot be read"
    return SourceError(
        f"source {path!r} {what}: {error}. Replace the file, or correct source.kind in defs.yaml."
    )
