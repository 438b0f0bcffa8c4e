"""The lake: one Delta table per model and kind of data, cut by period.

Delta gives atomic commits and old versions; this module adds what the loop needs: a period is
written once per content, and an append identified by its source happens once.
"""

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.dataset as ds
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, TableNotFoundError
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

from mlops_assets.stores.tables import content_hash, fitted, holds_same, storable

__all__ = ["PERIOD", "Held", "Lake", "Written", "content_hash"]

PERIOD = "period"
# Commits of others that one write may meet in a row before it gives up.
ATTEMPTS = 10
BATCH_ROWS = 65_536

Result = TypeVar("Result")


@dataclass(frozen=True)
class Written:
    """What became of a write: the content's hash, and whether the table had to change."""

    content_hash: str
    rows: int
    changed: bool


@dataclass(frozen=True)
class Held:
    """What a table holds of a period: rows, and a digest that changes when they are rewritten."""

    rows: int
    digest: str


@dataclass(frozen=True)
class Lake:
    """All tables under one root, a folder or an object storage URI."""

    root: str

    def path(self, model: str, table: str) -> str:
        """Where a table lives."""
        return f"{self.root.rstrip('/')}/{model}/{table}"

    def exists(self, model: str, table: str) -> bool:
        """Whether anything was ever written to the table."""
        return DeltaTable.is_deltatable(self.path(model, table))

    def version(self, model: str, table: str) -> int:
        """The table's newest version."""
        return int(DeltaTable(self.path(model, table)).version())

    def write_period(self, model: str, table: str, period: str, rows: pa.Table) -> Written:
        """Make `rows` the content of the period, in one commit; equal content changes nothing.

        Columns get the types that the table has. Raises DataError for values that do not fit.
        """
        rows = storable(rows.drop_columns([PERIOD]) if PERIOD in rows.column_names else rows)
        labelled = rows.append_column(PERIOD, pa.array([period] * rows.num_rows, pa.string()))

        def write(delta: DeltaTable) -> Written:
            new = fitted(labelled, _schema(delta), table)
            content = new.drop_columns([PERIOD])
            current = _rows(delta, periods=[period])
            changed = not holds_same(content, current, PERIOD)
            written = Written(content_hash(content), rows.num_rows, changed)
            if not changed:
                return written
            write_deltalake(
                delta,
                new,
                mode="overwrite",
                predicate=f"{PERIOD} = '{period}'",
                schema_mode="merge",
            )
            return written

        return self._commit(model, table, labelled.schema, write)

    def append_once(
        self, model: str, table: str, rows: pa.Table, *, source: str, position: int
    ) -> bool:
        """Append `rows` that end at `position` of `source`, unless that has happened already."""
        rows = storable(rows)

        def write(delta: DeltaTable) -> bool:
            if int(delta.transaction_version(source) or 0) >= position:
                return False
            write_deltalake(
                delta,
                fitted(rows, _schema(delta), table),
                mode="append",
                schema_mode="merge",
                commit_properties=CommitProperties(
                    app_transactions=[Transaction(source, position)]
                ),
            )
            return True

        return self._commit(model, table, rows.schema, write)

    def position(self, model: str, table: str, source: str) -> int:
        """How far `source` has been appended; 0 if never."""
        if not self.exists(model, table):
            return 0
        return int(DeltaTable(self.path(model, table)).transaction_version(source) or 0)

    def read(
        self,
        model: str,
        table: str,
        *,
        periods: Sequence[str] | None = None,
        version: int | None = None,
        columns: Sequence[str] | None = None,
    ) -> pa.Table:
        """Rows of these periods (all of them by default), as of `version` (the newest)."""
        delta = DeltaTable(self.path(model, table), version=version)
        return _rows(delta, periods=periods, columns=columns)

    def batches(
        self,
        model: str,
        table: str,
        *,
        periods: Sequence[str],
        columns: Sequence[str],
        where: ds.Expression | None = None,
        dictionaries: Collection[str] = (),
    ) -> Iterator[pa.RecordBatch]:
        """The rows of these periods that satisfy `where`, batch by batch, in flat memory.

        Text columns named in `dictionaries` stay coded as the files hold them. The order of rows
        and the cut into batches mean nothing.
        """
        delta = DeltaTable(self.path(model, table))
        options = ds.ParquetReadOptions(dictionary_columns=set(dictionaries))
        rows = delta.to_pyarrow_dataset(filesystem=_local(delta), parquet_read_options=options)
        chosen = ds.field(PERIOD).isin(pa.array(list(periods), pa.string()))
        # File by file: over all of them at once Arrow reads up to a gigabyte ahead.
        for file in rows.get_fragments(filter=chosen):
            yield from file.to_batches(
                schema=rows.schema,
                columns=list(columns),
                filter=chosen if where is None else chosen & where,
                batch_size=BATCH_ROWS,
                batch_readahead=2,
            )

    def schema(self, model: str, table: str) -> dict[str, str]:
        """Names and Arrow types of the table's columns; empty if nothing was ever written."""
        if not self.exists(model, table):
            return {}
        fields = _schema(DeltaTable(self.path(model, table)))
        return {field.name: str(field.type) for field in fields}

    def periods(self, model: str, table: str) -> tuple[str, ...]:
        """Keys of the periods that hold rows, oldest first."""
        if not self.exists(model, table):
            return ()
        found = DeltaTable(self.path(model, table)).partitions()
        return tuple(sorted({str(partition[PERIOD]) for partition in found}))

    def held(self, model: str, table: str) -> dict[str, Held]:
        """What the table holds of each period, oldest first, from its log alone.

        Equal content under another digest is possible, as after a compaction; not the reverse.
        """
        if not self.exists(model, table):
            return {}
        files = pa.table(DeltaTable(self.path(model, table)).get_add_actions(flatten=True))
        names = [f"partition.{PERIOD}", "path", "num_records"]
        found: dict[str, list[tuple[str, int]]] = {}
        for period, path, rows in zip(*(files[name].to_pylist() for name in names), strict=True):
            found.setdefault(str(period), []).append((str(path), int(rows)))
        return {
            period: Held(
                sum(rows for _, rows in found[period]),
                hashlib.sha256("\n".join(sorted(p for p, _ in found[period])).encode()).hexdigest(),
            )
            for period in sorted(found)
        }

    def _commit(
        self, model: str, table: str, schema: pa.Schema, write: Callable[[DeltaTable], Result]
    ) -> Result:
        """Run `write` on one snapshot of the table; again if another commit came in between.

        Reading and writing the same snapshot lets Delta see every conflict.
        """
        path = self.path(model, table)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return write(_opened(path, schema))
            except CommitFailedError:
                if attempt == ATTEMPTS:
                    raise
        raise AssertionError("unreachable")


