from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_assets.domain.errors import SourceError
from mlops_assets.spec.source import ParquetSource
from mlops_assets.stores.sources import column_names, newest, read
from mlops_assets_tests.stores.sources.samples import COLUMNS, DAY, HOUR, arrow, parquet, rows


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo"])
def test_times_of_another_zone_come_back_in_utc(zone: str, tmp_path: Path):
    found = rows(parquet(tmp_path, arrow(zone)), tmp_path, DAY, 2)
    assert found["at"].to_pylist() == [DAY, DAY + HOUR]
    assert str(found["at"].type) == "timestamp[us, tz=UTC]"


def test_nanoseconds_and_dictionaries_of_a_parquet_file_are_read(tmp_path: Path):
    table = arrow()
    at = table["at"].cast(pa.timestamp("ns"))
    table = table.set_column(1, "at", at).set_column(4, "size", table["size"].dictionary_encode())
    found = rows(parquet(tmp_path, table), tmp_path)
    assert found.equals(rows(parquet(tmp_path), tmp_path))


def test_a_folder_of_parquet_files_is_one_source(tmp_path: Path):
    (tmp_path / "parts").mkdir()
    for part in range(2):
        pq.write_table(arrow().slice(part * 3, 3), tmp_path / "parts" / f"{part}.parquet")
    source = ParquetSource(kind="parquet", path="parts")
    assert rows(source, tmp_path).equals(rows(parquet(tmp_path), tmp_path))


def test_a_file_of_another_kind_is_refused(tmp_path: Path):
    (tmp_path / "rows.parquet").write_text("id,at\n")
    with pytest.raises(SourceError, match="cannot be read as parquet"):
        rows(ParquetSource(kind="parquet", path="rows.parquet"), tmp_path)


def test_an_event_time_that_is_no_timestamp_is_refused(tmp_path: Path):
    table = arrow()
    text = table.set_column(1, "at", table["at"].cast(pa.string()))
    with pytest.raises(SourceError, match="'at' holds string, not a timestamp"):
        rows(parquet(tmp_path, text), tmp_path)


def grouped(folder: Path, days: int = 3, unit: str = "us") -> ParquetSource:
    """A row group per day, of 1,000 rows each."""
    schema = pa.schema([("at", pa.timestamp(unit, "UTC")), ("n", pa.int64())])
    with pq.ParquetWriter(folder / "days.parquet", schema) as writer:
        for day in range(days):
            start = DAY + day * timedelta(days=1)
            at = [start + second * timedelta(seconds=60) for second in range(1000)]
            writer.write_table(pa.table({"at": at, "n": range(1000)}, schema=schema))
    return ParquetSource(kind="parquet", path="days.parquet")


def damage(path: Path, groups: tuple[int, ...]) -> None:
    """Overwrite the data of these row groups; the footer stays."""
    metadata = pq.ParquetFile(path).metadata
    content = bytearray(path.read_bytes())
    for group in groups:
        for column in range(metadata.num_columns):
            found = metadata.row_group(group).column(column)
            first = found.dictionary_page_offset or found.data_page_offset
            content[first : first + found.total_compressed_size] = (
                b"\xff" * found.total_compressed_size
            )
    path.write_bytes(content)


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_row_groups_of_other_periods_are_not_read(tmp_path: Path, unit: str):
    source = grouped(tmp_path, unit=unit)
    damage(tmp_path / "days.parquet", (0, 2))
    day = DAY + timedelta(days=1)
    asked = {"columns": ("at", "n"), "event_time": "at"}
    found = read(source, tmp_path, **asked, start=day, end=day + timedelta(days=1))
    assert found["n"].to_pylist() == list(range(1000))
    with pytest.raises(SourceError, match="cannot be read as parquet"):
        read(source, tmp_path, **asked, start=DAY, end=day)


def test_bounds_finer_than_the_columns_unit_cut_where_they_say(tmp_path: Path):
    source = grouped(tmp_path, unit="ms")
    tiny = timedelta(microseconds=1)
    found = read(
        source,
        tmp_path,
        columns=("at", "n"),
        event_time="at",
        start=DAY + tiny,
        end=DAY + timedelta(minutes=2) + tiny,
    )
    assert found["n"].to_pylist() == [1, 2]


def test_the_newest_row_is_found_in_the_statistics(tmp_path: Path):
    source = grouped(tmp_path)
    damage(tmp_path / "days.parquet", (0, 1, 2))
    last = timedelta(minutes=999)
    later = DAY + timedelta(days=9)
    assert newest(source, tmp_path, event_time="at", until=later) == DAY + timedelta(days=2) + last
    second = DAY + timedelta(days=2)
    assert newest(source, tmp_path, event_time="at", until=second) == second - HOUR * 24 + last


def test_the_newest_row_within_a_row_group_is_read(tmp_path: Path):
    source = grouped(tmp_path)
    until = DAY + timedelta(days=1, minutes=10)
    assert newest(source, tmp_path, event_time="at", until=until) == until - timedelta(minutes=1)


def test_a_file_without_statistics_is_read(tmp_path: Path):
    pq.write_table(arrow(), tmp_path / "rows.parquet", write_statistics=False)
    source = ParquetSource(kind="parquet", path="rows.parquet")
    assert newest(source, tmp_path, event_time="at", until=DAY + 9 * HOUR) == DAY + 3 * HOUR


def parts(folder: Path, first: pa.Table, second: pa.Table) -> ParquetSource:
    (folder / "parts").mkdir()
    pq.write_table(first, folder / "parts" / "1.parquet")
    pq.write_table(second, folder / "parts" / "2.parquet")
    return ParquetSource(kind="parquet", path="parts/*.parquet")


def test_a_type_that_changes_in_the_middle_of_a_period_names_both_files(tmp_path: Path):
    changed = arrow().set_column(2, "price", pa.array(["1", "2", None, "3", "4", "5"]))
    source = parts(tmp_path, arrow(), changed)
    words = r"'price' is double in .*1\.parquet and string in .*2\.parquet"
    with pytest.raises(SourceError, match=words):
        rows(source, tmp_path)


def test_a_column_that_ends_in_the_middle_of_a_period_is_named(tmp_path: Path):
    source = parts(tmp_path, arrow(), arrow().drop_columns("price"))
    with pytest.raises(SourceError, match=r"2\.parquet has no 'price', .*1\.parquet has"):
        rows(source, tmp_path)


def test_a_change_between_two_periods_is_read_period_by_period(tmp_path: Path):
    later = arrow().set_column(1, "at", pa.array([DAY + 99 * HOUR] * 6))
    source = parts(tmp_path, arrow().drop_columns("price"), later)
    assert column_names(source, tmp_path) == COLUMNS
    assert rows(source, tmp_path, DAY + 99 * HOUR, 1).num_rows == 6
    with pytest.raises(SourceError, match=r"1\.parquet has no column 'price'"):
        rows(source, tmp_path)


def test_numbers_of_different_widths_are_one_type(tmp_path: Path):
    narrow = arrow().set_column(3, "items", pa.array([2, 1, 0, 3, 3, 0], pa.int16()))
    empty = arrow().set_column(4, "size", pa.nulls(6))
    found = rows(parts(tmp_path, narrow, empty), tmp_path)
    assert found.num_rows == 10
    assert str(found.schema.field("items").type) == "int64"
    assert str(found.schema.field("size").type) == "string"
