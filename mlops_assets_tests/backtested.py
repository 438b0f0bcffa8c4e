"""A model on real rides with months of history in its lake, cheap enough to backtest in tests."""

from pathlib import Path
from typing import Any

from mlops_assets.assets.tables import as_table, feature_rows
from mlops_assets.settings import Settings
from mlops_assets.spec import Model
from mlops_assets.stores import sources
from mlops_assets.stores.lake import Lake
from mlops_assets.stores.tables import to_frame
from mlops_assets_tests.loop import add_model, read_model, shipped, utc

TRAINING = {
    "window": {"min": 3},
    "validation": 1,
    "holdout": 1,
    "metric": "mae",
    "candidates": [{"estimator": "ridge", "grid": [{"alpha": [1.0, 1000.0]}]}],
}


def rides(root: Path, until: str = "2012-03-01", **changes: Any) -> tuple[Settings, Model]:
    """The shipped bike_demand as `rides`, with ridge regression, in a home of its own."""
    attributes = shipped("bike_demand", training=TRAINING, **changes)
    model = read_model(add_model(root / "models", "rides", attributes))
    settings = Settings(
        home=root / "home", models_dir=root / "models", tracking_uri="", lake_uri=""
    )
    ingest(model, Lake(settings.lake_root), until)
    return settings, model


def ingest(model: Model, lake: Lake, until: str) -> None:
    """Put the features of all periods before a day into the lake."""
    spec = model.spec
    for period in model.calendar.between(model.calendar.first, utc(until)):
        bounds = model.calendar.bounds(period)
        rows = sources.read(
            spec.source,
            model.folder,
            columns=spec.source_columns,
            event_time=spec.event_time,
            start=bounds.start,
            end=bounds.end,
        )
        lake.write_period(
            model.name, "features", period, as_table(feature_rows(model, to_frame(rows)))
        )
