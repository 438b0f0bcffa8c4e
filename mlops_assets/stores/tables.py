"""Arrow tables on their way into the lake and out of it: types, hashes, frames."""

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from mlops_assets.domain.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


def content_hash(rows: pa.Table) -> str:
    """Hex digest of the names, types and values of a table.

    Chunking and whatever lies in memory under a null do not count.
    """
    digest = hashlib.sha256()
    valid = pa.repeat(pa.scalar(1, pa.uint8()), rows.num_rows)
    for field in rows.schema:
        digest.update(f"{field.name}:{field.type};".encode())
        column = pa.chunked_array(rows[field.name]).combine_chunks()
        has_gaps = column.null_count > 0
        _digest_array(digest, column.is_valid().cast(pa.uint8()) if has_gaps else valid)
        # Even of no rows: an empty slice may still hold the offsets of the whole.
        values = column.drop_null() if has_gaps or not len(column) else column
        # The unused bits of a boolean array's last byte may differ in equal arrays.
        _digest_array(digest, values.cast(pa.uint8()) if values.type == pa.bool_() else values)
    return digest.hexdigest()


def _digest_array(digest: Any, array: pa.Array) -> None:
    # A round trip through IPC drops offsets and padding that equal arrays may differ in.
    batch = pa.record_batch([array], names=["x"])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    digest.update(sink.getvalue())


def to_frame(table: pa.Table) -> "pd.DataFrame":
    """A frame in which whole numbers and booleans keep their type beside missing values.

    Pandas' own conversion makes floats of integers as soon as one is missing, so an id would be
    `1` in one period and `1.0` in the next.
    """
    import pandas as pd

    kinds = {
        pa.int64(): pd.Int64Dtype(),
        pa.int32(): pd.Int32Dtype(),
        pa.bool_(): pd.BooleanDtype(),
    }
    holed = {field.type for field in table.schema if table[field.name].null_count}
    frame: pd.DataFrame = table.to_pandas(
        types_mapper={k: v for k, v in kinds.items() if k in holed}.get
    )
    return frame


def holds_same(content: pa.Table, digest: str, current: pa.Table, partition: str) -> bool:
    """Whether the period holds this content, whose hash is known; columns it lacks are empty."""
    names = content.column_names
    if len(content) != len(current) or not set(names) <= set(current.column_names):
        return False
    others = current.drop_columns([*names, partition])
    return content_hash(current.select(names)) == digest and all(
        column.null_count == len(column) for column in others.columns
    )


def extended(known: pa.Schema, others: Sequence[pa.Schema]) -> pa.Schema:
    """The schema with the columns that the others have besides, each in the first's type."""
    fields: dict[str, pa.Field] = {}
    for schema in (known, *others):
        for field in schema:
            fields.setdefault(field.name, field)
    return pa.schema(list(fields.values()))


def fitted(rows: pa.Table, known: pa.Schema, table: str) -> pa.Table:
    """The rows in the types that the table's columns have; DataError if a value would change."""
    types = {field.name: field.type for field in known}
    for place, field in enumerate(rows.schema):
        kind = types.get(field.name, field.type)
        if kind == field.type:
            continue
        column = rows[field.name]
        numbers = _is_number(kind) and _is_number(field.type)
        empty = column.null_count == len(column)
        try:
            if not (numbers or empty):
                raise pa.ArrowInvalid("the types are of different kinds")
            values = pa.chunked_array([pa.nulls(len(column), kind)]) if empty else column.cast(kind)
        except pa.ArrowInvalid as error:
            raise DataError(
                f"column {field.name!r} of table {table} holds {kind}, but new rows bring "
                f"{field.type} ({error}): the source's type has changed; correct it there, or "
                "remove the table's folder and ingest the history again."
            ) from error
        rows = rows.set_column(place, pa.field(field.name, kind), values)
    return rows


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def storable(rows: pa.Table) -> pa.Table:
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
        elif pa.types.is_decimal(kind):
            kind = pa.float64()
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
        if kind != field.type:
            # Only what is below a microsecond may be lost.
            column = pc.cast(column, kind, safe=not pa.types.is_timestamp(kind))
        columns.append(column)
        fields.append(pa.field(field.name, kind))
    return pa.table(columns, schema=pa.schema(fields))
