"""What is told of failed runs, and how one is made good: by a later run that did the work."""

from datetime import UTC, datetime

import dagster as dg

from mlops_assets.automation.past_runs import PARTITION, RANGE_END, RANGE_START
from mlops_assets.domain.alert_signals import FailedRun
from mlops_assets.resources import model_of
from mlops_assets.spec import Model

LATER_RUNS = 200
# Whoever materialises this by hand has done the job's work.
LAST_ASSETS = {
    "ingest": "features",
    "watch": "performance_estimate",
    "close": "retrain_decision",
    "restate": "performance_report",
    "publish": "online_history",
    "train": "challenger",
}


def failed_of(context: dg.RunFailureSensorContext) -> FailedRun | None:
    """The failed run, without its message: that may quote rows. None if only gates failed."""
    run = context.dagster_run
    step, error = "", ""
    for event in context.get_step_failure_events():
        step, error = str(event.step_key or ""), _error_class(event)
        if error == "DagsterAssetCheckFailedError" and step.endswith("challenger"):
            return None
    return FailedRun(
        run_id=run.run_id,
        job=_short_name(run),
        period=_period(run),
        step=step,
        error=error or "its process was lost, or it could not start",
    )


def how_it_ended(instance: dg.DagsterInstance, model: Model, run_id: str) -> str:
    """By which run a failed one was made good; empty if by none so far."""
    failed = instance.get_run_by_id(run_id)
    if failed is None:
        return "the run was deleted"
    record = instance.get_run_record_by_id(run_id)
    ended = record.end_time if record and record.end_time else 0.0
    later = instance.get_runs(
        dg.RunsFilter(
            statuses=[dg.DagsterRunStatus.SUCCESS],
            created_after=datetime.fromtimestamp(ended, UTC) if ended else None,
        ),
        limit=LATER_RUNS,
    )
    mine = [run for run in later if model_of(run) == model.name and _same_work(run, failed)]
    wanted = _periods(model, failed)
    done = {period for run in mine for period in _periods(model, run)}
    if mine and wanted <= done:
        return f"run {mine[0].run_id[:8]} succeeded"
    return ""


def _same_work(run: dg.DagsterRun, failed: dg.DagsterRun) -> bool:
    """Whether a run does what the failed one should have done.

    Closing a period ingests and watches it too.
    """
    work = failed.job_name.rpartition("__")[2]
    if run.job_name == failed.job_name:
        return True
    if work in ("ingest", "watch") and run.job_name.endswith("__close"):
        return True
    by_hand = {key.path[-1] for key in run.asset_selection or ()}
    return LAST_ASSETS.get(work, "") in by_hand


def _periods(model: Model, run: dg.DagsterRun) -> set[str]:
    """The periods that the run was about; none for a training."""
    first, last = _bounds(run)
    bounds = model.calendar.bounds
    return set(model.calendar.between(bounds(first).start, bounds(last).end)) if first else set()


def _bounds(run: dg.DagsterRun) -> tuple[str, str]:
    tags = run.tags
    if RANGE_START in tags:
        return tags[RANGE_START], tags[RANGE_END]
    return tags.get(PARTITION, ""), tags.get(PARTITION, "")


def _period(run: dg.DagsterRun) -> str:
    first, last = _bounds(run)
    return first if first == last else f"{first}…{last}"


def _short_name(run: dg.DagsterRun) -> str:
    return run.job_name.removeprefix(f"{model_of(run)}__").strip("_").lower()


def _error_class(event: dg.DagsterEvent) -> str:
    """The name of the class at the root of a step's failure."""
    error = getattr(event.event_specific_data, "error", None)
    while error is not None and error.cause is not None:
        error = error.cause
    return str(error.cls_name) if error is not None and error.cls_name else "an error"
