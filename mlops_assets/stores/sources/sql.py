"""Rows from a SQL database, through SQLAlchemy, in the types that the table declares.

No message of this module holds a URL, because a URL may hold a password.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from mlops_assets.domain.errors import SourceAwayError, SourceError
from mlops_assets.spec.source import SqlSource
from mlops_assets.stores.sources.reader import require
from mlops_assets.stores.sources.times import first_date, utc

# SQLSTATE classes and codes of PostgreSQL that may pass: lost connections, too many of them, a
# server that stops or starts, a statement that took too long, a deadlock.
PASSING = ("08", "53", "57", "40")
NO_ACCESS = "28"


@dataclass(frozen=True)
class SqlTable:
    """A table or view; its filter runs in the database."""

    source: SqlSource

    def column_names(self) -> tuple[str, ...]:
        """The columns that the table has now."""
        with _reading(self.source) as connection:
            return tuple(str(column.name) for column in _table(self.source, connection).columns)

    def read(
        self, columns: Sequence[str], event_time: str, start: datetime, end: datetime
    ) -> pa.Table:
        """Rows of the stretch, in the database's order."""
        from sqlalchemy import select

        source = self.source
        with _reading(source) as connection:
            table = _table(source, connection)
            require(columns, table.c.keys(), f"table {source.table}")
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

    def timeless(self, event_time: str) -> int | None:
        """Counted by the database."""
        from sqlalchemy import func, select

        with _reading(self.source) as connection:
            table = _table(self.source, connection)
            query = select(func.count()).where(table.c[event_time].is_(None))
            return int(connection.execute(query).scalar() or 0)

    def newest(self, event_time: str, until: datetime) -> datetime | None:
        """The newest event time before `until`."""
        from sqlalchemy import func, select

        with _reading(self.source) as connection:
            table = _table(self.source, connection)
            require([event_time], table.c.keys(), f"table {self.source.table}")
            moment = _moment(self.source, table, event_time)
            query = select(func.max(moment)).where(moment < _bound(until, moment))
            found = connection.execute(query).scalar()
        return None if found is None else utc(found)


@contextmanager
def _reading(source: SqlSource) -> Iterator[Any]:
    """A connection that is closed for good afterwards; its errors as SourceError."""
    from sqlalchemy.exc import NoSuchTableError, SQLAlchemyError

    engine = _engine(source)
    try:
        with engine.connect() as connection:
            _limit(source, connection)
            yield connection
    except NoSuchTableError:
        raise SourceError(
            f"the database has no table {source.table!r}: correct source.table in defs.yaml, as "
            "schema.table where it is not in the default schema."
        ) from None
    except (SQLAlchemyError, ValueError) as error:
        raise _failure(source, engine, error) from None
    finally:
        engine.dispose()


def _failure(source: SqlSource, engine: Any, error: Exception) -> SourceError:
    """Away if it may pass. The error's own text may hold what a row holds, so it is not told."""
    from sqlalchemy.exc import InterfaceError, OperationalError

    state = str(getattr(getattr(error, "orig", None), "sqlstate", None) or _psycopg2_state(error))
    where = f"the database of table {source.table!r} at {_place(engine)}"
    kind = type(error).__name__
    if state == "57014":
        return SourceAwayError(
            f"{where} takes longer than {source.timeout.total_seconds():g} s: give the event time "
            "an index, or raise source.timeout in defs.yaml."
        )
    refused = "authentication failed" in str(error) or state.startswith(NO_ACCESS)
    passing = isinstance(error, OperationalError | InterfaceError) and not refused
    if passing and (not state or state.startswith(PASSING)):
        return SourceAwayError(
            f"{where} does not answer as expected: {kind}. Check that it runs and that "
            f"{source.url_env or 'source.url'} is right."
        )
    return SourceError(
        f"{where} does not answer as expected: {kind}. Check that "
        f"{source.url_env or 'source.url'} is right and that the user may read the table."
    )


def _psycopg2_state(error: Exception) -> str:
    return getattr(getattr(error, "orig", None), "pgcode", None) or ""


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
    _missing_file(url, where)
    try:
        return create_engine(url, poolclass=NullPool, connect_args=_patience(url, source))
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


def _missing_file(url: str, where: str) -> None:
    """Raise SourceError for a SQLite file that is not there, which SQLite would make, empty."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        found = make_url(url)
    except (ArgumentError, ValueError):
        return  # the engine says why
    path = found.database or ""
    if found.get_backend_name() != "sqlite" or path in ("", ":memory:") or path.startswith("file:"):
        return
    if not Path(path).is_file():
        raise SourceError(
            f"the SQLite file {path!r} of {where} is not there: correct the URL; a path that does "
            "not begin with / is seen from the folder in which the command runs."
        )


def _patience(url: str, source: SqlSource) -> dict[str, Any]:
    """How long the driver waits for a connection, and when it gives up a dead one."""
    from sqlalchemy import make_url

    seconds = max(1, round(source.timeout.total_seconds()))
    dialect = make_url(url).get_backend_name()
    if dialect == "postgresql":
        return {
            "connect_timeout": max(2, seconds),  # libpq takes 1 for 2
            "keepalives_idle": seconds,
            "tcp_user_timeout": 1000 * seconds,
        }
    if dialect in ("mysql", "mariadb"):
        return {"connect_timeout": seconds}
    return {"timeout": seconds} if dialect == "sqlite" else {}


def _limit(source: SqlSource, connection: Any) -> None:
    """Let the server itself stop a statement that takes too long, where it can."""
    from sqlalchemy import text

    limit = round(1000 * source.timeout.total_seconds())
    statements = {
        "postgresql": f"SET statement_timeout = {limit}",
        "mysql": f"SET SESSION max_execution_time = {limit}",
        "mariadb": f"SET SESSION max_statement_time = {limit / 1000}",
    }
    statement = statements.get(connection.dialect.name)
    if statement is not None:
        connection.execute(text(statement))


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
    from sqlalchemy import Date, DateTime

    column = table.c[event_time]
    if not isinstance(column.type, DateTime | Date):
        raise SourceError(
            f"event time {event_time!r} of table {source.table!r} has the type {column.type}, not "
            "a timestamp: use a timestamp column, or a view that makes one."
        )
    return column


def _bound(moment: datetime, column: Any) -> datetime | date:
    """A time as the column compares it: with a zone only if it has one."""
    from sqlalchemy import DateTime

    naive = moment.astimezone(UTC).replace(tzinfo=None)
    if not isinstance(column.type, DateTime):
        return first_date(naive)
    return moment if column.type.timezone else naive


def _array(source: SqlSource, column: Any, values: list[Any]) -> pa.Array:
    """The values in the type that the table declares, so that every period has the same one."""
    try:
        declared = column.type.python_type
    except NotImplementedError:
        declared = object
    try:
        if declared is datetime:
            times = [None if value is None else utc(value) for value in values]
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
