"""The guard with a real registry, follower and replica's counts."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlops_assets.domain.plan import SPLIT_TAG
from mlops_assets.settings import Settings
from mlops_assets.stores.lake import Lake
from mlops_assets.stores.registry import CHALLENGER, CHAMPION, Registry
from mlops_assets.stores.releases import Releases
from mlops_assets.stores.tracking_store import prepare_tracking_store
from mlops_assets_tests.serving.conftest import Built
from serving.follower import Follower
from serving.guarding import Rules, start_guard
from serving.stats import Stats

MODEL = "flight_delay"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("guarded")


@pytest.fixture(scope="module")
def releases(home: Path, bundles: dict[str, Built]) -> Releases:
    """A registry with six versions of one model."""
    settings = Settings(home=home)
    prepare_tracking_store(settings.mlflow_uri, settings.mlflow_artifacts, settings.locks)
    registry = Registry(settings.mlflow_uri)
    registry.client.create_registered_model(MODEL)
    for _ in range(6):
        run = registry.client.create_run("0")
        registry.client.log_artifacts(run.info.run_id, str(bundles["1"].folder), "bundle")
        registry.client.create_model_version(
            MODEL, source="x", run_id=run.info.run_id, tags={"gates": "passed"}
        )
    return Releases(registry, Lake(settings.lake_root), settings.locks)


class Serving:
    """Follower, guard and a replica's counts, running."""

    def __init__(self, settings: Settings, source: Registry) -> None:
        self.settings = settings
        self.stop = threading.Event()
        self.follower = Follower(source, settings.bundle_cache, settings.serving_state)
        self.stats = Stats(settings.serving_stats)
        settings.serving_stats.mkdir(parents=True, exist_ok=True)
        self.threads = [threading.Thread(target=self.follower.run, args=(self.stop, 1.0))]
        self.threads[0].start()
        self.threads.append(start_guard(settings, self.follower.step, self.stop, 0.5))
        self.stats.start()

    def entry(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.settings.serving_state.read_text())["models"]
        return dict(found.get(MODEL, {}))

    def wait(self, condition: Any) -> float:
        """Seconds until the pointer's entry is as it should be."""
        start = time.monotonic()
        while time.monotonic() < start + 60:
            if self.settings.serving_state.exists() and condition(self.entry()):
                return time.monotonic() - start
            time.sleep(0.02)
        raise AssertionError(self.entry())

    def fail(self, version: str, requests: int = 6) -> None:
        counts = self.stats.version(MODEL, version)
        with self.stats.lock:
            counts.requests += requests
            counts.exceptions += requests


@pytest.fixture
def serving(home: Path, releases: Releases) -> Iterator[Serving]:
    started = Serving(Settings(home=home), releases.registry)
    yield started
    started.stop.set()
    started.stats.stop()
    for thread in started.threads:
        thread.join(10)


def test_a_release_by_other_hands_that_fails_is_back_within_five_seconds(
    serving: Serving, releases: Releases
):
    registry = releases.registry
    registry.set_alias(MODEL, CHAMPION, "1")
    serving.wait(lambda entry: entry.get("version") == "1")
    # By the MLflow UI, say: no record, no previous_champion.
    registry.set_alias(MODEL, CHAMPION, "2")
    serving.wait(lambda entry: entry.get("fallback", {}).get("version") == "1")
    serving.fail("2")
    took = serving.wait(lambda entry: entry.get("version") == "1")
    assert took <= 5
    champion = registry.alias(MODEL, CHAMPION)
    assert champion is not None
    assert champion.version == "1"
    assert "errors: 6 of 6 requests" in registry.version(MODEL, "2").quarantined
    (incident,) = releases.incidents(MODEL)
    assert (incident.actor, incident.version, incident.rolled_back_to) == ("guard", "2", "1")
    assert incident.evidence_values["exceptions"] == 6
    (record,) = releases.history(MODEL)
    assert (record.kind, record.actor, record.from_version) == ("rollback", "guard", "2")
    assert "fallback" not in serving.entry()


def test_a_variant_that_fails_loses_its_traffic_within_five_seconds(
    serving: Serving, releases: Releases
):
    registry = releases.registry
    registry.set_alias(MODEL, CHAMPION, "3")
    registry.set_alias(MODEL, CHALLENGER, "4")
    registry.set_model_tag(MODEL, SPLIT_TAG, '{"challenger": 10}')
    serving.wait(lambda entry: "split" in entry)
    serving.fail("4")
    took = serving.wait(lambda entry: entry and "split" not in entry)
    assert took <= 5
    assert registry.version(MODEL, "4").quarantined
    assert registry.model_tags(MODEL).get(SPLIT_TAG) is None
    assert releases.incidents(MODEL)[-1].version == "4"
    assert serving.entry()["version"] == "3"


SPEC = """
type: mlops_assets.components.TabularModel
attributes:
  gates: {latency_ms: 20}
  serving: {guard: {probation_minutes: 5, max_failure_share: 0.1, latency_ratio: 2}}
"""


def test_the_limits_are_the_specs_and_follow_it(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    path = tmp_path / "m" / "defs.yaml"
    path.parent.mkdir()
    path.write_text(SPEC)
    rules = Rules(tmp_path)
    limits = rules.limits("m")
    assert (limits.failure_share, limits.latency_seconds, limits.latency_ratio) == (0.1, 0.02, 2)
    assert (rules.probation("m"), rules.probation("another")) == (5, 60)
    path.write_text(SPEC.replace("minutes: 5", "minutes: 7"))
    assert rules.probation("m") == 7
    path.write_text("attributes: {serving: {guard: {probation_minutes: soon}}}")
    assert [rules.probation("m") for _ in range(3)] == [7, 7, 7]
    assert caplog.text.count("serving section of m cannot be read") == 1
    path.unlink()
    assert rules.probation("m") == 7
