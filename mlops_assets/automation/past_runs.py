"""What the instance knows of a model's runs and periods, as the sensors ask for it."""

import dagster as dg

from mlops_assets.automation.jobs import job_name
from mlops_assets.domain.due import Work
from mlops_assets.spec import Model

RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"
PARTITION = "dagster/partition"
IN_PROGRESS = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
FAILED = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
ENDED = [dg.DagsterRunStatus.SUCCESS, *FAILED]


def failed_periods(
    instance: dg.DagsterInstance, model: Model
) -> tuple[dict[Work, set[str]], set[str]]:
    """Periods whose own run failed, by work, and all periods of ranges whose run failed.

    A run key is never started again, so without this one bad period would stop all later ones.
    """
    own: dict[Work, set[str]] = {"ingest": set(), "close": set(), "watch": set()}
    alone: set[str] = set()
    for work, periods in own.items():
        runs = instance.get_runs(dg.RunsFilter(job_name=job_name(model, work), statuses=FAILED))
        for tags in (run.tags for run in runs):
            if RANGE_START in tags:
                first, last = tags[RANGE_START], tags[RANGE_END]
                bounds = model.calendar.bounds
                alone.update(model.calendar.between(bounds(first).start, bounds(last).end))
            elif PARTITION in tags:
                periods.add(tags[PARTITION])
    return own, alone


def handled(instance: dg.DagsterInstance, decision: str) -> frozenset[str]:
    """The decision, if a run was ever started for it."""
    found = instance.get_runs(dg.RunsFilter(tags={"mlops/decision": decision}), limit=1)
    return frozenset({decision}) if found else frozenset()


def in_flight(instance: dg.DagsterInstance, model: Model, jobs: tuple[str, ...]) -> str | None:
    """The short id of a run of one of these jobs that is queued or running."""
    for job in jobs:
        found = instance.get_runs(
            dg.RunsFilter(job_name=job_name(model, job), statuses=IN_PROGRESS), limit=1
        )
        if found:
            return str(found[0].run_id[:8])
    return None


def materialized(instance: dg.DagsterInstance, model: Model, asset: str) -> set[str]:
    """Keys of the periods of an asset that were ever materialised."""
    key = dg.AssetKey([model.name, asset])
    return set(instance.get_materialized_partitions(key))


def has_ended(instance: dg.DagsterInstance, model: Model, period: str) -> bool:
    """Whether a run on the period has ended, however: its run key is never started again."""
    start = model.calendar.bounds(period).start
    for job in ("ingest", "close"):
        runs = instance.get_runs(dg.RunsFilter(job_name=job_name(model, job), statuses=ENDED))
        for tags in (run.tags for run in runs):
            if tags.get(PARTITION) == period:
                return True
            if RANGE_START in tags:
                first, last = (model.calendar.bounds(tags[e]) for e in (RANGE_START, RANGE_END))
                if first.start <= start <= last.start:
                    return True
    return False
