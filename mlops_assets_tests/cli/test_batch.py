"""`mlops predict --out` with a real registry, and no endpoint."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from mlops_assets.cli import main
from mlops_assets.settings import Settings
from mlops_assets.stores.lake import Lake
from mlops_assets.stores.registry import CHAMPION, Registry
from mlops_assets_tests.stores.test_batch_run import bundle, flights, model  # noqa: F401

Run = Callable[..., Result]


@pytest.fixture
def registered(prepared: Settings, bundle: Path) -> Settings:  # noqa: F811
    """Two versions with the same bundle, the first of which is the champion."""
    registry = Registry(prepared.mlflow_uri)
    client = registry.client
    client.create_registered_model("flight_delay")
    for _ in range(2):
        run = client.create_run("0")
        client.log_artifacts(run.info.run_id, str(bundle), "bundle")
        client.set_terminated(run.info.run_id)
        source = f"runs:/{run.info.run_id}/bundle"
        client.create_model_version("flight_delay", source, run.info.run_id)
    registry.set_alias("flight_delay", CHAMPION, "1")
    return prepared


@pytest.fixture
def run(registered: Settings, tmp_path: Path) -> Run:
    pq.write_table(flights(2000), tmp_path / "rows.parquet", row_group_size=500)

    def run(*options: str, source: str = "") -> Result:
        source = source or str(tmp_path / "rows.parquet")
        return CliRunner().invoke(main, ["predict", "flight_delay", source, *options])

    return run


def test_a_file_is_scored_with_the_champion_and_a_summary_told(run: Run, tmp_path: Path):
    result = run("--out", str(tmp_path / "out"), "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["version"], told["rows"], told["rejected"]) == ("1", 2000, 40)
    assert pq.read_table(tmp_path / "out").num_rows == 1960
    again = run("--out", str(tmp_path / "out"))
    assert again.exit_code == 0, again.output
    assert "1,960 predictions of flight_delay version 1" in again.stdout
    assert "1 parts, 1 were there" in again.stdout
    assert "20  distance: not finite" in again.stdout


def test_another_version_needs_another_folder(run: Run, tmp_path: Path):
    out = str(tmp_path / "out")
    assert run("--out", out).exit_code == 0
    refused = run("--out", out, "--version", "2")
    assert refused.exit_code == 1
    assert "version was '1', is '2'" in refused.stderr
    assert run("--out", out, "--version", "2", "--overwrite").exit_code == 0
    assert set(pq.read_table(out)["version"].to_pylist()) == {"2"}


def test_a_table_of_the_lake_is_named_without_its_path(
    run: Run, registered: Settings, tmp_path: Path
):
    lake = Lake(registered.lake_root)
    for period in ("a", "b"):
        lake.write_period("flight_delay", "raw_data", period, flights(500))
    result = run("--out", str(tmp_path / "out"), "--json", source="raw_data")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["rows"] == 1000


@pytest.mark.parametrize(
    ("options", "source", "code", "message"),
    [
        ((), "{folder}", 2, "is a folder; --out FOLDER scores folders and tables"),
        ((), "nowhere.csv", 2, "does not exist as a file"),
        (("--out", "{folder}/o"), "nowhere", 1, "neither a file or folder, nor a table"),
        (("--out", "{folder}/o", "--url", "http://x"), "", 2, "are for the endpoint"),
        (("--out", "{folder}/o", "--version", "9"), "", 1, "no version '9'"),
        (("--out", "{folder}/o", "--keep", "x"), "", 1, "no column 'x' to keep"),
    ],
)
def test_a_mistake_is_an_error_that_says_why(
    run: Run, tmp_path: Path, options: tuple[str, ...], source: str, code: int, message: str
):
    found = [option.format(folder=tmp_path) for option in options]
    result = run(*found, source=source.format(folder=tmp_path))
    assert result.exit_code == code, result.output
    assert message in " ".join(result.stderr.split())


def test_without_a_champion_a_version_must_be_named(run: Run, registered: Settings, tmp_path: Path):
    registry = Registry(registered.mlflow_uri)
    registry.client.delete_registered_model_alias("flight_delay", CHAMPION)
    result = run("--out", str(tmp_path / "out"))
    assert result.exit_code == 1
    assert "flight_delay has no champion" in result.stderr
    assert run("--out", str(tmp_path / "out"), "--version", "2").exit_code == 0


def test_an_address_without_a_cluster_is_an_error_with_the_way_out(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MLOPS_RAY_ADDRESS", "nonsense")
    result = run("--out", str(tmp_path / "out"))
    assert result.exit_code == 1
    assert "no Ray cluster at MLOPS_RAY_ADDRESS=nonsense" in result.stderr
