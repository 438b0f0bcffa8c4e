import json
import struct
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tritonclient.http import InferenceServerClient

from mlops_assets.domain.contract import Contract, ContractColumn
from mlops_assets.domain.errors import RequestError
from mlops_assets_tests.serving.protocols.samples import (
    CONTRACT,
    GOOD,
    PARSERS,
    columns_of,
    tensor_type,
)
from serving.predicted import Predicted
from serving.protocols.exchange import Parsers
from serving.protocols.open_inference import HEADER_LENGTH, parse

PREDICTED = Predicted(CONTRACT, "4", "champion", "r", "x", [[0.25, 0.75], [0.5, 0.5]])
NUMERIC = Contract(
    "m",
    "regression",
    (ContractColumn("a", "number", True), ContractColumn("b", "boolean", False)),
    (),
    "",
    "",
    5,
)


def inputs(**change: Any) -> list[dict[str, Any]]:
    """One tensor per column of a good row, with changes to the tensor of `wind`."""
    found = [
        {"name": name, "shape": [1], "datatype": tensor_type(name), "data": values}
        for name, values in columns_of([GOOD]).items()
    ]
    wind = next(tensor for tensor in found if tensor["name"] == "wind")
    wind.update(change)
    return found


def ask(body: Any, headers: dict[str, str] | None = None, parsers: Parsers = PARSERS) -> Any:
    return parse(parsers, json.dumps(body).encode(), headers or {})


def refused(body: Any) -> str:
    with pytest.raises(RequestError) as caught:
        ask(body)
    return caught.value.field


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], "body"),
        ({}, "inputs"),
        ({"inputs": []}, "inputs"),
        ({"inputs": [3]}, "inputs[0]"),
        ({"inputs": inputs(), "model": "m"}, "body.model"),
        ({"inputs": inputs(), "id": 7}, "id"),
        ({"inputs": inputs(), "id": "x" * 201}, "id"),
        ({"inputs": inputs(), "parameters": []}, "body.parameters"),
        ({"inputs": inputs(), "parameters": {"sequence_id": 3}}, "body.parameters.sequence_id"),
        (
            {"inputs": inputs(), "parameters": {"content_type": "base64"}},
            "body.parameters.content_type",
        ),
        ({"inputs": inputs(), "parameters": {"request_id": 5}}, "request_id"),
        ({"inputs": inputs(), "outputs": {}}, "outputs"),
        ({"inputs": inputs(), "outputs": [3]}, "outputs[0]"),
        ({"inputs": inputs(), "outputs": [{"name": "x"}]}, "outputs[0].name"),
        ({"inputs": inputs(), "outputs": [{"name": []}]}, "outputs[0].name"),
        ({"inputs": inputs(), "outputs": [{"name": "prediction"}] * 2}, "outputs[1].name"),
        (
            {
                "inputs": inputs(),
                "outputs": [{"name": "prediction", "parameters": {"classification": 2}}],
            },
            "outputs[0].parameters.classification",
        ),
        ({"inputs": inputs(name=3)}, "inputs[1].name"),
        ({"inputs": inputs(name="distance")}, "inputs.distance"),
        ({"inputs": inputs(name="colour")}, "inputs.colour"),
        ({"inputs": inputs(datatype="BF16")}, "inputs[1].datatype"),
        ({"inputs": inputs(datatype=None)}, "inputs[1].datatype"),
        ({"inputs": inputs(shape=[1, 1, 1])}, "inputs[1].shape"),
        ({"inputs": inputs(shape=[-1])}, "inputs[1].shape"),
        ({"inputs": inputs(shape=[True])}, "inputs[1].shape"),
        ({"inputs": inputs(shape=[1, 7], data=[1] * 7)}, "inputs[0].shape"),
        ({"inputs": inputs(shape=[2])}, "inputs.wind"),
        ({"inputs": inputs(shape=[2], data=[1, 2])}, "inputs.wind"),
        ({"inputs": inputs(shape=[2**31 - 1, 2**31 - 1])}, "inputs.wind"),
        ({"inputs": inputs(data=None)}, "inputs.wind.data"),
        ({"inputs": inputs(data=["3"])}, "inputs.wind[0]"),
        ({"inputs": inputs(data=[True])}, "inputs.wind[0]"),
        ({"inputs": inputs(data=[[1]])}, "inputs.wind[0]"),
        ({"inputs": inputs(shape=[1, 1], data=[[1, 2]])}, "inputs.wind[0]"),
        ({"inputs": inputs(shape=[2, 1], data=[[1]])}, "inputs.wind"),
        ({"inputs": inputs(datatype="INT32", data=[1.5])}, "inputs.wind[0]"),
        ({"inputs": inputs(datatype="INT8", data=[128])}, "inputs.wind[0]"),
        ({"inputs": inputs(datatype="UINT64", data=[-1])}, "inputs.wind[0]"),
        ({"inputs": inputs(datatype="BOOL", data=[True])}, "inputs.wind[0]"),
        ({"inputs": inputs(datatype="BYTES", data=["a"])}, "inputs.wind[0]"),
        ({"inputs": inputs(data=[float("nan")])}, "inputs.wind[0]"),
        ({"inputs": inputs(lines=[])}, "inputs[1].lines"),
        (
            {"inputs": inputs(parameters={"shared_memory_region": "a"})},
            "inputs.wind.parameters.shared_memory_region",
        ),
        (
            {"inputs": inputs(parameters={"content_type": "base64"})},
            "inputs.wind.parameters.content_type",
        ),
        ({"inputs": inputs(parameters={"binary_data_size": 8})}, "inputs.wind.data"),
    ],
)
def test_what_breaks_the_protocol_or_the_contract_is_named(body: Any, field: str):
    assert refused(body) == field


