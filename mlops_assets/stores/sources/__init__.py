"""Where rows come from, one stretch of time at a time: one module per kind of source.

Every kind gives the same rows for the same data: times in UTC, no dictionaries, in a fixed order.
Only the rows of the stretch are fetched, as far as the kind allows: a database, DuckDB, Delta and
Parquet's row groups are filtered at their end; a CSV file has to be read through.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from mlops_assets.domain.errors import UnusableColumnError
from mlops_assets.spec.source import (
    CsvSource,
    DeltaSource,
    DuckdbSource,
    ParquetSource,
    Source,
    SqlSource,
    is_web,
)
from mlops_assets.stores.sources.places import is_remote
from mlops_assets.stores.sources.reader import Reader
from mlops_assets.stores.sources.times import in_utc

# The greatest whole number of 64 bits with a sign, which is what the lake keeps.
LARGEST = 2**63 - 1


def column_names(source: Source, folder: Path) -> tuple[str, ...]:
    """The columns that the source has now. Raises SourceError when it is away."""
    return _reader(source, folder).column_names()


def read(
    source: Source,
    folder: Path,
    *,
    columns: Sequence[str],
    event_time: str,
    start: datetime,
    end: datetime,
) -> pa.Table:
    """Rows with `start` <= event time < `end`, in order of event time and then of all columns.

    Times without a zone are taken as UTC and come back with it. Raises SourceAwayError when the
    source does not answer in time, SourceError when it is not what the spec says or changes its
    columns within the stretch.
    """
    names = tuple(dict.fromkeys((event_time, *columns)))
    rows = in_utc(_reader(source, folder).read(names, event_time, start, end), event_time)
    for field in rows.schema:
        if pa.types.is_nested(field.type):
            raise UnusableColumnError(
                f"column {field.name!r} holds {field.type}: a column holds one number, text or "
                "time per row; flatten it in the source.",
                field.name,
            )
        most = pc.max(rows[field.name]).as_py() if pa.types.is_uint64(field.type) else None
        if most is not None and most > LARGEST:
            raise UnusableColumnError(
                f"column {field.name!r} holds {most}: whole numbers go up to {LARGEST}; an id or "
                "a hash beyond that is text: cast it in the source, or with a query.",
                field.name,
            )
    return rows.sort_by([(name, "ascending") for name in names]).select(list(columns))


def unsorted(
    source: ParquetSource | CsvSource, folder: Path, *, event_time: str
) -> pa.ChunkedArray:
    """All event times of a file, in the order in which they stand there."""
    ends = (datetime(year, 1, 1, tzinfo=UTC) for year in (1700, 2260))
    return _reader(source, folder).read((event_time,), event_time, *ends)[event_time]


def newest(source: Source, folder: Path, *, event_time: str, until: datetime) -> datetime | None:
    """Event time of the newest row before `until`, in UTC; None if there is none."""
    return _reader(source, folder).newest(event_time, until)


def timeless(source: Source, folder: Path, *, event_time: str) -> int | None:
    """How many rows belong to no period, as they have no event time; None if it cannot tell."""
    return _reader(source, folder).timeless(event_time)


def is_at_hand(source: Source) -> bool:
    """Whether the source is files of this machine, which can be asked without waiting."""
    if isinstance(source, ParquetSource | CsvSource | DeltaSource):
        return not is_remote(source.path) and not is_web(source.path)
    return False


def _reader(source: Source, folder: Path) -> Reader:
    if isinstance(source, ParquetSource):
        from mlops_assets.stores.sources.parquet import ParquetFiles

        return ParquetFiles(source, folder)
    if isinstance(source, CsvSource):
        from mlops_assets.stores.sources.csv_files import CsvFiles

        return CsvFiles(source, folder)
    if isinstance(source, SqlSource):
        from mlops_assets.stores.sources.sql import SqlTable

        return SqlTable(source)
    if isinstance(source, DuckdbSource):
        from mlops_assets.stores.sources.duckdb_query import DuckdbQuery

        return DuckdbQuery(source, folder)
    if isinstance(source, DeltaSource):
        from mlops_assets.stores.sources.delta import DeltaSourceTable

        return DeltaSourceTable(source, folder)
    from mlops_assets.stores.sources.python_rows import PythonRows

    return PythonRows(source, folder)
