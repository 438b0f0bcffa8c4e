"""Inference by the Open Inference Protocol v2 over REST, for clients of KServe, MLServer, Triton.

One tensor per column, of shape [n] or [n, 1]; or, where all inputs are numbers, one tensor of shape
[n, inputs] in the contract's order. `id` is only echoed: clients of this protocol use the same one
for many requests, so what makes a repeated request the same is `parameters.request_id` or the
header Idempotency-Key. Tensors as bytes after the JSON (Triton's binary tensor data extension)
work in both directions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson

from mlops_assets.domain.column_requests import Values
from mlops_assets.domain.contract import Contract
from mlops_assets.domain.errors import RequestError
from mlops_assets.domain.requests import clip, request_id_of
from mlops_assets.domain.values import kind_of
from serving.answers import Answer
from serving.predicted import Predicted
from serving.protocols.exchange import Asked, Headers, Parsers, idempotency_key, labels
from serving.protocols.strict_json import decode_strictly
from serving.protocols.tensors import (
    BYTES,
    DTYPES,
    columns_of,
    from_bytes,
    from_json,
    to_bytes,
)

HEADER_LENGTH = "inference-header-content-length"
OUTPUTS = ("prediction", "probabilities", "prediction_id")
CONTENT_TYPES = ("pd", "np", "str")
# What changes the meaning of a request must not be ignored, as other parameters may be.
_UNSUPPORTED = ("sequence_id", "classification", "shared_memory_region")


@dataclass(frozen=True, slots=True)
class Wanted:
    """How the client wants its answer: outputs by name, and whether each is in bytes."""

    id: str
    outputs: dict[str, bool]


class _Tail:
    """The bytes after the JSON, which the tensors share in their order."""

    def __init__(self, data: memoryview) -> None:
        self._data, self._at = data, 0

    def take(self, size: object, field: str) -> memoryview:
        if type(size) is not int or not 0 <= size <= len(self._data) - self._at:
            raise RequestError("is not the size of bytes that follow", f"{field}.binary_data_size")
        self._at += size
        return self._data[self._at - size : self._at]

    def finish(self) -> None:
        if self._at != len(self._data):
            raise RequestError("is followed by bytes that belong to no input", "inputs")


def parse(parsers: Parsers, body: bytes, headers: Headers) -> Asked:
    """Read an inference request."""
    split = _header_length(headers, body)
    decoded = decode_strictly(body[:split] if split < len(body) else body)
    if not isinstance(decoded, dict):
        raise RequestError(f"must be an object, not {kind_of(decoded)}", "body")
    for name in decoded:
        if name not in ("id", "parameters", "inputs", "outputs"):
            raise RequestError("is not part of a request", f"body.{clip(name)}")
    parameters = _parameters(decoded, "body")
    _check_content_type(parameters, "body")
    wanted = Wanted(_id(decoded.get("id")), _outputs(decoded, parameters, parsers.contract))
    tail = _Tail(memoryview(body)[split:])
    columns = _columns(decoded.get("inputs"), tail, parsers.contract)
    tail.finish()
    key = parameters.get("request_id", idempotency_key(headers))
    return Asked(parsers.by_column.parse(columns, key, "inputs."), partial(render, wanted=wanted))


def render(predicted: Predicted, wanted: Wanted) -> Answer:
    """The outputs that were asked for; bytes follow the JSON where they were asked for."""
    outputs: list[dict[str, Any]] = []
    tail: list[bytes] = []
    names = dict(wanted.outputs)
    if predicted.rows:
        names |= dict.fromkeys(("version", "variant"), any(names.values()))
    for name, in_bytes in names.items():
        output = _output(name, predicted)
        if in_bytes:
            tail.append(to_bytes(output.pop("data"), output["datatype"]))
            output["parameters"] = {
                **output.get("parameters", {}),
                "binary_data_size": len(tail[-1]),
            }
        outputs.append(output)
    body = orjson.dumps(
        {
            "model_name": predicted.contract.model,
            "model_version": predicted.version,
            "id": wanted.id or predicted.request_id,
            "parameters": {"variant": predicted.variant},
            "outputs": outputs,
        }
    )
    if not any(wanted.outputs.values()):
        return Answer(200, body)
    head = {"content-type": "application/octet-stream", HEADER_LENGTH: str(len(body))}
    return Answer(200, b"".join((body, *tail)), head)


def _output(name: str, predicted: Predicted) -> dict[str, Any]:
    rows, classes = len(predicted.outputs), predicted.contract.classes
    if name == "probabilities":
        data = [value for row in predicted.lists for value in row]
        # A parameter of the standard is a text, a number or a boolean, so this is JSON in text.
        about = {"classes": orjson.dumps(classes).decode()}
        shape = [rows, len(classes)]
        return {"name": name, "datatype": "FP64", "shape": shape, "parameters": about, "data": data}
    if name == "prediction":
        datatype = BYTES if classes else "FP64"
        return {"name": name, "datatype": datatype, "shape": [rows], "data": labels(predicted)}
    values = predicted.ids
    if name != "prediction_id":
        values = [by[name == "variant"] for by in predicted.rows]
    return {"name": name, "datatype": BYTES, "shape": [rows], "data": values}


def output_names(contract: Contract) -> tuple[str, ...]:
    """The outputs of a model: a regression has no probabilities."""
    return tuple(name for name in OUTPUTS if contract.classes or name != "probabilities")


def _header_length(headers: Headers, body: bytes) -> int:
    """How many of the body's bytes are JSON."""
    text = headers.get(HEADER_LENGTH, "")
    if not text:
        return len(body)
    if not (text.isascii() and text.isdigit() and len(text) < 12 and int(text) <= len(body)):
        raise RequestError("is not a number of bytes that the body has", HEADER_LENGTH)
    return int(text)


