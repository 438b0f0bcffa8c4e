"""The event log whose databases stay open: the same events as in Dagster's own, and live."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.event_log import SqliteEventLogStorage

from mlops_assets.cli.home import EVENT_LOG_YAML
from mlops_assets.event_log import OPEN_DATABASES, OpenSqliteEventLog

DAYS = dg.DailyPartitionsDefinition("2026-01-01", end_date="2026-01-04")


@dg.asset(partitions_def=DAYS, backfill_policy=dg.BackfillPolicy.single_run())
def numbers() -> dg.MaterializeResult[None]:
    return dg.MaterializeResult(metadata={"rows": 3})


@pytest.fixture
def home(tmp_path: Path) -> Path:
    place = tmp_path / "history" / "runs"
    config = EVENT_LOG_YAML % json.dumps(str(place))
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n" + config)
    return tmp_path


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
