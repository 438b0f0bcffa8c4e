"""No request whatever gives an answer of 500 or more, and each answer is one that is described.

`schemathesis` makes requests from the endpoint's own description: such as keep it, and such as
break it. The corpus holds what it would not think of.
"""

import json
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from mlops_assets_tests.serving.conftest import Built, publish, records
from serving.http import PredictionService
from serving.ingress import Ingress
from serving.models import ModelSet

EXAMPLES = 40
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def service(
    bundles: dict[str, Built], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PredictionService]:
    home = tmp_path_factory.mktemp("home")
    publish(
        home / "state.json",
        flight_delay=("1", bundles["1"].folder),
        demand=("7", bundles["demand"].folder),
    )
    models = ModelSet(home / "state.json")
    models.refresh()
    service = PredictionService(models, home / "log")
    yield service
    service.close()


async def nobody(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("nothing of this is for Ray")


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_the_endpoint_is_as_it_describes_itself(service: PredictionService, mode: GenerationMode):
    schema = schemathesis.openapi.from_asgi("/openapi.json", Ingress(service, nobody))
    statuses: Counter[int] = Counter()
    for result in schema.get_all_operations():
        operation = result.ok()
        takes_body = operation.method == "post"
        if not takes_body and mode.is_negative:
            continue  # without parameters nothing can break the description

        @settings(
            max_examples=EXAMPLES if takes_body else 3,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def check(case: schemathesis.Case) -> None:
            response = case.call_and_validate(checks=CHECKS)
            statuses[response.status_code] += 1

        check()
    # Requests that keep the description are answered, and others are not all refused alike.
    assert statuses[200] >= EXAMPLES / 2 if mode.is_positive else statuses[422] >= EXAMPLES / 2


PATHS = (
    "/v1/models/flight_delay/predict",
    "/v1/models/demand/predict",
    "/v2/models/flight_delay/infer",
    "/v2/models/flight_delay/versions/1/infer",
    "/models/flight_delay/invocations",
    "/models/demand/invocations",
    "/invocations",
)
TYPES = (
    "",
    "application/json",
    "application/json; charset=utf-8",
    "application/json; format=pandas-split",
    "text/csv",
    "text/csv; charset=utf-16",
    "application/vnd.apache.arrow.stream",
    "application/octet-stream",
    "\xff;;=\x00",
)
RECORD = records(1, seed=3)[0]
NAMES = list(RECORD)
SPLIT = {"columns": NAMES, "data": [list(RECORD.values())]}
TENSOR = {"name": "distance", "shape": [1], "datatype": "FP64", "data": [1.0]}
BODIES: tuple[Any, ...] = (
    {"records": [RECORD]},
    {"records": [RECORD] * 3, "request_id": "r"},
    {"columns": {name: [value] * 2 for name, value in RECORD.items()}},
    {"dataframe_split": SPLIT},
    {"dataframe_split": {**SPLIT, "index": [0]}, "params": {}},
    {"dataframe_records": [RECORD] * 2},
    {"instances": [RECORD]},
    {"instances": [list(RECORD.values())]},
    {"inputs": {name: [value] for name, value in RECORD.items()}},
    {"inputs": [TENSOR]},
    {"id": "r", "inputs": [TENSOR, {**TENSOR, "name": "carrier", "datatype": "BYTES"}]},
    {"inputs": [{**TENSOR, "shape": [10**12], "data": []}]},
    {"inputs": [{**TENSOR, "shape": [-1, 0]}], "outputs": [{"name": 1}]},
    {"inputs": [{**TENSOR, "parameters": {"binary_data_size": 8}}]},
)
CORPUS = (
    *(json.dumps(body).encode() for body in BODIES),
    (",".join(NAMES) + "\n1.5,3,AA,True\n").encode(),
    b"",
    b"null",
    b"\xef\xbb\xbf{}",
    b"ARROW1\x00\x00\xff\xff\xff\xff\x00\x00\x00\x00",
)
PIECES = (
    *(b"NaN", b"1e999", b"-1e999", b"-0", b"1" * 400, b"9007199254740993", b"true", b"null", b"{}"),
    *(b"[]", b"[" * 3000, b'{"a":' * 2000, b'"', b"\\ud800", b"\\u0000", b"\\", b"\xff", b"\x00"),
    *(
        b"\xed\xa0\x80",
        b"__missing__",
        b"__proto__",
        b",",
        b":",
        b'"records":[],',
        b"\xf0\x9f\x98\x80",
    ),
)


def mutated(draw: random.Random, body: bytes) -> bytes:
    """The body with up to three pieces cut, doubled, or put in."""
    for _ in range(draw.randrange(4)):
        at = draw.randrange(len(body) + 1)
        end = min(len(body), at + draw.choice([0, 0, 1, 3, 20]))
        body = body[:at] + draw.choice([*PIECES, b"", body[at:end] * 2]) + body[end:]
    return body


def test_no_body_of_the_corpus_gives_a_server_error(service: PredictionService):
    draw = random.Random(20261125)
    statuses: Counter[int] = Counter()
    for _ in range(20_000):
        path, kind = draw.choice(PATHS), draw.choice(TYPES)
        body = mutated(draw, draw.choice(CORPUS))
        answer = service.handle("POST", path, {"content-type": kind}, body)
        assert answer.status < 500, (path, kind, body, answer.body)
        statuses[answer.status] += 1
    # Every kind of answer was met, so the corpus is not refused at the door.
    assert min(statuses[status] for status in (200, 400, 422)) > 100


SECRET = "s3cr3t-value"


@pytest.mark.parametrize("path", PATHS)
def test_no_refusal_echoes_what_the_client_sent(service: PredictionService, path: str):
    wrong = {**RECORD, "distance": SECRET}
    bodies: tuple[Any, ...] = (
        {"records": [wrong]},
        {"records": SECRET},
        {"columns": {"distance": [SECRET]}},
        {"dataframe_split": {"columns": NAMES, "data": [list(wrong.values())]}},
        {"dataframe_records": [wrong]},
        {"instances": [wrong]},
        {"inputs": {name: [value] for name, value in wrong.items()}},
        {"inputs": [{**TENSOR, "data": [SECRET]}]},
        SECRET,
    )
    for body in bodies:
        answer = service.handle("POST", path, {"content-type": ""}, json.dumps(body).encode())
        assert 400 <= answer.status < 500
        assert SECRET.encode() not in answer.body
    csv = f"{','.join(NAMES)}\n{SECRET},3,AA,True\n".encode()
    answer = service.handle("POST", path, {"content-type": "text/csv"}, csv)
    assert 400 <= answer.status < 500
    assert SECRET.encode() not in answer.body
