import struct
import time
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mlops_assets.domain.contract import MISSING_CATEGORY, Contract, ContractColumn
from mlops_assets.domain.errors import RequestError
from mlops_assets.domain.requests import TooManyRowsError
from mlops_assets_tests.serving.protocols.samples import (
    CONTRACT,
    GOOD,
    PARSERS,
    stream,
    table,
)
from serving.bodies import BodyError
from serving.predicted import Predicted
from serving.protocols import arrow
from serving.protocols.arrow import read, render
from serving.protocols.exchange import Parsers


def refused(change: dict[str, Any], drop: str = "") -> RequestError:
    columns = dict(zip(*((one := table([GOOD] * 3)).column_names, one.columns), strict=True))
    columns = {name: one for name, one in {**columns, **change}.items() if name != drop}
    with pytest.raises(RequestError) as caught:
        read(PARSERS, stream(pa.table(columns)).body, {})
    return caught.value


@pytest.mark.parametrize(
    ("name", "values", "field"),
    [
        ("distance", pa.array(["1", "2", "3"]), "distance"),
        ("distance", pa.array([True, False, True]), "distance"),
        ("distance", pa.array([1.0, None, 2.0]), "distance[1]"),
        ("distance", pa.array([1.0, float("nan"), 2.0]), "distance[1]"),
        ("distance", pa.array([1.0, 2.0, float("inf")]), "distance[2]"),
        ("distance", pa.nulls(3), "distance[0]"),
        ("distance", pa.array([1, 2, 3]).dictionary_encode(), "distance"),
        ("distance", pa.array([1, 2, 3]).cast(pa.decimal128(21)), "distance"),
        ("distance", pa.array([b"1", b"2", b"3"]), "distance"),
        ("distance", pa.array([[1], [2], [3]]), "distance"),
        ("distance", pa.array([datetime(2013, 1, 1)] * 3), "distance"),
        ("seats", pa.array([1.5, 2, 3]), "seats[0]"),
        ("seats", pa.array([1, None, 2**53 + 1]), "seats[2]"),
        ("weekend", pa.array([0, 1, 2], pa.uint8()), "weekend[2]"),
        ("carrier", pa.array([1, 2, 3]), "carrier"),
        ("carrier", pa.array(["a", None, "b"]), "carrier[1]"),
        ("carrier", pa.array(["a", MISSING_CATEGORY, "b"]), "carrier[1]"),
        ("carrier", pa.array(["a", "b", "\0"]).dictionary_encode(), "carrier[2]"),
        ("colour", pa.array([1, 2, 3]), "colour"),
        ("departs", pa.array(["now"] * 3), "departs"),
        ("departs", pa.array([2**62] * 3).cast(pa.timestamp("s")), "departs"),
        ("departs", pa.array([2**62] * 3).cast(pa.timestamp("us")), "departs"),
        ("flight", pa.array([[1]] * 3), "flight"),
    ],
)
def test_a_column_that_breaks_the_contract_is_named(name: str, values: pa.Array, field: str):
    assert refused({name: values}).field == f"columns.{field}"


def test_columns_must_be_there_once():
    assert refused({}, drop="weekend").field == "columns.weekend"
    good = table([GOOD])
    twice = good.append_column("wind", good["wind"])
    with pytest.raises(RequestError, match="occurs twice"):
        read(PARSERS, stream(twice).body, {})


def test_every_numeric_type_is_read_and_null_is_missing():
    columns = {
        "distance": pa.array([1, 2, 3], pa.uint16()),
        "wind": pa.array([1.5, None, 2.5], pa.float16()),
        "seats": pa.array([1, None, -3], pa.int8()),
        "weekend": pa.array([1.0, 0.0, 1.0]),
        "carrier": pa.array(["AA", "UA", "AA"]),
        "gate": pa.nulls(3),
        "flight": pa.array([7, None, 9]),
    }
    parsed = read(PARSERS, stream(pa.table(columns)).body, {})
    np.testing.assert_array_equal(parsed.columns["wind"], [1.5, np.nan, 2.5])
    np.testing.assert_array_equal(parsed.columns["seats"], [1, np.nan, -3])
    assert parsed.columns["gate"].tolist() == [MISSING_CATEGORY] * 3
    assert parsed.entities == ["7", None, "9"]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_times_may_be_timestamps_of_any_unit_and_zone(unit: str):
    # In UTC, because importing pandera makes pyarrow ignore the zones of Python's own times.
    local = datetime(2013, 6, 1, 16, tzinfo=UTC)
    rows = table([GOOD] * 3).drop_columns("departs")
    zoned = pa.array([local, None, datetime(2013, 1, 1, tzinfo=UTC)], pa.timestamp(unit, "UTC"))
    for kind in (pa.timestamp(unit, "America/New_York"), pa.timestamp(unit)):
        parsed = read(PARSERS, stream(rows.append_column("departs", zoned.cast(kind))).body, {})
        assert parsed.event_times == [
            "2013-06-01T16:00:00+00:00",
            None,
            "2013-01-01T00:00:00+00:00",
        ]


