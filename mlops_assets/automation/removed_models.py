"""Models whose folder was removed are retired."""

import json
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from mlops_assets.domain.removed import look
from mlops_assets.resources import Stores


def removed_models(models_dir: Path, seconds: int) -> dg.SensorDefinition:
    """The sensor that retires a model when its folder is gone from `models_dir`."""

    @dg.sensor(
        name="removed_models",
        minimum_interval_seconds=seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Retires a model whose folder is gone three looks in a row: it is served no "
        "more, and its history is kept. `mlops retire MODEL --undo` brings it back.",
    )
    def sensor(context: dg.SensorEvaluationContext, stores: Stores) -> dg.SensorResult:
        from mlops_assets.stores.model_folders import model_folders

        before, held_by = _seen(context.cursor)
        there, folder = list(model_folders(models_dir)), _identity(models_dir)
        is_same = folder is not None and folder == held_by
        found = look(before, there, is_same=is_same)
        notes = [_retired(stores, name, models_dir / name) for name in found.removed]
        away = sorted(name for name, looks in found.missing.items() if looks)
        notes += [f"{name}: its folder is missing" for name in away]
        if not there and not is_same and before:
            notes.append(f"{models_dir} is away or another folder: nothing is retired")
        kept = {"models": found.missing, "folder": folder if there else held_by}
        return dg.SensorResult(
            skip_reason="; ".join(notes) or f"{len(found.missing)} models are there",
            cursor=json.dumps(kept),
        )

    return sensor


def _seen(cursor: str | None) -> tuple[dict[str, int], list[int] | None]:
    """The models of the last look with what they are missing, and the folder that held them."""
    found = json.loads(cursor) if cursor else {}
    if not isinstance(found.get("models"), dict):
        # As earlier releases wrote it: models alone.
        return found, None
    return found["models"], found["folder"]


def _identity(folder: Path) -> list[int] | None:
    """Which folder it is, by file system and number; None where there is none."""
    try:
        found = folder.stat()
    except OSError:
        return None
    return [found.st_dev, found.st_ino]


def _retired(stores: Stores, model: str, folder: Path) -> str:
    from mlops_assets.domain.errors import ReleaseError
    from mlops_assets.stores.retirements import Retirements

    try:
        row, _ = Retirements(stores.releases).retire(
            model,
            actor="sensor",
            reason=f"its folder {folder} was removed",
            at=datetime.now(UTC),
            loop_time=stores.clock.now(),
        )
    except ReleaseError as error:
        return str(error)
    return f"{model} is {row.text}"
