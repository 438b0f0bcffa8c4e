import json
from contextlib import nullcontext
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from mlops_assets.domain.errors import RequestError
from mlops_assets_tests.serving.conftest import CONTRACT, REGRESSION, records
from serving.openapi import document, request_schema
from serving.protocols.exchange import Parsers
from serving.protocols.native import parse


@pytest.mark.parametrize("needs_token", [False, True])
def test_the_document_is_valid_openapi(needs_token: bool):
    spec: Any = document([CONTRACT, REGRESSION], needs_token)
    validate(spec)
    assert "/v1/models/demand/predict" in spec["paths"]
    assert ("security" in spec) is needs_token


def test_the_document_of_no_model_is_valid_too():
    spec: Any = document([], needs_token=False)
    validate(spec)
    assert "/health" in spec["paths"]
    assert not [path for path in spec["paths"] if "/models/" in path]


def test_every_path_of_every_protocol_is_described():
    described = set(document([CONTRACT], needs_token=False)["paths"])
    # Which of several models would answer?
    assert "/invocations" not in document([CONTRACT, REGRESSION], needs_token=False)["paths"]
    assert {
        "/v1/models/flight_delay/predict",
        "/v2/models/flight_delay/infer",
        "/v2/models/flight_delay/ready",
        "/v2/models/flight_delay",
        "/v2/models/flight_delay/versions/{version}",
        "/v2/models/flight_delay/versions/{version}/ready",
        "/v2/models/flight_delay/versions/{version}/infer",
        "/models/flight_delay/invocations",
        "/invocations",
        "/v2/health/live",
        "/ping",
        "/metrics",
        "/docs",
        "/v2",
        "/v2/health/ready",
        "/version",
        "/health",
        "/openapi.json",
    } == described


@pytest.mark.parametrize(
    ("change", "is_valid"),
    [
        ({}, True),
        ({"seats": None}, True),
        ({"weekend": 1}, True),
        ({"flight": "AA1", "departs": "2013-06-01"}, True),
        ({"seats": 1.5}, False),
        ({"distance": None}, False),
        ({"distance": "1"}, False),
        ({"carrier": 1}, False),
        ({"weekend": 2}, False),
        ({"colour": "red"}, False),
    ],
)
def test_the_schema_accepts_what_the_parser_accepts(change: dict[str, Any], is_valid: bool):
    record = {**records(1, seed=1)[0], **change}
    schema, parsers = Draft202012Validator(request_schema(CONTRACT)), Parsers.of(CONTRACT)
    columns = {name: [value] for name, value in record.items()}
    for body in ({"records": [record]}, {"columns": columns}):
        assert schema.is_valid(body) is is_valid
        with nullcontext() if is_valid else pytest.raises(RequestError):
            parse(parsers, json.dumps(body).encode(), {})
