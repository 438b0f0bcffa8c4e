"""The loop in this process: the same definitions, sensors and serving code, no server."""

import json
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dagster as dg

from mlops_assets.cli.loops import Sent
from mlops_assets.definitions import defs
from mlops_assets.domain.errors import ServiceError
from mlops_assets.resources import Stores
from mlops_assets.settings import Settings
from mlops_assets.spec import Model
from mlops_assets.stores.online import OnlineStore
from serving.follower import Follower
from serving.http import PredictionService
from serving.models import ModelSet

SENSORS = ("new_periods", "retrain", "late_labels")
# Each run makes a console of its own, which would tell every event, and a trace of each gate that
# refuses a version; what failed is told here in one line, and Dagster keeps it all.
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class LocalLoop:
    """Everything in this process: the same definitions, sensors and serving code, no server."""

    def __init__(self, settings: Settings, model: Model, note: Callable[[str], None]) -> None:
        """`note` is told of each run that failed and is no fault of the loop."""
        logging.getLogger("dagster").setLevel(logging.ERROR)
        os.environ["DAGSTER_HOME"] = str(settings.dagster_home)
        self._model = model
        self._note = note
        self._definitions: dg.Definitions = defs()
        self._stores = Stores.of(settings)
        self._instance = dg.DagsterInstance.from_config(str(settings.dagster_home))
        self._cursors: dict[str, str | None] = {}
        self._follower = Follower(
            self._stores.registry, settings.bundle_cache, settings.serving_state
        )
        self._models = ModelSet(settings.serving_state)
        self._service = PredictionService(
            self._models,
            settings.prediction_log,
            online=OnlineStore(settings.online_store),
            models_dir=settings.models_dir,
        )

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
            started = [self._tick(name) for name in SENSORS]
            if not any(started):
                return
        raise ServiceError(f"the sensors of {self._model.name} never come to rest")

    def finish(self) -> None:
        """Runs end before they return here."""

    def acted_on(self, decision: str) -> bool:
        """Whether a run carries the decision's id."""
        tags = dg.RunsFilter(tags={"mlops/decision": decision})
        return bool(self._instance.get_runs(tags, limit=1))

    def swapped(self, version: str) -> float | None:
        """Load the version now; the time it takes is the swap."""
        started = time.perf_counter()
        self._refresh()
        state = self._models.models[self._model.name]
        if state.loaded is None or state.loaded.version != version:
            raise ServiceError(f"version {version} cannot be loaded: {state.problem}")
        return time.perf_counter() - started

    def _refresh(self) -> None:
        self._follower.step()
        self._models.refresh()

    def _tick(self, name: str) -> bool:
        """Evaluate one sensor; True if it requested a run."""
        full = f"{self._model.name}__{name}"
        sensor = self._definitions.resolve_sensor_def(full)
        with dg.build_sensor_context(
            instance=self._instance,
            cursor=self._cursors.get(full),
            definitions=self._definitions,
            resources={"stores": self._stores},
        ) as context:
            outcome = sensor.evaluate_tick(context)
        self._cursors[full] = outcome.cursor
        for event in outcome.asset_events or ():
            self._instance.report_runless_asset_event(event)
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
        earlier = dg.RunsFilter(
            tags={name: tags[name] for name in ("dagster/run_key", "dagster/sensor_name")}
        )
        if self._instance.get_runs(earlier, limit=1):
            return False
        job = self._definitions.resolve_job_def(request.job_name)
        result = job.execute_in_process(
            instance=self._instance,
            run_config=QUIET,
            partition_key=request.partition_key,
            tags=tags,
            raise_on_error=False,
        )
        # A refused challenger fails its run and is no fault of the loop; a failed close is one.
        if not result.success:
            told = f"run {result.run_id[:8]} of {request.job_name} failed: {_why(result)}"
            if not request.job_name.endswith("__train"):
                raise ServiceError(f"{told}; `mlops up` shows it.")
            self._note(told)
        return True


def _why(result: dg.ExecuteInProcessResult) -> str:
    """What its gates refused, or the error of the first step that failed, in one line."""
    refused = [
        f"{found.check_name}: {found.description}"
        for found in result.get_asset_check_evaluations()
        if not found.passed and found.blocking and found.description
    ]
    if refused:
        return "refused by its gates, " + "; ".join(refused)
    for event in result.all_events:
        error = event.step_failure_data.error if event.is_step_failure else None
        if error:
            return " ".join((error.cause or error).message.split())
    return "no step failed"
