from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from mlops_assets.assets.tables import as_table, feature_rows
from mlops_assets.domain.scouts import Scouts
from mlops_assets.spec import Model, ModelSpec
from mlops_assets.stores import scouts
from mlops_assets.stores.lake import Lake
from mlops_assets.stores.scouts import LabelledHistory, labelled_history
from mlops_assets.stores.tables import to_frame
from mlops_assets_tests.loop import FIRST_DAY, parcel_spec, parcels

DAYS = 8
LATE = datetime(2026, 2, 1, tzinfo=UTC)


class Home:
    """A lake with the features of some days of parcels."""

    def __init__(self, home: Path, **changes: object) -> None:
        (home / "rows.parquet").touch()
        spec = ModelSpec.model_validate(parcel_spec(**changes))
        self.model = Model("parcels", spec, home)
        self.lake = Lake(str(home / "lake"))

    def ingest(self, rows: pa.Table, *days: int) -> None:
        frame = to_frame(rows)
        for day in days:
            start = pd.Timestamp(FIRST_DAY + timedelta(days=day))
            part = frame[frame["sent_at"].between(start, start + pd.Timedelta("1D"), "left")]
            table = as_table(feature_rows(self.model, part.reset_index(drop=True)))
            self.lake.write_period("parcels", "features", f"{start:%Y-%m-%d}", table)

    def history(self, until: str = "2026-01-08", now: datetime = LATE) -> LabelledHistory:
        found = labelled_history(self.model, self.lake, until, now)
        assert found is not None
        return found


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path)
    made.ingest(parcels(DAYS), *range(DAYS))
    return made


def test_every_period_up_to_the_asked_one_has_sums_of_its_labelled_rows(home: Home):
    found = home.history("2026-01-06")
    assert found.periods == tuple(f"2026-01-{day:02}" for day in range(1, 7))
    assert found.made == found.periods
    rows = parcels(DAYS).to_pandas()
    for period, part in zip(found.periods, found.moments, strict=True):
        day = rows[rows["sent_at"].dt.strftime("%Y-%m-%d") == period]
        assert part.rows == day["hours"].notna().sum()
        # The constant is the last column, and the label is 1 or 0.
        assert part.gram[-1, -1] == part.rows
        assert part.cross[-1, 0] == part.squares == (day["hours"] > 24).sum()
        np.testing.assert_array_equal(part.gram, part.gram.T)


def test_scouts_of_the_lake_tell_a_change_from_none(home: Home, tmp_path: Path):
    steady = home.history()
    (tmp_path / "other").mkdir()
    other = Home(tmp_path / "other")
    other.ingest(parcels(DAYS, shifted=range(5, DAYS)), *range(DAYS))
    changed = other.history()
    for history, harm in ((steady, False), (changed, True)):
        found = Scouts(history.moments)
        aged, fresh = found.loss(4, None, 7), found.fresh(7, 2)
        assert (aged > 1.5 * fresh) == harm


def test_sums_are_made_once_and_nothing_is_written_again(home: Home):
    first = home.history("2026-01-06")
    version = home.lake.version("parcels", scouts.SUMS)
    again = home.history("2026-01-06")
    assert again.made == ()
    assert home.lake.version("parcels", scouts.SUMS) == version
    for one, other in zip(first.moments, again.moments, strict=True):
        np.testing.assert_array_equal(one.gram, other.gram)
        np.testing.assert_array_equal(one.cross, other.cross)
    assert home.history("2026-01-08").made == ("2026-01-07", "2026-01-08")


def test_a_restated_period_is_made_again_and_it_alone(home: Home):
    before = home.history()
    home.ingest(parcels(DAYS, seed=9), 3)
    after = home.history()
    assert after.made == ("2026-01-04",)
    assert not np.array_equal(after.moments[3].cross, before.moments[3].cross)


def test_the_bins_are_those_of_the_oldest_rows_whatever_comes_later(home: Home):
    before = home.history("2026-01-05")
    home.ingest(parcels(DAYS, seed=9), 0, 1, 2, 3)
    after = home.history("2026-01-05")
    assert after.made == before.periods[:4]
    np.testing.assert_array_equal(after.moments[4].gram, before.moments[4].gram)


def test_a_changed_contract_starts_anew(home: Home):
    home.history()
    columns = {"weight": {"type": "number", "min": 0, "max": 50}}
    spec = ModelSpec.model_validate(parcel_spec(columns=columns))
    home.model = Model("parcels", spec, home.model.folder)
    narrow = home.history()
    assert narrow.made == narrow.periods
    assert len(narrow.moments[0].gram) < 12


def test_labels_count_only_if_they_were_known_when_the_period_matured(home: Home):
    soon = home.history("2026-01-02", datetime(2026, 1, 3, tzinfo=UTC))
    rows = parcels(DAYS).to_pandas()
    day = rows[rows["sent_at"].dt.day == 2]
    known = (day["arrived_at"] <= pd.Timestamp("2026-01-03", tz="UTC")).sum()
    assert soon.moments[1].rows == known < day["hours"].notna().sum()
    matured = home.history("2026-01-02")
    assert matured.made == soon.periods
    assert matured.moments[1].rows == day["hours"].notna().sum()


def test_large_periods_are_sampled_and_the_sample_does_not_depend_on_how_it_is_read(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(scouts, "MOST_ROWS", 40)
    found = home.history("2026-01-04")
    assert {part.rows for part in found.moments} == {40}
    (tmp_path / "turned").mkdir()
    turned = Home(tmp_path / "turned")
    rows = parcels(DAYS)
    turned.ingest(rows.take(list(reversed(range(rows.num_rows)))), *range(DAYS))
    other = turned.history("2026-01-04")
    for one, two in zip(found.moments, other.moments, strict=True):
        np.testing.assert_array_equal(one.gram, two.gram)


def test_older_periods_than_are_looked_at_are_counted_and_not_read(
    home: Home, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(scouts, "MOST_PERIODS", 3)
    found = home.history()
    assert found.periods == ("2026-01-06", "2026-01-07", "2026-01-08")
    assert (found.older, len(found.made)) == (5, 3)


def test_without_labels_in_the_oldest_periods_there_is_no_history(tmp_path: Path):
    made = Home(tmp_path)
    assert labelled_history(made.model, made.lake, "2026-01-08", LATE) is None
    made.ingest(parcels(DAYS), *range(DAYS))
    first = datetime(2026, 1, 1, tzinfo=UTC)
    assert labelled_history(made.model, made.lake, "2026-01-08", first) is None
