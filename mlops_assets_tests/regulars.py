"""Parcels of regular senders: what becomes of one depends on how its sender did before."""

from collections.abc import Sequence
from pathlib import Path
from shutil import copy
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mlops_assets.spec import Model, ModelSpec
from mlops_assets.stores.function_digests import with_digests
from mlops_assets.stores.lake import Lake
from mlops_assets_tests.loop import add_model, parcel_spec, parcels

SENDERS = 40
FUNCTIONS = Path(__file__).parent / "regular_functions"
HISTORY: list[dict[str, Any]] = [
    {"name": "sent_before", "aggregate": "count", "window": "3d"},
    {"name": "usual_weight", "aggregate": "mean", "column": "weight", "window": "4d"},
    {"name": "last_hours", "aggregate": "last", "column": "hours", "window": "4d"},
    {"name": "days_quiet", "aggregate": "days_since_last", "window": "4d"},
    {
        "name": "zone_hours",
        "entity": "zone",
        "aggregate": "mean",
        "column": "hours",
        "window": "2d",
    },
    {"name": "fading", "function": "fading_hours", "columns": ["hours", "weight"], "window": "4d"},
    {
        "name": "heaviest_today",
        "aggregate": "max",
        "column": "weight",
        "window": "1d",
        "until": "event",
    },
]
NAMES = tuple(rule["name"] for rule in HISTORY)


def regulars(days: int, seed: int = 0) -> pa.Table:
    """Parcels with a sender in place of their own id; no two are sent at the same moment."""
    rows = parcels(days, seed)
    n = rows.num_rows
    sender = np.random.default_rng(seed).integers(0, SENDERS, n)
    moments = pd.Series(rows["sent_at"].to_pandas()) + pd.to_timedelta(np.arange(n) % 1000, "ms")
    rows = rows.drop_columns(["parcel"]).append_column("sender", pa.array(sender, pa.int64()))
    place = rows.schema.get_field_index("sent_at")
    times = pa.array(moments, pa.timestamp("us", tz="UTC"))
    return rows.set_column(place, "sent_at", times)


def regular_spec(**changes: Any) -> dict[str, Any]:
    """Attributes of a model on `regulars`."""
    known = {"entity": "sender", "history": HISTORY, "gates": {"margin": 0.2}}
    return parcel_spec(**{**known, **changes})


def regular_model(**changes: Any) -> Model:
    """The model without a folder of its own, and with its functions."""
    spec, problems = with_digests(ModelSpec.model_validate(regular_spec(**changes)), FUNCTIONS)
    assert not problems
    return Model("regulars", spec, FUNCTIONS)


def add_functions(folder: Path) -> Path:
    """Put the model's functions into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    return Path(copy(FUNCTIONS / "features.py", folder))


def add_regulars(models: Path, name: str, days: int = 12, **changes: Any) -> Path:
    """A model with inputs from the past, with a source of its own."""
    folder = add_model(models, name, regular_spec(**changes))
    pq.write_table(regulars(days), folder / "rows.parquet")
    add_functions(folder)
    return folder


def by_hand(rows: pd.DataFrame, period_start: pd.Timestamp, row: Any) -> dict[str, float]:
    """The inputs from the past of one row, as one would look them up in the table."""

    def window(days: int, until: pd.Timestamp, key: str = "sender") -> pd.DataFrame:
        past = rows[
            (rows["sent_at"] >= until - pd.Timedelta(days=days)) & (rows["sent_at"] < until)
        ]
        return past[past[key] == row[key]].sort_values("sent_at")

    def known(past: pd.DataFrame) -> pd.Series:
        return past.loc[past["hours"].notna() & (past["arrived_at"] <= period_start), "hours"]

    def last(values: Sequence[float] | pd.Series) -> float:
        return float(values.iloc[-1]) if len(values) else nan  # type: ignore[union-attr]

    def fading(past: pd.DataFrame) -> float:
        weights = 0.5 ** ((period_start - past["sent_at"]) / pd.Timedelta(days=1))
        hours = known(past)
        return float((hours * weights).sum() / weights[hours.index].sum()) if len(hours) else nan

    nan = float("nan")
    weights, quiet = window(4, period_start)["weight"], window(4, period_start)["sent_at"]
    return {
        "sent_before": float(len(window(3, period_start))),
        "usual_weight": float(weights.mean()),
        "last_hours": last(known(window(4, period_start))),
        "days_quiet": (row["sent_at"] - quiet.iloc[-1]) / pd.Timedelta(days=1)
        if len(quiet)
        else nan,
        "zone_hours": float(known(window(2, period_start, "zone")).mean()),
        "fading": fading(window(4, period_start)),
        "heaviest_today": float(window(1, row["sent_at"])["weight"].max()),
    }


def validated_lake(root: Path, model: Model, days: int) -> Lake:
    """A lake that holds the rows of so many days as the model's validated periods."""
    found, rows = Lake(str(root)), regulars(days)
    periods = [model.calendar.key(at) for at in rows["sent_at"].to_pylist()]
    for period in dict.fromkeys(periods):
        part = rows.filter(pa.array([one == period for one in periods]))
        found.write_period(model.name, "validated_data", period, part)
    return found
