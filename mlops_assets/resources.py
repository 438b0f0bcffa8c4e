"""Dagster resources over the stores: where state lives, and the MLflow run of a training."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.definitions.decorators.hook_decorator import event_list_hook
from pydantic import Field

from mlops_assets.settings import Settings
from mlops_assets.stores.clock import Clock
from mlops_assets.stores.lake import Lake
from mlops_assets.stores.links import Links, dagster_address
from mlops_assets.stores.online import OnlineStore
from mlops_assets.stores.registry import Registry
from mlops_assets.stores.releases import Releases
from mlops_assets.stores.tracking_store import prepare_tracking_store

MODEL_TAG = "mlops/model"
# How many of the newest periods a run trains on: a number, or ALL_PERIODS.
WINDOW_TAG = "mlops/window"
ALL_PERIODS = "all"


class Stores(dg.ConfigurableResource):  # type: ignore[type-arg]
    """All that the assets of a model read and write."""

    lake_root: str = Field(description="Root of the Delta tables.")
    mlflow_uri: str = Field(description="MLflow tracking and registry URI.")
    mlflow_artifacts: str = Field(description="Where new experiments keep artifacts; may be empty.")
    clock_file: str = Field(description="The replay clock, if a replay has set one.")
    prediction_log_root: str = Field(description="Folder of prediction log segments.")
    online_file: str = Field(
        description="The online store of history, where MLOPS_ONLINE_URL names no other."
    )
    bundle_cache: str = Field(description="Cache of verified serving bundles.")
    reports_root: str = Field(description="Folder of HTML reports.")
    backtests_root: str = Field(description="Cache of what backtests have trained.")
    locks_root: str = Field(description="Folder of lock files.")
    services_file: str = Field(description="Addresses of the services that `mlops up` runs.")
    dagster_url: str = Field(description="Address of the Dagster UI; empty: that of `mlops up`.")
    ray_address: str = Field(default="", description="Ray cluster of parallel trials, if any.")

    @classmethod
    def of(cls, settings: Settings) -> "Stores":
        """The stores that the settings describe."""
        return cls(
            lake_root=settings.lake_root,
            mlflow_uri=settings.mlflow_uri,
            mlflow_artifacts="" if settings.tracking_uri else str(settings.mlflow_artifacts),
            clock_file=str(settings.clock_file),
            prediction_log_root=str(settings.prediction_log),
            online_file=str(settings.online_file),
            bundle_cache=str(settings.bundle_cache),
            reports_root=str(settings.reports),
            backtests_root=str(settings.backtests),
            locks_root=str(settings.locks),
            services_file=str(settings.services_file),
            dagster_url=settings.dagster_url,
            ray_address=settings.ray_address,
        )

    @property
    def lake(self) -> Lake:
        """The Delta tables."""
        return Lake(self.lake_root)

    @property
    def online(self) -> OnlineStore:
        """The online store; a URL with a password stays in the environment, out of Dagster."""
        return OnlineStore(Settings.load().online_url or f"sqlite:///{self.online_file}")

    @property
    def registry(self) -> Registry:
        """The model registry, in a store that is made when it is first asked for."""
        prefix = "sqlite:///"
        if self.mlflow_uri.startswith(prefix):
            path = Path(self.mlflow_uri.removeprefix(prefix))
            if not path.exists():
                artifacts = Path(self.mlflow_artifacts or path.parent / "artifacts")
                prepare_tracking_store(self.mlflow_uri, artifacts, Path(self.locks_root))
        return Registry(self.mlflow_uri)

    @property
    def releases(self) -> Releases:
        """What moves champions."""
        return Releases(self.registry, self.lake, Path(self.locks_root))

    @property
    def clock(self) -> Clock:
        """The loop's clock."""
        return Clock(Path(self.clock_file))

    @property
    def bundles(self) -> Path:
        """Cache of verified serving bundles."""
        return Path(self.bundle_cache)

    @property
    def links(self) -> Links:
        """Links to what Dagster shows."""
        return Links(self.dagster_url or dagster_address(Path(self.services_file)))

    def report_path(self, model: str, period: str, name: str) -> Path:
        """Where a report of a period is kept."""
        return Path(self.reports_root) / model / period / name

    def prediction_log(self, model: str) -> Path:
        """Folder of a model's prediction log segments."""
        return Path(self.prediction_log_root) / model


def model_of(run: Any) -> str:
    """The model that a run is about: its tag, or the first part of its assets' keys."""
    if run.tags.get(MODEL_TAG):
        return str(run.tags[MODEL_TAG])
    names = sorted({key.path[0] for key in run.asset_selection or ()})
    return names[0] if len(names) == 1 else "mlops_assets"


@dg.resource(
    config_schema={"tracking_uri": str, "artifacts": str},
    description="The MLflow run of a training: dagster-mlflow's resource, one run per Dagster run.",
)
def mlflow_run(context: dg.InitResourceContext) -> Iterator[Any]:
    """Yield dagster-mlflow's resource for the model's experiment, and leave no run open.

    dagster-mlflow ends the run after the last step of a job. A run whose last step was skipped,
    or that was started without our job's hook, is ended here.
    """
    import mlflow
    from dagster_mlflow import mlflow_tracking

    uri, artifacts = context.resource_config["tracking_uri"], context.resource_config["artifacts"]
    experiment = model_of(context.run)
    mlflow.set_tracking_uri(uri)
    client = mlflow.MlflowClient(tracking_uri=uri)
    if client.get_experiment_by_name(experiment) is None:
        location = (Path(artifacts) / experiment).as_uri() if artifacts else None
        client.create_experiment(experiment, artifact_location=location)
    inner = context.replace_config(
        {
            "experiment_name": experiment,
            "mlflow_tracking_uri": uri,
            "parent_run_id": None,
            "mlflow_run_id": None,
            "env": {},
            "env_to_tag": None,
            "extra_tags": {MODEL_TAG: experiment},
        }
    )
    try:
        yield from mlflow_tracking.resource_fn(inner)
    finally:
        while mlflow.active_run() is not None:
            mlflow.end_run()


@event_list_hook(name="end_mlflow_on_run_finished", required_resource_keys={"mlflow"})
def end_mlflow_on_run_finished(
    context: dg.HookContext, event_list: list[Any]
) -> dg.HookExecutionResult:
    """dagster-mlflow's closing hook, imported when it is needed: mlflow is slow to import."""
    from dagster_mlflow import end_mlflow_on_run_finished as closing_hook

    result: dg.HookExecutionResult = closing_hook.hook_fn(context, event_list)
    return result


def all_resources(settings: Settings) -> dict[str, Any]:
    """Every resource of the project, by key."""
    stores = Stores.of(settings)
    return {
        "stores": stores,
        "mlflow": mlflow_run.configured(
            {"tracking_uri": stores.mlflow_uri, "artifacts": stores.mlflow_artifacts}
        ),
    }
