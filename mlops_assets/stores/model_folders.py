"""The folders that hold models: one each, with a defs.yaml."""

from pathlib import Path

SPEC_FILE = "defs.yaml"


def model_folders(models_dir: Path) -> dict[str, Path]:
    """Folders by model name, in the order of names; a model's own folder is its only model."""
    if (models_dir / SPEC_FILE).is_file():
        return {models_dir.name: models_dir}
    found = sorted(path.parent for path in models_dir.glob(f"*/{SPEC_FILE}"))
    return {folder.name: folder for folder in found}
