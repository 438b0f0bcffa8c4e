"""The event log whose databases stay open: the same events as in Dagster's own, and live."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.events import ASSET_EVENTS
from dagster._core.storage.event_log import SqliteEventLogStorage
from sqlalchemy import Engine, event

from mlops_assets.assets.options import materialized
from mlops_assets.cli.home import EVENT_LOG_YAML
from mlops_assets.event_log import OPEN_DATABASES, OpenSqliteEventLog

DAYS = dg.DailyPartitionsDefinition("2026-01-01", end_date="2026-01-04")


@dg.asset(
    partitions_def=DAYS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    check_specs=[dg.AssetCheckSpec("whole", asset="numbers")],
)
def numbers(context: dg.AssetExecutionContext) -> Iterator[Any]:
    days = context.partition_keys
    metadata = {day: {"rows": place} for place, day in enumerate(days)}
    yield from materialized(context, {day: f"content of {day}" for day in days}, metadata)
    yield dg.AssetCheckResult(check_name="whole", passed=True)


def prepared(folder: Path) -> Path:
    config = EVENT_LOG_YAML % json.dumps(str(folder / "history" / "runs"))
    (folder / "dagster.yaml").write_text("telemetry: {enabled: false}\n" + config)
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return prepared(tmp_path)


@pytest.fixture
def instance(home: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(str(home)) as found:
        yield found


def materialize(instance: dg.DagsterInstance) -> str:
    tags = {
        "dagster/asset_partition_range_start": "2026-01-01",
        "dagster/asset_partition_range_end": "2026-01-03",
    }
    result = dg.materialize([numbers], instance=instance, tags=tags)
    assert result.success
    return str(result.run_id)


def test_dagsters_own_storage_reads_the_same_events_while_ours_is_open(
    home: Path, instance: dg.DagsterInstance
):
    run = materialize(instance)
    theirs = SqliteEventLogStorage(str(home / "history" / "runs"))
    ours = [entry.message for entry in instance.all_logs(run)]
    assert [entry.message for entry in theirs.get_logs_for_run(run)] == ours
    assert len(ours) > 10
    days = dg.AssetRecordsFilter(asset_key=numbers.key)
    assert {
        record.partition_key for record in theirs.fetch_materializations(days, limit=9).records
    } == {"2026-01-01", "2026-01-02", "2026-01-03"}


def told(instance: dg.DagsterInstance) -> dict[str, Any]:
    """What the instance knows after a run of its own."""
    run = materialize(instance)
    days = ["2026-01-01", "2026-01-02", "2026-01-03"]
    (record,) = instance.get_asset_records([numbers.key])
    entry = record.asset_entry
    assert entry.last_materialization_record is not None
    check = instance.get_latest_asset_check_evaluation_record(numbers.check_key)
    materializations = dg.AssetRecordsFilter(asset_key=numbers.key)
    return {
        "log": [
            (e.get_dagster_event().event_type_value, e.get_dagster_event().partition)
            for e in instance.all_logs(run)
            if e.is_dagster_event
        ],
        "by day": [
            (record.partition_key, dict(record.asset_materialization.metadata))
            for record in instance.fetch_materializations(materializations, limit=9).records
            if record.asset_materialization
        ],
        "versions": instance.event_log_storage.get_latest_tags_by_partition(
            numbers.key, dg.DagsterEventType.ASSET_MATERIALIZATION, ["dagster/data_version"], days
        ),
        "last": (entry.last_materialization_record.partition_key, entry.last_run_id == run),
        "check": check is not None and check.status.value,
    }


def test_events_that_share_a_commit_are_those_that_are_stored_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    found = {}
    for size in ("0", "2", "200"):
        monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", size)
        (tmp_path / size).mkdir()
        with dg.DagsterInstance.from_config(str(prepared(tmp_path / size))) as instance:
            found[size] = told(instance)
    assert found["2"] == found["200"] == found["0"]
    assert found["0"]["versions"]["2026-01-02"]["dagster/data_version"] == "content of 2026-01-02"
    assert found["0"]["last"] == ("2026-01-03", True)
    assert len(found["0"]["by day"]) == 6


def test_a_group_of_events_takes_one_commit_per_database(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "200")
    run = materialize(instance)
    entries = [e for e in instance.all_logs(run) if e.dagster_event_type in ASSET_EVENTS]
    commits: list[object] = []
    count = commits.append
    event.listen(Engine, "commit", count)
    try:
        instance.event_log_storage.store_event_batch(entries)
    finally:
        event.remove(Engine, "commit", count)
    assert len(entries) == 9
    assert len(commits) == 2


def test_few_databases_stay_open_and_every_run_can_still_be_read(instance: dg.DagsterInstance):
    runs = [materialize(instance) for _ in range(OPEN_DATABASES + 2)]
    storage = instance.event_log_storage
    assert isinstance(storage, OpenSqliteEventLog)
    assert len(storage._engines) == OPEN_DATABASES  # what this is about has no other face
    assert all(instance.all_logs(run) for run in runs)


def test_who_watches_a_run_sees_its_events_at_once(home: Path, instance: dg.DagsterInstance):
    run = materialize(instance)
    watcher = SqliteEventLogStorage(str(home / "history" / "runs"))
    seen, told = [], threading.Event()

    def callback(entry: object, cursor: str) -> None:
        seen.append(entry)
        told.set()

    watcher.watch(run, None, callback)
    try:
        instance.report_engine_event("one more", instance.get_run_by_id(run))
        assert told.wait(10)
    finally:
        watcher.dispose()
    assert len(seen) == len(instance.all_logs(run))
