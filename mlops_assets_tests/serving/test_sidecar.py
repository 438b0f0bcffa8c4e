import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mlops_assets.stores.registry import CHAMPION, Registry
from mlops_assets.stores.tracking_store import prepare_tracking_store
from mlops_assets_tests.serving.conftest import Built
from mlops_assets_tests.waiting import eventually


@pytest.fixture
def registry(tmp_path: Path, bundles: dict[str, Built]) -> Registry:
    """A real registry with a champion of flight_delay."""
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    prepare_tracking_store(uri, tmp_path / "artifacts", tmp_path / "locks")
    registry = Registry(uri)
    client = registry.client
    client.create_registered_model("flight_delay")
    run = client.create_run("0")
    client.log_artifacts(run.info.run_id, str(bundles["2"].folder), "bundle")
    source = f"runs:/{run.info.run_id}/bundle"
    made = client.create_model_version("flight_delay", source, run.info.run_id)
    registry.set_alias("flight_delay", CHAMPION, str(made.version))
    return registry


def test_it_fetches_the_champion_publishes_it_and_ends_on_a_signal(
    registry: Registry, tmp_path: Path
):
    home = tmp_path / "home"
    settings = {"MLOPS_HOME": str(home), "MLOPS_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db"}
    pointer = home / "serving" / "state.json"
    process = subprocess.Popen(
        [sys.executable, "-m", "serving.sidecar"],
        env={**os.environ, **settings},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        eventually(lambda: pointer.exists() or process.poll() is not None)
        entry = json.loads(pointer.read_text())["models"]["flight_delay"]
        assert entry["version"] == "1"
        assert (Path(entry["path"]) / "contract.json").exists()
        assert Path(entry["path"]).is_relative_to(home / "bundles")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
    finally:
        process.kill()
        process.communicate()


def test_arguments_are_refused():
    command = [sys.executable, "-m", "serving.sidecar", "--port", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "unrecognized arguments: --port 1" in done.stderr
