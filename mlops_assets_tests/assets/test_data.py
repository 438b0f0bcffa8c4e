from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from dagster import AssetCheckSeverity

from mlops_assets.stores.training_rows import freeze
from mlops_assets_tests.loop import (
    FIRST_DAY,
    History,
    Loop,
    add_parcels,
    checks,
    errors,
    parcels,
    read_model,
    utc,
)

DATA_ASSETS = ("raw_data", "validated_data", "features")


@pytest.fixture(params=["bikes", "flights"])
def history(request: pytest.FixtureRequest) -> History:
    """Both shipped models."""
    found: History = request.getfixturevalue(request.param)
    return found


def write_rows(loop: Loop, model: str, rows: pa.Table) -> None:
    pq.write_table(rows, loop.models / model / "rows.parquet")


def with_values(rows: pa.Table, column: str, values: dict[int, object]) -> pa.Table:
    """The rows with other values in some places of a column."""
    found = rows[column].to_pylist()
    for place, value in values.items():
        found[place] = value
    field = rows.schema.field(column)
    return rows.set_column(rows.schema.get_field_index(column), field, pa.array(found, field.type))


def test_every_row_of_the_source_reaches_features_or_is_rejected(loop: Loop, history: History):
    model, lake = loop.model(history.model), loop.stores.lake
    found = {name: lake.read(model.name, name) for name in (*DATA_ASSETS, "rejected")}
    source = pq.read_table(model.folder / model.spec.source.path)  # type: ignore[union-attr]
    at = source[model.spec.event_time].cast(pa.timestamp("us", "UTC"))
    start = model.calendar.bounds(history.first).start
    end = model.calendar.bounds(history.last).end
    expected = pc.sum(pc.and_(pc.greater_equal(at, start), pc.less(at, end))).as_py()
    assert found["raw_data"].num_rows == expected > 0
    assert found["validated_data"].num_rows + found["rejected"].num_rows == expected
    assert found["features"].num_rows == found["validated_data"].num_rows
    assert set(found["features"].column_names) >= {
        "entity",
        "event_time",
        "label",
        "label_known_at",
        *model.spec.columns,
    }


def test_features_of_flights_hold_what_the_source_says(loop: Loop, flights: History):
    source = pq.read_table(loop.model("flight_delay").spec.source.path).to_pandas()  # type: ignore[union-attr]
    source = source.set_index(source["flight_id"].astype(str))
    features = loop.stores.lake.read("flight_delay", "features", periods=["2013-05-13"]).to_pandas()
    truth = source.loc[features["entity"]]
    assert len(features) > 5000
    np.testing.assert_array_equal(features["temp"], truth["temp"].astype("float64"))
    np.testing.assert_allclose(
        features["dew_spread"], (truth["temp"].astype("float64") - truth["dewp"]), rtol=1e-6
    )
    late = truth["arrival_delay_minutes"]
    known = late.notna().to_numpy()
    np.testing.assert_array_equal(features["label"].notna(), known)
    expected = (late[known].astype(float) > 15).map({True: "1", False: "0"})
    assert features["label"][known].tolist() == expected.tolist()
    assert not features["label_known_at"].isna()[known].any()


def test_columns_that_leak_the_answer_are_not_in_the_lake(loop: Loop, bikes: History):
    assert not {"casual", "registered"} & set(loop.stores.lake.schema("bike_demand", "raw_data"))


def test_the_same_period_twice_has_one_data_version_and_one_lake_version(
    loop: Loop, history: History
):
    before = loop.lake_versions(history.model)
    versions = {a: loop.data_version(history.model, a, history.first) for a in DATA_ASSETS}
    result = loop.run(f"{history.model}__ingest", history.first)
    assert result.success, errors(result)
    again = {a: loop.data_version(history.model, a, history.first) for a in DATA_ASSETS}
    assert again == versions
    assert loop.lake_versions(history.model) == before
    newest = loop.materialization(history.model, "raw_data", history.first)
    assert newest.metadata["changed"].value is False


def test_a_range_gives_every_period_a_data_version_of_its_own(loop: Loop, history: History):
    model = loop.model(history.model)
    periods = loop.stores.lake.periods(model.name, "features")
    assert (periods[0], periods[-1]) == (history.first, history.last)
    for asset in DATA_ASSETS:
        found = {period: loop.data_version(model.name, asset, period) for period in periods}
        assert len(set(found.values())) == len(periods) > 1
        counts = [
            loop.materialization(model.name, asset, period).metadata["dagster/row_count"].value
            for period in periods
        ]
        assert counts == [
            loop.stores.lake.read(model.name, asset, periods=[period]).num_rows
            for period in periods
        ]