def _opened(path: str, schema: pa.Schema) -> DeltaTable:
    """The table, made if it is not there yet."""
    try:
        return DeltaTable(path)
    except TableNotFoundError:
        if "://" not in path:
            Path(path).mkdir(parents=True, exist_ok=True)
        partition_by = [PERIOD] if PERIOD in schema.names else None
        DeltaTable.create(path, schema=schema, mode="ignore", partition_by=partition_by)
        return DeltaTable(path)


def _schema(delta: DeltaTable) -> pa.Schema:
    return pa.schema(delta.schema().to_arrow())


def _rows(
    delta: DeltaTable,
    *,
    periods: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
) -> pa.Table:
    filters = None
    if periods is not None and PERIOD in delta.metadata().partition_columns:
        filters = ds.field(PERIOD).isin(pa.array(list(periods), pa.string()))
    return delta.to_pyarrow_table(
        filters=filters, columns=list(columns) if columns else None, filesystem=_local(delta)
    )


def _local(delta: DeltaTable) -> SubTreeFileSystem | None:
    """Arrow's own access to a table in local files; None for object storage.

    Delta's own reader calls Python from Arrow's threads, and a process that ends meanwhile
    aborts; Arrow's reader of local files does not.
    """
    root = urlsplit(delta.table_uri)
    if root.scheme not in ("", "file"):
        return None
    return SubTreeFileSystem(unquote(root.path), LocalFileSystem())
