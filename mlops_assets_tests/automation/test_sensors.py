import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow.parquet as pq
import pytest

from mlops_assets.stores import monitoring
from mlops_assets_tests.loop import RANGE_END, RANGE_START, Loop, errors, parcels, utc

MODEL = "watched"
SENSOR, RETRAIN = f"{MODEL}__new_periods", f"{MODEL}__retrain"
# The first day on which near parcels take the longest.
SHIFTED = "2026-01-13"


@contextmanager
def in_flight(loop: Loop, job: str) -> Iterator[str]:
    """A run of a job that is at work; gives its short id."""
    definition = loop.definitions.resolve_job_def(job)
    run = loop.instance.create_run_for_job(definition, status=dg.DagsterRunStatus.STARTED)
    try:
        yield run.run_id[:8]
    finally:
        loop.instance.delete_run(run.run_id)


def cadence(loop: Loop, model: str, at: datetime) -> Any:
    """Evaluate a model's schedule at a time."""
    context = dg.build_schedule_context(
        instance=loop.instance,
        scheduled_execution_time=at,
        repository_def=loop.definitions.get_repository_def(),
    )
    return loop.definitions.resolve_schedule_def(f"{model}__cadence").evaluate_tick(context)


@dataclass(frozen=True)
class Watched:
    """A model that was released, served a day of another kind, and is to be retrained."""

    loop: Loop
    backlog: Any
    first_training: Any
    before_history: Any
    cursor: str


@pytest.fixture(scope="module")
def watched(loop: Loop) -> Watched:
    """The loop until the decision, step by step as the sensors ask."""
    loop.at("2026-01-09")
    before = loop.tick(RETRAIN)
    backlog = loop.tick(SENSOR)
    (request,) = backlog.run_requests
    assert loop.follow(request).success
    first = loop.tick(RETRAIN)
    (request,) = first.run_requests
    result = loop.follow(request)
    assert result.success, errors(result)
    cursor = loop.tick(RETRAIN).cursor or "0"
    loop.serve(MODEL, SHIFTED, loop.requests(MODEL, SHIFTED))
    loop.at("2026-01-17")
    result = loop.run(f"{MODEL}__close", SHIFTED)
    assert result.success, errors(result)
    return Watched(loop, backlog, first, before, cursor)


def test_a_backlog_is_requested_as_one_range(watched: Watched):
    (request,) = watched.backlog.run_requests
    assert request.job_name == f"{MODEL}__ingest"
    assert request.partition_key is None
    assert request.tags[RANGE_START] == "2026-01-01"
    assert request.tags[RANGE_END] == "2026-01-08"
    assert request.run_key == "ingest:2026-01-01:2026-01-08"
    assert request.tags["mlops/model"] == MODEL
    assert "8 periods" in request.tags["mlops/reason"]


def test_the_first_training_waits_for_the_history(watched: Watched):
    assert not watched.before_history.run_requests
    assert (
        "has 0 ingested periods, 0 of them with matured labels, 8 still to come; its first "
        "training needs 5"
    ) in str(watched.before_history.skip_message)


def test_the_first_training_is_requested_when_the_history_is_there(watched: Watched):
    (request,) = watched.first_training.run_requests
    assert request.job_name == f"{MODEL}__train"
    # The labels of the three newest days have not had their time.
    assert request.run_key.startswith("first:2026-01-05:")
    assert request.tags["mlops/reason"] == "first version, from 5 periods up to 2026-01-05"
    record = watched.loop.stores.releases.history(MODEL)[0]
    assert (record.actor, record.reason) == ("sensor", request.tags["mlops/reason"])


def test_a_refused_first_version_is_trained_again_once_its_spec_is_corrected(
    watched: Watched, tmp_path: Path
):
    loop, corrected = watched.loop, tmp_path / "models"
    shutil.copytree(loop.models / MODEL, corrected / MODEL)
    path = corrected / MODEL / "defs.yaml"
    path.write_text(path.read_text().replace("attributes:", "attributes:\n  description: new", 1))
    registry = loop.stores.registry
    version = loop.alias(MODEL)
    loop.at("2026-01-09")
    registry.remove_alias(MODEL, "champion")
    registry.set_tags(MODEL, version, {"gates": "failed"})
    try:
        waits = loop.tick(RETRAIN)
        again = loop.tick(RETRAIN, definitions=loop.load(corrected))
    finally:
        registry.set_tags(MODEL, version, {"gates": "passed"})
        registry.set_alias(MODEL, "champion", version)
    assert "it failed its gates" in str(waits.skip_message)
    assert again.run_requests, again.skip_message
    (request,) = again.run_requests
    assert request.run_key.startswith("first:2026-01-05:")
    assert request.run_key != watched.first_training.run_requests[0].run_key


def test_nothing_is_requested_when_nothing_is_due(watched: Watched):
    watched.loop.at("2026-01-09T06:00")
    told = watched.loop.tick(SENSOR)
    assert not told.run_requests
    assert told.skip_message == f"at 2026-01-09 06:00 no period of {MODEL} wants work"


def test_a_period_whose_labels_matured_is_requested_to_be_closed(watched: Watched):
    watched.loop.at("2026-01-13T00:30")
    (request,) = watched.loop.tick(SENSOR).run_requests
    # Days without matured labels are only ingested, and the oldest work comes first.
    assert (request.job_name, request.run_key) == (
        f"{MODEL}__ingest",
        "ingest:2026-01-10:2026-01-12",
    )
    assert watched.loop.follow(request).success
    (request,) = watched.loop.tick(SENSOR).run_requests
    assert request.job_name == f"{MODEL}__close"
    assert request.partition_key == "2026-01-09"
    assert request.run_key == "close:2026-01-09:2026-01-09"


