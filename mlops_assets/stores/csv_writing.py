"""How a CSV file that nobody has described is written, as far as its first rows tell."""

import sys
from dataclasses import replace
from pathlib import Path

from mlops_assets.domain.written_values import (
    has_decimal_commas,
    has_decimal_points,
    has_zone,
    is_time,
    time_formats,
)
from mlops_assets.spec.source import CsvSource
from mlops_assets.stores.new_source import NewSource
from mlops_assets.stores.sources.csv_files import CsvFiles

DELIMITERS = (";", "\t", "|")
ROWS = 2_000
# So many of a column's first values are times where the others are mistakes.
MOST_TIMES = 0.8


def as_written(new: NewSource, folder: Path) -> NewSource:
    """The source with the delimiter and the decimal comma that its first rows show.

    What the user stated stays. Raises SourceError when the source is away.
    """
    source, found = new.source, {}
    if not isinstance(source, CsvSource):
        return new
    if "delimiter" not in new.keys:
        header = CsvFiles(source, folder).head(0)[0]
        seen = [mark for mark in DELIMITERS if mark in header[0]] if len(header) == 1 else []
        if seen:
            found["delimiter"] = max(seen, key=header[0].count)
            source = source.model_copy(update=found)
    if "decimal" not in new.keys:
        columns = _columns(source, folder).values()
        points = any(map(has_decimal_points, columns))
        if not points and any(map(has_decimal_commas, columns)):
            found["decimal"] = ","
            source = source.model_copy(update=found)
    return replace(new, keys={**new.keys, **found}, source=source)


def formats_of(source: CsvSource, folder: Path, column: str) -> tuple[str, tuple[str, ...]]:
    """A value of the column, and the formats in which all of its first values are times."""
    values = _columns(source, folder).get(column, [])
    return (values[0] if values else ""), time_formats(values)


def odd_time(source: CsvSource, folder: Path, column: str) -> tuple[int, str] | None:
    """Row (from 1) and text of the first value that is no time, where nearly all others are.

    None where the first values are of another kind altogether.
    """
    first = _columns(source, folder).get(column, [])
    if sum(map(is_time, first)) < MOST_TIMES * len(first):
        return None
    header, *rows = CsvFiles(source, folder).head(sys.maxsize - 1)
    place = header.index(column)
    for number, row in enumerate(rows, start=1):
        if place < len(row) and row[place].strip() and not is_time(row[place].strip()):
            return number, row[place]
    return None


def mixed_zones(source: CsvSource, folder: Path, column: str) -> tuple[str, str] | None:
    """A time with a zone and one without, where the first values hold both; else None."""
    first = _columns(source, folder).get(column, [])
    if not all(map(is_time, first)):
        return None
    zoned = [text for text in first if has_zone(text)]
    others = [text for text in first if not has_zone(text)]
    return (zoned[0], others[0]) if zoned and others else None


def _columns(source: CsvSource, folder: Path) -> dict[str, list[str]]:
    """The values of each column in the first rows, without missing ones."""
    header, *rows = CsvFiles(source, folder).head(ROWS)
    return {
        name: [row[place].strip() for row in rows if place < len(row) and row[place].strip()]
        for place, name in enumerate(header)
    }
