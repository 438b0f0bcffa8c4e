from datetime import date, timedelta

import pytest
import yaml
from pydantic import ValidationError

from mlops_assets.spec import ModelSpec

TEN_LINES = """
task: binary
source: {kind: csv, path: orders.csv}
entity: order_id
event_time: ordered_at
label: {column: returned, known_after: P14D}
period: {start: 2024-01-01}
columns:
  price: number
  size: category?
  items: {type: integer, min: 1}
"""


def spec(text: str = TEN_LINES, **changes: object) -> ModelSpec:
    return ModelSpec(**{**yaml.safe_load(text), **changes})


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


@pytest.mark.parametrize(
    ("retraining", "periods"),
    [
        ({}, 0),
        ({"policy": "benefit"}, 0),
        ({"policy": "performance"}, 2),
        ({"policy": "schedule"}, 2),
        ({"policy": "benefit", "cooldown": 3}, 3),
        ({"policy": "drift", "cooldown": 0}, 0),
    ],
)
def test_a_cooldown_that_is_not_named_is_the_policys_own(retraining: dict, periods: int):
    found = spec(retraining=retraining).retraining
    assert found.cooldown_periods == found.limits.cooldown == periods


@pytest.mark.parametrize("price", [0, -1.0])
def test_a_retrain_that_costs_nothing_is_refused(price: float):
    with pytest.raises(ValidationError, match="price"):
        spec(retraining={"price": price})


def test_shorthand_says_type_and_nullability():
    columns = spec().columns
    assert (columns["price"].type, columns["price"].nullable) == ("number", False)
    assert (columns["size"].type, columns["size"].nullable) == ("category", True)
    assert (columns["items"].type, columns["items"].min) == ("integer", 1)


def test_shorthand_and_full_form_are_the_same_spec():
    long = {"price": {"type": "number"}, "size": {"type": "category", "nullable": True}}
    short = {"price": "number", "size": "category?"}
    assert spec(columns=long) == spec(columns=short)
    assert spec(columns=long).content_hash() == spec(columns=short).content_hash()


@pytest.mark.parametrize("bad", ["decimal", "number??", "?", ""])
def test_an_unknown_shorthand_is_refused_at_its_column(bad: str):
    with pytest.raises(ValidationError) as refused:
        spec(columns={"price": bad})
    assert refused.value.errors()[0]["loc"][:2] == ("columns", "price")


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


def test_grids_keep_the_types_of_their_values():
    grid = [{"max_iter": [10, 20], "learning_rate": 0.1, "warm_start": True, "max_depth": [None]}]
    candidate = {"estimator": "hist_gradient_boosting", "grid": grid}
    (found,) = spec(training={"candidates": [candidate]}).training.candidates
    assert found.grid[0] == {
        "max_iter": (10, 20),
        "learning_rate": 0.1,
        "warm_start": True,
        "max_depth": (None,),
    }
    assert found.grid[0]["warm_start"] is True


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
    found = spec(serving={"max_rows": 7}).contract("returns", ("0", "1"))
    assert [column.name for column in found.columns] == ["price", "size", "items"]
    assert (found.model, found.classes, found.max_rows) == ("returns", ("0", "1"), 7)
