"""A model's spec, read from its folder without Dagster."""

from mlops_assets.cli.located import read_spec_file
from mlops_assets.domain.errors import SpecError
from mlops_assets.settings import Settings
from mlops_assets.spec import Model
from mlops_assets.stores.model_folders import model_folders


def load_model(settings: Settings, name: str) -> Model:
    """The model of this name. Raises SpecError if there is none, or its spec is wrong."""
    folders = model_folders(settings.models_dir)
    if name not in folders:
        raise SpecError(
            f"there is no model {name!r} in {settings.models_dir}; there are "
            f"{', '.join(folders) or 'none'}"
        )
    file = read_spec_file(name, folders[name], ask_source=False)
    if file.model is None or file.findings:
        lines = [
            f"{file.path}:{file.line(found.place)}: {'.'.join(map(str, found.place))}: "
            f"{found.message}"
            for found in file.findings
        ]
        raise SpecError("\n".join(lines))
    return file.model