def _id(value: Any) -> str:
    try:
        return request_id_of(value or None)
    except RequestError as error:
        raise RequestError(str(error), "id") from None


def _parameters(holder: dict[str, Any], field: str) -> dict[str, Any]:
    parameters = holder.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise RequestError(f"must be an object, not {kind_of(parameters)}", f"{field}.parameters")
    for name in _UNSUPPORTED:
        if name in parameters:
            raise RequestError("is not supported", f"{field}.parameters.{name}")
    return parameters


def _check_content_type(parameters: dict[str, Any], field: str) -> None:
    if parameters.get("content_type", "np") not in CONTENT_TYPES:
        raise RequestError(
            f"must be one of {', '.join(CONTENT_TYPES)}", f"{field}.parameters.content_type"
        )


def _outputs(
    decoded: dict[str, Any], parameters: dict[str, Any], contract: Contract
) -> dict[str, bool]:
    """The outputs to answer with, and whether as bytes; all of them where none is named."""
    known = output_names(contract)
    default = parameters.get("binary_data_output") is True
    asked = decoded.get("outputs")
    if asked is None or asked == []:
        return dict.fromkeys(known, default)
    if not isinstance(asked, list):
        raise RequestError(f"must be a list, not {kind_of(asked)}", "outputs")
    wanted: dict[str, bool] = {}
    for index, output in enumerate(asked):
        field = f"outputs[{index}]"
        if not isinstance(output, dict):
            raise RequestError(f"must be an object, not {kind_of(output)}", field)
        name = output.get("name")
        if name not in known or name in wanted:
            raise RequestError(f"must be one of {', '.join(known)}, each once", f"{field}.name")
        wanted[name] = _parameters(output, field).get("binary_data", default) is True
    return wanted


def _columns(inputs: Any, tail: _Tail, contract: Contract) -> dict[str, Values]:
    if not isinstance(inputs, list) or not inputs:
        raise RequestError("must be a list with at least one tensor", "inputs")
    columns: dict[str, Values] = {}
    for index, tensor in enumerate(inputs):
        name, shape = _head(tensor, index)
        values = _values(tensor, name, shape, tail)
        if len(shape) == 2 and shape[1] != 1:
            return _matrix(values, shape, inputs, contract)
        if name in columns:
            raise RequestError("occurs twice", f"inputs.{clip(name)}")
        columns[name] = values
    return columns


def _head(tensor: Any, index: int) -> tuple[str, list[int]]:
    field = f"inputs[{index}]"
    if not isinstance(tensor, dict):
        raise RequestError(f"must be an object, not {kind_of(tensor)}", field)
    for key in tensor:
        if key not in ("name", "shape", "datatype", "parameters", "data"):
            raise RequestError("is not part of a tensor", f"{field}.{clip(key)}")
    name, shape, datatype = (tensor.get(key) for key in ("name", "shape", "datatype"))
    if type(name) is not str:
        raise RequestError(f"must be text, not {kind_of(name)}", f"{field}.name")
    if type(datatype) is not str or (datatype != BYTES and datatype not in DTYPES):
        raise RequestError(f"must be one of {', '.join((*DTYPES, BYTES))}", f"{field}.datatype")
    if (
        not isinstance(shape, list)
        or len(shape) not in (1, 2)
        or not all(type(size) is int and 0 <= size < 2**31 for size in shape)
    ):
        raise RequestError("must be [rows] or [rows, 1]", f"{field}.shape")
    return name, shape


def _values(tensor: dict[str, Any], name: str, shape: list[int], tail: _Tail) -> Values:
    field = f"inputs.{clip(name)}"
    parameters = _parameters(tensor, field)
    _check_content_type(parameters, field)
    datatype, size = tensor["datatype"], parameters.get("binary_data_size")
    if size is None:
        return from_json(tensor.get("data"), datatype, shape, field)
    if "data" in tensor:
        raise RequestError("must not be there beside binary_data_size", f"{field}.data")
    rows = shape[0] * (shape[1] if len(shape) == 2 else 1)
    return from_bytes(tail.take(size, field), datatype, rows, field)


def _matrix(
    values: Values, shape: list[int], inputs: Sequence[Any], contract: Contract
) -> dict[str, Values]:
    """The columns of a tensor that holds all inputs, in the contract's order."""
    names = [column.name for column in contract.asked]
    is_numeric = all(column.type != "category" for column in contract.asked)
    if len(inputs) != 1 or not is_numeric or shape[1] != len(names):
        raise RequestError(
            "must be [rows] or [rows, 1], one tensor per input; or one tensor of "
            f"[rows, {len(names)}] where all inputs are numbers",
            "inputs[0].shape",
        )
    if inputs[0]["datatype"] == BYTES:
        raise RequestError("must be a datatype of numbers", "inputs[0].datatype")
    return columns_of(values, names, shape[0])
