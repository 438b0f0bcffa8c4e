"""Every model under the models folder, with the resources they share."""

import logging
from pathlib import Path
from types import ModuleType

import dagster as dg
from dagster.components.core.component_tree import ComponentTree

from mlops_assets import defs as shipped_models
from mlops_assets.automation.alerting import failed_runs
from mlops_assets.automation.removed_models import removed_models
from mlops_assets.automation.sensors import close_mlflow_runs
from mlops_assets.components.broken import LOAD_ERRORS, broken_model
from mlops_assets.resources import all_resources
from mlops_assets.settings import PROJECT_ROOT, Settings
from mlops_assets.stores.model_folders import model_folders

log = logging.getLogger("dagster")


@dg.definitions
def defs() -> dg.Definitions:
    """All definitions of the code location."""
    settings = Settings.load()
    shared = dg.Definitions(
        resources=all_resources(settings),
        sensors=[
            *close_mlflow_runs(),
            failed_runs(),
            removed_models(settings.models_dir, settings.sensor_seconds),
        ],
        executor=dg.in_process_executor,
    )
    if not model_folders(settings.models_dir):
        # The last model may have been removed, which the sensor on removed models has to see.
        log.error("there is no model in %s: is MLOPS_MODELS_DIR right?", settings.models_dir)
        return shared
    try:
        models = _models(settings.models_dir)
    except LOAD_ERRORS:
        models = _one_by_one(settings.models_dir)
    return dg.Definitions.merge(shared, models)


def _models(folder: Path) -> dg.Definitions:
    if folder.resolve() == Path(shipped_models.__path__[0]).resolve():
        return dg.load_from_defs_folder(path_within_project=PROJECT_ROOT)
    # Dagster finds components below a module; a folder of the user's need not be a package.
    module = ModuleType("mlops_assets_models")
    module.__file__ = str(folder / "__init__.py")
    module.__path__ = [str(folder)]
    return ComponentTree(defs_module=module, project_root=folder.parent).build_defs()


def _one_by_one(folder: Path) -> dg.Definitions:
    """The models that load, and what is wrong with the others; if none does, the first error."""
    loaded: list[dg.Definitions] = []
    broken: dict[str, Exception] = {}
    for name, place in model_folders(folder).items():
        try:
            loaded.append(_models(place))
        except LOAD_ERRORS as error:
            broken[name] = error
    if not loaded:
        raise next(iter(broken.values()))
    reports = [broken_model(name, error) for name, error in broken.items()]
    for name in broken:
        log.error("model %s is left out, its defs.yaml is broken: `mlops check %s`", name, name)
    return dg.Definitions.merge(*loaded, dg.Definitions(assets=reports))
