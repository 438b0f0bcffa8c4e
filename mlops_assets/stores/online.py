"""The online store: recent events of each key, published for those who answer requests.

One publication replaces all that is there of a model, in one transaction, so a reader sees the one
before or the new one. SQLite (write-ahead log: readers never wait for the writer) on one machine,
PostgreSQL for several. Readers import neither pandas nor SQLAlchemy: plain SQL over the DB-API.
"""

import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from mlops_assets.stores.online_database import Database, Postgres, Sqlite, reported

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS history_published ("
    "model TEXT PRIMARY KEY, since BIGINT, until BIGINT NOT NULL, keys BIGINT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS history_events ("
    "model TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, events {blob} NOT NULL, "
    "PRIMARY KEY (model, kind, name))",
)
# Written for SQLite; PostgreSQL has another mark for parameters.
DELETE_EVENTS = "DELETE FROM history_events WHERE model = ?"
DELETE_PUBLISHED = "DELETE FROM history_published WHERE model = ?"
INSERT_EVENTS = "INSERT INTO history_events VALUES (?, ?, ?, ?)"
INSERT_PUBLISHED = "INSERT INTO history_published VALUES (?, ?, ?, ?)"
PUBLISHED = "SELECT since, until, keys FROM history_published WHERE model = ?"
EVENTS = "SELECT name, events FROM history_events WHERE model = ? AND kind = ? AND name IN (?{})"
# Most keys that one statement asks for.
CHUNK = 500
SQLITE = "sqlite:///"


@dataclass(frozen=True)
class KeyHistory:
    """The events of one key, in order of time.

    `times` are int64 microseconds since 1970; `values` are float64 by column; `known` tells for
    columns that come later when each value was known, int64.
    """

    times: np.ndarray
    values: Mapping[str, np.ndarray] = field(default_factory=dict)
    known: Mapping[str, np.ndarray] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """As the store keeps it."""
        return msgspec.msgpack.encode(
            {
                "times": self.times.astype("<i8").tobytes(),
                "values": {n: v.astype("<f8").tobytes() for n, v in self.values.items()},
                "known": {n: v.astype("<i8").tobytes() for n, v in self.known.items()},
            }
        )

    @classmethod
    def from_bytes(cls, raw: bytes) -> "KeyHistory":
        """What `to_bytes` wrote."""
        found = msgspec.msgpack.decode(raw)
        return cls(
            np.frombuffer(found["times"], "<i8"),
            {name: np.frombuffer(v, "<f8") for name, v in found["values"].items()},
            {name: np.frombuffer(v, "<i8") for name, v in found["known"].items()},
        )


@dataclass(frozen=True)
class Published:
    """What is published of a model: all events of [since, until), in microseconds since 1970.

    `since` is None where no event is older than what is there.
    """

    since: int | None
    until: int
    keys: int


class OnlineStore:
    """The store behind a URL: `sqlite:///path` or `postgresql://…`. Safe to share by threads."""

    def __init__(self, url: str) -> None:
        self._database: Database = (
            Sqlite(Path(url.removeprefix(SQLITE))) if url.startswith(SQLITE) else Postgres(url)
        )
        self._local = threading.local()

    @property
    def is_remote(self) -> bool:
        """Whether a look-up goes over the network, and may keep others waiting."""
        return isinstance(self._database, Postgres)

    def publish(
        self,
        model: str,
        histories: Iterable[tuple[str, str, KeyHistory]],
        *,
        since: int | None,
        until: int,
    ) -> Published:
        """Make these (kind of key, key, events) all that is there of a model.

        Raises StoreAwayError, and changes nothing, where the store does not take it.
        """
        rows = [(model, kind, name, one.to_bytes()) for kind, name, one in histories]
        database = self._database
        with reported(database), closing(database.writer()) as connection:
            cursor = connection.cursor()
            for statement in (*database.opening, *SCHEMA):
                cursor.execute(statement.format(blob=database.blob))
            cursor.execute(database.sql(DELETE_EVENTS), (model,))
            database.insert(cursor, database.sql(INSERT_EVENTS), rows)
            cursor.execute(database.sql(DELETE_PUBLISHED), (model,))
            cursor.execute(database.sql(INSERT_PUBLISHED), (model, since, until, len(rows)))
            connection.commit()
        return Published(since, until, len(rows))

    def published(self, model: str) -> Published | None:
        """What is there of a model, if anything; StoreAwayError where the store does not answer."""
        with self._reading() as cursor:
            return self._published(cursor, model)

    def read(
        self, model: str, wanted: Mapping[str, Collection[str]]
    ) -> tuple[Published | None, dict[tuple[str, str], KeyHistory]]:
        """The histories of these keys, by kind and key; unknown ones are left out.

        Raises StoreAwayError where the store does not answer.
        """
        found: dict[tuple[str, str], KeyHistory] = {}
        with self._reading() as cursor:
            state = self._published(cursor, model)
            for kind, names in wanted.items() if state else ():
                ordered = list(names)
                for start in range(0, len(ordered), CHUNK):
                    part = ordered[start : start + CHUNK]
                    statement = EVENTS.format(", ?" * (len(part) - 1))
                    cursor.execute(self._database.sql(statement), (model, kind, *part))
                    for name, raw in cursor.fetchall():
                        found[kind, name] = KeyHistory.from_bytes(bytes(raw))
        return state, found

    def _published(self, cursor: Any, model: str) -> Published | None:
        cursor.execute(self._database.sql(PUBLISHED), (model,))
        row = cursor.fetchone()
        return Published(*row) if row else None

    @contextmanager
    def _reading(self) -> Iterator[Any]:
        """A cursor on this thread's connection, in one transaction."""
        with reported(self._database):
            connection = self._connected()
            try:
                cursor = connection.cursor()
                cursor.execute(self._database.snapshot)
                yield cursor
                connection.rollback()
            except Exception:
                # Whatever is wrong with a connection, the next one may be well.
                self._local.opened = None
                connection.close()
                raise

    def _connected(self) -> Any:
        """This thread's connection to the database that there is now."""
        # SQLite itself would read on from a file that was moved away or replaced.
        place = self._database.place()
        opened = getattr(self._local, "opened", None)
        if opened is not None and opened[1] != place:
            opened[0].close()
            opened = None
        if opened is None:
            opened = self._local.opened = (self._database.reader(), place)
        return opened[0]