def batches_of(*carriers: pa.Array, **options: Any) -> bytes:
    """A stream of a batch of two rows for each array of carriers."""
    batches = [
        pa.record_batch(
            {"distance": pa.array([1.0, 2.0]), "weekend": pa.array([True, False]), "carrier": one}
        )
        for one in carriers
    ]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(
        sink, batches[0].schema, options=pa.ipc.IpcWriteOptions(**options)
    ) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def coded(codes: list[int], levels: list[str | None]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.uint8()), pa.array(levels))


def test_a_dictionary_may_be_replaced_between_batches():
    body = batches_of(coded([1, 0], ["AA", "UA"]), coded([1, 0], ["DL", "AA"]))
    assert read(PARSERS, body, {}).columns["carrier"].tolist() == ["UA", "AA", "AA", "DL"]


def test_a_dictionary_must_not_grow_or_hold_nulls():
    grows = coded([1, 0], ["AA", "UA"]), coded([2, 0], ["AA", "UA", "DL"])
    body = batches_of(*grows, emit_dictionary_deltas=True)
    with pytest.raises(BodyError):
        read(PARSERS, body, {})
    assert read(PARSERS, batches_of(*grows), {}).rows == 4
    with pytest.raises(RequestError, match="nulls in the rows"):
        read(PARSERS, batches_of(coded([1, 0], ["AA", None])), {})


def test_the_request_id_is_in_the_metadata_or_the_header():
    one = table([GOOD])
    tagged = one.replace_schema_metadata({"request_id": "r1"})
    assert read(PARSERS, stream(tagged).body, {"idempotency-key": "k"}).request_id == "r1"
    assert read(PARSERS, stream(one).body, {"idempotency-key": "k"}).request_id == "k"
    bad = one.replace_schema_metadata({b"request_id": b"\xff"})
    with pytest.raises(RequestError):
        read(PARSERS, stream(bad).body, {})


def test_rows_are_counted_before_they_are_decoded():
    with pytest.raises(TooManyRowsError, match="51 rows"):
        read(PARSERS, stream(table([GOOD] * 51)).body, {})
    nothing = stream_of_one_batch(pa.table({"wind": pa.nulls(37)}))
    for rows in (51, 2**31 - 1):
        many = nothing.replace(struct.pack("<q", 37), struct.pack("<q", rows))
        with pytest.raises(TooManyRowsError, match=f"{rows} rows"):
            read(PARSERS, many, {})
    for rows in (-1, 2**31, 2**62):
        with pytest.raises(BodyError):
            read(PARSERS, nothing.replace(struct.pack("<q", 37), struct.pack("<q", rows)), {})


