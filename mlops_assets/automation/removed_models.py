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

        before = json.loads(context.cursor) if context.cursor else {}
        found = look(before, list(model_folders(models_dir)))
        notes = [_retired(stores, name, models_dir / name) for name in found.removed]
        away = sorted(name for name, looks in found.missing.items() if looks)
        notes += [f"{name}: its folder is missing" for name in away]
        return dg.SensorResult(
            skip_reason="; ".join(notes) or f"{len(found.missing)} models are there",
            cursor=json.dumps(found.missing),
        )

    return sensor


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
