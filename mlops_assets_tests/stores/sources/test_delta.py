from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from mlops_assets.domain.errors import SourceAwayError
from mlops_assets.spec.source import DeltaSource
from mlops_assets.stores.sources import newest, read
from mlops_assets_tests.stores.sources.samples import DAY, HOUR, delta


def days(count: int = 3, hours: int = 10) -> pa.Table:
    at = [
        DAY + day * timedelta(days=1) + hour * HOUR for day in range(count) for hour in range(hours)
    ]
    names = [f"{moment:%Y-%m-%d}" for moment in at]
    return pa.table({"at": pa.array(at, pa.timestamp("us", "UTC")), "day": names})


def ask(source: DeltaSource, folder: Path, day: int) -> pa.Table:
    start = DAY + day * timedelta(days=1)
    wanted = {"columns": ("at", "day"), "event_time": "at"}
    return read(source, folder, **wanted, start=start, end=start + timedelta(days=1))


def test_files_of_other_periods_are_not_opened(tmp_path: Path):
    source = delta(tmp_path, days(), partition_by=["day"])
    for day in ("2024-01-01", "2024-01-03"):
        for path in (tmp_path / "table" / f"day={day}").iterdir():
            path.unlink()
    assert ask(source, tmp_path, 1)["day"].to_pylist() == ["2024-01-02"] * 10
    with pytest.raises(SourceAwayError, match="'table' is not there"):
        ask(source, tmp_path, 0)


def test_the_newest_row_is_found_in_the_log(tmp_path: Path):
    source = delta(tmp_path, days(), partition_by=["day"])
    for day in ("2024-01-01", "2024-01-02"):
        for path in (tmp_path / "table" / f"day={day}").iterdir():
            path.unlink()
    top = DAY + timedelta(days=2, hours=9)
    assert newest(source, tmp_path, event_time="at", until=DAY + timedelta(days=9)) == top
    assert newest(source, tmp_path, event_time="at", until=DAY) is None


def test_the_newest_row_within_a_file_is_read(tmp_path: Path):
    source = delta(tmp_path, days())
    until = DAY + timedelta(days=1, hours=4)
    assert newest(source, tmp_path, event_time="at", until=until) == until - HOUR


def test_the_newest_version_of_the_table_is_read(tmp_path: Path):
    source = delta(tmp_path, days(1))
    write_deltalake(tmp_path / "table", days(1, 4), mode="overwrite")
    assert ask(source, tmp_path, 0).num_rows == 4


def test_a_folder_that_is_no_table_is_told(tmp_path: Path):
    (tmp_path / "table").mkdir()
    with pytest.raises(SourceAwayError, match="'table' is no Delta table"):
        ask(DeltaSource(kind="delta", path="table"), tmp_path, 0)
    with pytest.raises(SourceAwayError, match=r"is not there: .* is no folder"):
        ask(DeltaSource(kind="delta", path="gone"), tmp_path, 0)
