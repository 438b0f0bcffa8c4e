"""The models there are, and the registry of their versions, for commands that ask about them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlops_assets.domain.errors import ReleaseError, SpecError
from mlops_assets.settings import Settings
from mlops_assets.stores.lake import Lake
from mlops_assets.stores.model_folders import model_folders
from mlops_assets.stores.registry import Registry
from mlops_assets.stores.release_log import TABLE as RELEASES
from mlops_assets.stores.tracking_store import prepare_tracking_store

SQLITE = "sqlite:///"


def model_names(settings: Settings) -> list[str]:
    """Names of the models under the models folder; their defs.yaml is not read."""
    return list(model_folders(settings.models_dir))


def known_model(settings: Settings, name: str) -> str:
    """The name, if there is such a model; raises SpecError with the names there are."""
    names = model_names(settings)
    if name not in names:
        there = ", ".join(names) or f"none in {settings.models_dir}"
        raise SpecError(f"there is no model {name!r}; models: {there}.")
    return name


def known_or_gone(settings: Settings, name: str) -> str:
    """The name, if there is or was such a model; raises SpecError with the names there are."""
    return name if was_released(settings, name) else known_model(settings, name)


def was_released(settings: Settings, name: str) -> bool:
    """Whether the lake has a release of the model, whatever became of its folder."""
    lake = Lake(settings.lake_root)
    return bool(name) and not set(name) & set("/\\") and lake.exists(name, RELEASES)


def gone_models(settings: Settings) -> list[str]:
    """Names of models that were released once and have no folder any more.

    Raises ReleaseError if the registry cannot be used.
    """
    registry = open_registry(settings)
    if registry is None:
        return []
    there = set(model_names(settings))
    with registry_errors():
        names = sorted(set(registry.names()) - there)
    return [name for name in names if was_released(settings, name)]


def open_registry(settings: Settings) -> Registry | None:
    """The registry; None where its SQLite file is not there yet: asking would create it.

    Raises ReleaseError if the default store cannot be used.
    """
    uri = settings.mlflow_uri
    if uri.startswith(SQLITE):
        if not Path(uri.removeprefix(SQLITE).partition("?")[0]).is_file():
            return None
        if not settings.tracking_uri:
            # Another process may be creating it right now; this waits for its end.
            with registry_errors():
                prepare_tracking_store(uri, settings.mlflow_artifacts, settings.locks)
    return Registry(uri)


@contextmanager
def registry_errors() -> Iterator[None]:
    """Turn MLflow's errors into a ReleaseError of one line."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError) as error:
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ReleaseError(f"the MLflow registry cannot be used: {line}") from error
