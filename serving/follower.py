"""Follows the registry on behalf of every replica of this node.

The replicas import no registry client: this is the only part of serving that talks to it. It
fetches the champions' bundles into the node's cache, verifies them, and publishes a pointer file.
While the registry is away, the last pointer and its bundles go on serving.
"""

import json
import logging
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from mlops_assets.domain.errors import BundleError
from mlops_assets.stores.bundles import verify
from mlops_assets.stores.files import write_atomically

logger = logging.getLogger(__name__)

LONGEST_PAUSE = 30.0
# A bundle that cannot be had is asked for again after this long, then ever more rarely.
RETRY_SECONDS = 2.0
# A name from the registry becomes a folder, so it must not be able to leave the cache.
_SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


class Champion(Protocol):
    """The version that a model's champion alias points to."""

    @property
    def version(self) -> str:
        """The version, as text."""
        ...

    @property
    def released_at(self) -> str:
        """ISO 8601 time of the release, or empty where it is not known."""
        ...


class ChampionSource(Protocol):
    """Where champions come from: the registry, or a stand-in."""

    def champions(self) -> Mapping[str, Champion]:
        """The champion of every model that has one; raises while the registry is away."""
        ...

    def fetch_bundle(self, model: str, version: str, target: Path) -> None:
        """Put the files of the version's bundle into the existing empty folder `target`."""
        ...


@dataclass
class _Trouble:
    """Something that failed, how often in a row, and when it is worth another try."""

    failures: int = 0
    retry_at: float = 0.0

    def failed(self, every: float) -> float:
        """Count a failure; returns the pause before the next try, doubled up to LONGEST_PAUSE."""
        pause = min(every * 2.0 ** min(self.failures, 16), max(every, LONGEST_PAUSE))
        self.failures += 1
        self.retry_at = time.monotonic() + pause
        return pause


class Follower:
    """Keeps the pointer file equal to the registry's champions."""

    def __init__(
        self,
        source: ChampionSource,
        cache: Path,
        pointer: Path,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._source = source
        self._cache = cache
        self._pointer = pointer
        self._now = now
        self._is_empty = False
        self._verified: set[Path] = set()
        self._broken: dict[tuple[str, str], _Trouble] = {}

    def step(self) -> bool:
        """Look once; True if a new pointer was published.

        Raises whatever the source raises while the registry is away. A bundle that cannot be
        fetched leaves its model's entry as it was. A model that lost its alias is withdrawn, but
        a registry without any champion changes nothing.
        """
        before = self._published()
        entries: dict[str, Any] = before["models"]
        champions = self._source.champions()
        if entries and not champions:
            # A registry whose database was lost looks like this; stopping every model is worse
            # than serving one for too long.
            if not self._is_empty:
                logger.warning("The registry has no champion at all; serving the last known ones.")
            self._is_empty = True
            return False
        self._is_empty = False
        after = {
            model: self._entry(model, champion, entries.get(model))
            for model, champion in sorted(champions.items())
        }
        models = {model: entry for model, entry in after.items() if entry is not None}
        if models == entries and self._pointer.exists():
            return False
        state = {"generation": before["generation"] + 1, "models": models}
        write_atomically(self._pointer, json.dumps(state, indent=1).encode())
        logger.info("Published %s", {model: entry["version"] for model, entry in models.items()})
        return True

    def run(self, stop: threading.Event, every: float) -> None:
        """Look every `every` seconds until stopped; an outage is logged once and never raised."""
        outage = _Trouble()
        while not stop.is_set():
            pause = every
            try:
                self.step()
            except Exception as error:  # noqa: BLE001 - clients raise anything while a server is away
                if not outage.failures:
                    logger.warning(
                        "The registry is away (%s); serving the last known champions.", error
                    )
                pause = outage.failed(every)
            else:
                if outage.failures:
                    logger.warning("The registry is back.")
                outage = _Trouble()
            stop.wait(pause)

    def _entry(
        self, model: str, champion: Champion, before: dict[str, Any] | None
    ) -> dict[str, Any] | None:
        """The model's entry in the pointer; as before where the bundle can't be had."""
        version, released_at = str(champion.version), champion.released_at
        trouble = self._broken.get((model, version))
        if trouble and time.monotonic() < trouble.retry_at:
            return before
        try:
            folder = self._ensure(model, version)
        except Exception as error:  # noqa: BLE001 - one model's trouble must not stop the others
            if not trouble:
                logger.error("%s version %s cannot be fetched: %s", model, version, error)
                trouble = self._broken.setdefault((model, version), _Trouble())
            trouble.failed(RETRY_SECONDS)
            return before
        self._broken.pop((model, version), None)
        if before and (before["version"], before["path"]) == (version, str(folder)):
            return {**before, "released_at": released_at}
        return {
            "version": version,
            "path": str(folder),
            "since": self._now().isoformat(),
            "released_at": released_at,
        }

    def _ensure(self, model: str, version: str) -> Path:
        """The verified bundle folder of a version, fetched if need be."""
        if not _SAFE.fullmatch(model) or not _SAFE.fullmatch(version):
            raise BundleError(f"{model!r} version {version!r} cannot name a folder.")
        folder = self._cache / model / version
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
        with tempfile.TemporaryDirectory(dir=self._cache, prefix=".fetch-") as temporary:
            fetched = Path(temporary) / "bundle"
            fetched.mkdir()
            self._source.fetch_bundle(model, version, fetched)
            verify(fetched)
            fetched.rename(folder)

    def _published(self) -> dict[str, Any]:
        """What the pointer says now; a damaged one is made anew."""
        try:
            state = json.loads(self._pointer.read_bytes())
            return {"generation": int(state["generation"]), "models": dict(state["models"])}
        except FileNotFoundError:
            return {"generation": 0, "models": {}}
        except (ValueError, KeyError, TypeError) as error:
            logger.error("%s is damaged and written anew: %r", self._pointer, error)
            return {"generation": 0, "models": {}}
