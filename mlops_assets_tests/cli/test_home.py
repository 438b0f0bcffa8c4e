import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mlops_assets.cli.home import DAGSTER_YAML, MARKER, prepare_home
from mlops_assets.domain.errors import ServiceError
from mlops_assets.settings import Settings

# Prepares, then writes to both stores, as every process of the loop does.
USE = """
from mlops_assets.settings import Settings
from mlops_assets.cli.home import prepare_home
settings = Settings.load()
prepare_home(settings)
import dagster as dg
from mlflow import MlflowClient

@dg.asset
def one(): return 1

with dg.DagsterInstance.get() as instance:
    assert dg.materialize([one], instance=instance, resources={"io_manager": dg.mem_io_manager})
client = MlflowClient(settings.mlflow_uri, settings.mlflow_uri)
client.log_metric(client.create_run("0").info.run_id, "x", 1.0)
"""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home that three processes prepared and used at the same moment."""
    settings = Settings(home=tmp_path_factory.mktemp("state") / "home")
    started = [
        subprocess.Popen(
            [sys.executable, "-c", USE],
            env=settings.environment(),
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    outcomes = [(process.communicate(timeout=200)[1], process.returncode) for process in started]
    assert [code for _, code in outcomes] == [0] * 3, outcomes
    return settings


def test_three_processes_prepare_one_home_at_once_and_all_can_write(prepared: Settings):
    code = (
        "import dagster as dg; from mlflow import MlflowClient\n"
        "from mlops_assets.settings import Settings\n"
        "uri = Settings.load().mlflow_uri\n"
        "print(dg.DagsterInstance.get().get_runs_count(), "
        "len(MlflowClient(uri, uri).search_runs(['0'])))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], env=prepared.environment(), capture_output=True, text=True
    )
    assert result.stdout == "3 3\n", result.stderr


def test_a_prepared_home_is_left_alone(prepared: Settings):
    def state() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in prepared.home.rglob("*.*")}

    before = state()
    prepare_home(prepared)
    assert state() == before


def test_only_the_owner_may_look_into_a_home(prepared: Settings):
    folders = [prepared.home, prepared.dagster_home, prepared.logs, prepared.prediction_log]
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}


def test_the_generated_configuration_is_in_force(prepared: Settings):
    code = (
        "import dagster as dg, json\n"
        "i = dg.DagsterInstance.get()\n"
        "queue = i.get_concurrency_config().run_queue_config\n"
        "print(json.dumps([i.telemetry_enabled, i.nux_enabled, i.run_monitoring_enabled, "
        "i.run_monitoring_settings['max_runtime_seconds'], i.run_retries_enabled, "
        "i.run_retries_max_retries, i.run_coordinator.dequeue_interval_seconds, "
        "queue.max_concurrent_runs, i.get_sensor_settings()]))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], env=prepared.environment(), capture_output=True, text=True
    )
    assert yaml.safe_load(result.stdout) == [
        *(False, False, True, 14400, True, 1, 1, 2),
        {"use_threads": True, "num_workers": 4},
    ], result.stderr


def test_databases_and_artifacts_live_in_the_home(prepared: Settings):
    assert (prepared.dagster_home / "history" / "runs.db").exists()
    assert (prepared.home / "mlflow" / "mlflow.db").exists()
    code = (
        "from mlflow import MlflowClient; from mlops_assets.settings import Settings\n"
        "print(MlflowClient(Settings.load().mlflow_uri).get_experiment('0').artifact_location)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], env=prepared.environment(), capture_output=True, text=True
    )
    assert result.stdout.strip() == (prepared.mlflow_artifacts / "0").as_uri(), result.stderr


def test_a_home_of_another_version_is_prepared_again_and_keeps_its_data(prepared: Settings):
    marker = (prepared.home / MARKER).read_text()
    runs = (prepared.dagster_home / "history" / "runs.db").stat().st_size
    (prepared.home / MARKER).write_text('{"format": 0}')
    (prepared.dagster_home / "dagster.yaml").write_text("old: true")
    prepare_home(prepared)
    assert (prepared.home / MARKER).read_text() == marker
    assert (prepared.dagster_home / "dagster.yaml").read_text().startswith(DAGSTER_YAML)
    assert (prepared.dagster_home / "history" / "runs.db").stat().st_size >= runs


def test_a_copied_home_writes_its_events_to_itself_and_keeps_its_databases(
    prepared: Settings, tmp_path: Path
):
    shutil.copytree(prepared.home, tmp_path / "copy")
    copy = Settings(home=tmp_path / "copy")
    databases = {path: path.stat().st_mtime_ns for path in copy.home.rglob("*.db")}
    prepare_home(copy)
    assert str(copy.dagster_home) in (copy.dagster_home / "dagster.yaml").read_text()
    assert {path: path.stat().st_mtime_ns for path in databases} == databases


def test_a_failed_preparation_names_its_log_and_leaves_no_marker(tmp_path: Path):
    settings = Settings(home=tmp_path / "home", tracking_uri="sqlite:////proc/nowhere/mlflow.db")
    with pytest.raises(ServiceError, match=r"could not be prepared, see .*initialise_mlflow"):
        prepare_home(settings)
    assert not (settings.home / MARKER).exists()


def test_a_home_that_cannot_be_made_is_an_error_with_the_way_out(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ServiceError, match="Set it to a writable folder"):
        prepare_home(Settings(home=tmp_path / "file" / "home"))


def test_a_dagster_yaml_of_the_user_takes_the_place_of_ours(prepared: Settings, tmp_path: Path):
    own = tmp_path / "own.yaml"
    own.write_text("telemetry: {enabled: false}\nrun_queue: {max_concurrent_runs: 7}\n")
    with_own = prepared.model_copy(update={"dagster_config": str(own)})
    prepare_home(with_own)
    assert (prepared.dagster_home / "dagster.yaml").read_text() == own.read_text()
    prepare_home(prepared)
    assert (prepared.dagster_home / "dagster.yaml").read_text().startswith(DAGSTER_YAML)


def test_a_missing_dagster_yaml_is_named(prepared: Settings):
    wrong = prepared.model_copy(update={"dagster_config": "/nowhere/dagster.yaml"})
    with pytest.raises(ServiceError, match=r"MLOPS_DAGSTER_CONFIG=/nowhere/dagster\.yaml cannot"):
        prepare_home(wrong)
