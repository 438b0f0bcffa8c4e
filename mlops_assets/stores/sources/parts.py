"""Rows of one stretch that come from several files: one table, or an error that names two files."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa

from mlops_assets.domain.errors import SourceError
from mlops_assets.stores.sources.reader import require
from mlops_assets.stores.sources.times import in_utc


@dataclass(frozen=True)
class FilePart:
    """A file's rows of the stretch, with those of the wanted columns that it has."""

    path: str
    names: tuple[str, ...]
    rows: pa.Table


def joined(
    parts: Iterable[FilePart], columns: Sequence[str], event_time: str, source: str
) -> pa.Table:
    """All rows. A file without rows in the stretch does not matter, whatever its columns.

    Numbers of different widths become the widest. Raises SourceError if a file lacks a column or
    holds another type of values than the others.
    """
    found = [FilePart(p.path, p.names, in_utc(p.rows, event_time)) for p in parts]
    used = [part for part in found if part.rows.num_rows] or [
        part for part in found if set(columns) <= set(part.names)
    ][-1:]
    for part in used or found[-1:]:
        missing = [name for name in columns if name not in part.names]
        others = [
            other.path for other in used if not set(missing) & set(columns) - set(other.names)
        ]
        if missing and others:
            raise SourceError(
                f"source {source!r} changes its columns in the middle of a period: {part.path} has "
                f"no {missing[0]!r}, {others[0]} has. Give both the same columns, or let the "
                "period begin where they change."
            )
        require(columns, part.names, source if len(found) == 1 else part.path)
    tables = [part.rows.select(list(columns)) for part in used]
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except (pa.ArrowTypeError, pa.ArrowInvalid) as error:
        raise _changed(used, columns, source) from error


def _changed(parts: Sequence[FilePart], columns: Sequence[str], source: str) -> SourceError:
    for name in columns:
        first = next(p for p in parts if not pa.types.is_null(p.rows.schema.field(name).type))
        kind = first.rows.schema.field(name)
        for part in parts:
            other = part.rows.schema.field(name)
            try:
                pa.unify_schemas(
                    [pa.schema([kind]), pa.schema([other])], promote_options="permissive"
                )
            except (pa.ArrowTypeError, pa.ArrowInvalid):
                return SourceError(
                    f"source {source!r} changes its types in the middle of a period: {name!r} is "
                    f"{kind.type} in {first.path} and {other.type} in {part.path}. Write both with "
                    "one type; of CSV files, state it as source.types."
                )
    return SourceError(f"the files of source {source!r} have no common types: write them anew.")
