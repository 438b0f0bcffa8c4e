"""The OpenAPI description of the protocols that other servers' clients speak."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from mlops_assets.domain.contract import Contract

Schema = dict[str, Any]

_OBJECT: Schema = {"type": "object"}
_TEXT: Schema = {"type": "string"}
_VERSION: Schema = {"name": "version", "in": "path", "required": True, "schema": _TEXT}
_DATATYPES = ("BOOL", "INT8", "INT16", "INT32", "INT64", "FP32", "FP64", "BYTES")


def fixed_paths() -> dict[str, Any]:
    """Paths that are there whatever is served."""
    return {
        "/v2": _get("v2_server", "Open Inference Protocol: about the server."),
        "/v2/health/live": _get("v2_live", "Open Inference Protocol: liveness.", is_open=True),
        "/v2/health/ready": _get(
            "v2_ready", "Open Inference Protocol: every model is loaded.", is_open=True
        ),
        "/ping": _get("ping", "MLflow scoring: every model is loaded.", "text/plain", is_open=True),
        "/version": _get("version", "MLflow scoring: version of the endpoint.", "text/plain"),
    }


def paths_of(contract: Contract, errors: dict[str, str], is_only: bool) -> dict[str, Any]:
    """Paths of one model; `errors` describes each status of a refusal, `is_only` whether the model
    answers where a path names none.
    """
    name = contract.model
    whole = _of_version(contract, f"/v2/models/{name}", name, errors)
    version = f"/v2/models/{name}/versions/{{version}}"
    for path, operations in _of_version(contract, version, f"version_{name}", errors).items():
        whole[path] = {"parameters": [_VERSION], **operations}
    whole[f"/models/{name}/invocations"] = _invocations(name, errors)
    if is_only:
        whole["/invocations"] = _invocations("of_the_only_model", errors)
    return whole


def _of_version(
    contract: Contract, path: str, name: str, errors: Mapping[str, str]
) -> dict[str, Any]:
    about = "Open Inference Protocol"
    missing = {"404": "No such model or version.", "410": "The model was retired."}
    return {
        path: _get(f"v2_model_{name}", f"{about}: inputs and outputs.", others=missing),
        f"{path}/ready": _get(f"v2_ready_{name}", f"{about}: the model is loaded.", others=missing),
        f"{path}/infer": _post(
            f"v2_infer_{name}",
            f"{about}: predict.",
            {"application/json": {"schema": _infer(contract)}},
            {"type": "object", "required": ["model_name", "model_version", "outputs"]},
            {"type": "object", "properties": {"error": _TEXT}, "required": ["error"]},
            errors,
        ),
    }


def _invocations(name: str, errors: Mapping[str, str]) -> dict[str, Any]:
    return _post(
        f"invocations_{name}",
        "MLflow scoring: predict.",
        {"application/json": {"schema": _invocation()}, "text/csv": {"schema": _TEXT}},
        {"type": "object", "required": ["predictions"]},
        {"$ref": "#/components/schemas/Error"},
        errors,
    )


def _get(
    name: str,
    summary: str,
    content: str = "application/json",
    is_open: bool = False,
    others: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Any]:
    schema = _OBJECT if content == "application/json" else _TEXT
    operation: dict[str, Any] = {
        "operationId": name,
        "summary": summary,
        "responses": {
            "200": {"description": "As asked.", "content": {content: {"schema": schema}}},
            "503": {"description": "Not every model is loaded."},
            **{status: {"description": text} for status, text in others.items()},
        },
    }
    return {"get": {**operation, "security": []} if is_open else operation}


def _post(
    name: str,
    summary: str,
    content: dict[str, Any],
    answer: Schema,
    error: Schema,
    errors: Mapping[str, str],
) -> dict[str, Any]:
    refused = {"application/json": {"schema": error}}
    responses = {s: {"description": text, "content": refused} for s, text in errors.items()}
    answered = {"application/json": {"schema": answer}}
    return {
        "post": {
            "operationId": name,
            "summary": summary,
            "requestBody": {"required": True, "content": content},
            "responses": {
                "200": {"description": "The predictions.", "content": answered},
                **responses,
            },
        }
    }


def _infer(contract: Contract) -> Schema:
    tensor = {
        "type": "object",
        "properties": {
            "name": {"enum": [column.name for column in contract.asked]},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1},
            "datatype": {"enum": list(_DATATYPES)},
            "data": {"type": "array"},
            "parameters": _OBJECT,
        },
        "required": ["name", "shape", "datatype", "data"],
    }
    wanted = {"type": "object", "properties": {"name": _TEXT}, "required": ["name"]}
    return {
        "type": "object",
        "properties": {
            "id": _TEXT,
            "parameters": _OBJECT,
            "inputs": {"type": "array", "items": tensor, "minItems": 1},
            "outputs": {"type": "array", "items": wanted},
        },
        "required": ["inputs"],
    }


def _invocation() -> Schema:
    forms: dict[str, Schema] = {
        "dataframe_split": {"type": "object", "required": ["columns", "data"]},
        "dataframe_records": {"type": "array", "items": _OBJECT},
        "instances": {"type": "array"},
        "inputs": {"type": ["object", "array"]},
    }
    return {
        "type": "object",
        "properties": {**forms, "params": _OBJECT},
        "oneOf": [{"required": [name]} for name in forms],
    }
