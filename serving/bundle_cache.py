"""The node's cache of verified bundles: each is fetched once, and checked before it is named."""

import logging
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mlops_assets.domain.errors import BundleError
from mlops_assets.stores.bundles import verify

logger = logging.getLogger(__name__)

LONGEST_PAUSE = 30.0
# A bundle that cannot be had is asked for again after this long, then ever more rarely.
RETRY_SECONDS = 2.0
# A name from the registry becomes a folder, so it must not be able to leave the cache.
_SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")

# Puts the files of a model's version into an existing empty folder.
Fetch = Callable[[str, str, Path], None]


@dataclass
class Trouble:
    """Something that failed: how often in a row, when it is worth another try, and why."""

    failures: int = 0
    retry_at: float = 0.0
    why: str = ""

    def failed(self, every: float) -> float:
        """Count a failure; returns the pause before the next try, doubled up to LONGEST_PAUSE."""
        pause = min(every * 2.0 ** min(self.failures, 16), max(every, LONGEST_PAUSE))
        self.failures += 1
        self.retry_at = time.monotonic() + pause
        return pause


class BundleCache:
    """Folders of verified bundles by model and version."""

    def __init__(self, fetch: Fetch, root: Path) -> None:
        self._fetch_files = fetch
        self._root = root
        self._verified: set[Path] = set()
        self._broken: dict[tuple[str, str], Trouble] = {}

    def folder(self, model: str, version: str) -> Path | None:
        """The verified bundle of a version, fetched if need be; None while it can't be had.

        A failure is logged once, and tried again after a pause.
        """
        trouble = self._broken.get((model, version))
        if trouble and time.monotonic() < trouble.retry_at:
            return None
        try:
            folder = self._ensure(model, version)
        except Exception as error:  # noqa: BLE001 - one model's trouble must not stop the others
            if not trouble:
                logger.error("%s version %s cannot be fetched: %s", model, version, error)
                trouble = self._broken.setdefault((model, version), Trouble())
            # Anyone may see the reason, and what a registry's client says may name addresses.
            trouble.why = str(error) if isinstance(error, BundleError) else type(error).__name__
            trouble.failed(RETRY_SECONDS)
            return None
        self._broken.pop((model, version), None)
        return folder

    def missing(self, model: str, version: str) -> str:
        """What to tell people of a version whose bundle can't be had."""
        trouble = self._broken.get((model, version), Trouble())
        return f"version {version} cannot be fetched: {trouble.why}"

    def _ensure(self, model: str, version: str) -> Path:
        if not _SAFE.fullmatch(model) or not _SAFE.fullmatch(version):
            raise BundleError(f"{model!r} version {version!r} cannot name a folder.")
        folder = self._root / model / version
        if folder in self._verified and folder.is_dir():
            return folder
        if folder.is_dir():
            try:
                verify(folder)
            except BundleError as error:
                logger.warning("The cached bundle is damaged and fetched again: %s", error)
                shutil.rmtree(folder)
        if not folder.is_dir():
            self._fetch(model, version, folder)
        self._verified.add(folder)
        return folder

    def _fetch(self, model: str, version: str, folder: Path) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._root, prefix=".fetch-") as temporary:
            fetched = Path(temporary) / "bundle"
            fetched.mkdir()
            self._fetch_files(model, version, fetched)
            try:
                verify(fetched)
            except BundleError as error:
                said = str(error).replace(str(fetched), f"{model}/{version}")
                raise BundleError(said) from error
            fetched.rename(folder)
