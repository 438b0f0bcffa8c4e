"""The same rows as the clients of each protocol send them."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st
from tritonclient.http import InferenceServerClient, InferInput

from mlops_assets.domain.coded import plain
from mlops_assets.domain.contract import Contract, ContractColumn
from mlops_assets.domain.requests import ParsedRequest
from serving.protocols.arrow import ARROW
from serving.protocols.exchange import Parsers

CONTRACT = Contract(
    model="flight_delay",
    task="binary",
    columns=(
        ContractColumn("distance", "number", nullable=False),
        ContractColumn("wind", "number", nullable=True),
        ContractColumn("seats", "integer", nullable=True),
        ContractColumn("carrier", "category", nullable=False),
        ContractColumn("gate", "category", nullable=True),
        ContractColumn("weekend", "boolean", nullable=False),
    ),
    classes=("on_time", "late"),
    entity="flight",
    event_time="departs",
    max_rows=50,
)
PARSERS = Parsers.of(CONTRACT)
Row = dict[str, Any]
GOOD: Row = {
    "distance": 1.5,
    "wind": None,
    "seats": 3,
    "carrier": "AA",
    "gate": None,
    "weekend": True,
    "flight": "AA1",
    "departs": "2013-06-01T12:00:00+00:00",
}
_TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=6
)
_NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "distance": _NUMBERS,
            "wind": st.none() | _NUMBERS,
            "seats": st.none() | st.integers(-(2**53), 2**53),
            "carrier": _TEXT,
            "gate": st.none() | _TEXT,
            "weekend": st.booleans(),
            "flight": st.none() | _TEXT,
            "departs": st.none() | st.datetimes().map(lambda time: time.isoformat()),
        }
    ),
    min_size=1,
    max_size=20,
)


@dataclass(frozen=True)
class Message:
    """A request as it would travel: to which operation, with which body and headers."""

    operation: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


def columns_of(rows: list[Row]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def _json(operation: str, body: Any) -> Message:
    # Written with spaces and escapes, as the standard library does by default.
    return Message(operation, json.dumps(body).encode(), {"content-type": "application/json"})


def split(rows: list[Row]) -> Message:
    """As `DataFrame.to_dict(orient="split")` and MLflow's clients write it: missing is NaN."""
    names = list(rows[0])
    data = [[np.nan if row[name] is None else row[name] for name in names] for row in rows]
    body = {"columns": names, "index": list(range(len(rows))), "data": data}
    return _json("invocations", {"dataframe_split": body})


def csv_text(rows: list[Row]) -> Message:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    body = text.getvalue().encode()
    return Message("invocations", body, {"content-type": "text/csv; charset=utf-8"})


def tensor_type(name: str) -> str:
    kinds = {"distance": "FP64", "wind": "FP64", "seats": "FP64", "weekend": "BOOL"}
    return kinds.get(name, "BYTES")


def tensors(rows: list[Row]) -> Message:
    inputs = [
        {"name": name, "shape": [len(rows), 1], "datatype": tensor_type(name), "data": values}
        for name, values in columns_of(rows).items()
    ]
    return _json("v2_infer", {"id": "7", "inputs": inputs})


def binary_tensors(rows: list[Row]) -> Message:
    """By tritonclient itself; a column of text with missing values is sent in JSON."""
    inputs = []
    for name, values in columns_of(rows).items():
        kind = tensor_type(name)
        one = InferInput(name, [len(rows)], kind)
        if kind == "BYTES":
            if None in values:
                one._data = values
            else:
                array = np.empty(len(values), dtype=object)
                array[:] = values
                one.set_data_from_numpy(array)
        else:
            dtype = bool if kind == "BOOL" else np.float64
            one.set_data_from_numpy(np.array(values, dtype))
        inputs.append(one)
    body, length = InferenceServerClient.generate_request_body(inputs)
    return Message("v2_infer", body, {"inference-header-content-length": str(length)})


def stream(table: pa.Table, **options: Any) -> Message:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=7)
    return Message("predict", sink.getvalue().to_pybytes(), {"content-type": ARROW})


def table(rows: list[Row], text: pa.DataType | None = None) -> pa.Table:
    text = text or pa.string()
    types = {"distance": pa.float64(), "wind": pa.float64(), "seats": pa.int64()}
    types["weekend"] = pa.bool_()
    return pa.table(
        {
            name: pa.array(values, pa.string()).cast(text)
            if name not in types
            else pa.array(values, types[name])
            for name, values in columns_of(rows).items()
        }
    )


def dictionaries(rows: list[Row]) -> Message:
    return stream(table(rows, pa.dictionary(pa.int32(), pa.string())), compression="zstd")


PROTOCOLS: dict[str, Callable[[list[Row]], Message]] = {
    "columns": lambda rows: _json("predict", {"columns": columns_of(rows)}),
    "split": split,
    "dataframe_records": lambda rows: _json("invocations", {"dataframe_records": rows}),
    "instances": lambda rows: _json("invocations", {"instances": rows}),
    "inputs by record": lambda rows: _json("invocations", {"inputs": rows}),
    "inputs by column": lambda rows: _json("invocations", {"inputs": columns_of(rows)}),
    "csv": csv_text,
    "tensors": tensors,
    "binary tensors": binary_tensors,
    "arrow": lambda rows: stream(table(rows)),
    "arrow, views": lambda rows: stream(table(rows, pa.string_view())),
    "arrow, large": lambda rows: stream(table(rows, pa.large_string()), compression="lz4"),
    "arrow, dictionaries": dictionaries,
}


def assert_same(one: ParsedRequest, other: ParsedRequest) -> None:
    assert list(one.columns) == list(other.columns)
    theirs = plain(other.columns)
    for name, values in plain(one.columns).items():
        assert values.dtype == theirs[name].dtype
        if values.dtype == object:
            assert values.tolist() == theirs[name].tolist()
            assert {type(value) for value in theirs[name]} == {str}
        else:
            np.testing.assert_array_equal(values, theirs[name], strict=True)
    assert one.entities == other.entities
    assert one.event_times == other.event_times
    assert one.rows == other.rows
