"""A model's jobs: ingest, watch, close, restate a period; publish, train, backtest, roll back."""

from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from mlops_assets.domain.periods import CRON, KEY_FORMAT
from mlops_assets.resources import MODEL_TAG, Stores, end_mlflow_on_run_finished
from mlops_assets.spec import Model

DATA = ("raw_data", "validated_data", "features")
MONITORING = (
    "predictions",
    "ground_truth",
    "drift_report",
    "performance_report",
    "staleness_report",
    "retrain_decision",
    "model_card",
)


# What can be said of a period before its labels are known.
WATCHING = ("predictions", "drift_report", "performance_estimate", "model_card")
# The period's data with late labels, and its report; no decision. What a retrain was worth stays
# what it was when the decision was made; the next staleness_report reads the restated losses.
RESTATING = (*DATA, "ground_truth", "performance_report", "model_card")


def job_name(model: Model, job: str) -> str:
    """The name of one of the model's jobs."""
    return f"{model.name}__{job}"


# Makes the cards anew of versions that came to serve or no longer do: what Dagster is to be told,
# and what went wrong.
RefreshCards = Callable[
    [Model, Stores, Collection[str]], tuple[dg.AssetMaterialization | None, tuple[str, ...]]
]


def jobs(model: Model, refresh_cards: RefreshCards) -> dict[str, Any]:
    """A model's jobs by their short names. Steps of a run follow each other in one process."""
    release = () if model.spec.gates.approval == "manual" else ("champion", "model_card")
    online = ("online_history",) if model.spec.history else ()
    data = (*DATA, *online)
    canary = ("canary",) if model.spec.serving.canary == "auto" else ()
    found = [
        _asset_job(model, "ingest", data, "Bring periods into the lake, up to features."),
        _asset_job(
            model,
            "close",
            (*data, *MONITORING, *canary),
            "Close a period: its data with matured labels, reports, and the decision.",
        ),
        _asset_job(
            model,
            "watch",
            WATCHING,
            "Look at a period that is over and waits for its labels: drift, expected quality.",
        ),
        _asset_job(
            model,
            "restate",
            (*RESTATING, *online),
            "Restate a closed period whose labels came late or changed; decides nothing.",
        ),
        _asset_job(
            model,
            "train",
            ("training_set", "challenger", *release),
            "Make a challenger, judge it, and release it if it passed its gates.",
        ),
        _asset_job(
            model,
            "backtest",
            ("policy_backtest",),
            "Replay the history through every policy; nothing is released.",
        ),
        _rollback(model, refresh_cards),
    ]
    if online:
        found.append(
            _asset_job(
                model, "publish", online, "Publish what requests look up anew; no source is read."
            )
        )
    return {job.name.removeprefix(job_name(model, "")): job for job in found}


def _asset_job(model: Model, name: str, assets: tuple[str, ...], description: str) -> Any:
    return dg.define_asset_job(
        job_name(model, name),
        selection=dg.AssetSelection.assets(*([model.name, asset] for asset in assets)),
        description=description,
        tags={MODEL_TAG: model.name},
        executor_def=dg.in_process_executor,
        hooks={end_mlflow_on_run_finished} if name == "train" else None,
    )


def _rollback(model: Model, refresh_cards: RefreshCards) -> dg.JobDefinition:
    @dg.op(name=f"{model.name}__move_alias_back", description="Restore the previous champion.")
    def move_alias_back(context: dg.OpExecutionContext, stores: Stores) -> None:
        from mlops_assets.stores.incidents import Finding

        tags = context.run.tags
        decision, reason = tags.get("mlops/decision"), tags.get("mlops/reason", "started by hand")
        record = stores.releases.rollback(
            model.name,
            actor=tags.get("mlops/actor", "dagster"),
            reason=reason,
            at=datetime.now(UTC),
            loop_time=stores.clock.now(),
            expected_champion=tags.get("mlops/version") or None,
            run_id=context.run.run_id,
            # A version that a report convicts is not to come back by another sensor.
            finding=Finding("quality", (reason,), {"decision": decision}) if decision else None,
        )
        context.log_event(
            dg.AssetMaterialization(
                asset_key=[model.name, "champion"],
                metadata={
                    "version": record.to_version,
                    "previous_version": record.from_version,
                    "release": record.id,
                    "reason": record.reason,
                },
            )
        )
        event, problems = refresh_cards(model, stores, (record.from_version, record.to_version))
        for problem in problems:
            context.log.warning(problem)
        if event:
            context.log_event(event)

    @dg.job(
        name=job_name(model, "rollback"),
        description="Make the previous champion the champion again.",
        tags={MODEL_TAG: model.name},
        executor_def=dg.in_process_executor,
    )
    def rollback() -> None:
        move_alias_back()

    return rollback


def schedule(model: Model) -> dg.ScheduleDefinition:
    """The model's cadence: after each period's end, close the newest period that is over.

    Off by default: the sensor on new periods does the same as soon as the data is there.
    """
    calendar = model.calendar

    @dg.schedule(
        name=f"{model.name}__cadence",
        cron_schedule=CRON[calendar.every],
        job_name=job_name(model, "ingest"),
        execution_timezone="UTC",
        description=f"Ingest the period that has just ended, {calendar.every}.",
        tags={MODEL_TAG: model.name},
    )
    def cadence(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        over = calendar.closed(context.scheduled_execution_time)
        if not over:
            return dg.SkipReason(f"{model.name} has no period that is over")
        bounds = calendar.bounds(over[-1])
        if bounds.end < calendar.floor(context.scheduled_execution_time):
            return dg.SkipReason(
                f"the history of {model.name} ended with "
                f"{bounds.start.strftime(KEY_FORMAT[calendar.every])}"
            )
        return dg.RunRequest(run_key=over[-1], partition_key=over[-1])

    return cadence
