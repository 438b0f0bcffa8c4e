"""Who may ask: bearer tokens from a file that may change while serving runs."""

import hmac
import logging
import time
from pathlib import Path

from mlops_assets.stores.tokens import TokenError, read_tokens

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0


class Tokens:
    """The valid tokens of a file, read again when it changes; no path: everybody may ask.

    A file that cannot be used any more leaves the last good tokens in force, with an error in the
    log: a slip of the hand must neither lock all clients out nor let anyone in. Raises TokenError
    when the file cannot be used at the start.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._valid: tuple[bytes, ...] = ()
        self._seen: tuple[int, int] | None = None
        self._look_at = 0.0
        if path is not None:
            # Looked at first: a file that changes meanwhile is read again.
            self._seen = _signature(path)
            self._valid = _headers(path)

    @property
    def are_needed(self) -> bool:
        """Whether a request must carry a token."""
        return self._path is not None

    def admit(self, authorization: str) -> bool:
        """Whether the value of the header Authorization opens the door."""
        if self._path is None:
            return True
        if time.monotonic() >= self._look_at:
            self._refresh(self._path)
        sent = authorization.encode("utf-8", "replace")
        # Each is compared, and in constant time, so that the time tells nothing about either.
        matches = [hmac.compare_digest(sent, one) for one in self._valid]
        return any(matches)

    def _refresh(self, path: Path) -> None:
        self._look_at = time.monotonic() + LOOK_SECONDS
        seen = _signature(path)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._valid = _headers(path)
        except TokenError as error:
            logger.error("%s The tokens read before stay valid.", error)
        else:
            logger.info("Read %d tokens again.", len(self._valid))


def _headers(path: Path) -> tuple[bytes, ...]:
    return tuple(f"Bearer {token}".encode() for token in read_tokens(path))


def _signature(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_ino
