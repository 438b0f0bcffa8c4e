"""What a live replay waits for, on a real store and instance; whole ones are in test_live_loop."""

from collections.abc import Callable, Iterator
from datetime import datetime

import dagster as dg
import pytest

from mlops_assets.cli.live_loop import LiveLoop
from mlops_assets.settings import Settings
from mlops_assets.spec import Model
from mlops_assets.stores.clock import Clock
from mlops_assets.stores.lake import Lake
from mlops_assets.stores.online import OnlineStore
from mlops_assets.stores.release_cause import Cause
from mlops_assets.stores.release_log import ReleaseLog
from mlops_assets_tests.loop import RANGE_END, RANGE_START, read_model, utc
from mlops_assets_tests.regulars import add_regulars

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def regulars(prepared: Settings) -> Model:
    """A released model that looks the past up, on the eleventh."""
    model = read_model(add_regulars(prepared.models_dir, "regulars"))
    now = utc("2026-01-11")
    Clock(prepared.clock_file).set(now)
    cause = Cause("sensor", "first", now, now, "", {})
    ReleaseLog(Lake(prepared.lake_root)).add(cause.record("release", "regulars", 0, "", "1"))
    return model


def publish(settings: Settings, until: datetime) -> None:
    store = OnlineStore(settings.online_store)
    store.publish("regulars", [], since=None, until=int(until.timestamp() * 1_000_000))


def ingest(settings: Settings, *periods: str) -> None:
    with dg.DagsterInstance.from_config(str(settings.dagster_home)) as instance:
        for period in periods:
            found = dg.AssetMaterialization(["regulars", "features"], partition=period)
            instance.report_runless_asset_event(found)


def test_a_live_replay_waits_until_what_is_over_is_published(prepared: Settings, regulars: Model):
    # The newest day is ingested, and then published, step by step.
    steps: Iterator[Callable[[], None]] = iter(
        [
            lambda: ingest(prepared, "2026-01-09", "2026-01-10"),
            lambda: publish(prepared, utc("2026-01-10")),
            lambda: publish(prepared, utc("2026-01-11")),
        ]
    )
    with LiveLoop(prepared, regulars, NOWHERE, watch=lambda: next(steps)()) as loop:
        loop.settle(None)
        assert list(steps) == []


def test_nothing_more_is_waited_for_after_the_last_row(prepared: Settings, regulars: Model):
    ingest(prepared, "2026-01-12")
    publish(prepared, utc("2026-01-13"))
    Clock(prepared.clock_file).set(utc("2026-01-20"))
    with LiveLoop(prepared, regulars, NOWHERE) as loop:
        loop.settle(None)


def test_a_publication_of_a_later_time_is_not_the_one_to_wait_for(
    prepared: Settings, regulars: Model
):
    """As in a home that ran by the system's time before: its windows do not reach back."""
    ingest(prepared, "2026-01-10", "2026-01-11", "2026-01-12")
    publish(prepared, utc("2026-01-13"))
    polls = iter([utc("2026-01-11")])
    with LiveLoop(
        prepared, regulars, NOWHERE, watch=lambda: publish(prepared, next(polls))
    ) as loop:
        loop.settle(None)
        assert list(polls) == []


def test_a_period_that_was_refused_is_not_waited_for(prepared: Settings, regulars: Model):
    ingest(prepared, "2026-01-09")
    publish(prepared, utc("2026-01-10"))
    polls = iter(
        [
            {RANGE_START: "2026-01-01", RANGE_END: "2026-01-09"},
            {"dagster/partition": "2026-01-10"},
        ]
    )
    with dg.DagsterInstance.from_config(str(prepared.dagster_home)) as instance:

        def run() -> None:
            instance.add_run(
                dg.DagsterRun(
                    job_name="regulars__ingest",
                    tags=next(polls),
                    status=dg.DagsterRunStatus.SUCCESS,
                )
            )

        with LiveLoop(prepared, regulars, NOWHERE, watch=run) as loop:
            loop.settle(None)
            assert list(polls) == []
