"""Every model under the models folder, with the resources they share."""

from pathlib import Path
from types import ModuleType

import dagster as dg
from dagster.components.core.component_tree import ComponentTree

from mlops_assets import defs as shipped_models
from mlops_assets.automation.sensors import close_mlflow_runs
from mlops_assets.resources import all_resources
from mlops_assets.settings import PROJECT_ROOT, Settings


@dg.definitions
def defs() -> dg.Definitions:
    """All definitions of the code location."""
    settings = Settings.load()
    shared = dg.Definitions(
        resources=all_resources(settings),
        sensors=close_mlflow_runs(),
        executor=dg.in_process_executor,
    )
    return dg.Definitions.merge(shared, _models(settings.models_dir))


def _models(folder: Path) -> dg.Definitions:
    if folder.resolve() == Path(shipped_models.__path__[0]).resolve():
        return dg.load_from_defs_folder(path_within_project=PROJECT_ROOT)
    # Dagster finds components below a module; a folder of the user's need not be a package.
    module = ModuleType("mlops_assets_models")
    module.__file__ = str(folder / "__init__.py")
    module.__path__ = [str(folder)]
    return ComponentTree(defs_module=module, project_root=folder.parent).build_defs()
