"""When a publication is asked for, on a real instance; the run itself is in assets/test_online."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import dagster as dg
import pytest

from mlops_assets.automation.publishing import publication
from mlops_assets.resources import Stores
from mlops_assets.settings import Settings
from mlops_assets.spec import Model
from mlops_assets.stores.clock import Clock
from mlops_assets_tests.loop import read_model, utc
from mlops_assets_tests.regulars import add_regulars

FEATURES = dg.AssetKey(["regulars", "features"])
ONLINE = dg.AssetKey(["regulars", "online_history"])


class Home:
    """A home in which periods were ingested, and published up to a moment."""

    def __init__(self, root: Path, instance: dg.DagsterInstance) -> None:
        self.settings, self.instance = Settings(home=root / "home"), instance
        self.model: Model = read_model(add_regulars(root / "models", "regulars"))

    def ingested(self, *periods: str) -> None:
        for period in periods:
            found = dg.AssetMaterialization(FEATURES, partition=period)
            self.instance.report_runless_asset_event(found)

    def published(self, until: datetime) -> None:
        found = dg.AssetMaterialization(ONLINE, metadata={"published_until": until.isoformat()})
        self.instance.report_runless_asset_event(found)

    def asked_at(self, moment: str) -> dg.RunRequest | None:
        Clock(self.settings.clock_file).set(utc(moment))
        return publication(self.instance, self.model, Stores.of(self.settings))


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with dg.DagsterInstance.ephemeral() as instance:
        found = Home(tmp_path, instance)
        found.ingested("2026-01-08", "2026-01-09", "2026-01-10")
        yield found


def test_what_is_published_and_over_is_not_published_again(home: Home):
    home.published(utc("2026-01-11"))
    assert home.asked_at("2026-01-11") is None
    # What is over and was not ingested has nothing to publish: its own run will.
    assert home.asked_at("2026-01-12T12:00") is None


@pytest.mark.parametrize(
    ("published", "now", "due"),
    [
        ("2026-01-11", "2026-01-10T01:00", "2026-01-10"),
        ("2026-01-10", "2026-01-11T01:00", "2026-01-11"),
    ],
    ids=["the clock was set back", "the clock came to what was ingested before"],
)
def test_another_clock_over_ingested_periods_asks_for_a_publication(
    home: Home, published: str, now: str, due: str
):
    home.published(utc(published))
    asked = home.asked_at(now)
    assert asked is not None
    assert asked.job_name == "regulars__publish"
    assert asked.tags["mlops/reason"] == (
        f"published until {published}T00:00:00+00:00, ingested and over until {due}T00:00:00+00:00"
    )


def test_a_run_is_asked_for_once_after_each_publication(home: Home):
    keys = []
    for until in ("2026-01-11", "2026-01-11", "2026-01-11"):
        home.published(utc(until))
        for _ in range(2):
            asked = home.asked_at("2026-01-10T01:00")
            assert asked is not None
            keys.append(asked.run_key)
    assert len(set(keys)) == 3
    assert keys[::2] == keys[1::2]


def test_a_first_publication_is_left_to_the_jobs_that_read_periods(home: Home):
    assert home.asked_at("2026-01-11") is None
