"""Versions in a real registry, made in a moment: they have tags and a run, but no bundle."""

from mlops_assets.settings import Settings
from mlops_assets.stores.lake import Lake
from mlops_assets.stores.registry import CHALLENGER, Registry
from mlops_assets.stores.releases import Releases

MODEL = "flight_delay"


def store(settings: Settings) -> Releases:
    """Registry, lake and locks of the home."""
    return Releases(Registry(settings.mlflow_uri), Lake(settings.lake_root), settings.locks)


def add_version(
    settings: Settings, *, gates: str = "passed", judged_against: str = "", refused: str = ""
) -> str:
    """Register a version of the model, and make it the challenger."""
    registry = store(settings).registry
    client = registry.client
    if not client.search_registered_models(f"name = '{MODEL}'"):
        client.create_registered_model(MODEL)
    run = client.create_run("0")
    client.set_terminated(run.info.run_id)
    tags = {
        "gates": gates,
        "judged_against": judged_against,
        **({"gates.refused": refused} if refused else {}),
        "estimator": "ridge alpha=1",
        "training_set": "ts-1",
    }
    source = f"runs:/{run.info.run_id}/bundle"
    made = client.create_model_version(MODEL, source, run.info.run_id, tags=tags)
    registry.set_alias(MODEL, CHALLENGER, str(made.version))
    return str(made.version)


def alias(settings: Settings, name: str) -> str | None:
    """The version that an alias points to."""
    version = store(settings).registry.alias(MODEL, name)
    return version.version if version else None
