"""Delta tables: opened, read by period, and through Arrow's own access to local files."""

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.dataset as ds
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

PERIOD = "period"


def opened(path: str, schema: pa.Schema) -> DeltaTable:
    """The table, made if it is not there yet."""
    try:
        return DeltaTable(path)
    except TableNotFoundError:
        if "://" not in path:
            Path(path).mkdir(parents=True, exist_ok=True)
        partition_by = [PERIOD] if PERIOD in schema.names else None
        DeltaTable.create(path, schema=schema, mode="ignore", partition_by=partition_by)
        return DeltaTable(path)


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
    filters = None
    if periods is not None and PERIOD in delta.metadata().partition_columns:
        filters = ds.field(PERIOD).isin(pa.array(list(periods), pa.string()))
    return delta.to_pyarrow_table(
        filters=filters, columns=list(columns) if columns else None, filesystem=local_files(delta)
    )


def local_files(delta: DeltaTable) -> SubTreeFileSystem | None:
    """Arrow's own access to a table in local files; None for object storage.

    Delta's own reader calls Python from Arrow's threads, and a process that ends meanwhile
    aborts; Arrow's reader of local files does not.
    """
    root = urlsplit(delta.table_uri)
    if root.scheme not in ("", "file"):
        return None
    return SubTreeFileSystem(unquote(root.path), LocalFileSystem())