@pytest.mark.parametrize("data", [[1.5], [[1.5]]])
def test_a_column_may_be_nested_or_flat(data: Any):
    asked = ask({"inputs": inputs(shape=[1, 1], data=data, datatype="FP32")})
    assert asked.request.columns["wind"].tolist() == [1.5]


def test_the_id_is_echoed_but_does_not_make_two_requests_one():
    asked = ask({"id": "1", "inputs": inputs()})
    assert asked.request.request_id == ""
    assert json.loads(asked.answer(PREDICTED).body)["id"] == "1"
    body = {"id": "1", "inputs": inputs(), "parameters": {"request_id": "mine"}}
    assert ask(body, {"idempotency-key": "theirs"}).request.request_id == "mine"


def test_the_answer_has_every_output_and_says_who_answered():
    answer = ask({"inputs": inputs()}).answer(PREDICTED)
    body = json.loads(answer.body)
    assert answer.headers["content-type"] == "application/json"
    assert (body["model_name"], body["model_version"], body["id"]) == ("flight_delay", "4", "r")
    prediction, probabilities, ids = body["outputs"]
    assert prediction == {
        "name": "prediction",
        "datatype": "BYTES",
        "shape": [2],
        "data": ["late", "on_time"],
    }
    assert probabilities["shape"] == [2, 2]
    assert probabilities["data"] == [0.25, 0.75, 0.5, 0.5]
    assert json.loads(probabilities["parameters"]["classes"]) == ["on_time", "late"]
    assert ids["data"] == ["x-0", "x-1"]


def test_outputs_can_be_chosen():
    body = {"inputs": inputs(), "outputs": [{"name": "probabilities"}]}
    outputs = json.loads(ask(body).answer(PREDICTED).body)["outputs"]
    assert [output["name"] for output in outputs] == ["probabilities"]


def test_where_versions_share_the_rows_each_row_says_whose_it_is():
    predicted = replace(PREDICTED, rows=[("4", "champion"), ("5", "challenger")])
    outputs = json.loads(ask({"inputs": inputs()}).answer(predicted).body)["outputs"]
    assert outputs[-2]["data"] == ["4", "5"]
    assert outputs[-1]["data"] == ["champion", "challenger"]


def test_outputs_in_bytes_are_what_tritons_client_reads():
    body = {"inputs": inputs(), "parameters": {"binary_data_output": True}}
    answer = ask(body).answer(PREDICTED)
    result = InferenceServerClient.parse_response_body(
        answer.body, header_length=int(answer.headers[HEADER_LENGTH])
    )
    assert result.as_numpy("probabilities").tolist() == PREDICTED.outputs
    assert result.as_numpy("prediction").tolist() == [b"late", b"on_time"]
    assert result.as_numpy("prediction_id").tolist() == [b"x-0", b"x-1"]


def test_a_regression_has_no_probabilities():
    parsers = Parsers.of(NUMERIC)
    body = {
        "inputs": [
            {"name": "b", "shape": [2], "datatype": "BOOL", "data": [True, False]},
        ]
    }
    predicted = Predicted(NUMERIC, "4", "champion", "r", "x", [[1.5], [2.5]])
    outputs = json.loads(ask(body, parsers=parsers).answer(predicted).body)["outputs"]
    assert [output["name"] for output in outputs] == ["prediction", "prediction_id"]
    assert outputs[0] == {
        "name": "prediction",
        "datatype": "FP64",
        "shape": [2],
        "data": [1.5, 2.5],
    }


