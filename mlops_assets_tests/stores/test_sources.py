import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from mlops_assets.domain.errors import SourceError
from mlops_assets.spec import CsvSource, ParquetSource, Source, SqlSource
from mlops_assets.stores.sources import column_names, newest, read

DAY = datetime(2024, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
COLUMNS = ("id", "at", "price", "items", "size", "paid")
# Out of order on purpose; the hours are those of January 1st.
ROWS: list[tuple[Any, ...]] = [
    (5, 3, 2.5, 2, "L", True),
    (1, 0, 1.0, 1, "NA", True),
    (2, 1, None, None, None, None),
    (4, 2, -0.5, 3, 'ö, "x"', False),
    (3, 2, 1e9, 3, "M", False),
    (6, 24, 0.0, 0, "S", True),
]


def arrow(zone: str | None = None) -> pa.Table:
    times = [DAY + row[1] * HOUR for row in ROWS]
    at = pa.array(times, pa.timestamp("us", tz=zone or "UTC"))
    if zone is None:
        at = at.cast(pa.timestamp("us"))
    columns = dict(zip(COLUMNS, map(list, zip(*ROWS, strict=True)), strict=True))
    return pa.table({**columns, "at": at})


def parquet(folder: Path, table: pa.Table | None = None) -> ParquetSource:
    pq.write_table(arrow() if table is None else table, folder / "rows.parquet")
    return ParquetSource(kind="parquet", path="rows.parquet")


def csv(folder: Path) -> CsvSource:
    lines = [",".join(COLUMNS)]
    for id_, hour, price, items, size, paid in ROWS:
        at = (DAY + hour * HOUR).replace(tzinfo=None).isoformat()
        text = "" if size is None else '"' + size.replace('"', '""') + '"'
        truth = "" if paid is None else str(paid).lower()
        cells = [id_, at, "" if price is None else price, "" if items is None else items]
        lines.append(",".join(map(str, [*cells, text, truth])))
    (folder / "rows.csv").write_text("\n".join(lines) + "\n")
    return CsvSource(kind="csv", path="rows.csv")


def fill(url: str, *, zoned: bool = False) -> None:
    engine = sa.create_engine(url)
    table = sa.Table(
        "orders",
        sa.MetaData(),
        sa.Column("id", sa.Integer),
        sa.Column("at", sa.DateTime(timezone=zoned)),
        sa.Column("price", sa.Numeric(14, 4) if zoned else sa.Float),
        sa.Column("items", sa.Integer),
        sa.Column("size", sa.Text),
        sa.Column("paid", sa.Boolean),
    )
    times = [DAY + row[1] * HOUR for row in ROWS]
    if not zoned:
        times = [moment.replace(tzinfo=None) for moment in times]
    values = [
        dict(zip(COLUMNS, (row[0], moment, *row[2:]), strict=True))
        for row, moment in zip(ROWS, times, strict=True)
    ]
    with engine.begin() as connection:
        table.metadata.drop_all(connection)
        table.metadata.create_all(connection)
        connection.execute(table.insert(), values)
    engine.dispose()


def sqlite(folder: Path) -> SqlSource:
    fill(f"sqlite:///{folder / 'shop.db'}")
    return SqlSource(kind="sql", url=f"sqlite:///{folder / 'shop.db'}", table="orders")


def rows(source: Source, folder: Path, start: datetime = DAY, hours: float = 24) -> pa.Table:
    end = start + hours * HOUR
    return read(source, folder, columns=COLUMNS, event_time="at", start=start, end=end)


MAKERS: list[Callable[[Path], Source]] = [parquet, csv, sqlite]
kinds = pytest.mark.parametrize("make", MAKERS, ids=["parquet", "csv", "sqlite"])


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


@kinds
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


def test_a_missing_file_is_named_with_the_place_it_was_looked_for(tmp_path: Path):
    source = ParquetSource(kind="parquet", path="../gone.parquet")
    with pytest.raises(SourceError, match=r"'\.\./gone\.parquet' is not there: .*relative"):
        rows(source, tmp_path / "defs")


def test_a_file_of_another_kind_is_refused(tmp_path: Path):
    (tmp_path / "rows.parquet").write_text("id,at\n")
    with pytest.raises(SourceError, match="cannot be read as parquet"):
        rows(ParquetSource(kind="parquet", path="rows.parquet"), tmp_path)


def test_an_event_time_that_is_no_timestamp_is_refused(tmp_path: Path):
    table = arrow()
    text = table.set_column(1, "at", table["at"].cast(pa.string()))
    with pytest.raises(SourceError, match="'at' holds string, not a timestamp"):
        rows(parquet(tmp_path, text), tmp_path)


def test_an_event_time_kept_as_text_in_a_database_is_refused(tmp_path: Path):
    source = sqlite(tmp_path)
    engine = sa.create_engine(source.url)
    with engine.begin() as connection:
        connection.execute(sa.text("create table t (id integer, at text)"))
    engine.dispose()
    text = source.model_copy(update={"table": "t"})
    with pytest.raises(SourceError, match="'at' of table 't' has the type TEXT"):
        read(text, tmp_path, columns=("id", "at"), event_time="at", start=DAY, end=DAY)


def test_a_value_that_is_not_of_the_declared_type_is_refused(tmp_path: Path):
    source = sqlite(tmp_path)
    engine = sa.create_engine(source.url)
    with engine.begin() as connection:
        connection.execute(sa.text("update orders set items = 'many' where id = 1"))
    engine.dispose()
    with pytest.raises(SourceError, match="column 'items' of table 'orders' is declared INTEGER"):
        rows(source, tmp_path)


def test_a_table_that_is_not_there_is_named(tmp_path: Path):
    missing = sqlite(tmp_path).model_copy(update={"table": "main.nope"})
    with pytest.raises(SourceError, match=r"no table 'main\.nope'"):
        column_names(missing, tmp_path)


def test_a_variable_that_is_not_set_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("SHOP_URL", raising=False)
    source = SqlSource(kind="sql", url_env="SHOP_URL", table="orders")
    with pytest.raises(SourceError, match="'SHOP_URL', which is not set"):
        rows(source, tmp_path)
    with pytest.raises(SourceError, match=r"source\.url or source\.url_env"):
        rows(SqlSource(kind="sql", table="orders"), tmp_path)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql+psycopg2://me:s3cret@127.0.0.1:1/shop", r"127\.0\.0\.1:1/shop"),
        ("postgresql+psycopg2://me@127.0.0.1:1/shop?password=s3cret", r"127\.0\.0\.1:1/shop"),
        ("postgresql+psycopg2://me:s3cret@127.0.0.1:x/shop", "no SQLAlchemy URL"),
        ("postgresql+psycopg2://me:a/s3cret@127.0.0.1/shop", "SHOP_URL"),
        ("s3cret", "no SQLAlchemy URL"),
        ("nosuch://me:s3cret@host/shop", "no SQLAlchemy URL"),
        ("mysql+mysqldb://me:s3cret@host/shop", "'MySQLdb' of the variable SHOP_URL is not inst"),
        ("sqlite:////nowhere/s3cret/shop.db", "does not answer"),
    ],
)
def test_an_unreachable_database_is_told_without_its_password(
    url: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SHOP_URL", url)
    source = SqlSource(kind="sql", url_env="SHOP_URL", table="orders")
    with pytest.raises(SourceError, match=words) as refused:
        rows(source, tmp_path)
    assert "SHOP_URL" in str(refused.value)
    if not url.startswith("sqlite"):
        assert "s3cret" not in "".join(traceback.format_exception(refused.value))


@pytest.mark.postgres
@pytest.mark.parametrize("zoned", [False, True])
def test_postgresql_gives_the_same_rows_as_a_file(
    zoned: bool, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    fill(postgres_url, zoned=zoned)
    monkeypatch.setenv("SHOP_URL", postgres_url)
    for table in ("orders", "public.orders"):
        source = SqlSource(kind="sql", url_env="SHOP_URL", table=table)
        assert rows(source, tmp_path).equals(rows(parquet(tmp_path), tmp_path))
        assert rows(source, tmp_path, DAY, 2)["id"].to_pylist() == [1, 2]
        found = newest(source, tmp_path, event_time="at", until=DAY + 9 * HOUR)
        assert found == DAY + 3 * HOUR


@pytest.mark.postgres
def test_postgresql_keeps_no_connection_and_a_wrong_password_is_not_told(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    fill(postgres_url)
    monkeypatch.setenv("SHOP_URL", postgres_url)
    source = SqlSource(kind="sql", url_env="SHOP_URL", table="orders")
    rows(source, tmp_path)
    engine = sa.create_engine(postgres_url, poolclass=sa.NullPool)
    count = "select count(*) from pg_stat_activity where backend_type = 'client backend'"
    with engine.connect() as connection:
        assert connection.execute(sa.text(count)).scalar() == 1
    engine.dispose()
    monkeypatch.setenv("SHOP_URL", postgres_url.replace("tester:", "tester:wr0ng"))
    with pytest.raises(SourceError, match="does not answer as expected: OperationalError") as no:
        rows(source, tmp_path)
    assert "wr0ng" not in "".join(traceback.format_exception(no.value))
