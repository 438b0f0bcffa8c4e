"""A model's spec, read from its folder without Dagster."""

import yaml

from mlops_assets.domain.errors import SpecError
from mlops_assets.settings import Settings
from mlops_assets.spec import Model, ModelSpec
from mlops_assets.spec_rules import problems
from mlops_assets.stores.model_folders import SPEC_FILE, model_folders


def load_model(settings: Settings, name: str) -> Model:
    """The model of this name. Raises SpecError if there is none, or its spec is wrong."""
    folders = model_folders(settings.models_dir)
    if name not in folders:
        raise SpecError(
            f"there is no model {name!r} in {settings.models_dir}; there are "
            f"{', '.join(folders) or 'none'}"
        )
    folder = folders[name]
    try:
        content = yaml.safe_load((folder / SPEC_FILE).read_text())
        spec = ModelSpec.model_validate(content["attributes"])
    except (ValueError, KeyError, TypeError) as error:
        raise SpecError(f"{folder / SPEC_FILE}: {error}") from error
    found = problems(spec)
    if found:
        lines = [f"{'.'.join(map(str, one.place))}: {one.message}" for one in found]
        raise SpecError(f"{folder / SPEC_FILE}: " + "; ".join(lines))
    return Model(name, spec, folder)
