"""The lake: one Delta table per model and kind of data, cut by period.

Delta gives atomic commits and old versions; this module adds what the loop needs: a period is
written once per content, and an append identified by its source happens once.
"""

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import pyarrow as pa
import pyarrow.dataset as ds
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError

from mlops_assets.stores.delta_tables import (
    PERIOD,
    arrow_schema,
    by_period,
    create,
    local_files,
    read_rows,
)
from mlops_assets.stores.tables import content_hash, extended, fitted, holds_same, storable

__all__ = ["PERIOD", "Held", "Lake", "Written", "content_hash"]

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
        return self.write_periods(model, table, {period: rows})[period]

    def write_periods(
        self, model: str, table: str, rows: Mapping[str, pa.Table]
    ) -> dict[str, Written]:
        """Make each table the content of its period, all of them in one commit.

        See `write_period`. After an error no period has changed.
        """
        labelled = {period: _labelled(part, period) for period, part in rows.items()}
        # What types a new column has is told best by the period with the most rows.
        schemas = [part.schema for part in sorted(labelled.values(), key=lambda part: -len(part))]

        def write(delta: DeltaTable) -> dict[str, Written]:
            types = extended(arrow_schema(delta), schemas)
            new = {period: fitted(part, types, table) for period, part in labelled.items()}
            current = by_period(read_rows(delta, periods=list(new)), new)
            written = {}
            for period, part in new.items():
                content = part.drop_columns([PERIOD])
                digest = content_hash(content)
                changed = not holds_same(content, digest, current[period], PERIOD)
                written[period] = Written(digest, part.num_rows, changed)
            parts = [new[period] for period in new if written[period].changed]
            if parts:
                changes = ", ".join(f"'{p}'" for p in new if written[p].changed)
                write_deltalake(
                    delta,
                    pa.concat_tables(parts, promote_options="default"),
                    mode="overwrite",
                    predicate=f"{PERIOD} IN ({changes})",
                    schema_mode="merge",
                )
            return written

        return self._commit(model, table, schemas[0], write) if schemas else {}

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
                fitted(rows, arrow_schema(delta), table),
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
        return read_rows(delta, periods=periods, columns=columns)

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
        rows = delta.to_pyarrow_dataset(filesystem=local_files(delta), parquet_read_options=options)
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
        fields = arrow_schema(DeltaTable(self.path(model, table)))
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
                # Of several that make it at once, all but one lose; then it is there.
                if not DeltaTable.is_deltatable(path):
                    create(path, schema)
                return write(DeltaTable(path))
            except CommitFailedError:
                if attempt == ATTEMPTS:
                    raise
        raise AssertionError("unreachable")


def _labelled(rows: pa.Table, period: str) -> pa.Table:
    """Storable rows with the key of their period."""
    rows = storable(rows.drop_columns([PERIOD]) if PERIOD in rows.column_names else rows)
    return rows.append_column(PERIOD, pa.repeat(pa.scalar(period, pa.string()), rows.num_rows))