def test_new_periods_wait_while_a_run_is_at_work(watched: Watched):
    watched.loop.at("2026-01-16")
    with in_flight(watched.loop, f"{MODEL}__close") as run:
        told = watched.loop.tick(SENSOR)
    assert not told.run_requests
    assert told.skip_message == f"run {run} is at work on periods of {MODEL}"
    assert watched.loop.tick(SENSOR).run_requests


def test_a_real_report_with_harm_starts_one_retrain_however_often_it_is_seen(watched: Watched):
    loop = watched.loop
    kept = monitoring.kept(loop.stores.lake, MODEL, "decisions")[SHIFTED]
    assert kept["action"] == "retrain"
    told = [loop.tick(RETRAIN, watched.cursor) for _ in range(2)]
    (first,), (second,) = (found.run_requests for found in told)
    assert first.run_key == second.run_key == kept["id"]
    assert first.job_name == f"{MODEL}__train"
    assert first.tags["mlops/version"] == "1"
    assert first.tags["mlops/reason"].startswith("harm: loss ")
    assert first.tags["mlops/decision"] == kept["id"]
    assert int(told[0].cursor) > int(watched.cursor)
    # With the new cursor the decision is behind; with the old one it waits for its run.
    assert loop.tick(RETRAIN, told[0].cursor).skip_message == f"no new report on {MODEL}"


def test_a_retrain_in_flight_is_waited_for_without_losing_the_decision(watched: Watched):
    loop = watched.loop
    with in_flight(loop, f"{MODEL}__train") as run:
        told = loop.tick(RETRAIN, watched.cursor)
    assert not told.run_requests
    assert f"run {run} is still at work" in str(told.skip_message)
    (request,) = loop.tick(RETRAIN, told.cursor).run_requests
    assert request.job_name == f"{MODEL}__train"


def test_a_decision_on_a_version_that_no_longer_serves_is_dropped(watched: Watched):
    loop = watched.loop
    loop.at("2026-01-20")
    result = loop.run(f"{MODEL}__ingest", "2026-01-09", "2026-01-16")
    assert result.success, errors(result)
    result = loop.run(f"{MODEL}__train")
    assert result.success, errors(result)
    assert loop.alias(MODEL) == "2"
    try:
        told = loop.tick(RETRAIN, watched.cursor)
    finally:
        loop.run(f"{MODEL}__rollback")
    assert not told.run_requests
    assert "version 2 serves now" in str(told.skip_message)
    assert int(told.cursor) > int(watched.cursor)
    assert loop.alias(MODEL) == "1"


def test_a_decision_that_was_acted_on_is_not_acted_on_again(watched: Watched):
    loop = watched.loop
    (request,) = loop.tick(RETRAIN, watched.cursor).run_requests
    job = loop.definitions.resolve_job_def(request.job_name)
    run = loop.instance.create_run_for_job(
        job, status=dg.DagsterRunStatus.SUCCESS, tags=request.tags
    )
    try:
        told = loop.tick(RETRAIN, watched.cursor)
    finally:
        loop.instance.delete_run(run.run_id)
    assert not told.run_requests
    assert "was started before" in str(told.skip_message)


def test_one_bad_period_does_not_stop_the_others(loop: Loop):
    model, path = "stuck", loop.models / "stuck" / "rows.parquet"
    frame = parcels(8).to_pandas()
    frame.loc[frame["sent_at"].dt.day == 2, "weight"] = -1.0
    pq.write_table(parcels(8).schema.empty_table().from_pandas(frame), path)
    loop.at("2026-01-04")
    asked = []
    for _ in range(6):
        told = loop.tick(f"{model}__new_periods")
        if not told.run_requests:
            break
        asked.append(told.run_requests[0].run_key.removeprefix("ingest:"))
        loop.follow(told.run_requests[0])
    assert asked == [
        "2026-01-01:2026-01-03",
        "2026-01-01:2026-01-01",
        "2026-01-02:2026-01-02",
        "2026-01-03:2026-01-03",
    ]
    assert set(loop.stores.lake.periods(model, "features")) == {"2026-01-01", "2026-01-03"}
    assert "the run of 2026-01-02 failed" in str(told.skip_message)
    loop.at("2026-01-05")
    (request,) = loop.tick(f"{model}__new_periods").run_requests
    assert request.partition_key == "2026-01-04"
    # When the cause is gone and a person has run it again, nothing more is said of it.
    pq.write_table(parcels(8), path)
    assert loop.follow(request).success
    assert loop.run(f"{model}__ingest", "2026-01-02").success
    told = loop.tick(f"{model}__new_periods")
    assert told.skip_message == f"at 2026-01-05 00:00 no period of {model} wants work"


@pytest.mark.parametrize(
    ("model", "at", "period"),
    [("bike_demand", "2011-09-01", "2011-08-01"), ("flight_delay", "2013-06-17", "2013-06-10")],
)
def test_a_schedule_asks_for_the_period_that_has_just_ended(
    loop: Loop, model: str, at: str, period: str
):
    (request,) = cadence(loop, model, utc(at)).run_requests
    assert request.partition_key == period
    assert request.run_key == period


@pytest.mark.parametrize(
    ("at", "reason"),
    [
        (utc("2010-12-01"), "bike_demand has no period that is over"),
        (utc("2013-03-01"), "the history of bike_demand ended with 2012-12-01"),
    ],
)
def test_a_schedule_outside_of_the_history_skips_and_says_why(
    loop: Loop, at: datetime, reason: str
):
    told = cadence(loop, "bike_demand", at)
    assert not told.run_requests
    assert told.skip_message == reason
