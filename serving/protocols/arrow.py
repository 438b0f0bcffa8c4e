"""Arrow IPC streams: bulk requests and answers without a Python object per value."""

import struct
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_assets.domain.column_requests import CodedText, Values
from mlops_assets.domain.contract import Contract
from mlops_assets.domain.errors import RequestError
from mlops_assets.domain.requests import ParsedRequest, TooManyRowsError, clip
from serving.answers import Answer
from serving.bodies import BodyError
from serving.protocols.arrow_limits import measure
from serving.protocols.exchange import Headers, Parsers, idempotency_key, repeated

if TYPE_CHECKING:
    from serving.predicted import Predicted

ARROW = "application/vnd.apache.arrow.stream"
# Compressed streams may grow to this, and so may the texts of a dictionary that rows share.
MAX_DECODED_BYTES = 64 * 1024 * 1024
MAX_BATCHES = 1024
WHERE = "columns."


def read(parsers: Parsers, body: bytes, headers: Headers) -> ParsedRequest:
    """Validate a stream of record batches with one column per input.

    Text may be dictionary-encoded; null (and NaN) is missing; the event time may be a timestamp.
    The request id is in the schema's metadata (`request_id`), or in the Idempotency-Key header.
    Raises BodyError for what is no Arrow stream, RequestError for what breaks the contract.
    """
    import pyarrow as pa

    try:
        table = _table(body, parsers.contract)
        columns = {
            name: _values(column, f"{WHERE}{clip(name)}", name == parsers.contract.event_time)
            for name, column in zip(table.column_names, table.columns, strict=True)
        }
    except (pa.ArrowException, OSError, ValueError, struct.error, IndexError) as error:
        raise BodyError("the body is not a valid Arrow IPC stream") from error
    try:
        key = (table.schema.metadata or {}).get(b"request_id", b"").decode()
    except UnicodeDecodeError as error:
        raise RequestError("must be text", "request_id") from error
    return parsers.by_column.parse(columns, key or idempotency_key(headers), WHERE)


def render(predicted: "Predicted") -> Answer:
    """One record batch: prediction_id, prediction, and p_<class> for each class.

    The schema's metadata says model, version, variant and request_id; where several versions
    answered, columns `version` and `variant` name that of each row.
    """
    import pyarrow as pa

    contract = predicted.contract
    outputs = np.asarray(predicted.outputs, dtype=np.float64)
    columns: dict[str, Any] = {"prediction_id": _ids(predicted.stem, len(outputs))}
    if contract.classes:
        # argmax finds the first of equals: ties go to the lower class, here as everywhere.
        likeliest = pa.array(outputs.argmax(axis=1))
        columns["prediction"] = pa.array(contract.classes, pa.string()).take(likeliest)
    else:
        columns["prediction"] = pa.array(outputs[:, 0])
    # Arrow takes no strides.
    for name, column in zip(contract.classes, np.ascontiguousarray(outputs.T), strict=False):
        columns[f"p_{name}"] = pa.array(column)
    if predicted.rows:
        columns["version"] = pa.array([version for version, _ in predicted.rows], pa.string())
        columns["variant"] = pa.array([variant for _, variant in predicted.rows], pa.string())
    about = {
        "model": contract.model,
        "version": predicted.version,
        "variant": predicted.variant,
        "request_id": predicted.request_id,
    }
    batch = pa.record_batch(columns).replace_schema_metadata(about)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return Answer(200, sink.getvalue().to_pybytes(), {"content-type": ARROW})


def _ids(stem: str, rows: int) -> Any:
    """`stem-0`, `stem-1`, …, without a Python object for each."""
    from pyarrow import compute

    # Of a power of two, so that few are kept whatever clients send.
    numbers = _numerals(1 << max(rows - 1, 0).bit_length()).slice(0, rows)
    return compute.binary_join_element_wise(stem, numbers, "-")


@lru_cache(maxsize=16)
def _numerals(count: int) -> Any:
    """The texts `0`, `1`, …, as many as `count`."""
    import pyarrow as pa

    return pa.array(np.arange(count)).cast(pa.string())


def _table(body: bytes, contract: Contract) -> Any:
    """The decoded stream, after its size was found to be within the limits."""
    import pyarrow as pa

    size = measure(pa.ipc.MessageReader.open_stream(pa.BufferReader(body)))
    if size.rows > contract.max_rows:
        raise TooManyRowsError(
            f"has {size.rows} rows, the limit is {contract.max_rows}: split the request", "body"
        )
    if size.decoded_bytes > MAX_DECODED_BYTES or size.batches > MAX_BATCHES:
        raise RequestError(
            f"may have {MAX_DECODED_BYTES} decoded bytes and {MAX_BATCHES} batches, not "
            f"{size.decoded_bytes} and {size.batches}: split the request",
            "body",
        )
    options = pa.ipc.IpcReadOptions(use_threads=False)
    with pa.ipc.open_stream(pa.BufferReader(body), options=options) as reader:
        _check_schema(reader.schema)
        table = reader.read_all()
    # Offsets and codes that point outside of their buffers would be read all the same.
    table.validate(full=True)
    return table


@cache
def _flat() -> frozenset[int]:
    """The types of values that a column may have."""
    from pyarrow import lib

    whole = [f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)]
    names = (*whole, "HALF_FLOAT", "FLOAT", "DOUBLE", "BOOL", "NA", "TIMESTAMP")
    texts = ("STRING", "LARGE_STRING", "STRING_VIEW")
    return frozenset(getattr(lib, f"Type_{name}") for name in (*names, *texts))


