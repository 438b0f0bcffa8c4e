"""Copies of files on the web as a file system, for what reads by address, as DuckDB does."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

import pyarrow as pa
from fsspec import AbstractFileSystem

from mlops_assets.domain.errors import SourceError


class WebFiles(AbstractFileSystem):  # type: ignore[misc]
    """The files at http(s) addresses, each as `fetch` gave it when it was first asked for.

    Who reads through another program sees its error for a file that cannot be had; `failure` is
    the reason.
    """

    protocol = ("http", "https")
    cachable = False

    def __init__(self, fetch: Callable[[str], Path]) -> None:
        super().__init__()
        self.failure: SourceError | None = None
        self._fetch = fetch
        self._copies: dict[str, Path] = {}
        self._lock = Lock()

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return path

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Name, size and kind."""
        return {"name": path, "size": self._copy(path).stat().st_size, "type": "file"}

    def glob(self, path: str, **_: Any) -> list[str]:
        """The address itself: nothing on the web can be listed."""
        self._copy(path)
        return [path]

    def modified(self, path: str) -> datetime:
        """When the copy was made."""
        return datetime.fromtimestamp(self._copy(path).stat().st_mtime, UTC)

    def open(self, path: str, mode: str = "rb", **_: Any) -> Any:
        """The copy, to be read."""
        if mode != "rb":
            raise OSError(f"{path} cannot be written to.")
        # DuckDB drops its files without closing them, which Arrow's bear.
        return pa.OSFile(str(self._copy(path)))

    def _copy(self, path: str) -> Path:
        with self._lock:
            if path not in self._copies:
                try:
                    self._copies[path] = self._fetch(path)
                except SourceError as error:
                    self.failure = error
                    raise OSError(str(error)) from error
            return self._copies[path]
