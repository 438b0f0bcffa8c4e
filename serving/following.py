"""The part of serving that talks to the registry: the follower, and the guard beside it."""

import contextlib
import threading
from collections.abc import Mapping
from pathlib import Path

from mlops_assets.domain.plan import ServingPlan
from mlops_assets.settings import Settings
from serving.follower import Follower, PlanSource
from serving.guarding import Rules, start_guard

FIRST_LOOK_SECONDS = 15.0


def new_follower(settings: Settings) -> Follower:
    """The follower of this node's models; it connects to the registry at its first step."""
    return Follower(
        _Registry(settings.mlflow_uri),
        settings.bundle_cache,
        settings.serving_state,
        probation=Rules(settings.models_dir).probation,
    )


def look_first(follower: Follower, seconds: float = FIRST_LOOK_SECONDS) -> None:
    """Publish what the registry says now, before replicas load what was served last.

    They would serve it for the seconds that the registry's client takes to import, also where it
    was rolled back while nothing ran. A registry that is away, or has not answered after `seconds`,
    changes nothing: what is cached serves, and the follower tells of the outage.
    """

    def look() -> None:
        with contextlib.suppress(Exception):  # clients raise anything while a server is away
            follower.step()

    thread = threading.Thread(target=look, name="first look", daemon=True)
    thread.start()
    thread.join(seconds)


def start_following(
    settings: Settings, stop: threading.Event, follower: Follower | None = None
) -> None:
    """Follow and guard this node's models in the background until stopped.

    What is cached is served meanwhile, and however long the registry is away.
    """
    follower = follower or new_follower(settings)
    threading.Thread(
        target=follower.run, args=(stop, settings.follow_seconds), name="follower", daemon=True
    ).start()
    start_guard(settings, follower.step, stop)


class _Registry(PlanSource):
    """The MLflow registry, connected at the first question: it may be away at the start too."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._client: PlanSource | None = None

    def plans(self) -> Mapping[str, ServingPlan]:
        return self._connected().plans()

    def retired(self) -> Mapping[str, str]:
        return self._connected().retired()

    def fetch_bundle(self, model: str, version: str, target: Path) -> None:
        self._connected().fetch_bundle(model, version, target)

    def _connected(self) -> PlanSource:
        if self._client is None:
            # Importing MLflow takes seconds and 200 MB, and only this process needs it.
            from mlops_assets.stores.registry import Registry

            self._client = Registry(self._uri)
        return self._client
