"""Dagster's event log in SQLite, with connections that stay open.

Dagster opens a database for every event, and SQLite writes its whole log back each time the last
connection to it is closed: several waits for the disk per event, instead of one per commit. Here
the databases written last stay open. What is stored, when it is safe on disk, and who may read it
meanwhile are Dagster's own.
"""

import os
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from sqlalchemy import Connection, Engine, create_engine

# Runs each have a database of their own; besides there is one for all of them.
OPEN_DATABASES = 8


class OpenSqliteEventLog(SqliteEventLogStorage):
    """`SqliteEventLogStorage`, the same files, faster."""

    def __init__(self, base_dir: str, inst_data: Any = None) -> None:
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        super().__init__(base_dir, inst_data)

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> "OpenSqliteEventLog":
        """Made from dagster.yaml."""
        return cls(inst_data=inst_data, **config_value)

    def store_event(self, event: EventLogEntry) -> None:
        """Store it, and let a UI that watches the run's file know."""
        super().store_event(event)
        os.utime(self.path_for_shard(event.run_id))

    def dispose(self) -> None:
        """Close all databases."""
        with self._db_lock:
            while self._engines:
                self._engines.popitem()[1].dispose()
        super().dispose()

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock, self._engine(shard).connect() as connection, connection.begin():
            yield connection

    def _engine(self, shard: str) -> Engine:
        """The database's engine; the one that was not used for longest is closed for a new one."""
        engine = self._engines.get(shard)
        if engine is None:
            engine = create_engine(
                self.conn_string_for_shard(shard),
                pool_size=1,
                max_overflow=2,  # setting a database up takes more than one
                connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS},
            )
            self._initdb(engine)
            self._engines[shard] = engine
        self._engines.move_to_end(shard)
        if len(self._engines) > OPEN_DATABASES:
            self._engines.popitem(last=False)[1].dispose()
        return engine
