from collections.abc import Iterator
from dataclasses import replace

import dagster as dg
import pytest

from mlops_assets.stores import monitoring, verdicts
from mlops_assets.stores.pauses import Pauses
from mlops_assets_tests.automation.reported import Daemon, days, decide, register, release
from mlops_assets_tests.loop import Loop, utc

FAILURE, SUCCESS = dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        yield found


def test_a_storm_of_a_hundred_flagged_periods_starts_exactly_one_retrain(
    loop: Loop, instance: dg.DagsterInstance
):
    model, periods = "stormy", days(100)
    release(loop, model, register(loop, model))
    loop.at("2026-04-20")
    decide(loop, instance, model, periods)
    daemon = Daemon(loop, instance, f"{model}__retrain")
    # Ticks while it is at work, after its challenger failed its gates, and from the beginning.
    for _ in range(10):
        daemon.tick()
    (run,) = daemon.runs
    assert run.tags["mlops/period"] == periods[-1]
    register(loop, model, gates="failed", run_id=daemon.end(FAILURE))
    for cursor in (daemon.cursor, None, "150", None):
        daemon.cursor = cursor
        for _ in range(4):
            daemon.tick()
    assert len(daemon.runs) == 1
    assert len(instance.get_runs()) == 1
    told = daemon.tick()
    assert told.skip_message == f"no new report on {model}"


@pytest.fixture(scope="module")
def governed(loop: Loop) -> Iterator[Daemon]:
    """A model with a champion, and a daemon that has seen ten quiet periods."""
    model = "governed"
    release(loop, model, register(loop, model))
    loop.at("2026-02-20")
    with dg.DagsterInstance.ephemeral() as instance:
        decide(loop, instance, model, days(10), "nothing", flagged=())
        daemon = Daemon(loop, instance, f"{model}__retrain")
        daemon.tick()
        yield daemon


def observed(instance: dg.DagsterInstance, model: str) -> str:
    """What Dagster's page of the decision shows last."""
    key = dg.AssetKey([model, "retrain_decision"])
    (record,) = instance.fetch_observations(key, limit=1).records
    return str(record.asset_observation.metadata["reason"].value)


def test_what_the_governor_says_reaches_the_tick_the_lake_and_dagster(loop: Loop, governed: Daemon):
    """One story: paused, resumed, refused, back-off, and a challenger that waits."""
    model, instance = "governed", governed.instance
    pauses = Pauses(loop.stores.lake)
    now = {"actor": "ann@cli", "at": utc("2026-02-20"), "loop_time": utc("2026-02-20")}
    pauses.set(model, True, reason="an audit", **now)
    (first,) = decide(loop, instance, model, ["2026-01-20"], window="3")
    told = governed.tick()
    assert "paused by ann@cli since 2026-02-20 00:00 UTC: an audit" in told.skip_message
    assert "`mlops resume governed` ends it" in told.skip_message
    assert verdicts.of(loop.stores.lake, model)["2026-01-20"].rule == "paused"
    assert observed(instance, model) == told.skip_message
    # Said again, it is no news.
    assert not governed.tick().asset_events
    assert not governed.runs

    pauses.set(model, False, reason="", **now)
    (request,) = governed.tick().run_requests
    assert request.run_key == first.id
    assert request.tags["mlops/window"] == "3"
    assert request.tags["mlops/period"] == "2026-01-20"
    assert len(request.tags["mlops/fingerprint"]) == 12
    assert verdicts.of(loop.stores.lake, model)["2026-01-20"].started

    register(loop, model, gates="failed", run_id=governed.end(FAILURE))
    decide(loop, instance, model, ["2026-01-21"])
    told = governed.tick()
    assert "version 2 failed its gates); 0 of 1 periods sat out" in told.skip_message
    assert verdicts.of(loop.stores.lake, model)["2026-01-21"].held
    decide(loop, instance, model, ["2026-01-22"], window="all")
    (request,) = governed.tick().run_requests
    assert request.tags["mlops/window"] == "all"

    register(loop, model, run_id=governed.end(SUCCESS))
    decide(loop, instance, model, ["2026-01-23"])
    assert "made version 3 for the same evidence" in governed.tick().skip_message

    # A rollback is not held by anything.
    pauses.set(model, True, reason="again", **now)
    decide(loop, instance, model, ["2026-01-24"], "rollback")
    (request,) = governed.tick().run_requests
    assert request.job_name == f"{model}__rollback"
    assert "mlops/window" not in request.tags
    pauses.set(model, False, reason="", **now)
    governed.end(SUCCESS)


def test_what_became_of_past_retrains_is_read_back_from_records(loop: Loop, governed: Daemon):
    from mlops_assets.automation.past_retrains import past_retrains

    model = loop.model("governed")
    history = monitoring.evidence(loop.stores.lake, model.name, "2026-01-24")
    found = past_retrains(governed.instance, model, loop.stores, history)
    assert [one.period for one in found] == ["2026-01-20", "2026-01-22"]
    assert [one.at for one in found] == [utc("2026-02-20")] * 2
    assert [(one.outcome, one.challenger) for one in found] == [("refused", "2"), ("waits", "3")]
    release(loop, model.name, "3")
    again = past_retrains(governed.instance, model, loop.stores, history)
    assert again == [found[0], replace(found[1], outcome="serves")]
    loop.stores.releases.rollback(
        model.name,
        actor="a test",
        reason="worse",
        at=utc("2026-02-21"),
        loop_time=utc("2026-02-21"),
    )
    (_, last) = past_retrains(governed.instance, model, loop.stores, history)
    assert last.outcome == "taken back"
