"""Where rows come from: Parquet, CSV or a SQL database, one stretch of time at a time."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from mlops_assets.domain.errors import SourceError
from mlops_assets.spec import CsvSource, ParquetSource, Source, SqlSource


def column_names(source: Source, folder: Path) -> tuple[str, ...]:
    """The columns that the source has now. Raises SourceError when it is away."""
    if isinstance(source, SqlSource):
        from sqlalchemy import inspect

        with _connection(source) as connection:
            schema, _, table = source.table.rpartition(".")
            found = inspect(connection).get_columns(table, schema=schema or None)
            return tuple(str(column["name"]) for column in found)
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
    missing = [name for name in columns if name not in column_names(source, folder)]
    if missing:
        raise SourceError(
            f"{_name(source)} has no column {missing[0]!r}; it has "
            f"{', '.join(column_names(source, folder))}. Correct the name in defs.yaml."
        )
    if isinstance(source, SqlSource):
        rows = _read_sql(source, columns, event_time, start, end)
    else:
        dataset = _dataset(source, folder)
        kind = dataset.schema.field(event_time).type
        field = ds.field(event_time)
        lower, upper = (_as_type(moment, kind) for moment in (start, end))
        rows = dataset.to_table(columns=list(columns), filter=(field >= lower) & (field < upper))
    rows = _in_utc(rows, event_time)
    keys = [(event_time, "ascending")]
    keys += [(name, "ascending") for name in columns if name != event_time]
    return rows.sort_by(keys)


def _as_type(moment: datetime, kind: pa.DataType) -> pa.Scalar:
    if not pa.types.is_timestamp(kind):
        raise SourceError(
            f"the event time column holds {kind}, not a timestamp: store it as a timestamp, "
            "in ISO 8601 if the source is a CSV file."
        )
    aware = moment.astimezone(UTC)
    return pa.scalar(aware if kind.tz else aware.replace(tzinfo=None), type=kind)


def _in_utc(rows: pa.Table, event_time: str) -> pa.Table:
    for name in rows.column_names:
        column = rows[name]
        if name == event_time and not pa.types.is_timestamp(column.type):
            column = pc.cast(column, pa.timestamp("us"))
        if pa.types.is_timestamp(column.type):
            if column.type.tz is None:
                column = pc.assume_timezone(column, "UTC")
            column = pc.cast(column, pa.timestamp("us", tz="UTC"))
            rows = rows.set_column(rows.column_names.index(name), name, column)
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
        return ds.dataset(path, format=source.kind)
    except (pa.ArrowInvalid, OSError) as error:
        raise SourceError(f"source {path} cannot be read as {source.kind}: {error}") from error


def _connection(source: SqlSource) -> Any:
    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError

    url = os.environ.get(source.url_env, "") if source.url_env else source.url
    if not url:
        raise SourceError(
            f"source.url_env names the environment variable {source.url_env!r}, which is not set."
            if source.url_env
            else "a SQL source needs source.url or source.url_env."
        )
    try:
        return create_engine(url).connect()
    except SQLAlchemyError as error:
        # The URL may hold a password: only the kind of failure is told.
        raise SourceError(
            f"the database of {source.table} does not answer: {type(error).__name__}."
        ) from error


def _read_sql(
    source: SqlSource, columns: Sequence[str], event_time: str, start: datetime, end: datetime
) -> pa.Table:
    import pandas as pd
    from sqlalchemy import DateTime, MetaData, Table, select
    from sqlalchemy.exc import SQLAlchemyError

    schema, _, name = source.table.rpartition(".")
    with _connection(source) as connection:
        try:
            table = Table(name, MetaData(schema=schema or None), autoload_with=connection)
            moment = table.c[event_time]
            zone = isinstance(moment.type, DateTime) and moment.type.timezone
            lower, upper = (
                value if zone else value.astimezone(UTC).replace(tzinfo=None)
                for value in (start, end)
            )
            query = select(*(table.c[column] for column in columns)).where(
                moment >= lower, moment < upper
            )
            frame = pd.DataFrame(connection.execute(query).fetchall(), columns=list(columns))
        except SQLAlchemyError as error:
            raise SourceError(
                f"reading {source.table} failed: {type(error).__name__}: {error.args[:1]}"
            ) from error
    return pa.Table.from_pandas(frame, preserve_index=False)