def test_every_period_of_a_range_has_its_own_data_sheet(loop: Loop, flights: History):
    for period in (flights.first, flights.last):
        shown = loop.materialization("flight_delay", "features", period).metadata
        rows = loop.stores.lake.read("flight_delay", "features", periods=[period]).to_pandas()
        assert shown["labelled_rows"].value == rows["label"].notna().sum()
        sheet = {record.data["column"]: record.data for record in shown["data_sheet"].records}  # type: ignore[union-attr]
        assert sheet["temp"]["missing"] == f"{rows['temp'].isna().mean():.1%}"
        temp = rows["temp"]
        told = f"{temp.min():.4g} … {temp.mean():.4g} … {temp.max():.4g}"
        assert sheet["temp"]["values"] == told
        carrier = rows["carrier"]
        told = f"{carrier.nunique()} values, mostly {carrier.mode()[0]}"
        assert sheet["carrier"]["values"] == told
        assert sheet["dew_spread"]["type"] == "made here"


def test_a_range_tells_how_far_it_has_come(loop: Loop, flights: History):
    last = loop.stores.lake.periods("flight_delay", "raw_data")[-1]
    logged = [entry.user_message for entry in loop.instance.all_logs(flights.ingest.run_id)]
    told = [message for message in logged if "of 6 periods, up to" in message]
    assert told[0].startswith("1 of 6 periods, up to 2013-05-06 (+")
    assert sum(f"6 of 6 periods, up to {last}" in message for message in told) == 3


def test_good_history_passes_every_check(history: History):
    found = checks(history.ingest)
    assert set(found) == {"volume", "freshness", "schema_change", "gaps", "contract"}
    assert all(check.passed for check in found.values())


def test_bad_rows_are_set_apart_with_every_reason(loop: Loop):
    good = parcels(4)
    bad = with_values(good, "weight", {0: -5.0, 1: 99.0})
    bad = with_values(bad, "zone", {0: "moon"})
    # The same parcel at the same moment, twice.
    bad = pa.concat_tables([bad, bad.slice(3, 1)])
    write_rows(loop, "spoilt", bad)
    result = loop.run("spoilt__ingest", "2026-01-01")
    contract = checks(result)["contract"]
    assert not contract.passed, "4 of 151 rows are more than 1%"
    rejected = loop.stores.lake.read("spoilt", "rejected").to_pandas().set_index("parcel")
    assert set(rejected.index) == {0, 1, 3}
    first = rejected.loc[0, "reasons"]
    assert "weight" in first
    assert "-5" in first
    assert "zone" in first
    assert "moon" in first
    assert "99" in rejected.loc[1, "reasons"]
    assert "zone" not in rejected.loc[1, "reasons"]


def test_a_period_with_too_many_bad_rows_keeps_its_last_good_content(loop: Loop):
    good = parcels(4)
    write_rows(loop, "spoilt", good)
    assert loop.run("spoilt__ingest", "2026-01-02").success
    lake = loop.stores.lake
    before = {a: lake.read("spoilt", a, periods=["2026-01-02"]) for a in DATA_ASSETS}
    version = loop.data_version("spoilt", "validated_data", "2026-01-02")
    write_rows(loop, "spoilt", with_values(good, "weight", dict.fromkeys(range(150, 170), -1.0)))
    result = loop.run("spoilt__ingest", "2026-01-02")
    contract = checks(result)["contract"]
    assert not contract.passed
    assert contract.blocking
    assert contract.severity == AssetCheckSeverity.ERROR
    assert "20 of 150 rows rejected (limit 1.00% of a period)" in str(contract.description)
    assert "2026-01-02: 13.33%" in str(contract.description)
    assert not result.success
    for asset in ("validated_data", "features"):
        assert lake.read("spoilt", asset, periods=["2026-01-02"]) == before[asset]
    assert loop.data_version("spoilt", "validated_data", "2026-01-02") == version
    # What the source said is kept as it was, for whoever looks into it.
    assert lake.read("spoilt", "raw_data", periods=["2026-01-02"]) != before["raw_data"]
    assert lake.read("spoilt", "rejected", periods=["2026-01-02"]).num_rows == 20


def test_a_range_with_one_bad_period_names_it(loop: Loop):
    write_rows(
        loop, "spoilt", with_values(parcels(4), "weight", dict.fromkeys(range(450, 460), -1.0))
    )
    result = loop.run("spoilt__ingest", "2026-01-03", "2026-01-04")
    assert not result.success
    assert "refused 2026-01-04: 6.67%" in str(checks(result)["contract"].description)
    ready = loop.stores.lake.periods("spoilt", "features")
    assert not {"2026-01-03", "2026-01-04"} & set(ready)


