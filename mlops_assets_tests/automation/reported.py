"""Periods that were reported on and decided, without the runs that do so."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date, timedelta
from typing import Any

import dagster as dg
import pyarrow as pa

from mlops_assets.automation.acting import REPORTS
from mlops_assets.domain.retraining import Decision
from mlops_assets.stores.registry import CHALLENGER
from mlops_assets_tests.loop import Loop, utc


def days(count: int, first: str = "2026-01-05") -> list[str]:
    """Keys of so many daily periods."""
    start = date.fromisoformat(first)
    return [(start + timedelta(days=day)).isoformat() for day in range(count)]


def register(loop: Loop, model: str, *, gates: str = "passed", run_id: str = "") -> str:
    """A version that has tags and a run, but no bundle; it becomes the challenger."""
    registry = loop.stores.registry
    client = registry.client
    if not client.search_registered_models(f"name = '{model}'"):
        client.create_registered_model(model)
    run = client.create_run("0")
    client.set_terminated(run.info.run_id)
    serving = registry.aliases(model).get("champion", "")
    tags = {"gates": gates, "judged_against": serving, "dagster_run_id": run_id}
    source = f"runs:/{run.info.run_id}/bundle"
    made = client.create_model_version(model, source, run.info.run_id, tags=tags)
    registry.set_alias(model, CHALLENGER, str(made.version))
    return str(made.version)


def release(loop: Loop, model: str, version: str) -> None:
    """Make the version the champion."""
    loop.stores.releases.release(
        model,
        version,
        expected_champion=loop.stores.registry.aliases(model).get("champion"),
        actor="a test",
        reason="to begin with",
        at=utc("2026-01-01"),
        loop_time=utc("2026-01-01"),
    )


def decide(
    loop: Loop,
    instance: dg.DagsterInstance,
    model: str,
    periods: Sequence[str],
    action: str = "retrain",
    version: str = "1",
    window: Any = None,
    flagged: Sequence[str] = ("weight",),
    harmed: bool = True,
) -> list[Decision]:
    """Keep reports and a decision of each period, and let Dagster know of them."""
    found = [
        Decision(f"{model}-{period}-{action}", model, period, version, action, None, ("harm",))  # type: ignore[arg-type]
        for period in periods
    ]
    drift = {"judged": True, "flagged": list(flagged), "version": version}
    quality = {
        "version": version,
        "judged": True,
        "harmed": harmed and action != "nothing",
        "loss": 0.6,
        "reference_loss": 0.5,
        "metrics": {},
        "previous_is_better": False,
    }
    for table, contents in (
        ("drift_reports", [drift] * len(found)),
        ("performance_reports", [quality] * len(found)),
        ("decisions", [{**asdict(one), "reasons": list(one.reasons)} for one in found]),
    ):
        rows = {"content": [json.dumps(content) for content in contents], "period": list(periods)}
        name = f"{table}-{periods[0]}-{periods[-1]}-{action}"
        loop.stores.lake.append_once(model, table, pa.table(rows), source=name, position=1)
    for decision in found:
        for asset in REPORTS:
            metadata: dict[str, Any] = {"reason": "drift"}
            if asset == "retrain_decision":
                metadata = {
                    "action": decision.action,
                    "reasons": "; ".join(decision.reasons),
                    "decision": decision.id,
                    "version": decision.version,
                    **({} if window is None else {"window": window}),
                }
            instance.report_runless_asset_event(
                dg.AssetMaterialization(
                    [model, asset], metadata=metadata, partition=decision.period
                )
            )
    return found


class Daemon:
    """Evaluates one sensor again and again, and queues what it asks for once per run key."""

    def __init__(self, loop: Loop, instance: dg.DagsterInstance, sensor: str) -> None:
        self.loop, self.instance, self.sensor = loop, instance, sensor
        self.cursor: str | None = None
        self.runs: list[dg.DagsterRun] = []
        self.keys: set[str] = set()

    def tick(self) -> Any:
        """One evaluation; a run that is asked for is at work when this returns."""
        context = dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursor,
            definitions=self.loop.definitions,
            resources={"stores": self.loop.stores},
        )
        told = self.loop.definitions.resolve_sensor_def(self.sensor).evaluate_tick(context)
        self.cursor = told.cursor
        for event in told.asset_events or ():
            self.instance.report_runless_asset_event(event)
        for request in told.run_requests or ():
            if request.run_key not in self.keys:
                self.keys.add(request.run_key)
                job = self.loop.definitions.resolve_job_def(request.job_name)
                self.runs.append(
                    self.instance.create_run_for_job(
                        job, status=dg.DagsterRunStatus.STARTED, tags=request.tags
                    )
                )
        return told

    def end(self, status: dg.DagsterRunStatus) -> str:
        """End the newest run; gives its id."""
        run = self.runs[-1]
        event = {
            dg.DagsterRunStatus.SUCCESS: dg.DagsterEventType.RUN_SUCCESS,
            dg.DagsterRunStatus.FAILURE: dg.DagsterEventType.RUN_FAILURE,
        }[status]
        self.instance.report_dagster_event(dg.DagsterEvent(event.value, run.job_name), run.run_id)
        return run.run_id
