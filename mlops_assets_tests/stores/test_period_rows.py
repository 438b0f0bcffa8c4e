"""Rows of many periods, read and cut in groups: the same rows as one period at a time."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.domain.errors import SourceError
from mlops_assets.spec import Model, ModelSpec
from mlops_assets.stores.lake import Lake
from mlops_assets.stores.period_rows import from_lake, from_source, groups, slices

START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = [f"2026-01-{day:02}" for day in range(1, 13)]


def model(folder: Path) -> Model:
    spec = {
        "task": "regression",
        "source": {"kind": "parquet", "path": "rows"},
        "entity": "id",
        "event_time": "at",
        "label": {"column": "y"},
        "period": {"every": "daily", "start": "2026-01-01"},
        "columns": {"x": "number"},
    }
    return Model("m", ModelSpec.model_validate(spec), folder)


def rows(hours: list[int], **more: object) -> pa.Table:
    at = pa.array([START + timedelta(hours=hour) for hour in hours], pa.timestamp("us", "UTC"))
    values = [float(hour) for hour in hours]
    return pa.table({"id": hours, "at": at, "x": values, "y": values, **more})


def write(folder: Path, name: str, table: pa.Table) -> None:
    (folder / "rows").mkdir(exist_ok=True)
    pq.write_table(table, folder / "rows" / f"{name}.parquet")


def test_every_period_has_its_rows_however_they_are_grouped(tmp_path: Path):
    # The fourth day has no rows, and rows lie on the borders between days.
    write(tmp_path, "a", rows([hour for hour in range(240) if hour // 24 != 3]))
    for most in (1, 50, 10_000):
        found: dict[str, list[float]] = {}
        for group in from_source(model(tmp_path), DAYS, most):
            found |= {period: part["x"].to_pylist() for period, part in group.items()}
        assert list(found) == DAYS
        for day, period in enumerate(DAYS):
            own = range(day * 24, day * 24 + 24) if day < 10 and day != 3 else []
            assert found[period] == list(own)


def test_groups_grow_to_the_limit_and_no_further(tmp_path: Path):
    write(tmp_path, "a", rows(list(range(288))))
    sizes = [len(group) for group in from_source(model(tmp_path), DAYS, most=100)]
    assert sizes == [1, 2, 4, 4, 1]


def test_periods_that_do_not_adjoin_are_not_read_together(tmp_path: Path):
    write(tmp_path, "a", rows(list(range(288))))
    some = [*DAYS[:1], *DAYS[4:7]]
    found = [list(group) for group in from_source(model(tmp_path), some)]
    assert found == [DAYS[:1], DAYS[4:6], DAYS[6:7]]


def test_columns_that_change_between_two_periods_are_no_error(tmp_path: Path):
    write(tmp_path, "a", rows(list(range(120))))
    changed = rows(list(range(120, 288)))
    text = changed["y"].cast(pa.string())
    write(tmp_path, "b", changed.set_column(3, "y", text))
    found = {}
    for group in from_source(model(tmp_path), DAYS):
        found |= {period: str(part.schema.field("y").type) for period, part in group.items()}
    assert list(found) == DAYS
    assert set(list(found.values())[:5]) == {"double"}
    assert set(list(found.values())[5:]) == {"string"}


def test_columns_that_change_within_a_period_are_an_error_after_the_periods_before(tmp_path: Path):
    write(tmp_path, "a", rows(list(range(130))))
    changed = rows(list(range(130, 288)))
    write(tmp_path, "b", changed.set_column(3, "y", changed["y"].cast(pa.string())))
    found: list[str] = []
    with pytest.raises(SourceError, match="middle of a period"):
        found.extend(period for group in from_source(model(tmp_path), DAYS) for period in group)
    assert found == DAYS[:5]


@given(st.lists(st.integers(0, 200), max_size=30), st.integers(1, 150))
def test_groups_hold_every_period_once_and_few_rows(counts: list[int], most: int):
    periods = [f"{place:02}" for place in range(len(counts))]
    held = dict(zip(periods, counts, strict=True))
    found = list(groups(periods, held, most))
    assert [period for group in found for period in group] == periods
    assert all(len(group) == 1 or sum(held[p] for p in group) <= most for group in found)
    # No two neighbours could have been one group.
    firsts = [held[group[0]] for group in found[1:]]
    assert all(
        sum(held[p] for p in group) + first > most
        for group, first in zip(found, firsts, strict=False)
    )


def test_rows_of_a_group_lie_one_period_after_the_other():
    found = slices({"a": [1, 2], "b": [], "c": [3]})
    assert found == {"a": slice(0, 2), "b": slice(2, 2), "c": slice(2, 3)}
    assert slices({}) == {}


def test_what_the_lake_holds_comes_back_by_period(tmp_path: Path):
    lake = Lake(str(tmp_path))
    content = {period: rows([place] * place) for place, period in enumerate(DAYS)}
    lake.write_periods("m", "t", content)
    found: dict[str, pa.Table] = {}
    for group in from_lake(lake, "m", "t", ["2025-12-31", *DAYS], most=20):
        found |= group
    assert list(found) == ["2025-12-31", *DAYS]
    assert found["2025-12-31"].num_rows == 0
    for period, part in content.items():
        assert found[period].drop_columns(["period"]).to_pydict() == part.to_pydict()
