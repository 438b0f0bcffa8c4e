"""The models that this process serves, kept equal to the pointer file.

A background thread looks at the pointer file; new bundles are verified, loaded and warmed up
there, and then the whole mapping is swapped by one assignment, so a request sees either the old
set or the new one. A bundle that cannot be loaded leaves the last good version in place.
"""

import json
import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from mlops_assets.domain.contract import MISSING_CATEGORY, Contract
from mlops_assets.domain.errors import BundleError
from mlops_assets.domain.requests import RequestParser
from mlops_assets.stores.bundles import Scorer, load_scorer

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.25
# A bundle that failed is tried again after this long, in case its files were still arriving.
RETRY_SECONDS = 10.0


@dataclass(frozen=True)
class Target:
    """What the pointer file asks to be served for one model."""

    version: str
    path: str
    since: str
    released_at: str


@dataclass(frozen=True)
class LoadedModel:
    """One version, ready to answer."""

    target: Target
    scorer: Scorer
    parser: RequestParser


@dataclass(frozen=True)
class ModelState:
    """What is served of one model, if anything, and why that is not what was asked for."""

    loaded: LoadedModel | None
    target: Target
    problem: str = ""


class ModelSet:
    """All models of this process; `models` is always a complete, immutable picture."""

    def __init__(self, pointer: Path) -> None:
        self._pointer = pointer
        self._seen: tuple[int, ...] | None = None
        self._retry_at = 0.0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.models: Mapping[str, ModelState] = MappingProxyType({})
        self.problem = ""

    def refresh(self) -> bool:
        """Follow the pointer file if it changed, or if a failed bundle is due again."""
        signature = self._signature()
        is_due = self._retry_at and time.monotonic() >= self._retry_at
        if signature == self._seen and not is_due:
            return False
        try:
            targets = _read_pointer(self._pointer)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            self.problem = f"{self._pointer.name} cannot be read: {error!r}"
            logger.error("%s; serving what is loaded", self.problem)
        else:
            self.problem = ""
            self._apply(targets)
        self._seen = signature
        failed = self.problem or any(state.problem for state in self.models.values())
        self._retry_at = time.monotonic() + RETRY_SECONDS if failed else 0.0
        return True

    def start(self) -> None:
        """Load what the pointer names now, then follow it in the background."""
        self.refresh()
        self._thread = threading.Thread(target=self._follow, name="models", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop following."""
        self._stop.set()
        if self._thread:
            self._thread.join()

    def _follow(self) -> None:
        while not self._stop.wait(POLL_SECONDS):
            try:
                self.refresh()
            except Exception:  # following must outlive any one failure, which is logged
                logger.exception("Following %s failed; serving what is loaded", self._pointer)

    def _signature(self) -> tuple[int, ...]:
        try:
            stat = self._pointer.stat()
        except FileNotFoundError:
            return ()
        return stat.st_mtime_ns, stat.st_ino, stat.st_size

    def _apply(self, targets: Mapping[str, Target]) -> None:
        before = self.models
        self.models = MappingProxyType(
            {name: _advance(name, before.get(name), target) for name, target in targets.items()}
        )


def _advance(name: str, before: ModelState | None, target: Target) -> ModelState:
    """The next state of one model: the target if it loads, else what was served before."""
    current = before.loaded if before else None
    if current and (current.target.version, current.target.path) == (target.version, target.path):
        return ModelState(current, target)
    try:
        return ModelState(load(target), target)
    except (BundleError, OSError) as error:
        # /health shows the reason to anyone, so it names no folder of this machine.
        said = str(error).replace(target.path, f"{name}/{target.version}")
        reason = f"version {target.version} cannot be loaded: {said}"
        if before is None or before.problem != reason:
            kept = f"version {current.target.version}" if current else "nothing"
            logger.error("Model %s: %s Still serving %s.", name, reason, kept)
        return ModelState(current, target, reason)


def load(target: Target) -> LoadedModel:
    """Verify, load and warm up one bundle; raises BundleError when it cannot serve."""
    scorer = load_scorer(Path(target.path))
    warm_up(scorer)
    return LoadedModel(target, scorer, RequestParser(scorer.contract))


def warm_up(scorer: Scorer) -> None:
    """Score one synthetic row, so that the first client waits for nothing.

    Raises BundleError when the model cannot score it, or answers in another shape than its
    contract says.
    """
    contract = scorer.contract
    try:
        output = scorer.score(synthetic_row(contract))
    except Exception as error:
        raise BundleError(
            f"{contract.model} cannot score a row of its contract: {error}"
        ) from error
    expected = (1, len(contract.classes) or 1)
    if output.shape != expected:
        raise BundleError(
            f"{contract.model} answers in shape {output.shape}, its contract says {expected}."
        )


def synthetic_row(contract: Contract) -> dict[str, np.ndarray]:
    """One row of zeros and missing categories, as float64 and object arrays of shape (1,)."""
    return {
        column.name: np.array([MISSING_CATEGORY], dtype=object)
        if column.type == "category"
        else np.zeros(1)
        for column in contract.columns
    }


def _read_pointer(path: Path) -> dict[str, Target]:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    return {
        name: Target(
            version=str(entry["version"]),
            path=entry["path"],
            since=entry["since"],
            released_at=entry["released_at"],
        )
        for name, entry in content["models"].items()
    }
