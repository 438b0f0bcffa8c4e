import json
import logging
import shutil
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mlops_assets.domain.plan import ChampionRef, PlannedVariant, ServingPlan
from mlops_assets_tests.serving.conftest import Built
from mlops_assets_tests.waiting import eventually
from serving.follower import Follower, PlanSource
from serving.http import PredictionService
from serving.models import ModelSet


def release(
    version: str, released_at: str = "2026-01-02T00:00:00+00:00", **plan: Any
) -> ServingPlan:
    return ServingPlan(ChampionRef(version, released_at), **plan)


class Folders(PlanSource):
    """A registry made of folders; it can go away, and its downloads can break."""

    def __init__(self, folders: dict[tuple[str, str], Path]) -> None:
        self.folders = folders
        self.released: dict[str, ServingPlan] = {}
        self.withdrawn: dict[str, str] = {}
        self.is_away = False
        self.fetches = 0

    def plans(self) -> Mapping[str, ServingPlan]:
        if self.is_away:
            raise ConnectionError("no route to the registry")
        return dict(self.released)

    def retired(self) -> Mapping[str, str]:
        return dict(self.withdrawn)

    def fetch_bundle(self, model: str, version: str, target: Path) -> None:
        self.fetches += 1
        shutil.copytree(self.folders[model, version], target, dirs_exist_ok=True)


@pytest.fixture
def source(bundles: dict[str, Built]) -> Folders:
    return Folders(
        {
            ("flight_delay", "1"): bundles["1"].folder,
            ("flight_delay", "2"): bundles["2"].folder,
            ("flight_delay", "3"): bundles["2"].folder,
            ("demand", "1"): bundles["demand"].folder,
        }
    )


@pytest.fixture
def follower(source: Folders, tmp_path: Path) -> Follower:
    return Follower(source, tmp_path / "bundles", tmp_path / "serving" / "state.json")


