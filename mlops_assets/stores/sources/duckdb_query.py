"""Rows of a query that DuckDB runs in this process; the stretch is part of what it optimises."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Timer
from typing import Any

import pyarrow as pa

from mlops_assets.domain.errors import SourceAwayError, SourceError
from mlops_assets.spec.source import ADDRESS, S3, DuckdbSource
from mlops_assets.stores.sources.places import PASSING, s3
from mlops_assets.stores.sources.reader import require
from mlops_assets.stores.sources.times import first_date, utc
from mlops_assets.stores.sources.web_files import WebFiles


@dataclass(frozen=True)
class DuckdbQuery:
    """One SELECT over files."""

    source: DuckdbSource
    folder: Path

    def column_names(self) -> tuple[str, ...]:
        """The columns of the query's result."""
        with self._running() as connection:
            return tuple(self._columns(connection))

    def texts(self, column: str, rows: int) -> list[str]:
        """The first values of a column, as text."""
        name = _quoted(column)
        with self._running() as connection:
            query = f"SELECT {name}::VARCHAR FROM ({self._query}) WHERE {name} IS NOT NULL"  # noqa: S608
            return [text for (text,) in connection.execute(f"{query} LIMIT {rows}").fetchall()]

    def read(
        self, columns: Sequence[str], event_time: str, start: datetime, end: datetime
    ) -> pa.Table:
        """Rows of the stretch."""
        with self._running() as connection:
            found = self._columns(connection)
            require(columns, found, "the query")
            kind, moment = found[event_time], _quoted(event_time)
            names = ", ".join(map(_quoted, columns))
            return connection.sql(
                f"SELECT {names} FROM ({self._query}) WHERE {moment} >= ? AND {moment} < ?",  # noqa: S608
                params=[_bound(start, kind, event_time), _bound(end, kind, event_time)],
            ).to_arrow_table()

    def timeless(self, event_time: str) -> int | None:
        """Counted by the query."""
        with self._running() as connection:
            moment = _quoted(event_time)
            query = f"SELECT count(*) FROM ({self._query}) WHERE {moment} IS NULL"  # noqa: S608
            (count,) = connection.execute(query).fetchone()
        return int(count)

    def newest(self, event_time: str, until: datetime) -> datetime | None:
        """The newest event time before `until`."""
        with self._running() as connection:
            found = self._columns(connection)
            require([event_time], found, "the query")
            moment = _quoted(event_time)
            row = connection.execute(
                f"SELECT max({moment}) FROM ({self._query}) WHERE {moment} < ?",  # noqa: S608
                [_bound(until, found[event_time], event_time)],
            ).fetchone()
        return None if row[0] is None else utc(row[0])

    @property
    def _query(self) -> str:
        return self.source.query.strip().rstrip(";")

    def _columns(self, connection: Any) -> dict[str, str]:
        """Names and types, from the files' headers."""
        import duckdb

        statements = connection.extract_statements(self.source.query)
        if [one.type for one in statements] != [duckdb.StatementType.SELECT]:
            raise SourceError(
                "source.query must be one SELECT statement, whose rows the model reads: correct "
                "it in defs.yaml."
            )
        rows = connection.execute(f"DESCRIBE {self._query}").fetchall()
        return {row[0]: row[1] for row in rows}

    @contextmanager
    def _running(self) -> Iterator[Any]:
        """A database in memory that is interrupted when the source's time is over."""
        try:
            import duckdb
        except ImportError:
            raise SourceError(
                "a duckdb source needs the package duckdb, which is not installed: "
                "pip install 'mlops_assets[duckdb]'."
            ) from None
        connection = duckdb.connect(":memory:")
        seconds = self.source.timeout.total_seconds()
        limit = _Limit(seconds, connection.interrupt)
        web = WebFiles(limit.spared(self._copy))
        try:
            self._prepare(connection, web)
            limit.start()
            yield connection
        except duckdb.InterruptException as error:
            raise SourceAwayError(
                f"DuckDB's query takes longer than {seconds:g} s: let it read less, or raise "
                "source.timeout in defs.yaml."
            ) from error
        except (duckdb.Error, OSError) as error:
            if web.failure is not None:
                raise web.failure from error
            away = isinstance(error, OSError) and not isinstance(error, duckdb.Error)
            if away or isinstance(error, duckdb.IOException) or PASSING.search(str(error)):
                raise SourceAwayError(
                    f"DuckDB cannot reach the files of source.query: {_last_line(error)}. File "
                    "names are relative to the folder of the defs.yaml; s3:// needs the AWS "
                    "variables of the environment."
                ) from error
            raise SourceError(
                f"DuckDB cannot run source.query: {error}. Correct it in defs.yaml."
            ) from error
        finally:
            limit.stop()
            connection.close()

    def _copy(self, address: str) -> Path:
        from mlops_assets.stores.sources.copies import copy_of
        from mlops_assets.stores.sources.web import WebFile

        return copy_of(WebFile(address, self.source.timeout)).path

    def _prepare(self, connection: Any, web: WebFiles) -> None:
        # Nothing is fetched from DuckDB's servers: S3 and the web are reached as for other kinds.
        connection.execute("SET autoinstall_known_extensions = false")
        connection.execute("SET autoload_known_extensions = false")
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET file_search_path = ?", [str(self.folder.resolve())])
        if S3 in self.source.query:
            from fsspec.implementations.arrow import ArrowFSWrapper

            connection.register_filesystem(ArrowFSWrapper(s3(self.source.timeout)))
        if ADDRESS.search(self.source.query):
            connection.register_filesystem(web)


class _Limit:
    """A query's time, which stands still while a file is downloaded."""

    def __init__(self, seconds: float, interrupt: Callable[[], None]) -> None:
        self._seconds, self._interrupt = seconds, interrupt
        self._clock: Timer | None = None

    def start(self) -> None:
        """Interrupt the query in so many seconds from now."""
        self._clock = Timer(self._seconds, self._interrupt)
        self._clock.daemon = True
        self._clock.start()

    def stop(self) -> None:
        """Let the query be."""
        if self._clock is not None:
            self._clock.cancel()

    def spared(self, fetch: Callable[[str], Path]) -> Callable[[str], Path]:
        """`fetch`, whose time is not the query's."""

        def fetched(address: str) -> Path:
            self.stop()
            try:
                return fetch(address)
            finally:
                self.start()

        return fetched


def _last_line(error: Exception) -> str:
    """The message; of an error within a file system of Python, past its traceback."""
    text = str(error).strip()
    return text.splitlines()[-1] if "Traceback" in text else text


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _bound(moment: datetime, kind: str, event_time: str) -> Any:
    """A time as the column compares it."""
    naive = moment.astimezone(UTC).replace(tzinfo=None)
    if kind == "DATE":
        return first_date(naive)
    if kind.startswith("TIMESTAMP"):
        return moment.astimezone(UTC) if "TIME ZONE" in kind else naive
    raise SourceError(
        f"the event time {event_time!r} of source.query is {kind}, not a timestamp: cast it in the "
        f"query, as {event_time}::TIMESTAMP."
    )
