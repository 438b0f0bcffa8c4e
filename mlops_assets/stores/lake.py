"""The lake: one Delta table per model and kind of data, cut by period.

Delta gives atomic commits and old versions; this module adds what the loop needs: a period is
written once per content, and an append identified by its source happens once.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake

PERIOD = "period"


@dataclass(frozen=True)
class Written:
    """What became of a write: the content's hash, and whether the table had to change."""

    content_hash: str
    rows: int
    changed: bool


def content_hash(rows: pa.Table) -> str:
    """Hex digest of the names, types and values of a table; chunking does not count."""
    digest = hashlib.sha256()
    table = rows.combine_chunks()
    for field in table.schema:
        digest.update(f"{field.name}:{field.type};".encode())
        column = table[field.name]
        for chunk in column.chunks:
            _digest_array(digest, chunk)
    return digest.hexdigest()


def _digest_array(digest: Any, array: pa.Array) -> None:
    # A round trip through IPC drops offsets and padding that equal arrays may differ in.
    batch = pa.record_batch([array], names=["x"])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    digest.update(sink.getvalue())


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
        """Make `rows` the content of the period, in one commit; equal content changes nothing."""
        rows = _storable(rows.drop_columns([PERIOD]) if PERIOD in rows.column_names else rows)
        digest = content_hash(rows)
        if self.exists(model, table):
            current = self.read(model, table, periods=[period])
            same = current.drop_columns([PERIOD]) if PERIOD in current.column_names else current
            if same.schema.equals(rows.schema) and content_hash(same) == digest:
                return Written(digest, rows.num_rows, changed=False)
        labelled = rows.append_column(PERIOD, pa.array([period] * rows.num_rows, pa.string()))
        self._ensure(model, table, labelled.schema)
        write_deltalake(
            self.path(model, table),
            labelled,
            mode="overwrite",
            predicate=f"{PERIOD} = '{period}'",
            schema_mode="merge",
        )
        return Written(digest, rows.num_rows, changed=True)

    def append_once(
        self, model: str, table: str, rows: pa.Table, *, source: str, position: int
    ) -> bool:
        """Append `rows` that end at `position` of `source`, unless that has happened already."""
        rows = _storable(rows)
        if self.position(model, table, source) >= position:
            return False
        self._ensure(model, table, rows.schema)
        write_deltalake(
            self.path(model, table),
            rows,
            mode="append",
            schema_mode="merge",
            commit_properties=CommitProperties(app_transactions=[Transaction(source, position)]),
        )
        return True

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
        partitions = None
        if periods is not None and PERIOD in delta.metadata().partition_columns:
            partitions = [(PERIOD, "in", list(periods))]
        return delta.to_pyarrow_table(
            partitions=partitions, columns=list(columns) if columns else None
        )

    def schema(self, model: str, table: str) -> dict[str, str]:
        """Names and types of the table's columns; empty if nothing was ever written."""
        if not self.exists(model, table):
            return {}
        fields = DeltaTable(self.path(model, table)).schema().fields
        return {field.name: str(field.type) for field in fields}

    def periods(self, model: str, table: str) -> tuple[str, ...]:
        """Keys of the periods that hold rows, oldest first."""
        if not self.exists(model, table):
            return ()
        found = DeltaTable(self.path(model, table)).partitions()
        return tuple(sorted({str(partition[PERIOD]) for partition in found}))

    def _ensure(self, model: str, table: str, schema: pa.Schema) -> None:
        path = self.path(model, table)
        if "://" not in path:
            Path(path).mkdir(parents=True, exist_ok=True)
        DeltaTable.create(
            path,
            schema=schema,
            mode="ignore",
            partition_by=[PERIOD] if PERIOD in schema.names else None,
        )


def _storable(rows: pa.Table) -> pa.Table:
    """Types that survive a round trip: microseconds in UTC, plain strings, no dictionaries."""
    columns = []
    fields = []
    for field in rows.schema:
        column = rows[field.name]
        kind = field.type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        if pa.types.is_timestamp(kind):
            kind = pa.timestamp("us", tz="UTC")
        elif (
            pa.types.is_large_string(kind)
            or pa.types.is_string_view(kind)
            or pa.types.is_null(kind)
        ):
            kind = pa.string()
        elif pa.types.is_float16(kind):
            kind = pa.float32()
        elif pa.types.is_unsigned_integer(kind):
            kind = pa.int64()
        columns.append(pc.cast(column, kind))
        fields.append(pa.field(field.name, kind))
    return pa.table(columns, schema=pa.schema(fields))
