"""Dagster and MLflow as `mlops up` runs them; the HTTP endpoint has its own tests."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from mlops_assets.cli.home import prepare_home
from mlops_assets.cli.services import standard_services
from mlops_assets.cli.supervisor import Supervisor
from mlops_assets.domain.errors import ServiceError
from mlops_assets.settings import Settings
from mlops_assets.stores.ports import free_ports
from mlops_assets_tests.cli.test_supervisor import marked
from mlops_assets_tests.waiting import eventually

DEFINITIONS = """
import sys

import dagster as dg
from mlops_assets.code_server import PRELOADED

@dg.asset
def one():
    missing = set(PRELOADED).difference(sys.modules)
    assert not missing or sys.platform != "linux", missing

job = dg.define_asset_job("job", [one])

@dg.sensor(job=job, default_status=dg.DefaultSensorStatus.RUNNING, minimum_interval_seconds=1)
def once(context):
    yield dg.RunRequest(run_key="once")

defs = dg.Definitions(
    assets=[one], jobs=[job], sensors=[once], executor=dg.in_process_executor
)
"""


@pytest.fixture
def definitions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that only the services of a test can import."""
    path = tmp_path / "modules" / "small_definitions.py"
    path.parent.mkdir()
    path.write_text(DEFINITIONS)
    monkeypatch.setenv("PYTHONPATH", str(path.parent))
    return path


def get(url: str, **headers: str) -> int:
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def runs(url: str) -> list[str]:
    body = json.dumps({"query": "{runsOrError{... on Runs{results{status}}}}"}).encode()
    request = urllib.request.Request(f"{url}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        results: list[dict[str, Any]] = json.load(answer)["data"]["runsOrError"]["results"]
    return [one["status"] for one in results]


def public_listeners(settings: Settings) -> list[str]:
    """Addresses other than loopback on which any of our processes listens."""
    return [
        f"{connection.laddr.ip}:{connection.laddr.port} {process.name()}"
        for process in marked(settings)
        for connection in process.net_connections("inet")
        if connection.status == "LISTEN"
        and not ip_address(connection.laddr.ip.removeprefix("::ffff:")).is_loopback
    ]


def test_a_taken_port_is_refused_before_anything_starts(settings: Settings):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ServiceError, match=f"port {port} for mlflow is taken"):
            standard_services(settings, ("mlflow",), {"mlflow": port})


def test_given_ports_are_used(settings: Settings):
    (port,) = free_ports(1)
    services = standard_services(settings, ("mlflow", "serve"), {"serve": port})
    urls = {service.name: service.url for service in services}
    assert urls["serve"] == f"http://127.0.0.1:{port}"
    assert urls["mlflow"] not in ("", urls["serve"])


def test_a_remote_tracking_server_needs_no_server_of_ours(tmp_path: Path):
    settings = Settings(home=tmp_path, tracking_uri="https://mlflow.example")
    assert standard_services(settings, ("mlflow",)) == ()


def test_no_command_line_shows_a_password(tmp_path: Path):
    uri = "postgresql://user:hidden@db.example/mlflow"
    tokens = tmp_path / "tokens"
    tokens.write_text("hidden-0123456789\n")
    tokens.chmod(0o600)
    settings = Settings(home=tmp_path, tracking_uri=uri, serve_token_file=tokens)
    for service in standard_services(settings):
        assert "hidden" not in " ".join(service.command)


def test_a_first_run_has_time_to_import_all_unless_the_user_says_how_long(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    def timeouts() -> dict[str, str | None]:
        services = standard_services(settings, ("dagster",))
        return {one.name: one.environment.get("DAGSTER_GRPC_TIMEOUT_SECONDS") for one in services}

    monkeypatch.delenv("DAGSTER_GRPC_TIMEOUT_SECONDS", raising=False)
    assert timeouts() == {"dagster-code": None, "dagster": "300", "dagster-daemon": "300"}
    monkeypatch.setenv("DAGSTER_GRPC_TIMEOUT_SECONDS", "20")
    assert timeouts() == {"dagster-code": None, "dagster": "20", "dagster-daemon": "20"}


@pytest.mark.loop
def test_dagster_runs_a_sensor_with_all_imported_and_leaves_no_process(
    settings: Settings, prepared_home: Path, definitions: Path
):
    shutil.copytree(prepared_home, settings.home)
    prepare_home(settings)
    services = standard_services(settings, ("dagster",), definitions=definitions.stem)
    with Supervisor(settings, services) as up:
        assert get(up.urls["dagster"]) == 200
        eventually(lambda: runs(up.urls["dagster"]) == ["SUCCESS"])
        assert public_listeners(settings) == []
        started = time.monotonic()
    assert time.monotonic() - started < 10  # the grace after which it would be killed
    assert marked(settings) == []


@pytest.mark.loop
def test_definitions_that_cannot_be_loaded_are_the_error(
    settings: Settings, prepared_home: Path, definitions: Path
):
    definitions.write_text("raise ValueError('this is no definition')")
    shutil.copytree(prepared_home, settings.home)
    prepare_home(settings)
    services = standard_services(settings, ("dagster",), definitions=definitions.stem)
    with pytest.raises(ServiceError, match=r"cannot load the definitions(.|\n)*this is no def"):
        Supervisor(settings, services).__enter__()
    assert marked(settings) == []


@pytest.mark.loop
def test_up_prints_addresses_and_ends_at_ctrl_c(settings: Settings):
    process = subprocess.Popen(
        [sys.executable, "-m", "mlops_assets.cli", "up", "--no-dagster", "--no-serve", "--json"],
        env={**os.environ, "MLOPS_HOME": str(settings.home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    url = json.loads(process.stdout.readline())["urls"]["mlflow"]
    try:
        assert get(f"{url}/api/2.0/mlflow/experiments/get?experiment_id=0") == 200
        # A web page elsewhere must not reach it through a name that resolves to this machine.
        assert get(f"{url}/api/2.0/mlflow/experiments/get?experiment_id=0", Host="evil.test") == 403
        assert public_listeners(settings) == []
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")
    assert marked(settings) == []
