import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from deltalake import write_deltalake

from mlops_assets.domain.errors import SourceError
from mlops_assets.spec.source import ParquetSource, Source
from mlops_assets.stores.sources import column_names, is_at_hand, newest, read
from mlops_assets_tests.stores.sources.samples import (
    COLUMNS,
    DAY,
    FUNCTION,
    HOUR,
    MAKERS,
    ROWS,
    arrow,
    rows,
)

kinds = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


@kinds
def test_every_kind_of_source_gives_the_same_rows(make: Callable[[Path], Source], tmp_path: Path):
    found = rows(make(tmp_path), tmp_path)
    expected = sorted(
        ({**dict(zip(COLUMNS, row, strict=True)), "at": DAY + row[1] * HOUR} for row in ROWS[:5]),
        key=lambda row: row["id"],
    )
    assert found.to_pylist() == expected
    assert [str(kind) for kind in found.schema.types] == [
        "int64",
        "timestamp[us, tz=UTC]",
        "double",
        "int64",
        "string",
        "bool",
    ]


@kinds
def test_a_period_holds_its_start_and_not_its_end(make: Callable[[Path], Source], tmp_path: Path):
    source = make(tmp_path)
    assert rows(source, tmp_path, DAY, 2)["id"].to_pylist() == [1, 2]
    assert rows(source, tmp_path, DAY + 24 * HOUR, 1)["id"].to_pylist() == [6]
    assert rows(source, tmp_path, DAY - HOUR, 1).num_rows == 0
    assert rows(source, tmp_path, DAY + timedelta(microseconds=1), 1)["id"].to_pylist() == [2]


# A frame without rows doesn't know what its objects would have been.
TYPED = {name: make for name, make in MAKERS.items() if name != "python"}


@pytest.mark.parametrize("make", TYPED.values(), ids=TYPED)
def test_an_empty_period_has_the_types_of_a_full_one(
    make: Callable[[Path], Source], tmp_path: Path
):
    source = make(tmp_path)
    assert rows(source, tmp_path, DAY - 99 * HOUR, 1).schema.equals(rows(source, tmp_path).schema)


@kinds
def test_rows_of_one_moment_are_in_a_fixed_order(make: Callable[[Path], Source], tmp_path: Path):
    assert rows(make(tmp_path), tmp_path, DAY + 2 * HOUR, 1)["id"].to_pylist() == [3, 4]


@kinds
def test_columns_and_the_newest_row_are_known(make: Callable[[Path], Source], tmp_path: Path):
    source = make(tmp_path)
    assert column_names(source, tmp_path) == COLUMNS
    later = DAY + 99 * HOUR
    assert newest(source, tmp_path, event_time="at", until=later) == DAY + 24 * HOUR
    before = newest(source, tmp_path, event_time="at", until=DAY + 24 * HOUR)
    assert before == DAY + 3 * HOUR
    assert newest(source, tmp_path, event_time="at", until=DAY) is None


@kinds
def test_a_missing_column_is_named_with_those_there_are(
    make: Callable[[Path], Source], tmp_path: Path
):
    source = make(tmp_path)
    with pytest.raises(SourceError, match=r"no column 'nope'; it has id, at, .*defs\.yaml"):
        read(source, tmp_path, columns=("id", "nope"), event_time="at", start=DAY, end=DAY)


def test_only_files_of_this_machine_are_asked_while_definitions_load(tmp_path: Path):
    at_hand = {name for name, make in MAKERS.items() if is_at_hand(make(tmp_path))}
    assert at_hand == {"parquet", "csv", "delta"}
    assert not is_at_hand(ParquetSource(kind="parquet", path="s3://shop/rows.parquet"))
    assert not is_at_hand(ParquetSource(kind="parquet", path="https://shop/rows.parquet"))


@kinds
def test_dates_as_event_times_are_midnights(make: Callable[[Path], Source], tmp_path: Path):
    dates = arrow("UTC").set_column(1, "at", arrow("UTC")["at"].cast(pa.date32()))
    source = of_dates(make, dates, tmp_path)
    assert rows(source, tmp_path)["at"].to_pylist() == [DAY] * 5
    assert rows(source, tmp_path, DAY + HOUR, 24)["id"].to_pylist() == [6]
    assert rows(source, tmp_path, DAY + HOUR, 23).num_rows == 0
    assert newest(source, tmp_path, event_time="at", until=DAY + HOUR) == DAY
    assert newest(source, tmp_path, event_time="at", until=DAY) is None


def of_dates(make: Callable[[Path], Source], dates: pa.Table, folder: Path) -> Source:
    source = make(folder)
    pq.write_table(dates, folder / "rows.parquet")
    if source.kind == "csv":
        lines = (folder / "rows.csv").read_text().splitlines()
        cut = [re.sub(r"(2024-01-0\d)T[0-9:]+", r"\1", line) for line in lines]
        (folder / "rows.csv").write_text("\n".join(cut))
    elif source.kind == "delta":
        write_deltalake(folder / "table", dates, mode="overwrite", schema_mode="overwrite")
    elif source.kind == "sql":
        engine = sa.create_engine(source.url)
        with engine.begin() as connection:
            connection.execute(
                sa.text(
                    "create table days (id integer, at date, price float, items integer, "
                    "size text, paid boolean)"
                )
            )
            connection.execute(
                sa.text(
                    "insert into days select id, date(at), price, items, size, paid from orders"
                )
            )
        engine.dispose()
        return source.model_copy(update={"table": "days"})
    elif source.kind == "python":
        text = FUNCTION.replace('(frame["at"]', '(pd.to_datetime(frame["at"], utc=True)')
        text = text.replace('& (frame["at"]', '& (pd.to_datetime(frame["at"], utc=True)')
        (folder / "features.py").write_text("import pandas as pd\n" + text)
    return source
