"""Retrains that decisions started, read back from runs, registry and release records."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import dagster as dg

from mlops_assets.automation.jobs import job_name
from mlops_assets.automation.past_runs import IN_PROGRESS
from mlops_assets.domain.evidence import PeriodEvidence
from mlops_assets.domain.past_retrains import Cause, Outcome, PastRetrain
from mlops_assets.resources import Stores
from mlops_assets.spec import Model
from mlops_assets.stores.registry import CHALLENGER, Version
from mlops_assets.stores.release_log import ReleaseRecord

DECISION_TAG = "mlops/decision"
PERIOD_TAG = "mlops/period"
LOOP_TIME_TAG = "mlops/loop_time"
# Older runs than these say nothing about the last month.
RUNS = 1000


def past_retrains(
    instance: dg.DagsterInstance, model: Model, stores: Stores, history: Sequence[PeriodEvidence]
) -> list[PastRetrain]:
    """Every retrain that a decision on one of the `history`'s periods started, oldest first.

    Nothing is remembered beside: the run says for which decision it was and how it ended, the
    version's tags how the gates judged, the release records whether it served.
    """
    evidence = {found.period: found for found in history}
    runs = instance.get_runs(dg.RunsFilter(job_name=job_name(model, "train")), limit=RUNS)
    asked = [run for run in runs if run.tags.get(PERIOD_TAG) in evidence]
    if not asked:
        return []
    made = _made_by_run(stores, model)
    releases = stores.releases.history(model.name)
    found = []
    for run in asked:
        tags, version = run.tags, made.get(run.run_id)
        found.append(
            PastRetrain(
                decision=tags[DECISION_TAG],
                period=tags[PERIOD_TAG],
                at=datetime.fromisoformat(tags[LOOP_TIME_TAG]),
                cause=Cause.of(evidence[tags[PERIOD_TAG]]),
                outcome=_outcome(run, version, releases),
                challenger=version.version if version else "",
            )
        )
    return sorted(found, key=lambda retrain: (retrain.period, retrain.at))


def _made_by_run(stores: Stores, model: Model) -> Mapping[str, Version]:
    """Each Dagster run's version; a run makes at most one."""
    versions = stores.registry.versions(model.name)
    return {version.tags.get("dagster_run_id", ""): version for version in versions}


def _outcome(
    run: dg.DagsterRun, version: Version | None, releases: Sequence[ReleaseRecord]
) -> Outcome:
    if run.status in IN_PROGRESS:
        return "at work"
    if version is None:
        return "void"
    if not version.passed_gates:
        return "refused"
    moves = [move for move in releases if version.version in (move.from_version, move.to_version)]
    left = moves and moves[-1].kind == "rollback" and moves[-1].from_version == version.version
    if version.quarantined or left:
        return "taken back"
    if moves:
        return "serves"
    serving = releases[-1].to_version if releases else ""
    can_be_released = version.tags.get("judged_against", "") == serving
    return "waits" if CHALLENGER in version.aliases and can_be_released else "void"
