"""Rows from Parquet files; row groups outside the stretch are not read."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.dataset as ds

from mlops_assets.spec.source import ParquetSource
from mlops_assets.stores.sources.parts import FilePart, joined
from mlops_assets.stores.sources.places import Files, find, reading
from mlops_assets.stores.sources.reader import require
from mlops_assets.stores.sources.times import after, in_utc, latest, utc, within

# Footers of a bucket's files are waited for, not computed.
FILES_AT_ONCE = 8
T = TypeVar("T")


@dataclass(frozen=True)
class ParquetFiles:
    """The files of a source; each may have a schema of its own."""

    source: ParquetSource
    folder: Path

    @cached_property
    def _files(self) -> Files:
        return find(self.source, self.folder)

    def column_names(self) -> tuple[str, ...]:
        """The columns of the last file."""
        with reading(self.source.path, "parquet"):
            return tuple(self._open(self._files.paths[-1]).physical_schema.names)

    def read(
        self, columns: Sequence[str], event_time: str, start: datetime, end: datetime
    ) -> pa.Table:
        """Rows of the stretch from the row groups that may hold some."""

        def part(path: str) -> FilePart:
            fragment = self._open(path)
            schema = fragment.physical_schema
            require([event_time], schema.names, self._name(path))
            known = [name for name in columns if name in schema.names]
            wanted = within(schema, event_time, start, end)
            rows = fragment.to_table(schema=schema, columns=known, filter=wanted)
            return FilePart(path, tuple(schema.names), rows)

        return joined(self._each(part), columns, event_time, self.source.path)

    def timeless(self, event_time: str) -> int | None:
        """From the row groups' statistics where they tell."""
        missing = ds.field(event_time).is_null()

        def part(path: str) -> int:
            return int(self._open(path).count_rows(filter=missing))

        return sum(self._each(part))

    def newest(self, event_time: str, until: datetime) -> datetime | None:
        """From the row groups' statistics where they tell."""

        def part(path: str) -> datetime | None:
            fragment = self._open(path)
            schema = fragment.physical_schema
            require([event_time], schema.names, self._name(path))
            wanted = within(schema, event_time, None, until)
            known = _known_newest(fragment, event_time, until)
            if known is not None:
                wanted &= after(schema, event_time, known)
            rows = fragment.to_table(schema=schema, columns=[event_time], filter=wanted)
            return latest(in_utc(rows, event_time)[event_time]) or known

        return max((found for found in self._each(part) if found is not None), default=None)

    def _each(self, work: Callable[[str], T]) -> list[T]:
        with reading(self.source.path, "parquet"), ThreadPoolExecutor(FILES_AT_ONCE) as pool:
            return list(pool.map(work, self._files.paths))

    def _open(self, path: str) -> Any:
        return ds.ParquetFileFormat().make_fragment(path, filesystem=self._files.system)

    def _name(self, path: str) -> str:
        return self.source.path if len(self._files.paths) == 1 else path


def _known_newest(fragment: Any, event_time: str, until: datetime) -> datetime | None:
    """The latest maximum of a row group that lies before `until` as a whole."""
    groups = (group.statistics or {} for group in fragment.row_groups)
    tops = [utc(group[event_time]["max"]) for group in groups if event_time in group]
    return max((top for top in tops if top < until), default=None)
