"""A model's sensors: new periods are worked on, decisions are acted on."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import dagster as dg

from mlops_assets.automation.acting import act_on_decisions, out_of_service, paused_text
from mlops_assets.automation.jobs import job_name
from mlops_assets.automation.past_runs import (
    RANGE_END,
    RANGE_START,
    failed_periods,
    in_flight,
    materialized,
)
from mlops_assets.automation.publishing import publication
from mlops_assets.domain.due import Due, Work, due
from mlops_assets.resources import MODEL_TAG, Stores
from mlops_assets.spec import Model


def new_periods(model: Model, jobs: Mapping[str, Any], seconds: int) -> dg.SensorDefinition:
    """The sensor that ingests periods that are over, watches and, with labels, closes them."""

    @dg.sensor(
        name=f"{model.name}__new_periods",
        jobs=[jobs[name] for name in ("ingest", "watch", "close", "publish") if name in jobs],
        minimum_interval_seconds=seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Ingests periods that are over, watches those that wait for their labels, and "
        "closes those whose labels have matured.",
    )
    def sensor(context: dg.SensorEvaluationContext, stores: Stores) -> Any:
        from mlops_assets.stores import sources

        ended = out_of_service(model, stores)
        if ended:
            return dg.SkipReason(ended)
        running = in_flight(context.instance, model, ("ingest", "watch", "close", "publish"))
        if running:
            return dg.SkipReason(f"run {running} is at work on periods of {model.name}")
        now = stores.clock.now()
        spec = model.spec
        failed, alone = failed_periods(context.instance, model)
        found = due(
            model.calendar,
            now,
            wait=spec.monitoring.wait,
            ingested=materialized(context.instance, model, "features"),
            closed=materialized(context.instance, model, "retrain_decision"),
            watched=materialized(context.instance, model, "performance_estimate"),
            serving_since=_serving_since(model, stores),
            newest_row=sources.newest(
                spec.source, model.folder, event_time=spec.event_time, until=now
            ),
            failed=failed,
            alone=alone,
        )
        # Reading periods publishes them; watching does not.
        if not found or found[0].work == "watch":
            again = publication(context.instance, model, stores)
            if again:
                return again
        if not found:
            return dg.SkipReason(
                f"at {now:%Y-%m-%d %H:%M} no period of {model.name} wants work"
                + _left_to_people(context, model, failed)
            )
        return _request(model, found[0])

    return sensor


def _left_to_people(
    context: dg.SensorEvaluationContext, model: Model, failed: Mapping[Work, set[str]]
) -> str:
    waiting = failed["ingest"] - materialized(context.instance, model, "features")
    waiting |= failed["close"] - materialized(context.instance, model, "retrain_decision")
    if not waiting:
        return ""
    return (
        f"; the run of {', '.join(sorted(waiting))} failed: correct the cause, then materialise "
        "what is missing"
    )


def _request(model: Model, work: Due) -> dg.RunRequest:
    tags = {MODEL_TAG: model.name, "mlops/reason": work.reason}
    if work.first != work.last:
        return dg.RunRequest(
            run_key=work.run_key,
            job_name=job_name(model, work.work),
            tags={**tags, RANGE_START: work.first, RANGE_END: work.last},
        )
    return dg.RunRequest(
        run_key=work.run_key,
        job_name=job_name(model, work.work),
        partition_key=work.first,
        tags=tags,
    )


def retrain(model: Model, jobs: Mapping[str, Any], seconds: int) -> dg.SensorDefinition:
    """The sensor that acts on decisions, and starts the first training of all."""

    @dg.sensor(
        name=f"{model.name}__retrain",
        jobs=[jobs["train"], jobs["rollback"]],
        minimum_interval_seconds=seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Watches the reports; retrains or rolls back when the decision says so, "
        "and trains the first version once there is enough history.",
    )
    def sensor(context: dg.SensorEvaluationContext, stores: Stores) -> Any:
        from mlops_assets.stores.registry import CHALLENGER, CHAMPION

        ended = out_of_service(model, stores)
        if ended:
            return dg.SkipReason(ended)
        running = in_flight(context.instance, model, ("train", "rollback"))
        champion = stores.registry.alias(model.name, CHAMPION)
        if champion is None:
            challenger = stores.registry.alias(model.name, CHALLENGER)
            same = challenger and challenger.tags.get("spec_hash") == model.spec.content_hash()
            if challenger and (challenger.passed_gates or same):
                return dg.SkipReason(
                    f"{model.name} has a challenger but no champion: it failed its gates or "
                    f"waits for a person (`mlops status`, `mlops approve {model.name}`)"
                )
            paused = paused_text(model, stores)
            if paused:
                return dg.SkipReason(f"the first training of {model.name} waits: {paused}")
            return _first_training(context, model, stores, running)
        return act_on_decisions(context, model, stores, champion.version, running)

    return sensor


def _first_training(
    context: dg.SensorEvaluationContext, model: Model, stores: Stores, running: str | None
) -> Any:
    if running:
        return dg.SkipReason(f"run {running} is training the first version of {model.name}")
    if in_flight(context.instance, model, ("ingest", "close")):
        return dg.SkipReason(f"{model.name}: history is still being ingested")
    now, ingested = stores.clock.now(), materialized(context.instance, model, "features")
    done = ingested | failed_periods(context.instance, model)[0]["ingest"]
    waiting = [p for p in model.calendar.closed(now) if p not in done]
    ready = ingested.intersection(model.matured(now))
    training = model.spec.training
    needed = training.window.min + training.validation + training.holdout
    if len(ready) < needed or (waiting and _source_has(model, stores, waiting[0])):
        return dg.SkipReason(
            f"{model.name} has {len(ingested)} ingested periods, {len(ready)} of them with matured "
            f"labels, {len(waiting)} still to come; its first training needs {needed}"
        )
    newest = max(ready)
    reason = f"first version, from {len(ready)} periods up to {newest}"
    return dg.RunRequest(
        # A corrected spec is tried again, whatever became of the run before.
        run_key=f"first:{newest}:{model.spec.content_hash()[:12]}",
        job_name=job_name(model, "train"),
        tags={MODEL_TAG: model.name, "mlops/reason": reason, "mlops/actor": "sensor"},
    )


def _source_has(model: Model, stores: Stores, period: str) -> bool:
    from mlops_assets.stores import sources

    newest = sources.newest(
        model.spec.source,
        model.folder,
        event_time=model.spec.event_time,
        until=stores.clock.now(),
    )
    return newest is not None and model.calendar.bounds(period).start <= newest


def _serving_since(model: Model, stores: Stores) -> datetime | None:
    history = stores.releases.history(model.name)
    return datetime.fromisoformat(history[0].loop_time) if history else None


def close_mlflow_runs() -> list[dg.SensorDefinition]:
    """Sensors that end the MLflow runs of killed and cancelled trainings as FAILED."""

    def close(context: dg.RunStatusSensorContext, stores: Stores) -> dg.SkipReason:
        from mlops_assets.stores.tracking import close_orphans

        closed = close_orphans(stores.registry, [context.dagster_run.run_id])
        return dg.SkipReason(f"ended as FAILED: {', '.join(closed) or 'no MLflow run was open'}")

    return [
        dg.run_status_sensor(
            run_status=status,
            name=f"close_mlflow_runs_of_{status.value.lower()}",
            default_status=dg.DefaultSensorStatus.RUNNING,
            description="Ends the MLflow run that a killed training left open.",
        )(close)
        for status in (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
    ]
