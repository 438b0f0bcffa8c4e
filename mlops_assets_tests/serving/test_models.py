import gc
import json
import logging
import shutil
import threading
import time
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlops_assets.domain.contract import ColumnType, Contract, ContractColumn
from mlops_assets.stores.bundles import write_manifest
from mlops_assets_tests.serving.conftest import CONTRACT, Built, asked, bundle, publish, state
from mlops_assets_tests.waiting import eventually
from serving import models
from serving.models import ModelSet, ModelState, versions_of


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
    eventually(lambda: model_set.models)
    model_set.stop()
    assert loaded_version(model_set) == "1"
    assert "models" not in [thread.name for thread in threading.enumerate()]


def others(pointer: Path, bundles: dict[str, Built], **parts: Any) -> ModelState:
    """The state where version 1 is the champion and these are beside it."""
    state(pointer, flight_delay=asked("1", bundles["1"].folder, **parts))
    model_set = ModelSet(pointer)
    model_set.refresh()
    assert loaded_version(model_set) == "1"
    return model_set.models["flight_delay"]


def test_split_shadow_and_fallback_are_loaded(pointer: Path, bundles: dict[str, Built]):
    two = bundles["2"].folder
    found = others(
        pointer,
        bundles,
        split=[bundle("2", two, variant="challenger", weight=10)],
        shadow=bundle("3", two),
        fallback=bundle("0", two),
    )
    assert found.problem == ""
    assert found.weights == (("challenger", 10.0),)
    assert found.variants["challenger"].version == "2"
    assert found.shadow is not None
    assert found.fallback is not None
    assert (found.shadow.version, found.fallback.version) == ("3", "0")
    assert [one.version for one in versions_of(found)] == ["1", "2", "3", "0"]


def test_a_variant_that_cannot_be_loaded_gets_no_traffic_and_health_says_why(
    pointer: Path, bundles: dict[str, Built]
):
    two = bundles["2"].folder
    found = others(
        pointer,
        bundles,
        split=[
            bundle("8", Path("/nowhere"), variant="broken", weight=20),
            bundle("2", two, variant="challenger", weight=10),
        ],
        fallback=bundle("7", Path("/nowhere/else")),
    )
    assert found.weights == (("challenger", 10.0),)
    assert set(found.variants) == {"challenger"}
    assert found.fallback is None
    assert "version 8 cannot be loaded" in found.problem
    assert "version 7 cannot be loaded" in found.problem
    assert "/nowhere" not in found.problem


@pytest.mark.parametrize("part", ["split", "shadow", "fallback"])
def test_a_version_with_other_inputs_stands_beside_nobody(
    pointer: Path, bundles: dict[str, Built], part: str
):
    other = bundle("7", bundles["demand"].folder, variant="challenger", weight=10)
    found = others(pointer, bundles, **{part: [other] if part == "split" else other})
    assert "version 7 takes other inputs than the champion" in found.problem
    assert (found.weights, dict(found.variants), found.shadow, found.fallback) == (
        (),
        {},
        None,
        None,
    )


@pytest.mark.parametrize(
    ("champions", "others_", "fits"),
    [
        (("number", False), ("number", False), True),
        (("number", False), ("number", True), True),
        (("number", True), ("number", False), False),
        (("number", False), ("integer", False), False),
    ],
)
def test_inputs_fit_where_all_that_the_champion_takes_can_be_scored(
    champions: tuple[ColumnType, bool], others_: tuple[ColumnType, bool], fits: bool
):
    def contract(kind: tuple[ColumnType, bool], *more: ContractColumn) -> Contract:
        return replace(CONTRACT, columns=(ContractColumn("x", *kind), *more))

    assert models.fits(contract(others_), contract(champions)) is fits
    more = ContractColumn("y", "number", nullable=True)
    assert models.fits(contract(others_), contract(champions, more)) is fits
    assert not models.fits(contract(others_, more), contract(champions))


def test_a_version_that_stays_is_not_loaded_again(pointer: Path, bundles: dict[str, Built]):
    one, two = bundles["1"].folder, bundles["2"].folder
    swaps: list[str] = []
    model_set = ModelSet(pointer, lambda model, seconds: swaps.append(model))
    challenger = bundle("2", two, variant="challenger", weight=10)
    state(pointer, flight_delay=asked("1", one, split=[challenger]))
    model_set.refresh()
    before = model_set.models["flight_delay"]
    assert swaps == ["flight_delay"]
    state(pointer, flight_delay=asked("2", two, fallback=bundle("1", one)))
    model_set.refresh()
    after = model_set.models["flight_delay"]
    assert after.loaded is before.variants["challenger"]
    assert after.fallback is before.loaded
    assert swaps == ["flight_delay"] * 2
    model_set.refresh()
    state(pointer, flight_delay=asked("2", two))
    model_set.refresh()
    assert model_set.models["flight_delay"].fallback is None
    assert len(swaps) == 2


def test_a_bundle_that_fails_in_an_unforeseen_way_leaves_the_others_served(
    pointer: Path, bundles: dict[str, Built], tmp_path: Path
):
    broken = Path(shutil.copytree(bundles["1"].folder, tmp_path / "broken"))
    # A sealed contract without columns: nothing that any check of ours looks for.
    content = json.loads((broken / "contract.json").read_bytes())
    (broken / "contract.json").write_text(json.dumps({**content, "max_rows": {}, "classes": 3}))
    (broken / "manifest.json").unlink()
    write_manifest(broken, "onnx", {})
    publish(pointer, flight_delay=("1", broken), demand=("7", bundles["demand"].folder))
    model_set = ModelSet(pointer)
    model_set.refresh()
    assert loaded_version(model_set, "demand") == "7"
    assert "version 1 cannot be loaded" in model_set.models["flight_delay"].problem


@pytest.mark.parametrize("path", [None, 7, [], ""])
def test_a_path_that_is_none_leaves_the_others_served(
    pointer: Path, bundles: dict[str, Built], path: Any
):
    entry = {**asked("1", Path("/")), "path": path}
    state(pointer, flight_delay=entry, demand=asked("7", bundles["demand"].folder))
    model_set = ModelSet(pointer)
    model_set.refresh()
    assert loaded_version(model_set, "demand") == "7"
    assert "cannot be loaded" in model_set.models["flight_delay"].problem
