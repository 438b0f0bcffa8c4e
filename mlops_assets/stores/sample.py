"""A table as it is before any spec describes it: all its times, and a sample of its rows."""

import os
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from mlops_assets.domain.errors import SourceError, UnusableColumnError
from mlops_assets.spec.source import CsvSource, ParquetSource, Source, is_web
from mlops_assets.stores import sources
from mlops_assets.stores.tables import storable, to_frame

# Times that a source may hold; both ends fit nanoseconds.
FIRST, LAST = datetime(1700, 1, 1, tzinfo=UTC), datetime(2260, 1, 1, tzinfo=UTC)
# A larger table is sampled in so many stretches, spread evenly over its rows.
STRETCHES = 20
INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True)
class Sample:
    """`times` of all rows and a `frame` of at most the asked rows, both in order of time.

    `timeless` rows have no event time, and are not in either. `in_order` says whether the rows of
    a file lie so, None where only reading all would tell.
    `unusable` columns hold lists, structures or numbers too large for the lake, and are not in the
    frame. Times are in UTC; whole numbers and booleans keep their types beside missing values.
    """

    frame: pd.DataFrame
    times: pd.Series
    unusable: tuple[str, ...] = ()
    timeless: int = 0
    in_order: bool | None = None

    @property
    def is_whole(self) -> bool:
        """Whether the frame holds every row."""
        return len(self.frame) == len(self.times)


def take_sample(
    source: Source, folder: Path, *, columns: tuple[str, ...], event_time: str, limit: int
) -> Sample:
    """Read the times of all rows, and `columns` of at most about `limit` rows.

    Rows without an event time belong to no period, and are only counted. Raises SourceError when
    the source is away, lacks a column, or its event time holds no times.
    """

    def read(names: tuple[str, ...], start: datetime, end: datetime) -> pa.Table:
        return sources.read(
            source, folder, columns=names, event_time=event_time, start=start, end=end
        )

    times = read((event_time,), FIRST, LAST)[event_time].to_pandas()
    timeless = sources.timeless(source, folder, event_time=event_time) or 0
    in_order = is_in_order(source, folder, event_time)
    if len(times) <= limit:
        everything = as_frame(read(columns, FIRST, LAST))
        return Sample(everything, times, timeless=timeless, in_order=in_order)
    parts = []
    starts = np.linspace(0, len(times) - limit // STRETCHES, STRETCHES).astype(int)
    bounds = [(times[at], times[min(at + limit // STRETCHES, len(times) - 1)]) for at in starts]
    done = FIRST
    for start, end in bounds:
        begin, stop = max(start.to_pydatetime(), done), end.to_pydatetime() + INSTANT
        if begin < stop:
            parts.append(read(columns, begin, stop))
            done = stop
    return Sample(as_frame(pa.concat_tables(parts)), times, timeless=timeless, in_order=in_order)


def take_usable_sample(
    source: Source,
    folder: Path,
    *,
    columns: tuple[str, ...],
    event_time: str,
    needed: Collection[str] = (),
    limit: int,
) -> Sample:
    """As `take_sample`, without the columns that no model can use, unless they are `needed`."""
    unusable: tuple[str, ...] = ()
    while True:
        usable = tuple(name for name in columns if name not in unusable)
        try:
            found = take_sample(source, folder, columns=usable, event_time=event_time, limit=limit)
        except UnusableColumnError as error:
            if error.column == event_time or error.column in needed:
                raise
            unusable += (error.column,)
            continue
        return replace(found, unusable=unusable)


def as_frame(rows: pa.Table) -> pd.DataFrame:
    """A frame in the types that assets see, except that small whole numbers are whole, too."""
    rows = storable(rows)
    for place, field in enumerate(rows.schema):
        if pa.types.is_integer(field.type):
            rows = rows.set_column(place, field.name, rows[field.name].cast(pa.int64()))
    return to_frame(rows)


def time_columns(source: Source, folder: Path) -> tuple[str, ...]:
    """The columns that could be the event time: those that the source can be cut by."""
    found = []
    for name in sources.column_names(source, folder):
        try:
            if sources.newest(source, folder, event_time=name, until=LAST) is not None:
                found.append(name)
        except SourceError:
            continue
    return tuple(found)


def is_in_order(source: Source, folder: Path, event_time: str) -> bool | None:
    """Whether the rows of a file lie in order of time; None where only reading all would tell."""
    import pyarrow.compute as pc

    if not isinstance(source, ParquetSource | CsvSource):
        return None
    if not is_web(source.path) and not _is_file(folder / source.path):
        return None
    times = sources.unsorted(source, folder, event_time=event_time).combine_chunks().drop_null()
    return not pc.any(pc.less(times[1:], times[:-1])).as_py()


def _is_file(path: Path) -> bool:
    # The folder that the path leads out of again may not be there yet.
    return Path(os.path.normpath(path)).is_file()