def stream_of_one_batch(rows: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
def test_what_grows_beyond_the_limit_is_refused_before_it_is_decoded(codec: str):
    long = pa.array(["x" * (arrow.MAX_DECODED_BYTES + 1)])
    body = stream(pa.table({"carrier": long}), compression=codec).body
    assert len(body) < arrow.MAX_DECODED_BYTES / 100
    before = pa.default_memory_pool().max_memory()
    with pytest.raises(RequestError, match="decoded bytes"):
        read(PARSERS, body, {})
    assert pa.default_memory_pool().max_memory() == before


@pytest.mark.parametrize("kind", [pa.dictionary(pa.int8(), pa.string()), pa.string_view()])
def test_rows_that_share_one_long_text_are_refused(kind: pa.DataType):
    long = "x" * (arrow.MAX_DECODED_BYTES // 40)
    rows = table([{**GOOD, "carrier": long}]).select(["distance", "carrier", "weekend"])
    if pa.types.is_dictionary(kind):
        shared = pa.DictionaryArray.from_arrays(pa.array([0] * 50, pa.int8()), [long])
    else:
        views = pa.array([long], kind).buffers()
        shared = pa.Array.from_buffers(
            kind, 50, [None, pa.py_buffer(views[1].to_pybytes() * 50), views[2]]
        )
    columns = {"distance": [1.0] * 50, "weekend": [True] * 50, "carrier": shared}
    assert rows.num_rows == 1
    with pytest.raises(RequestError) as caught:
        read(PARSERS, stream_of_one_batch(pa.table(columns)), {})
    assert caught.value.field == "columns.carrier"


def test_many_batches_are_refused():
    batch = table([GOOD]).slice(0, 0).to_batches() or [
        pa.record_batch(
            [pa.array([], field.type) for field in table([GOOD]).schema],
            schema=table([GOOD]).schema,
        )
    ]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch[0].schema) as writer:
        for _ in range(arrow.MAX_BATCHES + 1):
            writer.write_batch(batch[0])
    with pytest.raises(RequestError, match="batches"):
        read(PARSERS, sink.getvalue().to_pybytes(), {})


def test_an_empty_stream_has_no_rows():
    with pytest.raises(RequestError, match="at least one row"):
        read(PARSERS, stream(table([GOOD]).slice(0, 0)).body, {})


@pytest.mark.parametrize("body", [b"", b"{}", b"ARROW1\0\0", b"\xff\xff\xff\xff\x10\0\0\0" * 4])
def test_what_is_no_stream_is_refused(body: bytes):
    with pytest.raises(BodyError):
        read(PARSERS, body, {})


def test_codes_outside_of_their_dictionary_are_refused():
    body = batches_of(coded([201, 201], [str(one) for one in range(202)]))
    broken = body.replace(b"\xc9\xc9", b"\xc9\xca")
    assert read(PARSERS, body, {}).columns["carrier"].tolist() == ["201", "201"]
    assert broken != body
    with pytest.raises(BodyError):
        read(PARSERS, broken, {})


def test_null_rows_may_point_anywhere():
    # Arrow's validation passes both, and following them would read memory that isn't there.
    views = pa.array(["AA", "B" * 20], pa.string_view()).buffers()
    wild = struct.pack("<i4sii", 2**30, b"wild", 2**20, 2**30)
    shared = pa.py_buffer(views[1].to_pybytes() + wild)
    gates = pa.Array.from_buffers(pa.string_view(), 3, [pa.py_buffer(b"\x03"), shared, *views[2:]])
    codes = pa.Array.from_buffers(
        pa.uint64(), 3, [pa.py_buffer(b"\x03"), pa.py_buffer(struct.pack("<3Q", 1, 0, 2**64 - 1))]
    )
    flights = pa.DictionaryArray.from_arrays(codes, pa.array(["F1", "F2"]), safe=False)
    columns = {"distance": [1.0] * 3, "carrier": ["a"] * 3, "weekend": [True] * 3}
    body = stream_of_one_batch(pa.table({**columns, "gate": gates, "flight": flights}))
    parsed = read(PARSERS, body, {})
    assert parsed.columns["gate"].tolist() == ["AA", "B" * 20, MISSING_CATEGORY]
    assert parsed.entities == ["F2", "F1", None]


def test_a_stream_cut_anywhere_is_refused():
    body = stream(table([GOOD] * 3)).body
    for end in range(0, len(body) - 8, 64):
        with pytest.raises((BodyError, RequestError)):
            read(PARSERS, body[:end], {})


def test_the_answer_is_a_batch_with_its_origin_in_the_metadata():
    predicted = Predicted(CONTRACT, "4", "champion", "r", "x", [[0.25, 0.75], [0.5, 0.5]])
    found = pa.ipc.open_stream(render(predicted).body).read_all()
    assert found.to_pydict() == {
        "prediction_id": ["x-0", "x-1"],
        "prediction": ["late", "on_time"],
        "p_on_time": [0.25, 0.5],
        "p_late": [0.75, 0.5],
    }
    assert found.schema.metadata == {
        b"model": b"flight_delay",
        b"version": b"4",
        b"variant": b"champion",
        b"request_id": b"r",
    }


def test_a_regression_answers_with_values_and_shared_rows_with_their_version():
    contract = Contract("m", "regression", (ContractColumn("a", "number", True),), (), "", "", 5)
    predicted = Predicted(contract, "4", "champion", "r", "x", [[2.5]], rows=[("5", "challenger")])
    assert pa.ipc.open_stream(render(predicted).body).read_all().to_pydict() == {
        "prediction_id": ["x-0"],
        "prediction": [2.5],
        "version": ["5"],
        "variant": ["challenger"],
    }


def test_ten_thousand_rows_of_twenty_columns_take_milliseconds():
    kinds = ("number", "integer", "category", "boolean")
    columns = tuple(ContractColumn(f"c{i}", kinds[i % 4], nullable=i % 3 == 0) for i in range(20))  # type: ignore[arg-type]
    contract = Contract("m", "binary", columns, ("a", "b"), "", "", 10_000)
    draw = np.random.default_rng(0)
    values = {
        "number": pa.array(draw.normal(size=10_000)),
        "integer": pa.array(draw.integers(0, 99, 10_000)),
        "category": pa.array(draw.choice(["AA", "UA", "DL"], 10_000)),
        "boolean": pa.array(draw.random(10_000) < 0.5),
    }
    body = stream_of_one_batch(pa.table({one.name: values[one.type] for one in columns}))
    parsers = Parsers.of(contract)

    def seconds() -> float:
        began = time.process_time()
        read(parsers, body, {})
        return time.process_time() - began

    # 3 ms on a quiet core; the limit leaves room for a machine that does other things.
    assert min(seconds() for _ in range(10)) < 0.01
