"""What is scored: Parquet files, folders of them or Delta tables, cut into parts.

A part is a run of whole row groups, so it can be read by itself, again, and on another machine.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.dataset as ds

from mlops_assets.domain.errors import DataError

# Small enough that a killed run loses seconds, large enough that a part's fixed cost is nothing.
PART_ROWS = 250_000
# Rows in memory at a time, for each thread that scores. 64k rows of 20 columns are 10 MB.
BATCH_ROWS = 65_536


@dataclass(frozen=True)
class Part:
    """A run of row groups; `first_row` counts from the start of the input."""

    index: int
    pieces: tuple[Any, ...]
    first_row: int
    rows: int

    @property
    def name(self) -> str:
        """File name of its predictions."""
        return f"part-{self.index:05d}.parquet"

    def batches(self, schema: pa.Schema, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """The rows in order; columns that a file lacks are null."""
        for piece in self.pieces:
            yield from piece.to_batches(
                schema=schema,
                columns=list(columns),
                batch_size=BATCH_ROWS,
                batch_readahead=2,
                fragment_readahead=1,
            )


@dataclass(frozen=True)
class BatchInput:
    """An opened input. `identity` changes when its content may have changed."""

    path: str
    kind: str
    schema: pa.Schema
    parts: tuple[Part, ...]
    rows: int
    identity: str


def open_input(path: str, categories: Sequence[str] = (), part_rows: int = PART_ROWS) -> BatchInput:
    """Open a Parquet file, a folder of Parquet files, or a Delta table in its newest version.

    Text in the columns `categories` is read with its dictionary, which it has in the file. Raises
    DataError for anything else, and for an input without rows.
    """
    try:
        delta = _is_delta(path)
        dataset = _delta(path, categories) if delta else _parquet(path, categories)
        fragments = sorted(dataset.get_fragments(), key=lambda fragment: str(fragment.path))
        facts = [_facts(fragment, delta) for fragment in fragments]
        parts = tuple(_parts(fragments, part_rows))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as Parquet or Delta: {error}") from error
    rows = sum(part.rows for part in parts)
    if not rows:
        raise DataError(f"{path} has no rows.")
    schema = dataset.schema.remove_metadata()
    content = json.dumps([str(schema), facts], sort_keys=True)
    return BatchInput(
        path=path,
        kind="delta" if delta else "parquet",
        schema=schema,
        parts=parts,
        rows=rows,
        identity=hashlib.sha256(content.encode()).hexdigest(),
    )


def _is_delta(path: str) -> bool:
    if "://" not in path:
        return (Path(path) / "_delta_log").is_dir()
    from deltalake import DeltaTable

    return bool(DeltaTable.is_deltatable(path))


def _parquet(path: str, categories: Sequence[str]) -> Any:
    if "://" not in path and not Path(path).exists():
        raise DataError(f"{path} does not exist.")
    plain = ds.dataset(path, format="parquet", partitioning="hive")
    return ds.dataset(path, format=_format(plain.schema, categories), partitioning="hive")


def _delta(path: str, categories: Sequence[str]) -> Any:
    from deltalake import DeltaTable
    from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

    delta = DeltaTable(path)
    root = urlsplit(delta.table_uri)
    local = None
    if root.scheme in ("", "file"):
        # Delta's own reader calls Python from Arrow's threads.
        local = SubTreeFileSystem(unquote(root.path), LocalFileSystem())
    plain = delta.to_pyarrow_dataset(filesystem=local)
    options = _format(plain.schema, categories).read_options
    return delta.to_pyarrow_dataset(filesystem=local, parquet_read_options=options)


def _format(schema: pa.Schema, categories: Sequence[str]) -> Any:
    found = {field.name for field in schema if pa.types.is_string(field.type)}
    texts = found.intersection(categories)
    return ds.ParquetFileFormat(read_options=ds.ParquetReadOptions(dictionary_columns=texts))


def _facts(fragment: Any, delta: bool) -> list[Any]:
    """What identifies a file; the files of a Delta table never change."""
    info = fragment.filesystem.get_file_info(fragment.path)
    return [str(fragment.path), info.size, fragment.count_rows(), None if delta else info.mtime_ns]


def _parts(fragments: Sequence[Any], part_rows: int) -> Iterator[Part]:
    """Row groups in order, joined while they stay within `part_rows`."""
    index = first = rows = 0
    pieces: list[Any] = []
    for piece in (piece for fragment in fragments for piece in fragment.split_by_row_group()):
        found = sum(group.num_rows for group in piece.row_groups)
        if pieces and rows + found > part_rows:
            yield Part(index, tuple(pieces), first, rows)
            index, first, rows, pieces = index + 1, first + rows, 0, []
        pieces.append(piece)
        rows += found
    if rows:
        yield Part(index, tuple(pieces), first, rows)