@pytest.mark.parametrize("data", [[1.5, 0, None, 1], [[1.5, 0], [None, 1]]])
def test_one_tensor_of_all_inputs_is_allowed_where_all_are_numbers(data: Any):
    tensor = {"name": "input-0", "shape": [2, 2], "datatype": "FP64", "data": data}
    columns = ask({"inputs": [tensor]}, parsers=Parsers.of(NUMERIC)).request.columns
    np.testing.assert_array_equal(columns["a"], [1.5, np.nan])
    np.testing.assert_array_equal(columns["b"], [0, 1])
    assert refused({"inputs": [tensor]}) == "inputs[0].shape"
    with pytest.raises(RequestError):
        ask({"inputs": [tensor, tensor]}, parsers=Parsers.of(NUMERIC))
    text = {**tensor, "datatype": "BYTES", "data": ["a"] * 4}
    with pytest.raises(RequestError):
        ask({"inputs": [text]}, parsers=Parsers.of(NUMERIC))


def binary(tensors: list[dict[str, Any]], tail: bytes, length: str = "") -> str | None:
    """The field that is refused of a request with bytes after its JSON."""
    head = json.dumps({"inputs": tensors}).encode()
    headers = {HEADER_LENGTH: length or str(len(head))}
    try:
        parse(Parsers.of(NUMERIC), head + tail, headers)
    except RequestError as error:
        return error.field
    return None


def in_bytes(name: str, datatype: str, size: Any, rows: int = 2) -> dict[str, Any]:
    return {
        "name": name,
        "shape": [rows],
        "datatype": datatype,
        "parameters": {"binary_data_size": size},
    }


A, B = in_bytes("a", "FP64", 16), in_bytes("b", "BOOL", 2)
GOOD_TAIL = struct.pack("<dd??", 1.5, float("nan"), True, False)


@pytest.mark.parametrize(
    ("tensors", "tail", "field"),
    [
        ([A, B], GOOD_TAIL, None),
        ([A, B], GOOD_TAIL[:-1], "inputs.b.binary_data_size"),
        ([A, B], GOOD_TAIL + b"x", "inputs"),
        ([A, in_bytes("b", "BOOL", -1)], GOOD_TAIL, "inputs.b.binary_data_size"),
        ([A, in_bytes("b", "BOOL", "2")], GOOD_TAIL, "inputs.b.binary_data_size"),
        ([A, in_bytes("b", "BOOL", True)], GOOD_TAIL, "inputs.b.binary_data_size"),
        ([A, in_bytes("b", "INT64", 2)], GOOD_TAIL, "inputs.b"),
        ([A, B], GOOD_TAIL[:-1] + b"\x02", "inputs.b[1]"),
        ([A, B], struct.pack("<dd??", 1.5, float("inf"), True, False), "inputs.a[1]"),
        ([A, in_bytes("b", "BYTES", 2)], GOOD_TAIL, "inputs.b"),
        ([in_bytes("b", "BOOL", 0, 0)], b"", "inputs"),
    ],
)
def test_tensors_in_bytes_are_checked_against_their_shape(
    tensors: list[dict[str, Any]], tail: bytes, field: str | None
):
    assert binary(tensors, tail) == field


@pytest.mark.parametrize("length", ["-1", "1e3", "100000", "٣", "9" * 5000])
def test_a_bad_length_of_the_json_is_refused(length: str):
    assert binary([A, B], GOOD_TAIL, length) == HEADER_LENGTH


@pytest.mark.parametrize(
    ("texts", "field"),
    [
        (struct.pack("<I2sI1s", 2, b"AA", 1, b"B"), None),
        (struct.pack("<I2sI0s", 2, b"AA", 2**31, b""), "inputs.carrier[1]"),
        (struct.pack("<I2s", 2, b"AA"), "inputs.carrier"),
        (struct.pack("<I2sI1sI", 2, b"AA", 1, b"B", 0), "inputs.carrier"),
        (struct.pack("<I2sI1s", 2, b"\xff\xff", 1, b"B"), "inputs.carrier"),
        (struct.pack("<I2sI1s", 2, b"AA", 1, b"\0"), "inputs.carrier[1]"),
        (b"", "inputs.carrier"),
    ],
)
def test_texts_in_bytes_are_read_by_their_lengths(texts: bytes, field: str | None):
    numeric = {"shape": [2], "datatype": "FP64", "data": [1, 1]}
    tensors = [
        {"name": "distance", **numeric},
        {"name": "weekend", **numeric},
        in_bytes("carrier", "BYTES", len(texts)),
    ]
    head = json.dumps({"inputs": tensors}).encode()
    found = None
    try:
        request = parse(PARSERS, head + texts, {HEADER_LENGTH: str(len(head))}).request
        assert request.columns["carrier"].tolist() == ["AA", "B"]
    except RequestError as error:
        found = error.field
    assert found == field
