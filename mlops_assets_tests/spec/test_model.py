from datetime import date, timedelta

import pytest
from pydantic import ValidationError

from mlops_assets_tests.spec.examples import TEN_LINES, spec


def test_ten_lines_are_a_whole_model():
    found = spec()
    assert found.primary_metric == "log_loss"
    assert found.period.every == "weekly"
    assert found.period.start == date(2024, 1, 1)
    assert found.label.known_after == timedelta(days=14)
    assert [c.estimator for c in found.training.candidates] == ["hist_gradient_boosting"]
    assert found.gates.approval == "automatic"
    assert found.retraining.policy == "benefit"
    assert found.retraining.price is None


def test_an_unknown_key_is_refused_with_its_place():
    with pytest.raises(ValidationError) as refused:
        spec(monitoring={"min_row": 3})
    assert refused.value.errors()[0]["loc"] == ("monitoring", "min_row")


def test_a_regression_is_compared_by_mae_unless_told_otherwise():
    assert spec(task="regression").primary_metric == "mae"
    assert spec(task="regression", training={"metric": "rmse"}).primary_metric == "rmse"


def test_source_columns_hold_each_column_once():
    label = {"column": "returned", "known_at": "closed_at"}
    found = spec(label=label, entity="price").source_columns
    assert found == ("price", "ordered_at", "size", "items", "returned", "closed_at")


def test_the_hash_is_that_of_the_content():
    lines = TEN_LINES.strip().splitlines()
    other_order = "\n".join([*lines[1:], lines[0]])
    assert spec(other_order).content_hash() == spec().content_hash()
    assert spec().content_hash() == spec(description="").content_hash()
    assert spec(owner="team:x").content_hash() != spec().content_hash()
    assert spec(training={"seed": 1}).content_hash() != spec().content_hash()


def test_the_rows_contract_says_what_the_spec_says():
    checks = [{"name": "cheap", "expression": "price < 10"}]
    found = spec(validation={"checks": checks}).rows_contract()
    assert [(c.name, c.type, c.nullable) for c in found.columns] == [
        ("price", "number", False),
        ("size", "category", True),
        ("items", "integer", False),
    ]
    assert found.keys == ("order_id", "ordered_at")
    assert found.checks[0].expression == "price < 10"


def test_an_entity_that_is_the_event_time_is_one_key():
    assert spec(entity="ordered_at").rows_contract().keys == ("ordered_at",)


def test_the_serving_contract_holds_columns_in_order_and_the_limit():
    found = spec(serving={"max_rows": 7, "log_away": "answer"}).contract("returns", ("0", "1"))
    assert found.log_away == "answer"
    assert [column.name for column in found.columns] == ["price", "size", "items"]
    assert (found.model, found.classes, found.max_rows) == ("returns", ("0", "1"), 7)
