import json
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest

from mlops_assets.domain.errors import RequestError
from mlops_assets_tests.serving.protocols.samples import GOOD, PARSERS, columns_of, stream, table
from serving import native
from serving.answers import Refusal
from serving.predicted import Predicted
from serving.protocols.arrow import ARROW
from serving.protocols.native import parse

PREDICTED = Predicted(PARSERS.contract, "4", "champion", "r", "x", [[0.25, 0.75]])


def refusal(body: Any) -> RequestError:
    with pytest.raises(RequestError) as caught:
        parse(PARSERS, json.dumps(body).encode(), {})
    return caught.value


def test_records_and_columns_say_the_same():
    by_column = {"request_id": "r", "columns": columns_of([GOOD, GOOD])}
    by_record = {"request_id": "r", "records": [GOOD, GOOD]}
    one, other = (
        parse(PARSERS, json.dumps(body).encode(), {}).request for body in (by_column, by_record)
    )
    assert one.request_id == other.request_id == "r"
    assert one.entities == other.entities
    assert one.columns["distance"].tolist() == other.columns["distance"].tolist()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], "body"),
        ({}, "records"),
        ({"columns": []}, "columns"),
        ({"columns": {}}, "columns.distance"),
        ({"columns": columns_of([GOOD]), "records": [GOOD]}, "body.records"),
        ({"columns": {**columns_of([GOOD]), "wind": [True]}}, "columns.wind[0]"),
        ({"columns": {**columns_of([GOOD]), "wind": [1, 2]}}, "columns.wind"),
        ({"columns": columns_of([GOOD]), "request_id": ""}, "request_id"),
        ({"records": [{**GOOD, "wind": "strong"}]}, "records[0].wind"),
    ],
)
def test_what_breaks_the_contract_is_named(body: Any, field: str):
    assert refusal(body).field == field


def test_numbers_that_are_not_finite_are_refused_with_their_field():
    raw = json.dumps({"columns": {**columns_of([GOOD] * 9), "wind": [float("nan")] * 9}}).encode()
    with pytest.raises(RequestError) as caught:
        parse(PARSERS, raw, {})
    assert caught.value.field == "columns.wind[0]"


@pytest.mark.parametrize(
    "kind",
    ["application/vnd.apache.arrow.file", "application/vnd.apache.parquet", "text/csv; header=1"],
)
def test_a_type_that_is_neither_is_told_which_are(kind: str):
    with pytest.raises(Refusal, match=ARROW) as caught:
        parse(PARSERS, b"PAR1", {"content-type": kind})
    assert (caught.value.status, caught.value.where) == (415, "content-type")


@pytest.mark.parametrize(
    ("is_arrow", "accept", "answer"),
    [
        (False, "", "application/json"),
        (False, "*/*", "application/json"),
        (False, ARROW, ARROW),
        (True, "", ARROW),
        (True, "*/*", ARROW),
        (True, "application/json", "application/json"),
        (True, f"{ARROW}, application/json;q=0.5", ARROW),
    ],
)
def test_the_answer_has_the_format_of_the_request_or_the_one_that_is_accepted(
    is_arrow: bool, accept: str, answer: str
):
    body = stream(table([GOOD])).body if is_arrow else json.dumps({"records": [GOOD]}).encode()
    headers = {"content-type": ARROW} if is_arrow else {}
    asked = parse(PARSERS, body, {**headers, "accept": accept})
    rendered = asked.answer(PREDICTED)
    assert rendered.headers["content-type"] == answer
    if answer == ARROW:
        assert pa.ipc.open_stream(rendered.body).read_all().num_rows == 1
    else:
        assert json.loads(rendered.body)["predictions"][0]["prediction"] == "late"


@pytest.mark.parametrize("classes", [(), ("no", "yes"), ("a", 'b"ü', "c: d, e")])
@pytest.mark.parametrize("rows", [1, native.MANY - 1, native.MANY, 2 * native.MANY + 1])
def test_the_answer_of_many_rows_reads_as_that_of_each(classes: tuple[str, ...], rows: int):
    contract = replace(PARSERS.contract, classes=classes)
    outputs = np.random.default_rng(rows).random((rows, max(len(classes), 1)))
    outputs[0] = [0.25, 1e-17, -0.0][: outputs.shape[1]]
    outputs[-1] = 1 / outputs.shape[1]  # a tie
    many = Predicted(contract, "4", "champion", "r", "x", outputs)
    answers = orjson.loads(native.render(many).body)["predictions"]
    alone = [
        orjson.loads(native.render(replace(many, outputs=row.reshape(1, -1))).body)["predictions"]
        for row in outputs
    ]
    assert answers == [{**one[0], "prediction_id": f"x-{place}"} for place, one in enumerate(alone)]


def test_the_text_of_many_rows_is_that_of_their_objects_to_the_byte():
    outputs = np.random.default_rng(0).random((100, 2)) * 10.0 ** np.arange(-50, 50).reshape(-1, 1)
    many = replace(PREDICTED, outputs=outputs)
    told = orjson.loads(native.render(many).body)
    assert orjson.dumps(told) == native.render(many).body
