"""The same six rows in every kind of source."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa
from deltalake import write_deltalake

from mlops_assets.spec.source import (
    CsvSource,
    DeltaSource,
    DuckdbSource,
    ParquetSource,
    PythonSource,
    Source,
    SqlSource,
)
from mlops_assets.stores.sources import read

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
FUNCTION = """
from pathlib import Path
import pyarrow as pa
import pyarrow.parquet as pq


def rows(start, end):
    frame = pq.read_table(Path(__file__).parent / "rows.parquet").to_pandas()
    frame["items"] = frame["items"].astype("Int64")
    return frame[(frame["at"] >= start) & (frame["at"] < end)]
"""


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


def csv_text() -> str:
    lines = [",".join(COLUMNS)]
    for id_, hour, price, items, size, paid in ROWS:
        at = (DAY + hour * HOUR).replace(tzinfo=None).isoformat()
        text = "" if size is None else '"' + size.replace('"', '""') + '"'
        truth = "" if paid is None else str(paid).lower()
        cells = [id_, at, "" if price is None else price, "" if items is None else items]
        lines.append(",".join(map(str, [*cells, text, truth])))
    return "\n".join(lines) + "\n"


def csv(folder: Path) -> CsvSource:
    (folder / "rows.csv").write_text(csv_text())
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


def duckdb(folder: Path) -> DuckdbSource:
    parquet(folder)
    return DuckdbSource(kind="duckdb", query="SELECT * FROM 'rows.parquet';")


def delta(folder: Path, table: pa.Table | None = None, **options: Any) -> DeltaSource:
    write_deltalake(folder / "table", arrow("UTC") if table is None else table, **options)
    return DeltaSource(kind="delta", path="table")


def python(folder: Path) -> PythonSource:
    parquet(folder, arrow("UTC"))
    (folder / "features.py").write_text(FUNCTION)
    return PythonSource(kind="python")


MAKERS: dict[str, Callable[[Path], Source]] = {
    "parquet": parquet,
    "csv": csv,
    "sqlite": sqlite,
    "duckdb": duckdb,
    "delta": delta,
    "python": python,
}


def rows(source: Source, folder: Path, start: datetime = DAY, hours: float = 24) -> pa.Table:
    end = start + hours * HOUR
    return read(source, folder, columns=COLUMNS, event_time="at", start=start, end=end)
