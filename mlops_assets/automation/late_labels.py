"""A model's sensor on late labels: reports of closed periods are restated, decisions are not."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from mlops_assets.automation.acting import out_of_service
from mlops_assets.automation.jobs import job_name
from mlops_assets.automation.past_runs import in_flight, materialized
from mlops_assets.resources import MODEL_TAG, Stores
from mlops_assets.spec import Model

# The source is asked for whole periods, which a database should not be every few seconds.
LEAST_SECONDS = 600


def late_labels(model: Model, jobs: Mapping[str, Any], seconds: int) -> dg.SensorDefinition:
    """The sensor that restates the newest closed periods when their labels come or change."""
    looked_at = model.spec.monitoring.restate

    @dg.sensor(
        name=f"{model.name}__late_labels",
        jobs=[jobs["restate"]],
        minimum_interval_seconds=max(seconds, LEAST_SECONDS),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Looks at the labels of the last {looked_at} closed periods again, and "
        "restates the report of a period whose labels came late or changed. No decision follows.",
    )
    def sensor(context: dg.SensorEvaluationContext, stores: Stores) -> Any:
        from mlops_assets.stores.late_labels import changed_labels

        ended = out_of_service(model, stores)
        if ended:
            return dg.SkipReason(ended)
        running = in_flight(context.instance, model, ("ingest", "close", "restate"))
        if running:
            return dg.SkipReason(f"run {running} is at work on periods of {model.name}")
        closed = sorted(materialized(context.instance, model, "retrain_decision"), reverse=True)
        found = changed_labels(model, stores.lake, closed[:looked_at], stores.clock.now())
        if not found:
            return dg.SkipReason(
                f"the labels of the last {min(looked_at, len(closed))} closed periods of "
                f"{model.name} are those that their reports were made of"
            )
        return [
            dg.RunRequest(
                run_key=f"restate:{period}:{digest}",
                job_name=job_name(model, "restate"),
                partition_key=period,
                tags={MODEL_TAG: model.name, "mlops/reason": f"labels of {period}: {changes}"},
            )
            for period, (digest, changes) in sorted(found.items())
        ]

    return sensor
