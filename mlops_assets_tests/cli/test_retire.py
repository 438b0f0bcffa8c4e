import json
import shutil
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner, Result

from mlops_assets.cli import main
from mlops_assets.settings import Settings
from mlops_assets_tests.cli.versions import MODEL, add_version, alias


def run(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, list(arguments))
    assert result.exit_code == code, result.output
    return result


def answer(*arguments: str) -> dict[str, Any]:
    return dict(json.loads(run(*arguments, "--json").stdout))


@pytest.fixture
def served(prepared: Settings) -> Settings:
    add_version(prepared)
    run("approve", MODEL)
    return prepared


def test_a_model_is_retired_told_everywhere_and_brought_back(served: Settings):
    said = run("retire", MODEL, "--reason", "merged into another").stdout
    assert "flight_delay is retired by" in said
    assert "merged into another. version 1 is served no more" in said
    assert alias(served, "champion") is None
    assert "nothing changes" in run("retire", MODEL).stdout
    (shown,) = answer("status", MODEL)["models"]
    assert shown["champion"] is None
    assert "merged into another; `mlops retire flight_delay --undo`" in shown["out_of_service"]
    assert "out of service" in run("status").stdout
    (row,) = answer("releases", MODEL)["retirements"]
    assert (row["retired"], row["version"]) == (True, "1")
    assert "is retired since" in run("approve", MODEL, code=1).output
    assert "version 1 serves again" in run("retire", MODEL, "--undo").stdout
    assert alias(served, "champion") == "1"
    assert answer("status", MODEL)["models"][0]["out_of_service"] == ""
    assert len(answer("releases", MODEL)["retirements"]) == 2
    with dg.DagsterInstance.from_config(str(served.dagster_home)) as instance:
        events = instance.fetch_observations(dg.AssetKey([MODEL, "champion"]), limit=5).records
    texts = [str(record.asset_observation.description) for record in events]  # type: ignore[union-attr]
    assert [text.split(" by ")[0] for text in texts] == ["brought back", "retired"]


def test_a_model_whose_folder_is_gone_is_still_told_and_can_be_retired(served: Settings):
    folder = served.models_dir / MODEL
    shutil.move(folder, served.home / "away")
    names = {one["model"]: one["out_of_service"] for one in answer("status")["models"]}
    assert f"its folder is gone from {served.models_dir}" in names[MODEL]
    assert names["bike_demand"] == ""
    assert "release none → 1" in run("releases", MODEL).stdout
    assert answer("retire", MODEL)["retired"] is True
    assert alias(served, "champion") is None
    refused = run("retire", MODEL, "--undo", code=1)
    assert "has no folder in" in refused.output
    shutil.move(served.home / "away", folder)
    assert answer("retire", MODEL, "--undo")["changed"] is True
    assert alias(served, "champion") == "1"


def test_what_is_no_model_or_was_never_retired_is_told(served: Settings):
    assert "there is no model 'letters'" in run("retire", "letters", code=1).output
    assert "there is no model '../x'" in run("retire", "../x", code=1).output
    assert "bike_demand has no version" in run("retire", "bike_demand", code=1).output
    assert "it was never retired" in run("retire", MODEL, "--undo").stdout
