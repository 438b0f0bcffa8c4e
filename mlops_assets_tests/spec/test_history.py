from typing import Any

import pytest

from mlops_assets.domain.contract import ColumnType
from mlops_assets.spec.history import History, mistakes

TYPES: dict[str, ColumnType] = {"a": "number", "b": "boolean", "c": "category"}


def rule(aggregate: str, **more: Any) -> History:
    return History.model_validate({"name": "past", "aggregate": aggregate, "window": "28d", **more})


def found(one: History, entity: str = "who", has_classes: bool = False) -> list[tuple[str, str]]:
    told = mistakes(
        [one], TYPES, entity=entity, event_time="at", label="paid", has_classes=has_classes
    )
    return [(field, message) for (_, field), message in told]


@pytest.mark.parametrize(
    "good",
    [
        rule("count"),
        rule("count", column="paid", window="P28D"),
        rule("mean", column="a", entity="c"),
        rule("last", column="paid", entity="who"),
        rule("days_since_last", until="event"),
        rule("", function="trend", columns=["a", "paid"]),
        rule("", function="gaps", entity="c"),
    ],
    ids=str,
)
def test_a_good_rule_has_no_mistake(good: History):
    assert found(good) == []


@pytest.mark.parametrize(
    ("bad", "field", "words"),
    [
        (rule("sum"), "column", "sum needs a column: one of a, b, paid"),
        (rule("sum", column="c"), "column", "'c' is no numeric column"),
        (rule("count", column="nothing"), "column", "use one of a, b, paid"),
        (rule("count", entity="a"), "entity", "one of who, c"),
        (rule(""), "aggregate", "either an aggregate or a function"),
        (rule("sum", function="trend"), "aggregate", "either an aggregate or a function"),
        (rule("", function="trend", column="a"), "column", "write `columns: [a]`"),
        (rule("sum", columns=["a"]), "columns", "write `column: a`"),
        (rule("", function="trend", columns=["a", "c"]), "columns", "'c' is no numeric column"),
        (rule("count", window="0d"), "window", "0:00:00 is not positive"),
    ],
    ids=str,
)
def test_a_mistake_names_its_field_and_what_to_do(bad: History, field: str, words: str):
    ((where, message),) = found(bad)
    assert where == field
    assert words in message


def test_classes_have_no_mean():
    ((field, message),) = found(rule("mean", column="paid"), has_classes=True)
    assert field == "column"
    assert "'paid' holds classes" in message
    bad = rule("", function="trend", columns=["a", "paid"])
    assert [field for field, _ in found(bad, has_classes=True)] == ["columns"]


def test_an_entity_that_is_a_time_has_no_past():
    ((field, message),) = found(rule("count"), entity="at")
    assert field == "entity"
    assert "name one of c" in message
    assert found(rule("count", entity="c"), entity="at") == []


def test_a_rule_becomes_what_the_contract_carries():
    carried = rule("count").rule("who", "weekly")
    assert (carried.key, carried.window_seconds, carried.until) == ("who", 28 * 86_400, "period")
    own = rule("", function="trend", columns=["a", "paid"])
    assert own.rule("who", "daily").reads == ("a", "paid")
    assert own.told == "trend() of a, paid"
    assert History.of(own.rule("who", "daily")) == own.model_copy(update={"entity": "who"})
    assert rule("count", entity="c", until="event").rule("who", "weekly").until == "event"
