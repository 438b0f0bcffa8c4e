from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlops_assets.domain.errors import DataError
from mlops_assets.spec import Model
from mlops_assets.stores.entity_events import Past
from mlops_assets.stores.lake import Lake
from mlops_assets.stores.period_rows import from_lake, slices
from mlops_assets.stores.tables import to_frame
from mlops_assets_tests.regulars import NAMES, by_hand, regular_model, regulars

DAYS = 7
PERIODS = tuple(f"2026-01-{day:02}" for day in range(1, DAYS + 1))


def keep(lake: Lake, model: Model, rows: pa.Table) -> None:
    days = [model.calendar.key(at) for at in rows["sent_at"].to_pylist()]
    for period in sorted(set(days)):
        part = rows.filter(pa.array([day == period for day in days]))
        lake.write_period(model.name, "validated_data", period, part)


def inputs(lake: Lake, model: Model, period: str) -> dict[str, np.ndarray]:
    rows = lake.read(model.name, "validated_data", periods=[period])
    return Past(model, lake).inputs(period, to_frame(rows))


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    found = Lake(str(tmp_path_factory.mktemp("lake")))
    keep(found, regular_model(), regulars(DAYS))
    return found


@pytest.mark.parametrize("period", PERIODS[::3])
def test_every_input_is_what_one_would_look_up_by_hand(lake: Lake, period: str):
    rows = regulars(DAYS).to_pandas()
    start = pd.Timestamp(period, tz="UTC")
    found = pd.DataFrame(inputs(lake, regular_model(), period))[::5].reset_index(drop=True)
    own = to_frame(lake.read("regulars", "validated_data", periods=[period]))[::5]
    expected = [by_hand(rows, start, row) for _, row in own.iterrows()]
    pd.testing.assert_frame_equal(found, pd.DataFrame(expected))
    assert tuple(found) == NAMES
    if period == PERIODS[0]:
        assert (found["sent_before"] == 0).all()
        assert found["usual_weight"].isna().all()


def test_a_run_over_many_periods_finds_what_each_period_alone_finds(lake: Lake):
    past = Past(regular_model(), lake)
    for period in PERIODS:
        rows = to_frame(lake.read("regulars", "validated_data", periods=[period]))
        together, alone = past.inputs(period, rows), inputs(lake, regular_model(), period)
        for name in NAMES:
            np.testing.assert_array_equal(together[name], alone[name])
    (group,) = from_lake(lake, "regulars", "validated_data", PERIODS[2:5])
    places = slices(group)
    rows = to_frame(pa.concat_tables(group.values()))
    found = Past(regular_model(), lake).of_periods(rows, places)
    for period, place in places.items():
        for name, values in inputs(lake, regular_model(), period).items():
            np.testing.assert_array_equal(found[name][place], values)
    # What no window reaches any more is forgotten.
    assert len(past._read) == 5


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**16), day=st.integers(2, DAYS - 1))
def test_another_future_changes_no_input_of_the_past(
    lake: Lake, tmp_path_factory: pytest.TempPathFactory, seed: int, day: int
):
    """Rows from a day on are other rows, and labels that were not known by then are others."""
    model, cutoff = regular_model(), pd.Timestamp(PERIODS[day], tz="UTC")
    draw = np.random.default_rng(seed)
    rows = regulars(DAYS).to_pandas()
    later = rows["sent_at"] >= cutoff
    unknown = ~(rows["arrived_at"] <= pd.Timestamp(PERIODS[day - 1], tz="UTC"))
    rows.loc[unknown, "hours"] = draw.uniform(50, 500, unknown.sum())
    rows.loc[later, "weight"] = draw.uniform(0, 50, later.sum())
    rows.loc[later, "sender"] = draw.integers(0, 60, later.sum())
    rows = rows[~later | (draw.random(len(rows)) < 0.7)]
    other = Lake(str(tmp_path_factory.mktemp("other")))
    keep(other, model, pa.Table.from_pandas(rows, preserve_index=False))
    before, after = (inputs(one, model, PERIODS[day - 1]) for one in (lake, other))
    for name in NAMES:
        np.testing.assert_array_equal(before[name], after[name])


def test_text_cannot_be_aggregated_and_is_named(tmp_path: Path):
    model = regular_model(columns={"zone": "category", "weight": "number"})
    rows = regulars(1).to_pandas()
    rows["weight"] = "heavy"
    lake = Lake(str(tmp_path))
    keep(lake, model, pa.Table.from_pandas(rows, preserve_index=False))
    with pytest.raises(DataError, match="column 'weight' holds object"):
        inputs(lake, model, PERIODS[0])
