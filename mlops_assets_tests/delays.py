"""How late a flight will be, in classes: real flights as a multiclass model."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mlops_assets_tests.loop import DATA, add_model, utc

CLASSES = ("early", "late", "on time", "very late")
FIRST, END = "2013-07-01", "2013-07-13"
# From this day on, who is three hours late is told apart.
NEW_CLASS, NEW_FROM = "stranded", "2013-07-09"
EVERY = 3


def delays() -> pa.Table:
    """Every third flight of some days of July 2013, with the class of its delay."""
    days = (pc.field("scheduled_departure") >= utc(FIRST)) & (
        pc.field("scheduled_departure") < utc(END)
    )
    rows = pq.read_table(DATA / "flights_2013.parquet", filters=days)
    rows = rows.take(np.arange(0, rows.num_rows, EVERY))
    minutes = rows["arrival_delay_minutes"].to_numpy(zero_copy_only=False).astype(float)
    names = np.array(["early", "on time", "late", "very late"], dtype=object)
    where = np.digitize(np.nan_to_num(minutes), [-10, 15.5, 60.5])
    found = names[where]
    is_new = rows["scheduled_departure"].to_numpy() >= np.datetime64(NEW_FROM)
    found[is_new & (minutes > 180)] = NEW_CLASS
    return rows.append_column("delay", pa.array(found, mask=np.isnan(minutes)))


def delay_spec(**changes: Any) -> dict[str, Any]:
    """Attributes of the model on `delays`, which are in rows.parquet beside its defs.yaml."""
    return {
        "task": "multiclass",
        "source": {"kind": "parquet", "path": "rows.parquet"},
        "entity": "flight_id",
        "event_time": "scheduled_departure",
        "label": {"column": "delay", "known_at": "arrived_at"},
        "period": {"every": "daily", "start": FIRST},
        "columns": {
            "carrier": "category",
            "origin": {"type": "category", "categories": ["EWR", "JFK", "LGA"]},
            "sched_dep_minute": "integer",
            "distance": "number",
            "humid": "number?",
            "precip": "number?",
            "visib": "number?",
        },
        "validation": {"min_rows": 100},
        "training": {
            "window": {"min": 3},
            "validation": 1,
            "holdout": 2,
            "candidates": [
                {"estimator": "logistic_regression"},
                {"estimator": "hist_gradient_boosting", "params": {"max_iter": 20}},
            ],
        },
        "gates": {"minimum": {"log_loss": 2.0}, "max_calibration_error": 0.5, "margin": 0.2},
        "monitoring": {"wait": "P1D", "min_rows": 100, "min_label_coverage": 0.5},
        "retraining": {"policy": "performance", "cooldown": 0},
        **changes,
    }


def add_delays(models: Path, name: str, rows: pa.Table | None = None, **changes: Any) -> Path:
    """A multiclass model with a source of its own."""
    folder = add_model(models, name, delay_spec(**changes))
    pq.write_table(delays() if rows is None else rows, folder / "rows.parquet")
    return folder
