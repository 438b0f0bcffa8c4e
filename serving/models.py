"""The models that this process serves, kept equal to the pointer file.

A background thread looks at the pointer file; new bundles are verified, loaded and warmed up
there, and then the whole mapping is swapped by one assignment, so a request sees either the old
set or the new one. A bundle that cannot be loaded leaves the last good version in place.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from mlops_assets.domain.contract import Contract
from serving import memory
from serving.answers import Refusal
from serving.loading import LoadedModel, load
from serving.pointer import Bundle, Target, read_pointer, read_retired, read_unserved

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.25
# A bundle that failed is tried again after this long, in case its files were still arriving.
RETRY_SECONDS = 10.0
# The variant of answers by a version that the client asked for by number.
DIRECT = "direct"


@dataclass(frozen=True)
class ModelState:
    """What is served of one model, if anything, and why that is not what was asked for.

    `weights` and `variants` describe the split: share in percent, and version, by variant.
    """

    loaded: LoadedModel | None
    target: Target
    problem: str = ""
    weights: tuple[tuple[str, float], ...] = ()
    variants: Mapping[str, LoadedModel] = field(default_factory=dict)
    shadow: LoadedModel | None = None
    fallback: LoadedModel | None = None


class ModelSet:
    """All models of this process; `models` is always a complete, immutable picture."""

    def __init__(
        self, pointer: Path, on_swap: Callable[[str, float], None] = lambda model, seconds: None
    ) -> None:
        self._pointer = pointer
        # Told of each new champion: its model, and the seconds that getting it ready took.
        self._on_swap = on_swap
        self._seen: tuple[int, ...] | None = None
        self._retry_at = 0.0
        self._refreshing = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.models: Mapping[str, ModelState] = MappingProxyType({})
        # Models that are out of service on purpose, and since when.
        self.retired: Mapping[str, str] = MappingProxyType({})
        self.problem = ""

    def refresh(self) -> bool:
        """Follow the pointer file if it changed, or if a failed bundle is due again."""
        with self._refreshing:
            return self._refresh()

    def _refresh(self) -> bool:
        signature = self._signature()
        is_due = self._retry_at and time.monotonic() >= self._retry_at
        if signature == self._seen and not is_due:
            return False
        try:
            targets, retired = read_pointer(self._pointer), read_retired(self._pointer)
            unserved = read_unserved(self._pointer)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            self.problem = f"{self._pointer.name} cannot be read: {error!r}"
            logger.error("%s; serving what is loaded", self.problem)
        else:
            self.problem = "; ".join(f"{model}: {why}" for model, why in unserved.items())
            self._apply(targets)
            # Of the versions that are served no more.
            memory.give_back()
            self.retired = MappingProxyType(retired)
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
        loaded = {
            (one.version, one.path): one for state in before.values() for one in versions_of(state)
        }
        after: dict[str, ModelState] = {}
        for name, target in targets.items():
            began = time.perf_counter()
            after[name] = _advance(name, before.get(name), target, loaded)
            if _version(after[name]) != _version(before.get(name)):
                self._on_swap(name, time.perf_counter() - began)
        self.models = MappingProxyType(after)


def absent(models: ModelSet, name: str) -> Refusal:
    """The answer to a request for a model that is not served."""
    since = models.retired.get(name)
    if since is None:
        return Refusal(404, "model", "no such model is released; see /health")
    return Refusal(410, "model", f"the model was retired on {since[:10]} and is served no more")


def not_loaded() -> Refusal:
    """The answer to a request for a model whose bundle is not there yet."""
    return Refusal(503, "model", "the model is not loaded yet; see /health", retry_after="1")


def versions_of(state: ModelState) -> list[LoadedModel]:
    """Every version that is loaded for one model."""
    found = (state.loaded, *state.variants.values(), state.shadow, state.fallback)
    return [one for one in found if one is not None]


def only(state: ModelState, one: LoadedModel) -> ModelState:
    """The state for a client that asked for this version: no other answers in its place.

    The champion's answers are the champion's, however it was asked for.
    """
    if one is state.loaded:
        return replace(state, weights=(), fallback=None)
    direct = ((DIRECT, 100.0),)
    return replace(state, loaded=one, weights=direct, variants={DIRECT: one}, fallback=None)


def _version(state: ModelState | None) -> str:
    return state.loaded.version if state and state.loaded else ""


Loaded = Mapping[tuple[str, str], LoadedModel]


def _advance(name: str, before: ModelState | None, target: Target, loaded: Loaded) -> ModelState:
    """The next state of one model: the target if it loads, else what was served before."""
    current = before.loaded if before else None
    champion, problem = _have(name, Bundle(target.version, target.path), loaded)
    if champion is None:
        if before is None or problem not in before.problem:
            kept = f"version {current.version}" if current else "nothing"
            logger.error("Model %s: %s Still serving %s.", name, problem, kept)
        if current is None:
            return ModelState(None, target, "; ".join((*target.problems, problem)))
        champion = current
    return _with_others(name, ModelState(champion, target, problem), loaded)


def _with_others(name: str, state: ModelState, loaded: Loaded) -> ModelState:
    """The state with the versions beside the champion; one that cannot be had gets nothing."""
    target, problems = state.target, [*state.target.problems, state.problem]

    def have(bundle: Bundle | None) -> LoadedModel | None:
        if bundle is None:
            return None
        one, problem = _have(name, bundle, loaded)
        if one is not None and state.loaded and not fits(one.contract, state.loaded.contract):
            one, problem = None, f"version {bundle.version} takes other inputs than the champion"
        problems.append(problem)
        return one

    split = [(variant, have(bundle), weight) for variant, bundle, weight in target.split]
    return replace(
        state,
        weights=tuple((variant, weight) for variant, one, weight in split if one is not None),
        variants={variant: one for variant, one, _ in split if one is not None},
        shadow=have(target.shadow),
        fallback=have(target.fallback),
        problem="; ".join(filter(None, problems)),
    )


def fits(one: Contract, champion: Contract) -> bool:
    """Whether every request that the champion understands can be scored by this version too."""
    theirs = {column.name: column for column in champion.columns}
    return (
        one.classes == champion.classes
        and set(one.history) <= set(champion.history)
        and all(
            theirs.get(column.name) is not None
            and theirs[column.name].type == column.type
            and (theirs[column.name].part, theirs[column.name].zone) == (column.part, column.zone)
            and (column.nullable or not theirs[column.name].nullable)
            for column in one.columns
        )
    )


def _have(name: str, bundle: Bundle, loaded: Loaded) -> tuple[LoadedModel | None, str]:
    """The version, loaded now if need be; or None and why it cannot be."""
    found = loaded.get((bundle.version, bundle.path))
    if found is not None:
        return found, ""
    try:
        return load(bundle), ""
    except Exception as error:  # noqa: BLE001 - whatever a bundle holds, the others must be served
        # /health shows the reason to anyone, so it names no folder of this machine.
        said = str(error).replace(bundle.path, f"{name}/{bundle.version}")
        return None, f"version {bundle.version} cannot be loaded: {said}"
