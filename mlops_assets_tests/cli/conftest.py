"""Small real services: Python one-liners that listen, hang, crash or have children."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from mlops_assets.cli.home import prepare_home
from mlops_assets.cli.probes import answers
from mlops_assets.cli.processes import is_alive, kill
from mlops_assets.cli.services import Service
from mlops_assets.settings import Settings
from mlops_assets.stores.ports import free_ports


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


@pytest.fixture
def prepared(prepared_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A home of its own, ready for Dagster and MLflow, that commands of this process use.

    Its models folder holds the models flight_delay and bike_demand, and a folder that is none.
    """
    home, models = tmp_path / "home", tmp_path / "models"
    shutil.copytree(prepared_home, home)
    for name in ("flight_delay", "bike_demand", "notes"):
        (models / name).mkdir(parents=True)
    (models / "flight_delay" / "defs.yaml").touch()
    (models / "bike_demand" / "defs.yaml").touch()
    monkeypatch.setenv("MLOPS_HOME", str(home))
    monkeypatch.setenv("MLOPS_MODELS_DIR", str(models))
    settings = Settings.load()
    prepare_home(settings)
    return settings


def of_home(home: Path) -> list[psutil.Process]:
    """Every process that runs with this home in its environment, orphans too."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("MLOPS_HOME") == str(home) and is_alive(process):
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.fixture(autouse=True)
def _leaves_no_process(tmp_path: Path) -> Iterator[None]:
    """Whatever a test did, none of its processes stays."""
    yield
    left = of_home(tmp_path / "home")
    kill(left)
    assert not left


def python_service(name: str, code: str, **options: object) -> Service:
    """A service that runs a piece of Python, ready at once unless it has a probe."""
    options.setdefault("probe", lambda started: True)
    options.setdefault("grace_seconds", 5.0)
    return Service(name=name, command=(sys.executable, "-c", code), **options)  # type: ignore[arg-type]


def http_service(name: str = "web") -> Service:
    """A web server on a free port."""
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    command = (sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1")
    return Service(name=name, command=command, probe=answers(url), url=url)
