from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mlops_assets.domain.errors import DataError
from mlops_assets.stores.backtest_history import PastRows, read_past
from mlops_assets.stores.lake import Lake
from mlops_assets_tests.backtested import ingest
from mlops_assets_tests.loop import add_parcels, read_model


def parcels(root: Path, **changes: object) -> tuple[object, Lake]:
    model = read_model(add_parcels(root / "models", "parcels", days=8, **changes))
    lake = Lake(str(root / "lake"))
    ingest(model, lake, "2026-01-09")
    return model, lake


def past(root: Path, **changes: object) -> PastRows:
    model, lake = parcels(root, **changes)
    return read_past(model, lake, lake.periods("parcels", "features"))


def test_periods_follow_each_other_with_all_their_rows(tmp_path: Path):
    found = past(tmp_path)
    assert found.periods == tuple(f"2026-01-0{day}" for day in range(1, 9))
    assert list(found.starts) == [150 * day for day in range(9)]
    assert list(found.frame.columns) == ["zone", "weight"]
    assert len(found.label) == len(found.known) == 1200
    assert str(found.times[0]) == "2026-01-05 00:00:00+00:00"
    assert found.labelled == [int(found.known[found.place(i, i + 1)].sum()) for i in range(8)]


def test_only_labels_that_were_known_when_the_period_was_judged_count(tmp_path: Path):
    late = past(tmp_path / "late")
    # Without waiting, parcels that take longer than the day has hours left are unknown.
    soon = past(
        tmp_path / "soon",
        monitoring={"wait": "PT0S", "min_rows": 100},
    )
    lost = late.label.isna().to_numpy()
    np.testing.assert_array_equal(late.known, ~lost)
    assert soon.known.sum() < late.known.sum()
    assert not (soon.known & ~late.known).any()


def test_shuffling_deals_the_same_rows_to_the_periods(tmp_path: Path):
    found = past(tmp_path)
    mixed = found.shuffled(1)
    assert (mixed.periods, mixed.times) == (found.periods, found.times)
    assert list(mixed.starts) == list(found.starts)
    together = [
        pd.concat([one.frame, one.label.rename("y"), pd.Series(one.known, name="k")], axis=1)
        .sort_values(["weight", "zone"])
        .reset_index(drop=True)
        for one in (found, mixed)
    ]
    pd.testing.assert_frame_equal(*together)
    assert not found.frame.equals(mixed.frame)
    assert mixed.frame.equals(found.shuffled(1).frame)
    assert len({found.content, mixed.content, found.shuffled(2).content}) == 3


def test_the_content_names_the_rows(tmp_path: Path):
    model, lake = parcels(tmp_path)
    periods = lake.periods("parcels", "features")
    whole = read_past(model, lake, periods)
    assert whole.content == read_past(model, lake, periods).content
    assert whole.content != read_past(model, lake, periods[:-1]).content


def test_a_lake_without_the_periods_is_refused_with_the_fix(tmp_path: Path):
    model, lake = parcels(tmp_path)
    with pytest.raises(DataError, match="parcels__ingest"):
        read_past(model, lake, ["2030-01-01"])
    with pytest.raises(DataError, match="parcels__ingest"):
        read_past(model, Lake(str(tmp_path / "empty")), ["2026-01-01"])
