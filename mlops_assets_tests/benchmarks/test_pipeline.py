"""The benchmark of the pipeline: its data, its plain script, its goals."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from benchmarks.pipeline import data, plain, tables
from mlops_assets.domain.validation import validate


def test_ten_years_are_the_same_weeks_ten_times(tmp_path: Path):
    data.write(tmp_path, 2)
    older, newer = (pq.read_table(path) for path in data.files(tmp_path, 2))
    assert older.num_rows == newer.num_rows
    columns = [name for name in older.column_names if name not in ("flight_id", *data.TIMES)]
    assert older.select(columns).equals(newer.select(columns))
    moved = newer["scheduled_departure"].to_pandas() - older["scheduled_departure"].to_pandas()
    assert set(moved) == {pd.Timedelta(weeks=52)}
    assert not set(older["flight_id"].to_pylist()) & set(newer["flight_id"].to_pylist())
    first = older["scheduled_departure"].to_pandas().min().date()
    assert timedelta(0) <= first - data.first_period(2) < timedelta(weeks=1)


def test_the_script_rejects_the_rows_that_the_assets_reject(tmp_path: Path):
    data.write(tmp_path / "source", 1)
    data.write_model(tmp_path / "models", tmp_path / "source", 1)
    contract = data.read_model(tmp_path / "models").spec.rows_contract()
    week, rows = next(plain.weeks(data.files(tmp_path / "source", 1)[0]))
    valid, bad = plain.validated(rows, plain.schema())
    ours = validate(rows, contract)
    assert week == "2012-12-31"
    assert len(bad) == len(ours.rejected) > 0
    assert valid["flight_id"].tolist() == ours.valid["flight_id"].tolist()
    assert set(ours.failures) == {"distance"}


def cell(who: str, copies: int, seconds: float, peak: float = 500.0) -> dict[str, Any]:
    return {
        "what": "data", "who": who, "copies": copies, "rows": 1, "start_seconds": 1.0,
        "seconds": seconds, "cpu_seconds": seconds, "peak_megabytes": peak,
    }  # fmt: skip


def cycle(who: str, whole: float) -> dict[str, Any]:
    return cell(who, 1, whole) | {"what": "cycle", "whole_seconds": whole, "runs": 2}


def test_goals_are_judged_by_what_was_measured():
    found = [
        cell("plain", 1, 10), cell("ours", 1, 12), cell("plain", 10, 100),
        cell("ours", 10, 150, 700), cycle("plain", 10), cycle("ours", 23), cycle("ours", 20),
    ]  # fmt: skip
    judged = {goal["goal"]: goal["met"] for goal in tables.goals(found)}
    assert judged == {
        "x 1: time against pandas + pandera": True,
        "x 10: time against pandas + pandera": False,
        "time is linear: x 1 to x 10": False,
        "memory is flat: x 1 to x 10": False,
        "a retrain cycle, imports included, against a script": True,
    }
    assert tables.goals([cell("ours", 1, 12), {"skipped": "", **cycle("plain", 1)}]) == []
    assert "MISSED  time is linear: x 1 to x 10: 12.5 x (limit 12)" in tables.goals_table(
        tables.goals(found)
    )