def state(tmp_path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((tmp_path / "serving" / "state.json").read_text())
    return content


def test_a_champion_is_fetched_verified_and_published(
    source: Folders, follower: Follower, tmp_path: Path
):
    source.released = {"flight_delay": release("1"), "demand": release("1", "")}
    assert follower.step()
    entry = state(tmp_path)["models"]["flight_delay"]
    assert entry["version"] == "1"
    assert entry["path"] == str(tmp_path / "bundles" / "flight_delay" / "1")
    assert entry["released_at"] == "2026-01-02T00:00:00+00:00"
    models = ModelSet(tmp_path / "serving" / "state.json")
    models.refresh()
    assert all(one.loaded for one in models.models.values())
    assert len(models.models) == 2


def test_nothing_is_published_or_fetched_again_without_a_change(
    source: Folders, follower: Follower, tmp_path: Path
):
    source.released = {"flight_delay": release("1")}
    assert follower.step()
    before = (tmp_path / "serving" / "state.json").read_bytes()
    assert not follower.step()
    assert (tmp_path / "serving" / "state.json").read_bytes() == before
    assert source.fetches == 1


def test_each_release_raises_the_generation_and_going_back_needs_no_download(
    source: Folders, follower: Follower, tmp_path: Path
):
    for generation, version in enumerate(["1", "2", "1"], start=1):
        source.released = {"flight_delay": release(version)}
        assert follower.step()
        assert state(tmp_path)["generation"] == generation
        assert state(tmp_path)["models"]["flight_delay"]["version"] == version
    assert source.fetches == 2


def test_a_broken_download_keeps_the_version_that_was_published(
    source: Folders, follower: Follower, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    source.released = {"flight_delay": release("1")}
    follower.step()
    broken = Path(shutil.copytree(source.folders["flight_delay", "2"], tmp_path / "broken"))
    (broken / "model.onnx").write_bytes(b"half")
    source.folders["flight_delay", "2"] = broken
    source.released = {"flight_delay": release("2"), "demand": release("1")}
    with caplog.at_level(logging.ERROR):
        follower.step()
        follower.step()
    assert [m for m in caplog.messages if "sha256" in m] == caplog.messages[:1]
    published = state(tmp_path)["models"]
    assert published["flight_delay"]["version"] == "1"
    assert published["demand"]["version"] == "1"
    assert sorted(path.name for path in (tmp_path / "bundles" / "flight_delay").iterdir()) == ["1"]
    assert not list((tmp_path / "bundles").glob(".fetch-*"))


def test_health_shows_why_a_bundle_was_not_taken_until_it_can_be(
    source: Folders,
    follower: Follower,
    bundles: dict[str, Built],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("serving.bundle_cache.RETRY_SECONDS", 0.01)
    source.released = {"flight_delay": release("1")}
    follower.step()
    broken = Path(shutil.copytree(bundles["2"].folder, tmp_path / "broken"))
    (broken / "model.onnx").write_bytes(b"half")
    hostile = Path(shutil.copytree(bundles["demand"].folder, tmp_path / "hostile"))
    (hostile / "MLmodel").write_text("flavors: {python_function: {loader_module: os}}")
    source.folders |= {("flight_delay", "2"): broken, ("demand", "1"): hostile}
    source.released = {"flight_delay": release("2"), "demand": release("1")}
    models = ModelSet(tmp_path / "serving" / "state.json")
    service = PredictionService(models, tmp_path / "log")

    def health() -> dict[str, Any]:
        follower.step()
        models.refresh()
        found: dict[str, Any] = json.loads(service.handle("GET", "/health", {}, b"").body)
        return found

    found = health()
    assert (found["status"], found["models"]["flight_delay"]["version"]) == ("degraded", "1")
    why = found["models"]["flight_delay"]["problem"]
    assert "version 2 cannot be fetched: Bundle flight_delay/2: model.onnx has sha256" in why
    assert why in found["reason"]
    # Of this one nothing was ever served.
    assert "demand: version 1 cannot be fetched: Bundle demand/1: MLmodel is not" in found["reason"]
    assert str(tmp_path) not in found["reason"]
    source.folders |= {
        ("flight_delay", "2"): bundles["2"].folder,
        ("demand", "1"): bundles["demand"].folder,
    }
    time.sleep(0.02)
    found = health()
    assert found["status"] == "ok"
    assert {name: one["version"] for name, one in found["models"].items()} == {
        "flight_delay": "2",
        "demand": "1",
    }
    service.close()


def test_what_the_registrys_client_says_is_not_shown_to_everyone(
    source: Folders, follower: Follower, tmp_path: Path
):
    source.released = {"flight_delay": release("1")}
    follower.step()
    del source.folders["flight_delay", "2"]
    source.released = {"flight_delay": release("2")}
    follower.step()
    (problem,) = entry(tmp_path)["problems"]
    assert problem == "version 2 cannot be fetched: KeyError"


def test_a_damaged_cache_is_fetched_again(source: Folders, follower: Follower, tmp_path: Path):
    source.released = {"flight_delay": release("1")}
    follower.step()
    (tmp_path / "bundles" / "flight_delay" / "1" / "model.onnx").write_bytes(b"rot")
    restarted = Follower(source, tmp_path / "bundles", tmp_path / "serving" / "state.json")
    assert not restarted.step()
    assert source.fetches == 2
    models = ModelSet(tmp_path / "serving" / "state.json")
    models.refresh()
    assert models.models["flight_delay"].loaded


@pytest.mark.parametrize("name", ["..", "a/b", "", ".hidden", "-x", "a\n"])
def test_a_name_that_could_leave_the_cache_is_refused(
    source: Folders, follower: Follower, tmp_path: Path, name: str
):
    source.released = {name: release("1"), "flight_delay": release(name)}
    follower.step()
    assert state(tmp_path)["models"] == {}
    assert source.fetches == 0


def test_a_model_without_a_champion_is_withdrawn(
    source: Folders, follower: Follower, tmp_path: Path
):
    source.released = {"flight_delay": release("1"), "demand": release("1")}
    follower.step()
    del source.released["demand"]
    assert follower.step()
    assert list(state(tmp_path)["models"]) == ["flight_delay"]


def test_a_registry_that_lost_everything_changes_nothing(
    source: Folders, follower: Follower, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    source.released = {"flight_delay": release("1")}
    follower.step()
    source.released = {}
    assert not follower.step()
    assert not follower.step()
    assert list(state(tmp_path)["models"]) == ["flight_delay"]
    assert len([m for m in caplog.messages if "no champion at all" in m]) == 1


def test_an_outage_is_logged_once_and_the_release_after_it_arrives(
    source: Folders, follower: Follower, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    source.released = {"flight_delay": release("1")}
    follower.step()
    source.is_away = True
    stop = threading.Event()
    caplog.set_level(logging.WARNING)
    thread = threading.Thread(target=follower.run, args=(stop, 0.005))
    thread.start()
    eventually(lambda: caplog.messages)
    time.sleep(0.1)  # some more looks, of which nothing new is told
    assert state(tmp_path)["models"]["flight_delay"]["version"] == "1"
    source.released = {"flight_delay": release("2")}
    source.is_away = False
    eventually(lambda: state(tmp_path)["generation"] != 1)
    stop.set()
    thread.join()
    assert state(tmp_path)["models"]["flight_delay"]["version"] == "2"
    assert [m for m in caplog.messages if "is away" in m] == caplog.messages[:1]
    assert caplog.messages[-1] == "The registry is back."


def test_a_repaired_bundle_is_published_at_the_next_try(
    source: Folders, follower: Follower, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("serving.bundle_cache.RETRY_SECONDS", 0.01)
    good = source.folders.pop(("flight_delay", "2"))
    source.released = {"flight_delay": release("2")}
    follower.step()
    assert state(tmp_path)["models"] == {}
    source.folders["flight_delay", "2"] = good
    time.sleep(0.02)
    assert follower.step()
    assert state(tmp_path)["models"]["flight_delay"]["version"] == "2"


def test_a_damaged_pointer_is_written_anew(source: Folders, follower: Follower, tmp_path: Path):
    source.released = {"flight_delay": release("1")}
    follower.step()
    (tmp_path / "serving" / "state.json").write_text("{")
    assert follower.step()
    assert state(tmp_path)["models"]["flight_delay"]["version"] == "1"


class Time:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 3, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def following(source: Folders, tmp_path: Path, clock: Time) -> Follower:
    return Follower(source, tmp_path / "bundles", tmp_path / "serving" / "state.json", clock)


def entry(tmp_path: Path) -> dict[str, Any]:
    found: dict[str, Any] = state(tmp_path)["models"]["flight_delay"]
    return found


def test_variants_and_shadow_are_published_with_their_bundles(
    source: Folders, follower: Follower, tmp_path: Path
):
    split = (PlannedVariant("challenger", "2", 10.0),)
    source.released = {"flight_delay": release("1", split=split, shadow="3")}
    assert follower.step()
    folder = tmp_path / "bundles" / "flight_delay"
    assert entry(tmp_path)["split"] == [
        {"variant": "challenger", "version": "2", "path": str(folder / "2"), "weight": 10.0}
    ]
    assert entry(tmp_path)["shadow"] == {"version": "3", "path": str(folder / "3")}
    since = entry(tmp_path)["since"]
    source.released = {"flight_delay": release("1")}
    assert follower.step()
    assert {"split", "shadow"} & set(entry(tmp_path)) == set()
    assert entry(tmp_path)["since"] == since


def test_a_variant_whose_bundle_cannot_be_had_gets_no_traffic_and_is_told(
    source: Folders, follower: Follower, tmp_path: Path
):
    split = (PlannedVariant("2", "2", 10.0), PlannedVariant("9", "9", 10.0))
    source.released = {
        "flight_delay": release("1", split=split, shadow="8", problems=("the tag is odd",))
    }
    follower.step()
    found = entry(tmp_path)
    assert [arm["variant"] for arm in found["split"]] == ["2"]
    assert "shadow" not in found
    assert found["problems"] == [
        "the tag is odd",
        "split: 9 gets no traffic: its bundle is missing",
        "shadow: the bundle of version 8 is missing",
    ]


def test_a_problem_is_logged_once(
    source: Folders, follower: Follower, caplog: pytest.LogCaptureFixture
):
    source.released = {"flight_delay": release("1", problems=("the tag is odd",))}
    follower.step()
    follower.step()
    assert [m for m in caplog.messages if "odd" in m] == ["flight_delay: the tag is odd"]


def test_the_champion_before_is_the_fallback_until_the_probation_is_over(
    source: Folders, tmp_path: Path
):
    clock = Time()
    source.released = {"flight_delay": release("1")}
    following(source, tmp_path, clock).step()
    assert "fallback" not in entry(tmp_path)
    source.released = {"flight_delay": release("2")}
    following(source, tmp_path, clock).step()
    expected = {"version": "1", "path": str(tmp_path / "bundles" / "flight_delay" / "1")}
    assert entry(tmp_path)["fallback"] == expected
    clock.now += timedelta(minutes=59)
    # Another process, which knows only what the pointer says.
    assert not following(source, tmp_path, clock).step()
    clock.now += timedelta(minutes=1)
    assert following(source, tmp_path, clock).step()
    assert "fallback" not in entry(tmp_path)


def test_who_goes_back_is_not_answered_by_the_version_that_was_left(
    source: Folders, follower: Follower, tmp_path: Path
):
    for version in ("1", "2", "1"):
        source.released = {"flight_delay": release(version)}
        follower.step()
    assert "fallback" not in entry(tmp_path)


def test_a_quarantined_version_is_no_fallback_but_the_one_before_it_is(
    source: Folders, follower: Follower, tmp_path: Path
):
    for version in ("1", "2"):
        source.released = {"flight_delay": release(version)}
        follower.step()
    source.released = {"flight_delay": release("3", quarantined=frozenset({"2"}))}
    follower.step()
    assert entry(tmp_path)["fallback"]["version"] == "1"


def test_a_variant_is_taken_out_even_while_the_new_champion_cannot_be_had(
    source: Folders, follower: Follower, tmp_path: Path
):
    split = (PlannedVariant("challenger", "2", 10.0),)
    source.released = {"flight_delay": release("1", split=split)}
    follower.step()
    source.released = {"flight_delay": release("9")}
    follower.step()
    assert entry(tmp_path)["version"] == "1"
    assert "split" not in entry(tmp_path)


def test_threads_that_step_at_once_publish_once(
    source: Folders, follower: Follower, tmp_path: Path
):
    source.released = {"flight_delay": release("1")}
    threads = [threading.Thread(target=follower.step) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert state(tmp_path)["generation"] == 1
    assert source.fetches == 1


SINCE = "2026-11-26T08:00:00+00:00"


def test_a_retired_model_is_withdrawn_even_if_it_was_the_only_one(
    source: Folders, follower: Follower, tmp_path: Path
):
    source.released = {"demand": release("1")}
    follower.step()
    source.released, source.withdrawn = {}, {"demand": SINCE}
    assert follower.step()
    assert state(tmp_path)["models"] == {}
    assert state(tmp_path)["retired"] == {"demand": SINCE}
    assert not follower.step()
    models = ModelSet(tmp_path / "serving" / "state.json")
    models.refresh()
    assert (dict(models.models), dict(models.retired)) == ({}, {"demand": SINCE})


def test_a_registry_that_lost_another_model_too_still_changes_nothing(
    source: Folders, follower: Follower, tmp_path: Path
):
    source.released = {"demand": release("1"), "flight_delay": release("1")}
    follower.step()
    source.released, source.withdrawn = {}, {"demand": SINCE}
    assert not follower.step()
    assert set(state(tmp_path)["models"]) == {"demand", "flight_delay"}


def test_a_model_that_is_brought_back_is_served_again(
    source: Folders, follower: Follower, tmp_path: Path
):
    source.released = {"flight_delay": release("1")}
    source.withdrawn = {"demand": SINCE}
    follower.step()
    assert state(tmp_path)["retired"] == {"demand": SINCE}
    source.released, source.withdrawn = {**source.released, "demand": release("1")}, {}
    assert follower.step()
    assert set(state(tmp_path)["models"]) == {"demand", "flight_delay"}
    assert "retired" not in state(tmp_path)
