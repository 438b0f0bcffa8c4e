"""Every model under the models folder, with the resources they share."""

import dagster as dg

from mlops_assets.automation.sensors import close_mlflow_runs
from mlops_assets.resources import all_resources
from mlops_assets.settings import Settings


@dg.definitions
def defs() -> dg.Definitions:
    """All definitions of the code location."""
    settings = Settings.load()
    shared = dg.Definitions(
        resources=all_resources(settings),
        sensors=close_mlflow_runs(),
        executor=dg.in_process_executor,
    )
    return dg.Definitions.merge(
        shared, dg.load_from_defs_folder(path_within_project=settings.models_dir)
    )
