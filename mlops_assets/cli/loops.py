"""The two ways to drive the loop through history: in this process, or against `mlops up`.

Both send the rows of a period as requests, move the clock past the period's end, and wait until
the sensors have nothing more to do. Neither trains, releases or decides by itself.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from mlops_assets.domain.errors import ServiceError
from mlops_assets.settings import Settings
from mlops_assets.spec import Model

SETTLE_SECONDS = 600.0
# Over how long a period's requests are spread while a training is at work.
SPREAD_SECONDS = 90


@dataclass
class Sent:
    """What became of a period's requests: counts, and predictions per version."""

    requests: int = 0
    failed: int = 0
    served: int = 0
    versions: dict[str, int] = field(default_factory=dict)
    first_error: str = ""

    def add(self, status: int, body: bytes) -> None:
        """Count one answer."""
        self.requests += 1
        if status == 200:
            answer = json.loads(body)
            version, served = str(answer["version"]), len(answer["predictions"])
            self.served += served
            self.versions[version] = self.versions.get(version, 0) + served
            return
        self.failed += 1
        self.first_error = self.first_error or f"{status}: {body[:300].decode(errors='replace')}"


class Loop(Protocol):
    """What a replay needs of the loop."""

    def send(self, requests: Sequence[Sequence[Mapping[str, Any]]]) -> Sent:
        """Ask for the predictions of each request's records."""
        ...

    def settle(self, period: str | None) -> None:
        """Return when the sensors have done all that the clock asks for.

        With a period: when its decision is made, and the run that it asks for has begun.
        """
        ...

    def finish(self) -> None:
        """Return when no training or rollback is at work."""
        ...

    def swapped(self, version: str) -> float | None:
        """Wait until `version` answers; seconds since its release, where that is known."""
        ...


class LocalLoop:
    """Everything in this process: the same definitions, sensors and serving code, no server."""

    def __init__(self, settings: Settings, model: Model) -> None:
        import os

        import dagster as dg

        from mlops_assets.definitions import defs
        from mlops_assets.resources import Stores
        from serving.follower import Follower
        from serving.http import PredictionService
        from serving.models import ModelSet

        os.environ["DAGSTER_HOME"] = str(settings.dagster_home)
        self._dg = dg
        self._model = model
        self._definitions: dg.Definitions = defs()
        self._stores = Stores.of(settings)
        self._instance = dg.DagsterInstance.from_config(str(settings.dagster_home))
        self._cursors: dict[str, str | None] = {}
        self._follower = Follower(
            self._stores.registry, settings.bundle_cache, settings.serving_state
        )
        self._models = ModelSet(settings.serving_state)
        self._service = PredictionService(self._models, settings.prediction_log)

    def __enter__(self) -> "LocalLoop":
        """Nothing to start."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the prediction log and the instance."""
        self._service.close()
        self._instance.dispose()

    def send(self, requests: Sequence[Sequence[Mapping[str, Any]]]) -> Sent:
        """Ask for the predictions; see Loop."""
        self._refresh()
        sent = Sent()
        path = f"/v1/models/{self._model.name}/predict"
        for records in requests:
            body = json.dumps({"records": records}).encode()
            answer = self._service.handle("POST", path, {}, body)
            sent.add(answer.status, answer.body)
        return sent

    def settle(self, period: str | None) -> None:
        """Evaluate the sensors, and run what they request, until they request nothing."""
        for _ in range(100):
            if not any([self._tick("new_periods"), self._tick("retrain")]):
                return
        raise ServiceError(f"the sensors of {self._model.name} never come to rest")

    def finish(self) -> None:
        """Runs end before they return here."""

    def swapped(self, version: str) -> float | None:
        """Load the version now; the time it takes is the swap."""
        started = time.perf_counter()
        self._refresh()
        state = self._models.models[self._model.name]
        if state.loaded is None or state.loaded.target.version != version:
            raise ServiceError(f"version {version} cannot be loaded: {state.problem}")
        return time.perf_counter() - started

    def _refresh(self) -> None:
        self._follower.step()
        self._models.refresh()

    def _tick(self, name: str) -> bool:
        """Evaluate one sensor; True if it requested a run."""
        full = f"{self._model.name}__{name}"
        sensor = self._definitions.resolve_sensor_def(full)
        with self._dg.build_sensor_context(
            instance=self._instance,
            cursor=self._cursors.get(full),
            definitions=self._definitions,
            resources={"stores": self._stores},
        ) as context:
            outcome = sensor.evaluate_tick(context)
        self._cursors[full] = outcome.cursor
        started = False
        for request in outcome.run_requests or ():
            started |= self._run(full, request)
        return started

    def _run(self, sensor: str, request: Any) -> bool:
        tags = {
            **request.tags,
            "dagster/run_key": request.run_key,
            "dagster/sensor_name": sensor,
        }
        earlier = self._dg.RunsFilter(
            tags={name: tags[name] for name in ("dagster/run_key", "dagster/sensor_name")}
        )
        if self._instance.get_runs(earlier, limit=1):
            return False
        job = self._definitions.resolve_job_def(request.job_name)
        result = job.execute_in_process(
            instance=self._instance,
            partition_key=request.partition_key,
            tags=tags,
            raise_on_error=False,
        )
        # A refused challenger fails its run and is no fault of the loop; a failed close is one.
        if not result.success and not request.job_name.endswith("__train"):
            raise ServiceError(
                f"run {result.run_id[:8]} of {request.job_name} failed; `mlops up` shows it."
            )
        return True


