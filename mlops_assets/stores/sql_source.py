"""Rows from a SQL database, through SQLAlchemy, in the types that the table declares.

No message of this module holds a URL, because a URL may hold a password.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa

from mlops_assets.domain.errors import SourceError
from mlops_assets.spec import SqlSource


def column_names(source: SqlSource) -> tuple[str, ...]:
    """The columns that the table has now. Raises SourceError when it is away."""
    with _reading(source) as connection:
        return tuple(str(column.name) for column in _table(source, connection).columns)


def read(
    source: SqlSource, columns: Sequence[str], event_time: str, start: datetime, end: datetime
) -> pa.Table:
    """Rows with `start` <= event time < `end`, in the database's order."""
    from sqlalchemy import select

    with _reading(source) as connection:
        table = _table(source, connection)
        moment = _moment(source, table, event_time)
        query = select(*(table.c[name] for name in columns)).where(
            moment >= _bound(start, moment), moment < _bound(end, moment)
        )
        rows = connection.execute(query).fetchall()
        return pa.table(
            {
                name: _array(source, table.c[name], [row[place] for row in rows])
                for place, name in enumerate(columns)
            }
        )


def newest(source: SqlSource, event_time: str, until: datetime) -> datetime | None:
    """The newest event time before `until`, in UTC; None if there is none."""
    from sqlalchemy import func, select

    with _reading(source) as connection:
        moment = _moment(source, _table(source, connection), event_time)
        query = select(func.max(moment)).where(moment < _bound(until, moment))
        found = connection.execute(query).scalar()
    return None if found is None else _in_utc(found)


@contextmanager
def _reading(source: SqlSource) -> Iterator[Any]:
    """A connection that is closed for good afterwards; its errors as SourceError."""
    from sqlalchemy.exc import NoSuchTableError, SQLAlchemyError

    engine = _engine(source)
    try:
        with engine.connect() as connection:
            yield connection
    except NoSuchTableError:
        raise SourceError(
            f"the database has no table {source.table!r}: correct source.table in defs.yaml, as "
            "schema.table where it is not in the default schema."
        ) from None
    except (SQLAlchemyError, ValueError) as error:
        raise SourceError(
            f"the database of table {source.table!r} at {_place(engine)} does not answer as "
            f"expected: {type(error).__name__}. Check that it runs, that "
            f"{source.url_env or 'source.url'} is right and that the user may read the table."
        ) from None
    finally:
        engine.dispose()


def _engine(source: SqlSource) -> Any:
    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.pool import NullPool

    url = os.environ.get(source.url_env, "") if source.url_env else source.url
    where = f"the variable {source.url_env}" if source.url_env else "source.url"
    if not url:
        raise SourceError(
            f"source.url_env names the environment variable {source.url_env!r}, which is not set: "
            "export it with the SQLAlchemy URL of the database."
            if source.url_env
            else "a SQL source needs source.url or source.url_env."
        )
    try:
        return create_engine(url, poolclass=NullPool)
    except ImportError as error:
        raise SourceError(
            f"the database driver {error.name!r} of {where} is not installed: install it, or "
            "name another driver in the URL, such as postgresql+psycopg2://."
        ) from None
    except (SQLAlchemyError, ValueError):
        raise SourceError(
            f"{where} holds no SQLAlchemy URL (dialect+driver://user:password@host:port/name): "
            "special characters in a password must be percent-encoded."
        ) from None


def _place(engine: Any) -> str:
    url = engine.url
    port = f":{url.port}" if url.port else ""
    return f"{url.host or url.get_backend_name()}{port}/{url.database or ''}"


def _table(source: SqlSource, connection: Any) -> Any:
    from sqlalchemy import MetaData, Table

    schema, _, name = source.table.rpartition(".")
    return Table(name, MetaData(schema=schema or None), autoload_with=connection)


def _moment(source: SqlSource, table: Any, event_time: str) -> Any:
    """The event time's column. A text column would be compared letter by letter."""
    from sqlalchemy import DateTime

    column = table.c[event_time]
    if not isinstance(column.type, DateTime):
        raise SourceError(
            f"event time {event_time!r} of table {source.table!r} has the type {column.type}, not "
            "a timestamp: use a timestamp column, or a view that makes one."
        )
    return column


def _bound(moment: datetime, column: Any) -> datetime:
    """A time as the column compares it: with a zone only if it has one."""
    return moment if column.type.timezone else moment.astimezone(UTC).replace(tzinfo=None)


def _in_utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _array(source: SqlSource, column: Any, values: list[Any]) -> pa.Array:
    """The values in the type that the table declares, so that every period has the same one."""
    try:
        declared = column.type.python_type
    except NotImplementedError:
        declared = object
    try:
        if declared is datetime:
            times = [None if value is None else _in_utc(value) for value in values]
            return pa.array(times, pa.timestamp("us", tz="UTC"))
        if declared is bool:
            return pa.array(values, pa.bool_())
        if declared is int:
            return pa.array(values, pa.int64())
        if declared is date:
            return pa.array(values, pa.date32())
        if declared is str:
            return pa.array(values, pa.string())
        if any(isinstance(value, str) for value in values) or declared is object:
            return pa.array([None if value is None else str(value) for value in values])
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError) as error:
        raise SourceError(
            f"column {column.name!r} of table {source.table!r} is declared {column.type}, but "
            f"holds another kind of value ({error}): correct the table, or use a view with a CAST."
        ) from error
