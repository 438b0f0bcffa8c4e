"""A real MLflow store in SQLite, made once per session: its migrations take seconds."""

from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from mlops_assets.stores.registry import Registry
from mlops_assets.stores.tracking_store import prepare_tracking_store

MakeVersion = Callable[..., str]


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """The registry that all tests share; each test uses a model of its own."""
    folder = tmp_path_factory.mktemp("mlflow")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    prepare_tracking_store(uri, folder / "artifacts", folder / "locks")
    return Registry(uri)


@pytest.fixture(scope="session")
def _numbers() -> "count[int]":
    return count()


@pytest.fixture
def model(registry: Registry, _numbers: "count[int]") -> str:
    """A registered model without versions."""
    name = f"model_{next(_numbers)}"
    registry.client.create_registered_model(name)
    return name


@pytest.fixture
def make_version(registry: Registry, model: str) -> MakeVersion:
    """Registers a version, that has passed its gates unless told otherwise; returns its number."""

    def make(gates: str = "passed", bundle: Path | None = None) -> str:
        client = registry.client
        run = client.create_run("0")
        if bundle is not None:
            client.log_artifacts(run.info.run_id, str(bundle), "bundle")
        client.set_terminated(run.info.run_id)
        tags = {"gates": gates} if gates else {}
        made = client.create_model_version(
            model, source=f"runs:/{run.info.run_id}/bundle", run_id=run.info.run_id, tags=tags
        )
        return str(made.version)

    return make
