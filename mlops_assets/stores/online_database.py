"""What differs between the databases that an online store may be."""

import sqlite3
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mlops_assets.domain.errors import StoreAwayError

WRITER_SECONDS = 60.0
READER_SECONDS = 1.0


class Sqlite:
    """One file on this machine; readers never wait for the writer."""

    blob = "BLOB"
    opening = ("BEGIN IMMEDIATE",)
    snapshot = "BEGIN"

    def __init__(self, path: Path) -> None:
        self._path = path
        self.name = f"the online store {path.name}"

    def sql(self, statement: str) -> str:
        """The statement with this database's marks for parameters."""
        return statement

    def place(self) -> Hashable:
        """Which file there is; OSError if there is none. Another one takes a new connection."""
        found = self._path.stat()
        return found.st_dev, found.st_ino

    def writer(self) -> Any:
        """A connection that may write."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        connection = self._connect("rwc", WRITER_SECONDS)
        connection.execute("PRAGMA journal_mode = WAL")
        return connection

    def reader(self) -> Any:
        """A connection that only reads, and gives up soon."""
        connection = self._connect("rw", READER_SECONDS)
        connection.execute("PRAGMA query_only = ON")
        return connection

    def _connect(self, mode: str, timeout: float) -> sqlite3.Connection:
        place = f"file:{quote(str(self._path))}?mode={mode}"
        return sqlite3.connect(
            place, uri=True, timeout=timeout, isolation_level=None, check_same_thread=False
        )

    def insert(self, cursor: Any, statement: str, rows: list[tuple[Any, ...]]) -> None:
        """Run the statement for each row."""
        cursor.executemany(statement, rows)

    def is_away(self, error: Exception) -> bool:
        """Whether the error is the database's."""
        return isinstance(error, sqlite3.Error | OSError)


class Postgres:
    """A server, for replicas on several machines."""

    blob = "BYTEA"
    # Publications follow each other: two at once would write the same keys.
    opening = ("SELECT pg_advisory_xact_lock(7470211)",)
    snapshot = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"
    name = "the online store in PostgreSQL"

    def __init__(self, url: str) -> None:
        # As SQLAlchemy writes it, or as libpq does.
        self._url = url.replace("postgresql+psycopg2://", "postgresql://", 1)

    def sql(self, statement: str) -> str:
        """The statement with this database's marks for parameters."""
        return statement.replace("?", "%s")

    def place(self) -> Hashable:
        """A server's connection ends with its database."""
        return None

    def writer(self) -> Any:
        """A connection that may write."""
        return self._connect(WRITER_SECONDS)

    def reader(self) -> Any:
        """A connection that only reads, and gives up soon."""
        return self._connect(READER_SECONDS)

    def _connect(self, seconds: float) -> Any:
        import psycopg2

        limit = f"-c statement_timeout={int(seconds * 1000)}"
        return psycopg2.connect(self._url, connect_timeout=2, options=limit)

    def insert(self, cursor: Any, statement: str, rows: list[tuple[Any, ...]]) -> None:
        """Run the statement for each row."""
        from psycopg2.extras import execute_batch

        execute_batch(cursor, statement, rows, page_size=500)

    def is_away(self, error: Exception) -> bool:
        """Whether the error is the database's."""
        import psycopg2

        return isinstance(error, psycopg2.Error)


Database = Sqlite | Postgres


@contextmanager
def reported(database: Database) -> Iterator[None]:
    """What the database raises, as StoreAwayError; its text may hold addresses and is not told."""
    try:
        yield
    except Exception as error:  # each driver has errors of its own; `is_away` knows them
        if not database.is_away(error):
            raise
        raise StoreAwayError(
            f"{database.name} does not answer ({type(error).__name__}): is it there, and is "
            "MLOPS_ONLINE_URL right?"
        ) from error