def test_a_column_of_another_type_warns(loop: Loop):
    rows = parcels(6)
    write_rows(loop, "odd", rows)
    assert checks(loop.run("odd__ingest", "2026-01-01"))["schema_change"].passed
    whole = pc.round(rows["weight"]).cast(pa.int64())
    place = rows.schema.get_field_index("weight")
    write_rows(loop, "odd", rows.set_column(place, "weight", whole))
    result = loop.run("odd__ingest", "2026-01-02")
    found = checks(result)["schema_change"]
    assert not found.passed
    assert found.severity == AssetCheckSeverity.WARN
    assert found.description == "weight: double became int64"
    assert result.success, "a warning stops nothing"


def test_few_rows_warn(loop: Loop):
    rows = parcels(6)
    write_rows(loop, "odd", pa.concat_tables([rows.slice(0, 300), rows.slice(350)]))
    found = checks(loop.run("odd__ingest", "2026-01-03"))
    assert not found["volume"].passed
    assert found["volume"].severity == AssetCheckSeverity.WARN
    assert found["volume"].description == "2026-01-03: 100 rows, at least 101 expected"
    assert found["freshness"].passed


def test_a_gap_is_told_by_every_later_run_until_it_is_filled(loop: Loop):
    every = parcels(6)
    day = pc.day(every["sent_at"])
    write_rows(loop, "gappy", every.filter(pc.is_in(day, pa.array([1, 4, 6]))))
    assert loop.run("gappy__ingest", "2026-01-01", "2026-01-04").success
    for _ in range(2):
        gaps = checks(loop.run("gappy__ingest", "2026-01-06"))["gaps"]
        assert not gaps.passed
        assert gaps.severity == AssetCheckSeverity.WARN
        assert gaps.description == (
            "2026-01-02 … 2026-01-03 have no rows (2 periods); 2026-01-05 has no rows"
        )
    write_rows(loop, "gappy", every)
    assert checks(loop.run("gappy__ingest", "2026-01-01", "2026-01-06"))["gaps"].passed


def test_a_restated_period_flows_through_to_what_is_trained_on_and_no_other_does(
    loop: Loop, tmp_path: Path
):
    rows, day = parcels(7), "2026-01-03"
    folder = add_parcels(tmp_path / "models", "restated", rows)
    definitions, model = loop.load(tmp_path / "models"), read_model(folder)

    def state(*periods: str) -> tuple[dict[tuple[str, str], str], dict[str, str]]:
        loop.at("2026-01-12")
        result = loop.run("restated__ingest", *periods, definitions=definitions)
        assert result.success, errors(result)
        versions = {
            (asset, period): loop.data_version("restated", asset, period)
            for asset in DATA_ASSETS
            for period in loop.stores.lake.periods("restated", asset)
        }
        frozen = freeze(model, loop.stores.lake, utc("2026-01-12"), None)
        return versions, {part.period: part.content_hash for part in frozen.periods}

    versions, hashes = state("2026-01-01", "2026-01-07")
    place = pc.index(pc.day(rows["sent_at"]), 3).as_py()
    pq.write_table(with_values(rows, "weight", {place: 19.5}), folder / "rows.parquet")
    again, hashes_again = state(day)
    changed = {key for key, version in again.items() if version != versions[key]}
    assert changed == {(asset, day) for asset in DATA_ASSETS}
    assert {period for period, found in hashes_again.items() if found != hashes[period]} == {day}
    features = loop.stores.lake.read("restated", "features", periods=[day]).to_pandas()
    assert (features["weight"] == 19.5).sum() == 1
    assert len(features) == 150


def test_rows_that_stop_before_the_period_ends_warn(loop: Loop):
    noon = pd.Timestamp(FIRST_DAY) + pd.Timedelta(hours=84)
    rows = parcels(6)
    write_rows(loop, "odd", rows.filter(pc.less(rows["sent_at"], pa.scalar(noon))))
    found = checks(loop.run("odd__ingest", "2026-01-04"))["freshness"]
    assert not found.passed
    assert found.severity == AssetCheckSeverity.WARN
    assert str(found.description).startswith("2026-01-04: newest row 2026-01-04 11:")


def test_a_type_that_the_lake_cannot_hold_fails_and_says_what_to_do(loop: Loop):
    rows = parcels(6)
    write_rows(loop, "odd", rows)
    assert loop.run("odd__ingest", "2026-01-05").success
    before = loop.lake_versions("odd")
    place = rows.schema.get_field_index("weight")
    write_rows(loop, "odd", rows.set_column(place, "weight", rows["weight"].cast(pa.string())))
    result = loop.run("odd__ingest", "2026-01-06")
    assert not result.success
    assert "column 'weight' of table raw_data holds double" in errors(result)
    assert loop.lake_versions("odd") == before
