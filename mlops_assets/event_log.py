"""Dagster's event log in SQLite, with connections that stay open.

Dagster opens a database for every event, and SQLite writes its whole log back each time the last
connection to it is closed: several waits for the disk per event, instead of one per commit. Here
the databases written last stay open, and events that Dagster hands over together, as those of a run
over many periods, share a commit. What is stored, and who may read it meanwhile, are Dagster's own.
"""

import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from dagster._core.events import ASSET_EVENTS
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from sqlalchemy import Connection, Engine, create_engine

# Runs each have a database of their own; besides there is one for all of them.
OPEN_DATABASES = 8


class OpenSqliteEventLog(SqliteEventLogStorage):
    """`SqliteEventLogStorage`, the same files, faster."""

    def __init__(self, base_dir: str, inst_data: Any = None) -> None:
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        self._tables: set[str] = set()
        super().__init__(base_dir, inst_data)

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> "OpenSqliteEventLog":
        """Made from dagster.yaml."""
        return cls(inst_data=inst_data, **config_value)

    def store_event(self, event: EventLogEntry) -> None:
        """Store it, and let a UI that watches the run's file know."""
        super().store_event(event)
        os.utime(self.path_for_shard(event.run_id))

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store events of assets in one transaction per database, the others one by one."""
        together = [event for event in events if _is_of_an_asset(event)]
        for run in dict.fromkeys(event.run_id for event in together):
            self._store_together(run, [event for event in together if event.run_id == run])
        for event in events:
            if not _is_of_an_asset(event):
                self.store_event(event)

    def _store_together(self, run: str, events: Sequence[EventLogEntry]) -> None:
        rows = [self._event_to_row(event) for event in events]
        insert = SqlEventLogStorageTable.insert()
        with self.run_connection(run) as connection:
            connection.execute(insert, rows)
        with self.index_transaction() as connection:
            ids = [_inserted(connection.execute(insert, row)) for row in rows]
            self._store_asset_event_tags(connection, events, ids)
            # What is kept per asset is of its last event of each kind.
            last = {(row["asset_key"], row["dagster_event_type"]): n for n, row in enumerate(rows)}
            for place in sorted(last.values()):
                self._store_asset_event(connection, events[place], ids[place])
        os.utime(self.path_for_shard(run))

    def has_table(self, table_name: str) -> bool:
        """Whether there is such a table; one that was seen once is not looked for again."""
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

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


def _is_of_an_asset(event: EventLogEntry) -> bool:
    return (
        event.is_dagster_event
        and event.dagster_event_type in ASSET_EVENTS
        and event.get_dagster_event().asset_key is not None
    )


def _inserted(result: Any) -> int:
    """The id of the row that an INSERT made."""
    return int(result.inserted_primary_key[0])