def _check_schema(schema: Any) -> None:
    """Refuse names that occur twice and types that no column can have."""
    from pyarrow import types

    twice = repeated(schema.names)
    if twice is not None:
        raise RequestError("occurs twice", f"{WHERE}{clip(twice)}")
    for field in schema:
        kind = field.type
        if types.is_dictionary(kind):
            kind = kind.value_type
        if kind.id not in _flat():
            raise RequestError(
                f"must not be of the Arrow type {clip(kind)}", f"{WHERE}{clip(field.name)}"
            )


def _values(column: Any, field: str, may_be_time: bool) -> Values:
    """One column as the column parser takes it."""
    from pyarrow import types

    kind = column.type.value_type if types.is_dictionary(column.type) else column.type
    if types.is_null(kind):
        return [None] * len(column)
    if types.is_timestamp(kind):
        if not may_be_time:
            raise RequestError("must not be a timestamp", field)
        return _coded(column, field, is_time=True)
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return _coded(column, field, is_time=False)
    if types.is_dictionary(column.type):
        raise RequestError("must not be a dictionary of numbers", field)
    return _numbers(column)


def _numbers(column: Any) -> np.ndarray:
    import pyarrow as pa

    is_boolean = pa.types.is_boolean(column.type)
    if column.null_count == 0:
        array: np.ndarray = column.to_numpy()
        return array
    missing = column.is_null().to_numpy()
    filled = column.fill_null(False if is_boolean else 0).to_numpy()
    return np.ma.MaskedArray(filled, missing)


def _coded(column: Any, field: str, is_time: bool) -> CodedText:
    """Text, or times as text, with the levels of all chunks one after another."""
    import pyarrow as pa

    codes: list[np.ndarray] = []
    levels: list[str] = []
    begins: dict[object, tuple[int, Any]] = {}
    for each in column.chunks:
        chunk = _without_views(each, field) if pa.types.is_string_view(each.type) else each
        coded = chunk if pa.types.is_dictionary(chunk.type) else chunk.dictionary_encode()
        found = coded.dictionary
        if found.null_count:
            raise RequestError("must have its nulls in the rows, not in the dictionary", field)
        place = _place(found) if column.num_chunks > 1 else None
        if place not in begins:
            # The dictionary itself is kept, or its address could become another one's.
            begins[place] = len(levels), found
            levels += _times(found, field) if is_time else found.to_pylist()
        codes.append(_codes(coded, begins[place][0]))
    rows = codes[0] if len(codes) == 1 else np.concatenate([np.empty(0, np.int64), *codes])
    lengths = [*map(len, levels), 0]
    if max(lengths) * len(rows) > MAX_DECODED_BYTES:
        _limit_text(int(np.array(lengths)[rows].sum()), field)
    return CodedText(rows, levels)


def _place(dictionary: Any) -> object:
    """Where it is in memory: batches that share a dictionary have its texts read once."""
    buffers = tuple(one.address if one else 0 for one in dictionary.buffers())
    return buffers, dictionary.offset, len(dictionary)


def _codes(coded: Any, begin: int) -> np.ndarray:
    """Places in levels of which the dictionary's begin at `begin`; -1 is null."""
    import pyarrow as pa

    if not coded.indices.null_count:
        codes: np.ndarray = coded.indices.to_numpy()
        return codes.astype(np.int64) + begin if begin else codes
    # Null rows may have any index, also one that fits no dictionary or no int64.
    indices = coded.indices.fill_null(0).cast(pa.int64()).to_numpy()
    missing = coded.indices.is_null().to_numpy(zero_copy_only=False)
    return np.where(missing, -1, indices + begin)


def _without_views(chunk: Any, field: str) -> Any:
    """An array of views as text. Views of null rows may point anywhere, and a cast follows them."""
    import pyarrow as pa

    _, views, *data = chunk.buffers()
    # 16 bytes each, which begin with the length of the text.
    each = np.frombuffer(views or b"", "<i4").reshape(-1, 4)
    each = each[chunk.offset : chunk.offset + len(chunk)].copy()
    is_valid = chunk.is_valid().to_numpy(zero_copy_only=False)
    each[~is_valid] = 0
    # Views may share their text, so many rows of one long text take next to no bytes.
    _limit_text(int(each[:, 0].sum(dtype=np.int64)), field)
    bits = pa.py_buffer(np.packbits(is_valid, bitorder="little"))
    safe = pa.Array.from_buffers(chunk.type, len(chunk), [bits, pa.py_buffer(each), *data])
    return safe.cast(pa.large_string())


def _limit_text(length: int, field: str) -> None:
    if length > MAX_DECODED_BYTES:
        raise RequestError(
            f"has {length} characters in its rows, the limit is {MAX_DECODED_BYTES}: "
            "split the request",
            field,
        )


def _times(levels: Any, field: str) -> list[str]:
    """Timestamps as ISO 8601 text in UTC, which is what their numbers are in, zone or not."""
    import pyarrow as pa

    try:
        # Only nanoseconds lose digits; larger units could overflow, which is an error then.
        micros = levels.cast(pa.timestamp("us"), safe=levels.type.unit != "ns")
        found = micros.to_numpy(zero_copy_only=False).tolist()
        return [time.isoformat() for time in found]
    # Times that Python has no date for come as numbers, which have no such method.
    except (pa.ArrowException, AttributeError) as error:
        raise RequestError("must lie between the years 1 and 9999", field) from error
