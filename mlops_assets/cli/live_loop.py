"""The loop as `mlops up` runs it: HTTP requests, the real daemon and its sensors."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from mlops_assets.automation.past_runs import IN_PROGRESS, has_ended, materialized
from mlops_assets.cli.client import HttpClient
from mlops_assets.cli.loops import Sent
from mlops_assets.domain.due import begun
from mlops_assets.domain.errors import ServiceError, StoreAwayError
from mlops_assets.resources import Stores
from mlops_assets.settings import Settings
from mlops_assets.spec import Model
from mlops_assets.stores import sources, verdicts
from mlops_assets.stores.monitoring import kept
from mlops_assets.stores.tokens import client_token

# Consecutive answers that must agree before all replicas are believed to.
ANSWERS = 6
SETTLE_SECONDS = 600.0
# Over how long a period's requests are spread while a training is at work.
SPREAD_SECONDS = 90


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
        self._model = model
        self._stores = Stores.of(settings)
        self._instance = dg.DagsterInstance.from_config(str(settings.dagster_home))
        self._client = HttpClient(url, client_token(settings.serve_token_file), workers)
        # Raises when what the loop runs on is gone.
        self._watch = watch

    def __enter__(self) -> "LiveLoop":
        """Nothing to start."""
        return self

    def __exit__(self, *error: object) -> None:
        """Let go of the connections and the instance."""
        self._client.__exit__(None, None, None)
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
        """Poll until the daemon has made the decision and begun what it asks for.

        Without a period: until there is a version and, where requests look the past up, until what
        is over is published.
        """
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
            time.sleep(0.5)
        raise ServiceError(
            f"{complaint} within {SETTLE_SECONDS:g} s; see the Dagster UI and the logs"
        )

    def acted_on(self, decision: str) -> bool:
        """Whether a run carries the decision's id."""
        tags = dg.RunsFilter(tags={"mlops/decision": decision})
        return bool(self._instance.get_runs(tags, limit=1))

    def swapped(self, version: str) -> float | None:
        """Poll /health until every replica answers with the version."""
        self._poll(lambda: self._is_served(version), f"version {version} is not served")
        state = self._client.health()["models"][self._model.name]
        since, released = state.get("since"), state.get("released_at")
        if not since or not released:
            return None
        moved = datetime.fromisoformat(released)
        return max(0.0, (datetime.fromisoformat(since) - moved).total_seconds())

    def _is_served(self, version: str) -> bool:
        """Whether each of several answers names it: one after another come from all replicas."""
        return all(self.served_version() == version for _ in range(ANSWERS))

    def served_version(self) -> str:
        """The version that /health says is served; empty if none is."""
        state = self._client.health()["models"].get(self._model.name, {})
        return str(state.get("version")) if state.get("loaded") else ""

    def _is_settled(self, period: str | None) -> bool:
        self._raise_if_failed()
        if period is None:
            return bool(self._stores.releases.history(self._model.name)) and self._is_published()
        decision = kept(self._stores.lake, self._model.name, "decisions").get(period)
        if decision is None or self._running("close") is not None:
            return False
        if decision["action"] not in ("retrain", "rollback"):
            return True
        champion = self._stores.releases.history(self._model.name)[-1].to_version
        if decision["version"] != champion:
            # It is about a version that has been replaced meanwhile: the sensor drops it.
            return True
        verdict = verdicts.of(self._stores.lake, self._model.name).get(period)
        if verdict and verdict.decision == decision["id"] and verdict.held:
            return True
        return self.acted_on(decision["id"])

    def _is_published(self) -> bool:
        """Whether look-ups see all periods that are over; one that was refused brings nothing."""
        model, spec = self._model, self._model.spec
        if not spec.history:
            return True
        now = self._stores.clock.now()
        newest = sources.newest(spec.source, model.folder, event_time=spec.event_time, until=now)
        over = begun(model.calendar, now, newest)
        ingested = materialized(self._instance, model, "features")
        if over and over[-1] not in ingested and not has_ended(self._instance, model, over[-1]):
            return False
        if self._running("ingest", "close", "publish") is not None:
            return False
        ready = ingested.intersection(model.calendar.closed(now))
        # Also no more than that: windows would not reach back from the replayed time.
        return not ready or self._published_until() == model.calendar.bounds(max(ready)).end

    def _published_until(self) -> datetime:
        try:
            found = self._stores.online.published(self._model.name)
        except StoreAwayError:
            found = None  # SQLite's file is made by the first publication
        return datetime.fromtimestamp(found.until / 1e6 if found else 0, UTC)

    def _running(self, *jobs: str) -> str | None:
        for job in jobs or ("train", "rollback"):
            name = f"{self._model.name}__{job}"
            found = self._instance.get_runs(
                dg.RunsFilter(job_name=name, statuses=IN_PROGRESS), limit=1
            )
            if found:
                return str(found[0].run_id)
        return None

    def _raise_if_failed(self) -> None:
        """A failed ingest, close or publication is an error of the loop, told at once."""
        for job in ("ingest", "close", "publish"):
            found = self._instance.get_runs(
                dg.RunsFilter(
                    job_name=f"{self._model.name}__{job}",
                    statuses=[dg.DagsterRunStatus.FAILURE],
                ),
                limit=1,
            )
            if found:
                raise ServiceError(
                    f"run {found[0].run_id[:8]} of {found[0].job_name} failed; see it in the "
                    "Dagster UI"
                )
