import json
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pyarrow.parquet as pq
import pytest

from mlops_assets.domain.alerts import title_of
from mlops_assets.domain.governor import Verdict
from mlops_assets.stores import verdicts
from mlops_assets.stores.alerts import AlertLog
from mlops_assets.stores.incidents import Finding
from mlops_assets_tests.automation.reported import decide, register, release
from mlops_assets_tests.loop import Loop, parcels, utc
from mlops_assets_tests.stores.receiver import Receiver, receiving

MODEL = "alerting"
FAILED_RUNS = "alert_on_failed_runs"


class Watch:
    """Evaluates the sensor of alerts on an instance of its own."""

    def __init__(self, loop: Loop, instance: dg.DagsterInstance, receiver: Receiver) -> None:
        self.loop, self.instance, self.receiver = loop, instance, receiver
        self.log = AlertLog(loop.stores.lake)

    def tick(self) -> str:
        """One evaluation; gives what the tick says."""
        context = dg.build_sensor_context(
            instance=self.instance,
            definitions=self.loop.definitions,
            resources={"stores": self.loop.stores},
        )
        sensor = self.loop.definitions.resolve_sensor_def(f"{MODEL}__alerts")
        return str(sensor.evaluate_tick(context).skip_message)

    def news(self) -> list[str]:
        """Titles that arrive at the receiver with three ticks."""
        before = len(self.receiver.got)
        for _ in range(3):
            self.tick()
        return self.receiver.titles[before:]


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest.fixture
def watch(
    loop: Loop,
    receiver: Receiver,
    quiet: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> Watch:
    monkeypatch.setenv("MLOPS_ALERT_URLS", receiver.url)
    return Watch(loop, quiet, receiver)


@pytest.fixture(scope="module")
def quiet(loop: Loop) -> Iterator[dg.DagsterInstance]:
    """An instance on which the model has a champion, two of its days, and no alert."""
    release(loop, MODEL, register(loop, MODEL))
    loop.at("2026-01-03T12:00")
    services = [{"name": "dagster", "url": "http://127.0.0.1:3000"}]
    loop.settings.services_file.write_text(json.dumps({"services": services}))
    with dg.DagsterInstance.ephemeral() as instance:
        for day in ("2026-01-01", "2026-01-02"):
            instance.report_runless_asset_event(
                dg.AssetMaterialization([MODEL, "raw_data"], partition=day)
            )
        yield instance
    loop.settings.services_file.unlink()


def test_nothing_wrong_is_nothing_told(watch: Watch):
    assert watch.tick() == f"{MODEL}: 0 open alert(s)"
    assert watch.news() == []


def test_a_cause_that_lasts_is_told_once_with_a_link_and_its_end_is_told_once(
    watch: Watch, capsys: pytest.CaptureFixture[str]
):
    for day in ("2026-01-01", "2026-01-02"):
        decide(watch.loop, watch.instance, MODEL, [day], "alert", harmed=False)
        told = watch.news()
        assert told == (["[alerting] look at version 1"] if day == "2026-01-01" else [])
    message = watch.receiver.got[-1]
    assert (message["type"], message["message"].splitlines()[0]) == (
        "warning",
        "after 2026-01-01: harm",
    )
    page = f"http://127.0.0.1:3000/assets/{MODEL}/retrain_decision"
    assert f"{page}?view=partitions&partition=2026-01-01" in message["message"]
    assert capsys.readouterr().out.count("WARNING [alerting] look at version 1") == 1
    decide(watch.loop, watch.instance, MODEL, ["2026-01-03"], "nothing")
    assert watch.news() == ["[alerting] resolved: look at version 1"]
    assert watch.receiver.got[-1]["type"] == "success"


def test_harm_is_told_although_drift_was_and_each_ends_by_itself(watch: Watch):
    days = ["2026-01-03-a", "2026-01-03-b", "2026-01-03-c", "2026-01-03-d"]
    news = []
    for day, harmed in zip(days, (False, True, True, False), strict=True):
        decide(watch.loop, watch.instance, MODEL, [day], "alert", harmed=harmed)
        news.append(watch.news())
    assert news == [
        ["[alerting] look at version 1"],
        ["[alerting] version 1 does harm"],
        [],
        ["[alerting] resolved: version 1 does harm"],
    ]
    decide(watch.loop, watch.instance, MODEL, ["2026-01-03-e"], "nothing")
    assert watch.news() == ["[alerting] resolved: look at version 1"]


def test_a_retrain_is_told_as_what_the_governor_made_of_it(watch: Watch):
    (decision,) = decide(watch.loop, watch.instance, MODEL, ["2026-01-04"])
    assert watch.news() == []
    lake = watch.loop.stores.lake
    verdicts.keep(lake, decision, Verdict("drop", "budget", decision.id, "x: budget spent"))
    assert watch.news() == ["[alerting] retrain of version 1 is held back"]
    verdicts.keep(lake, decision, Verdict("start", "allowed", decision.id, "x: harm"))
    assert watch.news() == [
        "[alerting] resolved: retrain of version 1 is held back",
        "[alerting] retrain of version 1 was started",
    ]
    release(watch.loop, MODEL, register(watch.loop, MODEL))
    assert watch.news() == ["[alerting] resolved: retrain of version 1 was started"]
    assert watch.receiver.got[-1]["message"].startswith("version 2 serves now\n")


def test_failed_gates_are_named_until_a_challenger_passes(watch: Watch):
    version = register(watch.loop, MODEL, gates="failed")
    for gate, passed in (("calibrated", False), ("minimum_quality", True)):
        key = dg.AssetKey([MODEL, "challenger"])
        evaluation = dg.AssetCheckEvaluation(
            check_name=gate, asset_key=key, passed=passed, metadata={"version": version}
        )
        watch.instance.report_runless_asset_event(evaluation)
    assert watch.news() == [f"[alerting] challenger {version} failed its gates"]
    text = watch.receiver.got[-1]["message"]
    assert text.startswith("failed: calibrated; the champion goes on serving\n")
    assert f"/assets/{MODEL}/challenger?view=checks" in text
    register(watch.loop, MODEL, gates="failed")
    assert watch.news() == []
    register(watch.loop, MODEL)
    assert watch.news() == [f"[alerting] resolved: challenger {version} failed its gates"]


def test_a_version_that_the_guard_took_back_is_told_until_a_newer_one_serves(watch: Watch):
    releases = watch.loop.stores.releases
    before, version = watch.loop.alias(MODEL), register(watch.loop, MODEL)
    release(watch.loop, MODEL, version)
    watch.news()
    releases.rollback(
        MODEL,
        actor="guard",
        reason="errors",
        at=utc("2026-11-01"),
        loop_time=utc("2026-01-05"),
        finding=Finding("errors", ("9 of 9 requests raised an error",), {}),
    )
    assert watch.news() == [f"[alerting] version {version} was taken back and quarantined"]
    assert watch.receiver.got[-1]["type"] == "failure"
    first = watch.receiver.got[-1]["message"].splitlines()[0]
    assert first == f"errors: 9 of 9 requests raised an error; version {before} serves again"
    challenger = register(watch.loop, MODEL)
    releases.release(
        MODEL,
        challenger,
        expected_champion=before,
        actor="a test",
        reason="better",
        at=utc("2026-11-02"),
        loop_time=utc("2026-01-06"),
    )
    ended = f"[alerting] resolved: version {version} was taken back and quarantined"
    assert watch.news() == [ended]


def test_data_that_stays_away_is_told_by_the_loops_clock_until_it_comes(watch: Watch):
    watch.loop.at("2026-01-04T12:00")
    assert watch.news() == []
    watch.loop.at("2026-01-06T12:00")
    assert watch.news() == ["[alerting] the data is stale"]
    job = watch.loop.definitions.resolve_job_def(f"{MODEL}__ingest")
    run = watch.instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    assert watch.news() == []
    watch.instance.delete_run(run.run_id)
    for day in ("2026-01-03", "2026-01-04", "2026-01-05"):
        watch.instance.report_runless_asset_event(
            dg.AssetMaterialization([MODEL, "raw_data"], partition=day)
        )
    assert watch.news() == ["[alerting] resolved: the data is stale"]


def fail(watch: Watch, period: str) -> dg.DagsterRun:
    """A real run of ingest that fails on bad rows, and what the failure sensor makes of it."""
    frame = parcels(4).to_pandas().assign(weight=-4321.5)
    rows = parcels(4).schema.empty_table().from_pandas(frame)
    pq.write_table(rows, watch.loop.models / MODEL / "rows.parquet")
    definitions, instance = watch.loop.definitions, watch.instance
    job = definitions.resolve_job_def(f"{MODEL}__ingest")
    result = job.execute_in_process(instance=instance, partition_key=period, raise_on_error=False)
    assert not result.success
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    (event,) = [e for e in result.all_events if e.event_type == dg.DagsterEventType.RUN_FAILURE]
    context = dg.build_run_status_sensor_context(
        sensor_name=FAILED_RUNS,
        dagster_event=event,
        dagster_instance=instance,
        dagster_run=run,
        resources={"stores": watch.loop.stores},
        repository_def=definitions.get_repository_def(),
    ).for_run_failure()
    definitions.resolve_sensor_def(FAILED_RUNS)(context)
    return run


def test_a_failed_run_is_told_without_its_message_until_its_work_is_done(watch: Watch):
    fail(watch, "2026-01-02")
    run = fail(watch, "2026-01-03")
    fail(watch, "2026-01-03")
    assert sorted(watch.news()) == [
        "[alerting] ingest of 2026-01-02 failed",
        "[alerting] ingest of 2026-01-03 failed",
    ]
    texts = " ".join(one["message"] for one in watch.receiver.got[-2:])
    assert "step alerting__validated_data raised " in texts
    assert "4321" not in texts
    assert f"http://127.0.0.1:3000/runs/{run.run_id}" in texts
    pq.write_table(parcels(4), watch.loop.models / MODEL / "rows.parquet")
    job = watch.loop.definitions.resolve_job_def(f"{MODEL}__ingest")
    assert job.execute_in_process(instance=watch.instance, partition_key="2026-01-03").success
    assert watch.news() == ["[alerting] resolved: ingest of 2026-01-03 failed"]
    tags: dict[str, Any] = {
        "dagster/asset_partition_range_start": "2026-01-01",
        "dagster/asset_partition_range_end": "2026-01-04",
    }
    assert job.execute_in_process(instance=watch.instance, tags=tags).success
    assert watch.news() == ["[alerting] resolved: ingest of 2026-01-02 failed"]


def test_a_channel_that_fails_is_reported_and_hurts_nothing(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    watch.news()
    secret = "json://user:hunter2@127.0.0.1:9/hook"
    monkeypatch.setenv("MLOPS_ALERT_URLS", f"{secret} {watch.receiver.url} nonsense://x")
    watch.receiver.status = 500
    champion = watch.loop.alias(MODEL)
    decide(
        watch.loop, watch.instance, MODEL, ["2026-01-08"], "alert", version=champion, harmed=False
    )
    tried = watch.receiver.tried
    said = watch.tick()
    assert "entry 3 of 3 in MLOPS_ALERT_URLS is no URL that Apprise understands" in said
    assert said.count("1 message(s) of alerting wait for the next tick") == 2
    assert "hunter2" not in said + capsys.readouterr().out
    assert watch.receiver.tried == tried + 1
    (alert,) = [one for one in watch.log.of(MODEL) if one.is_open]
    assert alert.has("opened", "console", arrived=True)
    assert "hunter2" not in str(watch.log.of(MODEL))
    watch.receiver.status = 200
    assert watch.news() == [f"[alerting] look at version {champion}"]


def test_a_channel_that_is_new_hears_what_is_open_and_no_history(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
):
    watch.news()
    still = [alert for alert in watch.log.of(MODEL) if alert.is_open]
    assert len(still) < len(watch.log.of(MODEL))
    with receiving() as fresh:
        monkeypatch.setenv("MLOPS_ALERT_URLS", fresh.url)
        for _ in range(3):
            watch.tick()
        assert fresh.titles == [title_of(alert, "opened") for alert in still]
