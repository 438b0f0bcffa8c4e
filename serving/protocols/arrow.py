"""Arrow IPC streams: bulk requests and answers without a Python object per value."""

import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_assets.domain.column_requests import CodedText, Values
from mlops_assets.domain.contract import Contract
from mlops_assets.domain.errors import RequestError
from mlops_assets.domain.requests import ParsedRequest, TooManyRowsError, clip
from serving.answers import Answer
from serving.bodies import BodyError
from serving.protocols.arrow_limits import measure
from serving.protocols.exchange import Headers, Parsers, idempotency_key, labels, repeated

if TYPE_CHECKING:
    from serving.predicted import Predicted

ARROW = "application/vnd.apache.arrow.stream"
# Compressed streams may grow to this, and so may the texts of a dictionary that rows share.
MAX_DECODED_BYTES = 64 * 1024 * 1024
MAX_BATCHES = 1024


def read(parsers: Parsers, body: bytes, headers: Headers) -> ParsedRequest:
    """Validate a stream of record batches with one column per input.

    Text may be dictionary-encoded; null (and NaN) is missing; the event time may be a timestamp.
    The request id is in the schema's metadata (`request_id`), or in the Idempotency-Key header.
    Raises BodyError for what is no Arrow stream, RequestError for what breaks the contract.
    """
    table = _table(body, parsers.contract)
    metadata = table.schema.metadata or {}
    try:
        key = metadata.get(b"request_id", b"").decode() or idempotency_key(headers)
    except UnicodeDecodeError as error:
        raise RequestError("must be text", "request_id") from error
    columns = {
        name: _values(column, name, parsers.contract)
        for name, column in zip(table.column_names, table.columns, strict=True)
    }
    return parsers.by_column.parse(columns, key)


def render(predicted: "Predicted") -> Answer:
    """One record batch: prediction_id, prediction, and p_<class> for each class.

    The schema's metadata says model, version, variant and request_id; where several versions
    answered, columns `version` and `variant` name that of each row.
    """
    import pyarrow as pa

    contract = predicted.contract
    columns: dict[str, Any] = {"prediction_id": pa.array(predicted.ids, pa.string())}
    kind = pa.string() if contract.classes else pa.float64()
    columns["prediction"] = pa.array(labels(predicted), kind)
    for number, name in enumerate(contract.classes):
        columns[f"p_{name}"] = pa.array([row[number] for row in predicted.outputs], pa.float64())
    if predicted.rows:
        columns["version"] = pa.array([version for version, _ in predicted.rows], pa.string())
        columns["variant"] = pa.array([variant for _, variant in predicted.rows], pa.string())
    about = {
        "model": contract.model,
        "version": predicted.version,
        "variant": predicted.variant,
        "request_id": predicted.request_id,
    }
    table = pa.table(columns).replace_schema_metadata(about)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return Answer(200, sink.getvalue().to_pybytes(), {"content-type": ARROW})


def _table(body: bytes, contract: Contract) -> Any:
    """The decoded stream, after its size was found to be within the limits."""
    import pyarrow as pa

    try:
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
    except (pa.ArrowException, OSError, ValueError, struct.error, IndexError) as error:
        raise BodyError("the body is not a valid Arrow IPC stream") from error
    return table


def _check_schema(schema: Any) -> None:
    """Refuse names that occur twice and types that no column can have."""
    from pyarrow import types

    is_flat = (
        types.is_integer,
        types.is_floating,
        types.is_boolean,
        types.is_string,
        types.is_large_string,
        types.is_string_view,
        types.is_null,
        types.is_timestamp,
    )
    twice = repeated(schema.names)
    if twice is not None:
        raise RequestError("occurs twice", clip(twice))
    for field in schema:
        kind = field.type.value_type if types.is_dictionary(field.type) else field.type
        if not any(check(kind) for check in is_flat):
            raise RequestError(f"must not be of the Arrow type {clip(kind)}", clip(field.name))


def _values(column: Any, name: str, contract: Contract) -> Values:
    """One column as the column parser takes it."""
    from pyarrow import types

    kind = column.type.value_type if types.is_dictionary(column.type) else column.type
    if types.is_null(kind):
        return [None] * len(column)
    if types.is_timestamp(kind):
        if name != contract.event_time:
            raise RequestError("must not be a timestamp", name)
        return _coded(column, name, is_time=True)
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return _coded(column, name, is_time=False)
    if types.is_dictionary(column.type):
        raise RequestError("must not be a dictionary of numbers", name)
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


def _coded(column: Any, name: str, is_time: bool) -> CodedText:
    import pyarrow as pa

    if pa.types.is_string_view(column.type):
        # Views may share their text, so many rows of one long text take next to no bytes.
        _limit_text(sum(map(_viewed_bytes, column.chunks)), name)
        column = column.cast(pa.large_string())
    column = column.unify_dictionaries() if pa.types.is_dictionary(column.type) else column
    array = column.combine_chunks()
    if not pa.types.is_dictionary(array.type):
        array = array.dictionary_encode()
    levels = array.dictionary
    codes = array.indices.cast(pa.int64()).fill_null(-1).to_numpy()
    texts = _times(levels, name) if is_time else levels.to_pylist()
    if levels.null_count:
        places = np.arange(len(texts) + 1)
        places[[*(text is None for text in texts), True]] = -1
        codes = places[codes]
        texts = ["" if text is None else text for text in texts]
    if not is_time:
        lengths = np.array([*map(len, texts), 0])
        _limit_text(int(lengths[codes].sum()), name)
    return CodedText(codes, texts)


def _viewed_bytes(chunk: Any) -> int:
    """The bytes of all texts of an array of views, each of 16 bytes that begin with its length."""
    views = np.frombuffer(chunk.buffers()[1] or b"", "<i4").reshape(-1, 4)
    lengths = views[chunk.offset : chunk.offset + len(chunk), 0]
    return int(lengths[chunk.is_valid().to_numpy(zero_copy_only=False)].sum(dtype=np.int64))


def _limit_text(length: int, name: str) -> None:
    if length > MAX_DECODED_BYTES:
        raise RequestError(
            f"has {length} characters in its rows, the limit is {MAX_DECODED_BYTES}: "
            "split the request",
            name,
        )


def _times(levels: Any, name: str) -> list[Any]:
    """Timestamps as ISO 8601 text in UTC, which is what their numbers are in, zone or not."""
    import pyarrow as pa

    try:
        micros = levels.cast(pa.timestamp("us"), safe=False).to_numpy(zero_copy_only=False)
        found = micros.astype("datetime64[us]").tolist()
    except pa.ArrowException as error:
        raise RequestError("must lie between the years 1 and 9999", name) from error
    return [None if time is None else getattr(time, "isoformat", str)() for time in found]
