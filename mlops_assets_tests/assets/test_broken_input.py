"""Broken input in the pipeline itself: set apart with a reason, or refused with what to change."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from mlops_assets_tests.loop import Loop, add_model, checks, errors, parcel_spec, parcels

DAYS = 6
FIRST, LAST = "2026-01-01", "2026-01-06"
COLUMNS = parcel_spec()["columns"]


def messy(rows: pd.DataFrame) -> pd.DataFrame:
    """A text among numbers, a label that is none, one known too early, and a row twice."""
    rows = rows.astype({"weight": object, "hours": object})
    rows.loc[0, "weight"] = "heavy"
    rows.loc[1, "hours"] = "lost"
    rows.loc[2, "arrived_at"] = pd.Timestamp("2020-01-01", tz="UTC")
    return pd.concat([rows, rows[3:4]])


def ragged(rows: pd.DataFrame) -> pd.DataFrame:
    """In no order, and without the third day."""
    gap = (rows["sent_at"] >= "2026-01-03") & (rows["sent_at"] < "2026-01-04")
    return rows[~gap].sample(frac=1, random_state=0)


def ten_thousand_levels(rows: pd.DataFrame) -> pd.DataFrame:
    """More rows, and a zone for each."""
    more = parcels(DAYS, rows=2_600).to_pandas()
    return more.assign(zone=[f"z{i}" for i in range(len(more))])


# What becomes of the rows, and what the spec says of them.
TABLES: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], dict[str, Any]]] = {
    "messy": (messy, {"validation": {"max_rejected_share": 0.05}}),
    "ragged": (ragged, {"validation": {"min_rows": 1}}),
    "wrong_time": (lambda f: f, {"event_time": "weight", "columns": {"zone": "category"}}),
    "latin": (lambda f: f.assign(zone="Zürich"), {"columns": {**COLUMNS, "zone": "category"}}),
    "one_class": (lambda f: f.assign(hours=1.0), {}),
    "nothing": (
        lambda f: f.assign(floor=None),
        {"columns": {**COLUMNS, "floor": "number?"}},
    ),
    "levels": (
        ten_thousand_levels,
        {
            "columns": {**COLUMNS, "zone": "category"},
            "training": {**parcel_spec()["training"], "window": {"min": 4}, "holdout": 1},
        },
    ),
}


@pytest.fixture(scope="module")
def broken(loop: Loop, tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    """Definitions of a model per table."""
    models = tmp_path_factory.mktemp("broken")
    for name, (spoil, changes) in TABLES.items():
        source = {"kind": "csv", "path": "rows.csv"}
        folder = add_model(models, name, parcel_spec(**{"source": source, **changes}))
        write(folder, spoil(parcels(DAYS).to_pandas()), name)
    return loop.load(models)


def write(folder: Path, rows: pd.DataFrame, name: str) -> None:
    encoding = "latin-1" if name == "latin" else "utf-8"
    times = "%Y-%m-%dT%H:%M:%S.%fZ"
    rows.to_csv(folder / "rows.csv", index=False, date_format=times, encoding=encoding)


def ingest(loop: Loop, broken: dg.Definitions, model: str) -> dg.ExecuteInProcessResult:
    loop.at("2026-01-12")
    return loop.run(f"{model}__ingest", FIRST, LAST, definitions=broken)


def test_mixed_types_early_labels_and_duplicates_are_set_apart_with_their_reasons(loop, broken):
    result = ingest(loop, broken, "messy")
    assert result.success, errors(result)
    found = checks(result)["contract"]
    assert "4 of 901 rows rejected" in str(found.description)
    rejected = loop.stores.lake.read("messy", "rejected").to_pandas().sort_values("parcel")
    told = dict(zip(rejected["parcel"].astype(int), rejected["reasons"], strict=True))
    assert told == {
        0: "weight: 'heavy' is no number",
        1: "hours: the label 'lost' is no number",
        2: "arrived_at: '2020-01-01 00:00:00+00:00' is before sent_at",
        3: "key: appears more than once",
    }


def test_a_period_without_rows_warns_and_unsorted_rows_come_in_order(loop, broken):
    result = ingest(loop, broken, "ragged")
    assert result.success, errors(result)
    found = checks(result)["volume"]
    assert not found.passed
    assert found.description == "2026-01-03: 0 rows, at least 1 expected"
    features = loop.stores.lake.read("ragged", "features")
    assert features.num_rows == (DAYS - 1) * 150
    day = loop.stores.lake.read("ragged", "features", periods=[FIRST])["event_time"].to_pylist()
    assert day == sorted(day)


REFUSED_ROWS = {
    "wrong_time": "the event time column 'weight' holds double, not a timestamp",
    "latin": r"rows\.csv is not utf-8: line 2, byte \d+ of the file is 0xfc\. Save it as UTF-8",
}


@pytest.mark.parametrize("model", REFUSED_ROWS)
def test_a_source_that_cannot_be_read_fails_and_says_what_to_change(model, loop, broken):
    result = ingest(loop, broken, model)
    assert not result.success
    assert pd.Series([errors(result)]).str.contains(REFUSED_ROWS[model]).all(), errors(result)
    assert not loop.stores.lake.exists(model, "raw_data")


REFUSED_TRAINING = {
    "one_class": "the label has one class, '0', in all",
    "nothing": "column 'floor' is missing in all",
    "levels": "column 'zone' has 10,",
}


@pytest.mark.parametrize("model", REFUSED_TRAINING)
def test_rows_that_teach_nothing_are_not_trained_on_and_the_reason_is_told(model, loop, broken):
    done = ingest(loop, broken, model)
    assert done.success, errors(done)
    result = loop.run(f"{model}__train", definitions=broken)
    assert not result.success
    assert f"NotTrainableError: {REFUSED_TRAINING[model]}" in errors(result), errors(result)
    assert not loop.alias(model)
