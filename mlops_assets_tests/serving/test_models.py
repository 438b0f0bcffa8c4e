import gc
import logging
import shutil
import threading
import time
import weakref
from pathlib import Path

import pytest

from mlops_assets_tests.serving.conftest import Built, publish
from serving import models
from serving.models import ModelSet


@pytest.fixture
def pointer(tmp_path: Path) -> Path:
    return tmp_path / "serving" / "state.json"


def loaded_version(models_: ModelSet, name: str = "flight_delay") -> str:
    loaded = models_.models[name].loaded
    assert loaded is not None
    return loaded.version


def test_without_a_pointer_nothing_is_served(pointer: Path):
    model_set = ModelSet(pointer)
    model_set.refresh()
    assert dict(model_set.models) == {}
    assert model_set.problem == ""


def test_a_new_pointer_swaps_the_version_and_frees_the_old_one(
    pointer: Path, bundles: dict[str, Built]
):
    model_set = ModelSet(pointer)
    publish(pointer, flight_delay=("1", bundles["1"].folder))
    assert model_set.refresh()
    before = model_set.models
    loaded = before["flight_delay"].loaded
    assert loaded is not None
    old = weakref.ref(loaded.scorer)
    assert not model_set.refresh()
    publish(pointer, flight_delay=("2", bundles["2"].folder))
    assert model_set.refresh()
    assert loaded_version(model_set) == "2"
    # A request under way keeps the picture it began with.
    assert before["flight_delay"].loaded is loaded
    del before, loaded
    gc.collect()
    assert old() is None


def test_a_broken_bundle_keeps_the_last_good_version_and_says_so_once(
    pointer: Path,
    bundles: dict[str, Built],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(models, "RETRY_SECONDS", 0.001)
    broken = Path(shutil.copytree(bundles["2"].folder, tmp_path / "broken"))
    good = (broken / "model.onnx").read_bytes()
    (broken / "model.onnx").write_bytes(b"x")
    model_set = ModelSet(pointer)
    publish(pointer, flight_delay=("1", bundles["1"].folder))
    model_set.refresh()
    publish(pointer, flight_delay=("2", broken))
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            model_set.refresh()
            time.sleep(0.002)
    assert loaded_version(model_set) == "1"
    assert "version 2 cannot be loaded" in model_set.models["flight_delay"].problem
    assert len(caplog.records) == 1
    # The pointer stays; the bundle is repaired; the next retry serves it.
    (broken / "model.onnx").write_bytes(good)
    model_set.refresh()
    assert loaded_version(model_set) == "2"
    assert model_set.models["flight_delay"].problem == ""


def test_one_broken_model_does_not_stop_the_others(pointer: Path, bundles: dict[str, Built]):
    model_set = ModelSet(pointer)
    publish(
        pointer,
        flight_delay=("9", Path("/nowhere")),
        demand=("1", bundles["demand"].folder),
    )
    model_set.refresh()
    assert model_set.models["flight_delay"].loaded is None
    assert loaded_version(model_set, "demand") == "1"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"models": {"m": {"version": "1"}}}'])
def test_a_damaged_pointer_changes_nothing(pointer: Path, bundles: dict[str, Built], text: str):
    model_set = ModelSet(pointer)
    publish(pointer, flight_delay=("1", bundles["1"].folder))
    model_set.refresh()
    pointer.write_text(text)
    model_set.refresh()
    assert loaded_version(model_set) == "1"
    assert "cannot be read" in model_set.problem


def test_a_model_that_leaves_the_pointer_is_withdrawn(pointer: Path, bundles: dict[str, Built]):
    model_set = ModelSet(pointer)
    publish(pointer, demand=("1", bundles["demand"].folder))
    model_set.refresh()
    publish(pointer)
    model_set.refresh()
    assert dict(model_set.models) == {}


def test_the_background_thread_follows_and_stops(pointer: Path, bundles: dict[str, Built]):
    model_set = ModelSet(pointer)
    model_set.start()
    publish(pointer, flight_delay=("1", bundles["1"].folder))
    deadline = time.monotonic() + 5
    while not model_set.models and time.monotonic() < deadline:
        time.sleep(0.02)
    model_set.stop()
    assert loaded_version(model_set) == "1"
    assert "models" not in [thread.name for thread in threading.enumerate()]