class LiveLoop:
    """A running `mlops up`: HTTP requests, the real daemon and its sensors."""

    def __init__(
        self,
        settings: Settings,
        model: Model,
        url: str,
        watch: Callable[[], None] = lambda: None,
        workers: int = 8,
    ) -> None:
        import dagster as dg

        from mlops_assets.cli.client import HttpClient
        from mlops_assets.resources import Stores

        self._dg = dg
        self._model = model
        self._stores = Stores.of(settings)
        self._instance = dg.DagsterInstance.from_config(str(settings.dagster_home))
        self._client = HttpClient(url, settings.serve_token, workers)
        # Raises when what the loop runs on is gone.
        self._watch = watch

    def __enter__(self) -> "LiveLoop":
        """Nothing to start."""
        return self

    def __exit__(self, *error: object) -> None:
        """Let go of the instance."""
        self._instance.dispose()

    def send(self, requests: Sequence[Sequence[Mapping[str, Any]]]) -> Sent:
        """Ask for the predictions, several requests at a time; see Loop.

        While a training is at work the requests are spread over its time, as real traffic is:
        the new version then takes over in the middle of it.
        """
        sent = Sent()
        bodies = [json.dumps({"records": records}).encode() for records in requests]
        path = f"/v1/models/{self._model.name}/predict"
        calm = max(1, len(bodies) // SPREAD_SECONDS)
        place = 0
        while place < len(bodies):
            busy = self._running() is not None
            count = calm if busy else len(bodies)
            started = time.monotonic()
            for status, body in self._client.post_all(path, bodies[place : place + count]):
                sent.add(status, body)
            place += count
            if busy:
                time.sleep(max(0.0, 1.0 - (time.monotonic() - started)))
        return sent

    def settle(self, period: str | None) -> None:
        """Poll until the daemon has made the decision and begun what it asks for."""
        self._poll(
            lambda: self._is_settled(period),
            f"the loop did not settle on {period or 'its first version'}",
        )

    def finish(self) -> None:
        """Poll until no training or rollback is at work."""
        self._poll(lambda: self._running() is None, "a training does not end")

    def _poll(self, is_done: Callable[[], bool], complaint: str) -> None:
        deadline = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < deadline:
            if is_done():
                return
            self._watch()
            time.sleep(0.2)
        raise ServiceError(
            f"{complaint} within {SETTLE_SECONDS:g} s; see the Dagster UI and the logs"
        )

    def swapped(self, version: str) -> float | None:
        """Poll /health until the version answers."""
        self._poll(lambda: self._served() == version, f"version {version} is not served")
        state = self._client.health()["models"][self._model.name]
        since, released = state.get("since"), state.get("released_at")
        if not since or not released:
            return None
        moved = datetime.fromisoformat(released)
        return max(0.0, (datetime.fromisoformat(since) - moved).total_seconds())

    def _served(self) -> str:
        state = self._client.health()["models"].get(self._model.name, {})
        return str(state.get("version")) if state.get("loaded") else ""

    def _is_settled(self, period: str | None) -> bool:
        from mlops_assets.stores.monitoring import kept

        self._raise_if_failed()
        if period is None:
            return bool(self._stores.releases.history(self._model.name))
        decision = kept(self._stores.lake, self._model.name, "decisions").get(period)
        if decision is None or self._running("close") is not None:
            return False
        if decision["action"] not in ("retrain", "rollback"):
            return True
        champion = self._stores.releases.history(self._model.name)[-1].to_version
        if decision["version"] != champion:
            # It is about a version that has been replaced meanwhile: the sensor drops it.
            return True
        tags = {"mlops/decision": decision["id"]}
        return bool(self._instance.get_runs(self._dg.RunsFilter(tags=tags), limit=1))

    def _running(self, *jobs: str) -> str | None:
        from mlops_assets.automation.past_runs import IN_PROGRESS

        for job in jobs or ("train", "rollback"):
            name = f"{self._model.name}__{job}"
            found = self._instance.get_runs(
                self._dg.RunsFilter(job_name=name, statuses=IN_PROGRESS), limit=1
            )
            if found:
                return str(found[0].run_id)
        return None

    def _raise_if_failed(self) -> None:
        """A failed ingest or close is an error of the loop, told at once."""
        for job in ("ingest", "close"):
            found = self._instance.get_runs(
                self._dg.RunsFilter(
                    job_name=f"{self._model.name}__{job}",
                    statuses=[self._dg.DagsterRunStatus.FAILURE],
                ),
                limit=1,
            )
            if found:
                raise ServiceError(
                    f"run {found[0].run_id[:8]} of {found[0].job_name} failed; see it in the "
                    "Dagster UI"
                )
