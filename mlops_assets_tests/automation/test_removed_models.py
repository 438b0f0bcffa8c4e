import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from mlops_assets.automation.removed_models import removed_models
from mlops_assets.domain.removed import LOOKS
from mlops_assets.stores.registry import CHAMPION
from mlops_assets.stores.retirements import Retirement, RetirementLog
from mlops_assets_tests.loop import Loop, add_parcels

SENSORS = ("new_periods", "retrain", "late_labels", "alerts")


def register(loop: Loop, model: str) -> None:
    """A registered model whose only version is the champion."""
    client = loop.stores.registry.client
    client.create_registered_model(model)
    run = client.create_run("0").info.run_id
    client.create_model_version(model, "runs:/x/bundle", run)
    client.set_registered_model_alias(model, CHAMPION, "1")


def ticks(loop: Loop, models: Path, times: int, cursor: str | None = None) -> tuple[str, list[str]]:
    """The cursor after so many ticks, and what each said."""
    said = []
    for _ in range(times):
        context = dg.build_sensor_context(
            instance=loop.instance, cursor=cursor, resources={"stores": loop.stores}
        )
        result: Any = removed_models(models, 1).evaluate_tick(context)
        cursor = result.cursor
        said.append(str(result.skip_message))
    return str(cursor), said


def test_a_model_whose_folder_is_removed_is_retired_after_some_looks(loop: Loop, tmp_path: Path):
    for name in ("leaves", "stays"):
        register(loop, name)
        (tmp_path / name).mkdir()
        (tmp_path / name / "defs.yaml").touch()
    cursor, said = ticks(loop, tmp_path, 1)
    assert said == ["2 models are there"]
    shutil.rmtree(tmp_path / "leaves")
    cursor, said = ticks(loop, tmp_path, LOOKS - 1, cursor)
    assert said == ["leaves: its folder is missing"] * (LOOKS - 1)
    assert loop.alias("leaves") == "1"
    cursor, (said_last,) = ticks(loop, tmp_path, 1, cursor)
    assert "leaves is retired by sensor" in said_last
    assert f"its folder {tmp_path / 'leaves'} was removed" in said_last
    assert (loop.alias("leaves"), loop.alias("stays")) == ("", "1")
    assert json.loads(cursor)["models"] == {"stays": 0}
    row = RetirementLog(loop.stores.lake).current("leaves")
    assert row is not None
    assert (row.version, row.actor) == ("1", "sensor")


def test_the_last_model_is_retired_too(loop: Loop, tmp_path: Path):
    register(loop, "only")
    folder = tmp_path / "models" / "only"
    folder.mkdir(parents=True)
    (folder / "defs.yaml").touch()
    cursor, _ = ticks(loop, folder.parent, 1)
    shutil.rmtree(folder)
    cursor, said = ticks(loop, folder.parent, LOOKS, cursor)
    assert said[:-1] == ["only: its folder is missing"] * (LOOKS - 1)
    assert "only is retired by sensor" in said[-1]
    assert loop.alias("only") == ""
    assert ticks(loop, folder.parent, 1, cursor)[1] == ["0 models are there"]
    # Dagster loads what is left.
    assert loop.load(folder.parent).resolve_sensor_def("removed_models")


@pytest.mark.parametrize("how", ["away", "another folder", "an older cursor"])
def test_a_folder_of_models_that_is_not_the_one_it_was_retires_nothing(
    loop: Loop, tmp_path: Path, how: str
):
    """As where a disk is not mounted, or a checkout is made anew."""
    models = tmp_path / "models"
    (models / "anybody").mkdir(parents=True)
    (models / "anybody" / "defs.yaml").touch()
    cursor, _ = ticks(loop, models, 1)
    models.rename(tmp_path / "elsewhere")
    if how == "another folder":
        models.mkdir()
    elif how == "an older cursor":
        cursor = json.dumps({"anybody": 0})
    cursor, said = ticks(loop, models, LOOKS + 1, cursor)
    assert said == [f"{models} is away or another folder: nothing is retired"] * (LOOKS + 1)
    if models.exists():
        models.rmdir()
    (tmp_path / "elsewhere").rename(models)
    assert ticks(loop, models, 1, cursor)[1] == ["1 models are there"]


def test_a_model_that_was_never_trained_is_forgotten(loop: Loop, tmp_path: Path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "defs.yaml").touch()
    cursor = json.dumps({"unborn": LOOKS - 1, "other": 0})
    cursor, said = ticks(loop, tmp_path, 1, cursor)
    assert said == ["unborn has no version: there is nothing to retire."]
    assert json.loads(cursor)["models"] == {"other": 0}


@pytest.mark.parametrize("how", ["retired", "removed"])
def test_all_sensors_of_a_model_out_of_service_stop_and_say_why(
    loop: Loop, tmp_path: Path, how: str
):
    name = f"ends_{how}"
    folder = add_parcels(tmp_path, name, days=4)
    definitions = loop.load(tmp_path)
    if how == "retired":
        at = datetime(2026, 1, 9, tzinfo=UTC).isoformat()
        RetirementLog(loop.stores.lake).add(Retirement(name, 0, True, "1", "ann", "merged", at, at))
        why = f"{name} is retired by ann at 2026-01-09 00:00 UTC: merged"
    else:
        shutil.rmtree(folder)
        why = f"{name} has no defs.yaml any more: {folder} is gone"
    for sensor in SENSORS[:3]:
        tick = loop.tick(f"{name}__{sensor}", definitions=definitions)
        assert tick.run_requests in (None, [])
        assert str(tick.skip_message).startswith(why), sensor
    assert "0 open alert(s)" in str(
        loop.tick(f"{name}__alerts", definitions=definitions).skip_message
    )
