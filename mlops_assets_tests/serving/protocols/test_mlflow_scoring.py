import json
from dataclasses import replace
from typing import Any

import pytest

from mlops_assets.domain.errors import RequestError
from mlops_assets.domain.requests import TooManyRowsError
from mlops_assets_tests.serving.protocols.samples import CONTRACT, GOOD, PARSERS, columns_of
from serving.answers import Refusal
from serving.bodies import BodyError
from serving.predicted import Predicted
from serving.protocols.exchange import Parsers
from serving.protocols.mlflow_scoring import parse

RECORDS = {"dataframe_records": [GOOD]}
SPLIT: dict[str, Any] = {"columns": list(GOOD), "data": [list(GOOD.values())]}
PREDICTED = Predicted(CONTRACT, "4", "champion", "r", "x", [[0.25, 0.75], [0.75, 0.25], [0.5, 0.5]])


def refusal(body: Any) -> RequestError:
    with pytest.raises(RequestError) as caught:
        parse(PARSERS, json.dumps(body).encode(), {})
    return caught.value


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], "body"),
        ({}, "body"),
        ({"params": {}}, "body"),
        ({**RECORDS, "inputs": []}, "body"),
        ({**RECORDS, "signature_name": "x"}, "body.signature_name"),
        ({**RECORDS, "params": []}, "params"),
        ({**RECORDS, "params": {"temperature": 1}}, "params.temperature"),
        ({**RECORDS, "params": {"predict_method": "transform"}}, "params.predict_method"),
        ({**RECORDS, "params": {"predict_method": []}}, "params.predict_method"),
        ({"dataframe_records": {}}, "dataframe_records"),
        ({"dataframe_records": []}, "dataframe_records"),
        ({"dataframe_records": [{**GOOD, "wind": "x"}]}, "dataframe_records[0].wind"),
        ({"instances": [GOOD, 3]}, "instances[1]"),
        ({"instances": [[1, 2]]}, "instances"),
        ({"inputs": "abc"}, "inputs"),
        ({"inputs": {}}, "inputs.distance"),
        ({"inputs": {**columns_of([GOOD]), "wind": 3}}, "inputs.wind"),
        ({"inputs": {**GOOD, "wind": {}}}, "inputs[0].wind"),
        ({"dataframe_split": []}, "dataframe_split"),
        ({"dataframe_split": {"data": [[1]]}}, "dataframe_split.columns"),
        ({"dataframe_split": {**SPLIT, "dtypes": []}}, "dataframe_split.dtypes"),
        ({"dataframe_split": {**SPLIT, "columns": ["a", "a"]}}, "dataframe_split.columns.a"),
        ({"dataframe_split": {**SPLIT, "columns": [["a"]]}}, "dataframe_split.columns"),
        ({"dataframe_split": {**SPLIT, "data": []}}, "dataframe_split.data"),
        ({"dataframe_split": {**SPLIT, "data": [[1]]}}, "dataframe_split.data[0]"),
        ({"dataframe_split": {**SPLIT, "data": [3]}}, "dataframe_split.data[0]"),
    ],
)
def test_what_breaks_the_contract_is_named(body: Any, field: str):
    assert refusal(body).field == field


def test_too_many_rows_are_refused_in_every_form():
    rows = [list(GOOD.values())] * 51
    for body in ({"dataframe_split": {**SPLIT, "data": rows}}, {"instances": [GOOD] * 51}):
        with pytest.raises(TooManyRowsError):
            parse(PARSERS, json.dumps(body).encode(), {})


def test_one_record_may_be_the_whole_input():
    asked = parse(PARSERS, json.dumps({"inputs": GOOD}).encode(), {})
    assert asked.request.entities == ["AA1"]


def test_nan_is_missing_but_infinity_is_refused():
    body = json.dumps({"dataframe_records": [{**GOOD, "seats": float("nan")}]}).encode()
    assert parse(PARSERS, body, {}).request.columns["seats"][0] != 0
    with pytest.raises(RequestError) as caught:
        parse(PARSERS, body.replace(b"NaN", b"-Infinity"), {})
    assert caught.value.field == "dataframe_records[0].seats"
    with pytest.raises(RequestError) as caught:
        parse(PARSERS, body.replace(b"1.5", b"NaN"), {})
    assert caught.value.field == "dataframe_records[0].distance"


@pytest.mark.parametrize(
    "kind",
    ["application/x-parquet", "text/plain", "application/json; charset=latin-1", "nonsense"],
)
def test_other_formats_are_415(kind: str):
    with pytest.raises(Refusal) as caught:
        parse(PARSERS, b"{}", {"content-type": kind})
    assert caught.value.status == 415


def test_a_body_that_is_no_json_is_refused():
    with pytest.raises(BodyError):
        parse(PARSERS, b"{", {"content-type": "application/json;charset=UTF-8"})


def answered(params: dict[str, str], predicted: Predicted = PREDICTED) -> Any:
    asked = parse(PARSERS, json.dumps({**RECORDS, "params": params}).encode(), {})
    answer = asked.answer(predicted)
    assert answer.headers["x-model-version"] == "4"
    assert answer.headers["x-prediction-id"] == "x"
    return json.loads(answer.body)


def test_the_answer_is_the_class_of_each_row_and_the_first_of_a_tie():
    assert answered({}) == {"predictions": ["late", "on_time", "on_time"]}
    assert answered({"predict_method": "predict"}) == answered({})


def test_headers_name_all_versions_that_answered():
    asked = parse(PARSERS, json.dumps(RECORDS).encode(), {})
    assert asked.answer(PREDICTED).headers["x-model-variant"] == "champion"
    rows = [("4", "champion"), ("5", "challenger"), ("4", "champion")]
    headers = asked.answer(replace(PREDICTED, rows=rows)).headers
    assert headers["x-model-version"] == "4, 5"
    assert headers["x-model-variant"] == "champion, challenger"


def test_probabilities_are_answered_where_they_are_asked_for():
    probabilities = answered({"predict_method": "predict_proba"})
    assert probabilities == {"predictions": [[0.25, 0.75], [0.75, 0.25], [0.5, 0.5]]}


def test_a_regression_answers_with_values_and_has_no_probabilities():
    contract = replace(CONTRACT, task="regression", classes=())
    parsers = Parsers.of(contract)
    asked = parse(parsers, json.dumps(RECORDS).encode(), {})
    predicted = Predicted(contract, "4", "champion", "r", "x", [[2.5]])
    assert json.loads(asked.answer(predicted).body) == {"predictions": [2.5]}
    body = {**RECORDS, "params": {"predict_method": "predict_proba"}}
    with pytest.raises(RequestError):
        parse(parsers, json.dumps(body).encode(), {})
