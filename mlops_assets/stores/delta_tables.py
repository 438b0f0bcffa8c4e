"""Delta tables: opened, read by period, and through Arrow's own access to local files."""

from collections.abc import Collection, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pyarrow as pa
from deltalake import DeltaTable
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

PERIOD = "period"
# Rows are found by their period. Statistics of every column in every file would only make the
# log, which is read and written as a whole, several times as long (docs/adr/0023).
CONFIGURATION = {"delta.dataSkippingNumIndexedCols": "0"}


def create(path: str, schema: pa.Schema) -> None:
    """Make the table, unless it is there already."""
    if "://" not in path:
        Path(path).mkdir(parents=True, exist_ok=True)
    partition_by = [PERIOD] if PERIOD in schema.names else None
    DeltaTable.create(
        path,
        schema=schema,
        mode="ignore",
        partition_by=partition_by,
        configuration=CONFIGURATION,
    )


def arrow_schema(delta: DeltaTable) -> pa.Schema:
    """The table's columns in Arrow's types."""
    return pa.schema(delta.schema().to_arrow())


def read_rows(
    delta: DeltaTable,
    *,
    periods: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
) -> pa.Table:
    """Rows of these periods (all by default), with these columns (all by default)."""
    chosen: Any = None
    if periods is not None and PERIOD in delta.metadata().partition_columns:
        # Of other periods' files not even the names are handled, which may be many.
        chosen = [(PERIOD, "in", list(periods))]
    found = delta.to_pyarrow_dataset(file_pruning_predicate=chosen, filesystem=local_files(delta))
    return found.to_table(columns=list(columns) if columns else None)


def by_period(rows: pa.Table, periods: Collection[str]) -> dict[str, pa.Table]:
    """The rows of each of these periods, in the order that they have."""
    coded = rows[PERIOD].combine_chunks().dictionary_encode()
    codes = coded.indices.to_numpy(zero_copy_only=False)
    edges = [0, *(np.flatnonzero(np.diff(codes)) + 1), len(codes)]
    parts: dict[str, list[pa.Table]] = {period: [] for period in periods}
    for start, end in pairwise(edges):
        if end > start:
            parts[coded[int(start)].as_py()].append(rows.slice(start, end - start))
    empty = rows.slice(0, 0)
    return {period: pa.concat_tables(own) if own else empty for period, own in parts.items()}


def local_files(delta: DeltaTable) -> SubTreeFileSystem | None:
    """Arrow's own access to a table in local files; None for object storage.

    Delta's own reader calls Python from Arrow's threads, and a process that ends meanwhile
    aborts; Arrow's reader of local files does not.
    """
    root = urlsplit(delta.table_uri)
    if root.scheme not in ("", "file"):
        return None
    return SubTreeFileSystem(unquote(root.path), LocalFileSystem())
