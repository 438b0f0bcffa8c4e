"""The models that the tests of assets work on, each for tests of its own."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from mlops_assets_tests.delays import add_delays
from mlops_assets_tests.loop import add_model, add_parcels, parcels, shipped
from mlops_assets_tests.regulars import add_regulars

SHORT_TRAINING = {
    "window": {"min": 3},
    "validation": 1,
    "holdout": 1,
    "search_rows": 2000,
    "candidates": [
        {"estimator": "logistic_regression"},
        {"estimator": "hist_gradient_boosting", "params": {"max_iter": 30}},
    ],
}
FROM_TIME = [
    {"name": "sent_hour", "kind": "hour", "zone": "America/New_York"},
    {"name": "clock", "kind": "cyclical", "columns": ["sent_hour"], "cycle": 24, "keep": False},
    {"name": "sent_day", "kind": "weekday"},
    {"name": "near", "kind": "target_mean", "columns": ["zone"]},
]
SLOW_CANDIDATES = [
    {
        "estimator": "random_forest",
        "grid": [{"n_estimators": [400, 500, 600, 700]}],
    }
]


def add_insured(models: Path, name: str) -> None:
    """Parcels that count by their value; few take as long as 50 hours, few have no value."""
    rows = parcels(10)
    draw = np.random.default_rng(9)
    is_far = np.array(rows["zone"].to_pylist()) == "abroad"
    value = draw.lognormal(3, 1, rows.num_rows) * np.where(is_far, 3, 1)
    value = pa.array(value, mask=draw.random(rows.num_rows) < 0.005)
    add_parcels(
        models,
        name,
        rows.append_column("value", value),
        weight="value",
        label={"column": "hours", "above": 50, "known_at": "arrived_at"},
        training={
            "window": {"min": 3},
            "validation": 1,
            "holdout": 2,
            "class_weight": "balanced",
            "candidates": [{"estimator": "logistic_regression"}],
        },
        validation={"min_rows": 100, "max_rejected_share": 0.05},
    )


def add_scenarios(models: Path) -> None:
    """Write every model's folder."""
    add_model(models, "bike_demand", shipped("bike_demand"))
    period = {"every": "weekly", "start": "2013-05-06", "end": "2013-07-15"}
    short = shipped("flight_delay", period=period, training=SHORT_TRAINING)
    add_model(models, "flight_delay", short)
    add_parcels(models, "parcels", gates={"margin": 0.2})
    # Harm alone is to start a run: what the sensor does with decisions, not how they are made.
    harm = {"policy": "performance", "cooldown": 0}
    add_parcels(models, "watched", gates={"margin": 0.2}, retraining=harm)
    add_parcels(models, "timed", gates={"margin": 0.2}, derived=FROM_TIME)
    add_delays(models, "delays")
    add_regulars(models, "regulars")
    add_insured(models, "insured")
    # Reports that are written by the tests.
    for name in ("stormy", "governed", "alerting"):
        add_parcels(models, name, days=4, retraining={"cooldown": 0, "budget_per_month": None})
    # Data that is changed by the tests.
    add_parcels(models, "late", gates={"margin": 0.2})
    add_parcels(models, "spoilt", days=4)
    add_parcels(models, "odd", days=6, validation={"min_rows": 101})
    add_parcels(models, "gappy", days=6)
    add_parcels(models, "stuck", days=8)
    # Releases that wait for a person, trainings that are killed.
    add_parcels(models, "by_hand", gates={"approval": "manual"})
    slow = {"window": {"min": 2}, "validation": 1, "holdout": 1, "candidates": SLOW_CANDIDATES}
    add_parcels(models, "killed", training=slow)
