from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from mlops_assets_tests.serving.conftest import CONTRACT, REGRESSION, records
from serving.openapi import document, request_schema


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
    assert {
        "/v1/models/flight_delay/predict",
        "/v2/models/flight_delay/infer",
        "/v2/models/flight_delay/ready",
        "/v2/models/flight_delay",
        "/models/flight_delay/invocations",
        "/v2/health/live",
        "/ping",
        "/metrics",
        "/docs",
    } <= described


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
    body = {"records": [{**records(1, seed=1)[0], **change}]}
    assert Draft202012Validator(request_schema(CONTRACT)).is_valid(body) is is_valid
