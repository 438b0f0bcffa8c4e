from pathlib import Path

import pyarrow as pa
from deltalake import DeltaTable
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.stores.delta_tables import PERIOD, by_period, read_rows
from mlops_assets.stores.lake import Lake

DAYS = ["mon", "tue", "wed"]


@given(st.lists(st.sampled_from(DAYS)), st.integers(0, 5))
def test_every_period_gets_its_rows_in_their_order(days: list[str], cut: int):
    rows = pa.table({"place": range(len(days)), PERIOD: pa.array(days, pa.string())})
    chunked = pa.concat_tables([rows.slice(0, cut), rows.slice(cut)])
    found = by_period(chunked, [*DAYS, "thu"])
    assert {period: part["place"].to_pylist() for period, part in found.items()} == {
        day: [place for place, own in enumerate(days) if own == day] for day in [*DAYS, "thu"]
    }
    assert all(part.schema == rows.schema for part in found.values())


def test_only_the_periods_that_are_asked_for_are_read(tmp_path: Path):
    lake = Lake(str(tmp_path))
    odd = ', 100% "odd" = [x]'
    for period in ("2026-01-01T05:00", "2026-01-02", odd):
        lake.write_period("m", "t", period, pa.table({"a": [period]}))
    # Another file of one of the periods.
    more = pa.table({"a": ["more"], PERIOD: ["2026-01-02"]})
    lake.append_once("m", "t", more, source="s", position=1)
    delta = DeltaTable(lake.path("m", "t"))

    def found(*periods: str) -> list[str]:
        return sorted(read_rows(delta, periods=periods, columns=["a"])["a"].to_pylist())

    assert found("2026-01-02") == ["2026-01-02", "more"]
    assert found("2026-01-01T05:00", odd) == sorted(["2026-01-01T05:00", odd])
    assert found("2030-01-01") == found() == []
