"""What the Open Inference Protocol tells about server and models."""

from collections.abc import Sequence
from typing import Any

from mlops_assets.domain.contract import Contract, ContractColumn
from serving.protocols.open_inference import output_names

SERVER = "mlops_assets"
PLATFORM = "onnx_onnxv1"
EXTENSIONS = ("binary_tensor_data",)


def server(version: str) -> dict[str, Any]:
    """`GET /v2`."""
    return {"name": SERVER, "version": version, "extensions": list(EXTENSIONS)}


def model(contract: Contract, versions: Sequence[str], platform: str = PLATFORM) -> dict[str, Any]:
    """`GET /v2/models/{model}`: inputs and outputs, and the versions that answer by number."""
    return {
        "name": contract.model,
        "versions": list(versions),
        "platform": platform,
        "inputs": [
            *(
                {"name": column.name, "datatype": datatype_of(column), "shape": [-1, 1]}
                for column in contract.asked
            ),
            *([_time(contract)] if contract.computed else []),
        ],
        "outputs": [_output(name, contract) for name in output_names(contract)],
    }


def _time(contract: Contract) -> dict[str, Any]:
    """The event time, ISO 8601 text, where inputs are computed from it."""
    return {"name": contract.event_time, "datatype": "BYTES", "shape": [-1, 1]}


def datatype_of(column: ContractColumn) -> str:
    """The datatype to send; where a number may be missing it has to be one that has NaN."""
    if column.type == "category":
        return "BYTES"
    if column.type == "number" or column.nullable:
        return "FP64"
    return "INT64" if column.type == "integer" else "BOOL"


def _output(name: str, contract: Contract) -> dict[str, Any]:
    if name == "probabilities":
        return {"name": name, "datatype": "FP64", "shape": [-1, len(contract.classes)]}
    is_number = name == "prediction" and not contract.classes
    return {"name": name, "datatype": "FP64" if is_number else "BYTES", "shape": [-1]}
