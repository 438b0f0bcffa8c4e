"""The way from source to features as a script: pandas, pandera, one Parquet file per week.

No lake that can be read while it is written, no history of versions, no record of what was done,
no reasons beside rejected rows: the floor that the assets are measured against.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pandera.errors
import pandera.pandas as pa

TIME, LABEL, KNOWN = "scheduled_departure", "arrival_delay_minutes", "arrived_at"
CATEGORIES = ["carrier", "origin", "dest"]
INTEGERS = {
    "day_of_week": (0, 6),
    "sched_dep_minute": (0, 1440),
    "sched_arr_minute": (0, 1440),
    "seats": None,
    "plane_year": (1950, 2014),
}
NUMBERS = {
    "distance": (0, 6000),
    "temp": (-60, 130),
    "dewp": (-80, 100),
    "humid": (0, 100.01),
    "wind_speed": (0, 150),
    "precip": (0, 20),
    "pressure": (900, 1100),
    "visib": (0, 20),
}
REQUIRED = {"day_of_week", "distance", "sched_dep_minute", "sched_arr_minute"}
COLUMNS = ["flight_id", TIME, *CATEGORIES, *INTEGERS, *NUMBERS, LABEL, KNOWN]


def schema() -> pa.DataFrameSchema:
    """The contract of flight_delay."""
    columns = {name: pa.Column(None, nullable=False) for name in ("flight_id", TIME, *CATEGORIES)}
    columns["origin"] = pa.Column(None, pa.Check.isin(["EWR", "JFK", "LGA"]))
    for name, limits in {**INTEGERS, **NUMBERS}.items():
        checks = [pa.Check.in_range(*limits)] if limits else []
        columns[name] = pa.Column("float64", checks, nullable=name not in REQUIRED, coerce=True)
    rule = pa.Check(lambda rows: ~(rows["dewp"] > rows["temp"] + 1), name="dew point")
    early = pa.Check(lambda rows: ~(rows[KNOWN] < rows[TIME]), name="known before")
    return pa.DataFrameSchema(columns, checks=[rule, early], unique=["flight_id", TIME])


def weeks(file: Path) -> Iterator[tuple[str, pd.DataFrame]]:
    """The weeks of one file with their rows, in order of time."""
    rows = pd.read_parquet(file, columns=COLUMNS).sort_values([TIME, "flight_id"])
    monday = (rows[TIME].dt.tz_localize(None) - pd.Timedelta(0)).dt.to_period("W-SUN").dt.start_time
    for start, part in rows.groupby(monday):
        yield start.strftime("%Y-%m-%d"), part.reset_index(drop=True)


def validated(rows: pd.DataFrame, contract: pa.DataFrameSchema) -> tuple[pd.DataFrame, pd.Index]:
    """Good rows in their types, and the places of the others."""
    try:
        return contract.validate(rows, lazy=True), pd.Index([])
    except pandera.errors.SchemaErrors as error:
        bad = pd.Index(error.failure_cases["index"].dropna().unique())
        return contract.validate(rows.drop(bad), lazy=True), bad


def features(rows: pd.DataFrame) -> pd.DataFrame:
    """Model-ready columns, derived ones, and the label."""
    found = pd.DataFrame(
        {"entity": rows["flight_id"].astype(str), "event_time": rows[TIME]}, index=rows.index
    )
    for name in CATEGORIES:
        found[name] = rows[name].astype(object).fillna("__missing__").astype(str)
    for name in (*INTEGERS, *NUMBERS):
        found[name] = rows[name].to_numpy(np.float64)
    found["dew_spread"] = found["temp"] - found["dewp"]
    angle = found["sched_dep_minute"] * (2 * np.pi / 1440)
    found["departure_time_sin"], found["departure_time_cos"] = np.sin(angle), np.cos(angle)
    late = (rows[LABEL] > 15).map({True: "1", False: "0"})
    found["label"] = late.where(rows[LABEL].notna(), None)
    found["label_known_at"] = rows[KNOWN]
    return found


def run(files: list[Path], out: Path) -> int:
    """Write raw, rejected, valid rows and features of every week; returns the rows of features."""
    contract, count = schema(), 0
    for name in ("raw", "rejected", "valid", "features"):
        (out / name).mkdir(parents=True)
    for file in files:
        for week, rows in weeks(file):
            rows.to_parquet(out / "raw" / f"{week}.parquet")
            valid, bad = validated(rows, contract)
            rows.loc[bad].to_parquet(out / "rejected" / f"{week}.parquet")
            valid.to_parquet(out / "valid" / f"{week}.parquet")
            made = features(valid)
            made.to_parquet(out / "features" / f"{week}.parquet")
            count += len(made)
    return count
