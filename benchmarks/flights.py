"""Real flights, scored by a small model that never saw them, in an order that holds no drift."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

DATA = Path(__file__).parent.parent / "mlops_assets" / "data"

NUMBERS = [
    "day_of_week",
    "distance",
    "sched_dep_minute",
    "seats",
    "temp",
    "humid",
    "precip",
    "pressure",
    "visib",
]


@dataclass(frozen=True)
class Flights:
    """Landed flights in random order: `y` whether 15 minutes late, `outputs` (n, 2), `lag` hours
    from scheduled departure to landing, `frame` their columns.
    """

    y: np.ndarray
    outputs: np.ndarray
    lag: np.ndarray
    frame: dict[str, np.ndarray]


@cache
def scored_flights(training_rows: int = 40_000, rows: int = 120_000) -> Flights:
    """Train on some flights of the whole year, and score others."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    times = ["scheduled_departure", "arrived_at", "arrival_delay_minutes"]
    frame = pq.read_table(DATA / "flights_2013.parquet", columns=[*NUMBERS, *times]).to_pandas()
    frame = frame[frame["arrival_delay_minutes"].notna()]
    frame = frame.sample(training_rows + rows, random_state=0)
    x = frame[NUMBERS].to_numpy(dtype=np.float64)
    y = (frame["arrival_delay_minutes"].to_numpy(dtype=np.float64) > 15).astype(int)
    model = HistGradientBoostingClassifier(max_iter=60, random_state=0)
    model.fit(x[:training_rows], y[:training_rows])
    new = frame.iloc[training_rows:]
    lag = (new["arrived_at"] - new["scheduled_departure"]).dt.total_seconds() / 3600
    return Flights(
        y=y[training_rows:],
        outputs=model.predict_proba(x[training_rows:]),
        lag=lag.to_numpy(),
        frame={name: new[name].to_numpy(dtype=np.float64) for name in NUMBERS},
    )
