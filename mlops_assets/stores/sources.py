"""Where rows come from: Parquet, CSV or a SQL database, one stretch of time at a time."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.dataset as ds

from mlops_assets.domain.errors import SourceError
from mlops_assets.spec import CsvSource, ParquetSource, Source, SqlSource
from mlops_assets.stores import sql_source

# A CSV column gets the type of what this many bytes hold.
CSV_BLOCK_BYTES = 64 * 1024 * 1024


def column_names(source: Source, folder: Path) -> tuple[str, ...]:
    """The columns that the source has now. Raises SourceError when it is away."""
    if isinstance(source, SqlSource):
        return sql_source.column_names(source)
    return tuple(_dataset(source, folder).schema.names)


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

    Times without a zone are taken as UTC and come back with it. Raises SourceError when the
    source is away or lacks a column.
    """
    found = column_names(source, folder)
    for name in columns:
        if name not in found:
            raise SourceError(
                f"{_name(source)} has no column {name!r}; it has {', '.join(found)}. Correct the "
                "name in defs.yaml."
            )
    if isinstance(source, SqlSource):
        rows = sql_source.read(source, columns, event_time, start, end)
    else:
        rows = _read_files(source, folder, columns, event_time, start, end)
    rows = _in_utc(rows)
    keys = [(event_time, "ascending")]
    keys += [(name, "ascending") for name in columns if name != event_time]
    return rows.sort_by(keys)


def newest(source: Source, folder: Path, *, event_time: str, until: datetime) -> datetime | None:
    """Event time of the newest row before `until`, in UTC; None if there is none."""
    if isinstance(source, SqlSource):
        return sql_source.newest(source, event_time, until)
    rows = _read_files(source, folder, [event_time], event_time, None, until)
    found = pc.max(_in_utc(rows)[event_time]).as_py()
    return found if isinstance(found, datetime) else None


def _read_files(
    source: ParquetSource | CsvSource,
    folder: Path,
    columns: Sequence[str],
    event_time: str,
    start: datetime | None,
    end: datetime,
) -> pa.Table:
    dataset = _dataset(source, folder)
    kind = dataset.schema.field(event_time).type
    field = ds.field(event_time)
    wanted = field < _as_type(end, kind, event_time)
    if start is not None:
        wanted &= field >= _as_type(start, kind, event_time)
    try:
        return dataset.to_table(columns=list(columns), filter=wanted)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(source, error) from error


def _as_type(moment: datetime, kind: pa.DataType, event_time: str) -> pa.Scalar:
    if not pa.types.is_timestamp(kind):
        raise SourceError(
            f"the event time column {event_time!r} holds {kind}, not a timestamp: store it as a "
            "timestamp, in ISO 8601 if the source is a CSV file."
        )
    aware = moment.astimezone(UTC)
    return pa.scalar(aware if kind.tz else aware.replace(tzinfo=None), pa.timestamp("us", kind.tz))


def _in_utc(rows: pa.Table) -> pa.Table:
    """Times in microseconds and UTC, and no dictionaries, which could not be sorted by."""
    for place, field in enumerate(rows.schema):
        column = rows[field.name]
        if pa.types.is_dictionary(field.type):
            rows = rows.set_column(place, field.name, column.cast(field.type.value_type))
        if pa.types.is_timestamp(field.type):
            if field.type.tz is None:
                column = pc.assume_timezone(column, "UTC")
            column = pc.cast(column, pa.timestamp("us", tz="UTC"), safe=False)
            rows = rows.set_column(place, field.name, column)
    return rows


def _name(source: Source) -> str:
    return f"table {source.table}" if isinstance(source, SqlSource) else source.path


def _dataset(source: ParquetSource | CsvSource, folder: Path) -> Any:
    path = (folder / source.path).resolve()
    if not path.exists():
        raise SourceError(
            f"source {source.path!r} is not there: {path} does not exist. Paths are relative to "
            "the folder of the defs.yaml."
        )
    try:
        return ds.dataset(path, format=_csv() if source.kind == "csv" else "parquet")
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(source, error) from error


def _csv() -> Any:
    """Empty fields are missing, in text too; the text "NA" is a value like any other."""
    return ds.CsvFileFormat(
        read_options=pyarrow.csv.ReadOptions(block_size=CSV_BLOCK_BYTES),
        convert_options=pyarrow.csv.ConvertOptions(strings_can_be_null=True, null_values=[""]),
    )


def _unreadable(source: ParquetSource | CsvSource, error: Exception) -> SourceError:
    return SourceError(
        f"source {source.path!r} cannot be read as {source.kind}: {error}. Replace the file, or "
        "correct source.kind in defs.yaml."
    )
