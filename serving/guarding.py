"""The guard's connections: the specs' limits, and the registry that takes a version back."""

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from mlops_assets.domain.guard import Limits
from mlops_assets.settings import Settings
from mlops_assets.spec.gates import Gates
from mlops_assets.spec.serving import Serving
from mlops_assets.stores.clock import Clock
from mlops_assets.stores.incidents import Finding
from mlops_assets.stores.model_folders import SPEC_FILE, model_folders
from serving.guard import Control, Guard

if TYPE_CHECKING:
    from mlops_assets.stores.releases import Releases

logger = logging.getLogger(__name__)

ACTOR = "guard"


class Rules:
    """What the specs say about serving; the defaults for models that have none here.

    A spec is read again when its file changes. One that is wrong is told once, and what it said
    before holds.
    """

    def __init__(self, models_dir: Path) -> None:
        self._models_dir = models_dir
        self._known: dict[str, tuple[int, Serving, Limits]] = {}

    def limits(self, model: str) -> Limits:
        """The guard's limits."""
        return self._of(model)[1]

    def probation(self, model: str) -> float:
        """Minutes after a release in which the version before stays ready."""
        return self._of(model)[0].guard.probation_minutes

    def _of(self, model: str) -> tuple[Serving, Limits]:
        serving = Serving()
        changed, known = 0, (serving, serving.limits(Gates().latency_ms))
        if model in self._known:
            changed, *_ = self._known[model]
            known = self._known[model][1:]
        try:
            folder = model_folders(self._models_dir).get(model)
            modified = (folder / SPEC_FILE).stat().st_mtime_ns if folder else 0
            if modified != changed and folder:
                self._known[model] = (modified, *known)
                known = _read(folder / SPEC_FILE)
                self._known[model] = (modified, *known)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
            logger.warning("The serving section of %s cannot be read: %r", model, error)
        return known


def _read(path: Path) -> tuple[Serving, Limits]:
    attributes = yaml.safe_load(path.read_text())["attributes"]
    serving = Serving.model_validate(attributes.get("serving") or {})
    gates = Gates.model_validate(attributes.get("gates") or {})
    return serving, serving.limits(gates.latency_ms)


class ReleaseControl(Control):
    """Takes versions back through `stores.releases`, connected at the first need."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._connected: Releases | None = None

    def connect(self) -> "Releases":
        """The releases; importing what they need takes seconds, once."""
        if self._connected is None:
            from mlops_assets.stores.lake import Lake
            from mlops_assets.stores.registry import Registry
            from mlops_assets.stores.releases import Releases

            registry = Registry(self._settings.mlflow_uri)
            self._connected = Releases(
                registry, Lake(self._settings.lake_root), self._settings.locks
            )
        return self._connected

    def roll_back(self, model: str, version: str, target: str, finding: Finding) -> None:
        """See Control."""
        releases = self.connect()
        # A registry that is away is no attempt, and leaves no row.
        releases.registry.aliases(model)
        releases.rollback(
            model,
            actor=ACTOR,
            reason=finding.text,
            expected_champion=version,
            target=target,
            finding=finding,
            **self._when(),
        )

    def withdraw(self, model: str, version: str, finding: Finding) -> None:
        """See Control."""
        self.connect().withdraw(model, version, finding, actor=ACTOR, **self._when())

    def _when(self) -> dict[str, Any]:
        return {"at": datetime.now(UTC), "loop_time": Clock(self._settings.clock_file).now()}


def start_guard(
    settings: Settings, publish: Callable[[], Any], stop: threading.Event, every: float = 1.0
) -> threading.Thread:
    """Guard this node's models in a thread until stopped; `publish` is the follower's step."""
    control = ReleaseControl(settings)
    guard = Guard(
        control,
        settings.serving_state,
        settings.serving_stats,
        limits=Rules(settings.models_dir).limits,
        publish=publish,
    )

    def run() -> None:
        # Before it is needed, because users wait for a rollback.
        control.connect()
        guard.run(stop, every)

    thread = threading.Thread(target=run, name="guard", daemon=True)
    thread.start()
    return thread
