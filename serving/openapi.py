"""The OpenAPI 3.1 description of the endpoint, generated from the served contracts."""

from collections.abc import Sequence
from typing import Any

from mlops_assets.domain.contract import Contract, ContractColumn
from mlops_assets.domain.requests import MAX_REQUEST_ID
from mlops_assets.domain.values import LARGEST_INTEGER
from serving.openapi_protocols import fixed_paths, paths_of
from serving.protocols.arrow import ARROW

Schema = dict[str, Any]

_ERRORS = {
    "400": "The body is not strict JSON.",
    "401": "The bearer token is missing or wrong.",
    "403": "A web page asks, where no token is needed.",
    "404": "No such model is released.",
    "408": "The body did not arrive in time.",
    "409": "The request id was used for another request.",
    "410": "The model was retired.",
    "413": "The body is too large or has too many records.",
    "415": "The body is compressed, or of a type that is not read.",
    "422": "The request breaks the contract; the error names the field.",
    "500": "The model failed, which is reported.",
    "503": "The model is not loaded yet, or the prediction cannot be logged.",
}


def document(contracts: Sequence[Contract], needs_token: bool) -> dict[str, Any]:
    """The whole document; every model has its own path with its own request schema."""
    paths: dict[str, Any] = {
        "/health": _get(
            "health", "Which versions are served, and whether all is well.", open_=True
        ),
        "/openapi.json": _get("openapi", "This document."),
        "/docs": _get("docs", "This document, for people.", content="text/html"),
        "/metrics": _get("metrics", "Counts for Prometheus.", content="text/plain"),
        **fixed_paths(),
    }
    for contract in contracts:
        paths[f"/v1/models/{contract.model}/predict"] = {"post": _predict(contract)}
        paths.update(paths_of(contract, _ERRORS, is_only=len(contracts) == 1))
    components: dict[str, Any] = {"schemas": {"Error": _error_schema()}}
    result: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "mlops_assets serving", "version": "1"},
        "paths": paths,
        "components": components,
    }
    if needs_token:
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        result["security"] = [{"token": []}]
    return result


def _get(
    name: str, summary: str, open_: bool = False, content: str = "application/json"
) -> dict[str, Any]:
    schema = {"type": "object" if content == "application/json" else "string"}
    answer = {"description": "As asked.", "content": {content: {"schema": schema}}}
    operation: dict[str, Any] = {
        "operationId": name,
        "summary": summary,
        "responses": {"200": answer},
    }
    return {"get": {**operation, "security": []} if open_ else operation}


def _predict(contract: Contract) -> dict[str, Any]:
    error = {"$ref": "#/components/schemas/Error"}
    return {
        "operationId": f"predict_{contract.model}",
        "summary": f"Predict with the champion of {contract.model}.",
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": request_schema(contract)},
                # One column per input; the answer is in the same format.
                ARROW: {},
            },
        },
        "responses": {
            "200": _json("The predictions, in the order of the records.", _answer(contract)),
            **{status: _json(text, error) for status, text in _ERRORS.items()},
        },
    }


def request_schema(contract: Contract) -> Schema:
    """JSON Schema of a prediction request, by record or by column."""
    values = {column.name: _column(column) for column in contract.asked}
    for rule in contract.history:
        values[rule.name]["description"] = f"Looked up by {rule.key} where it is left out."
    if contract.entity:
        values.setdefault(
            contract.entity,
            {
                "type": ["string", "number", "boolean", "null"],
                "description": "Whom the record is about; logged, not scored.",
            },
        )
    if contract.event_time:
        values.setdefault(
            contract.event_time,
            {
                "type": "string" if contract.computed else ["string", "null"],
                "description": "Time of the event, ISO 8601, UTC if it has no offset; logged.",
            },
        )
    required = [column.name for column in contract.asked if not column.nullable]
    required += [contract.event_time] if contract.computed else []
    columns = {name: _list_of(value, contract) for name, value in values.items()}
    forms = {
        "records": _list_of(_closed(values, required), contract),
        "columns": _closed(columns, required),
    }
    request_id = {"type": ["string", "null"], "minLength": 1, "maxLength": MAX_REQUEST_ID}
    whole = _closed({"request_id": request_id, **forms}, ())
    return {**whole, "oneOf": [{"required": [form]} for form in forms]}


def _list_of(items: Schema, contract: Contract) -> Schema:
    return {"type": "array", "items": items, "minItems": 1, "maxItems": contract.max_rows}


def _closed(properties: Schema, required: Sequence[str]) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def _column(column: ContractColumn) -> Schema:
    null = ["null"] if column.nullable else []
    if column.type == "category":
        return {"type": ["string", *null]}
    if column.type == "boolean":
        return {"enum": [True, False, 0, 1, *([None] if column.nullable else [])]}
    if column.type == "integer":
        limits = {"minimum": -LARGEST_INTEGER, "maximum": LARGEST_INTEGER}
        return {"type": ["integer", *null], **limits}
    return {"type": ["number", *null]}


def _answer(contract: Contract) -> Schema:
    probability = {"type": "number", "minimum": 0, "maximum": 1}
    prediction: dict[str, Schema] = {"prediction_id": {"type": "string"}}
    if contract.classes:
        prediction["prediction"] = {"enum": list(contract.classes)}
        prediction["probability"] = {
            "type": "object",
            "properties": dict.fromkeys(contract.classes, probability),
            "required": list(contract.classes),
        }
    else:
        prediction["prediction"] = {"type": "number"}
    item = {"type": "object", "properties": prediction, "required": list(prediction)}
    fields: dict[str, Schema] = {
        "model": {"const": contract.model},
        "version": {"type": "string"},
        "request_id": {"type": "string"},
        "predictions": {"type": "array", "items": item},
    }
    return {"type": "object", "properties": fields, "required": list(fields)}


def _error_schema() -> Schema:
    text = {"type": "string"}
    error = {
        "type": "object",
        "properties": {"field": text, "message": text},
        "required": ["field", "message"],
    }
    return {"type": "object", "properties": {"error": error}, "required": ["error"]}


def _json(description: str, schema: Schema) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}
