import re
from typing import Any

import pytest
from pydantic import ValidationError

from mlops_assets.domain.contract import ColumnType
from mlops_assets.spec.derived import Derived, mistakes

TYPES: dict[str, ColumnType] = {"a": "number", "b": "integer", "c": "category", "d": "boolean"}


def rule(kind: str, *columns: str, **more: Any) -> Derived:
    return Derived.model_validate({"name": "new", "kind": kind, "columns": columns, **more})


@pytest.mark.parametrize(
    "good",
    [
        rule("sum", "a", "b", "d"),
        rule("cyclical", "a", cycle=24),
        rule("bins", "a", edges=[0, 1.5]),
        rule("bins", "b", quantiles=4),
        rule("frequent", "c", min_share=0.05),
        rule("target_mean", "c"),
        rule("hour", zone="America/New_York"),
        rule("month"),
    ],
    ids=lambda good: good.kind,
)
def test_a_good_rule_has_no_mistake(good: Derived):
    assert list(mistakes(good, TYPES)) == []


@pytest.mark.parametrize(
    ("bad", "field", "words"),
    [
        (rule("sum", "a"), "columns", "2 or more columns, 1 given"),
        (rule("ratio", "a", "b", "d"), "columns", "takes 2 column"),
        (rule("frequent", "a"), "columns", "'a' is not a category"),
        (rule("target_mean", "c", "c"), "columns", "takes 1 column"),
        (rule("bins", "c", edges=[1]), "columns", "'c' is not a numeric column.*it has a, b, d"),
        (rule("bins", "a"), "edges", "either `edges` or `quantiles`"),
        (rule("bins", "a", edges=[1], quantiles=3), "edges", "either"),
        (rule("bins", "a", edges=[2, 1]), "edges", "must ascend"),
        (rule("bins", "a", edges=[1, 1]), "edges", "must ascend"),
        (rule("log1p", "a", edges=[1]), "edges", "only bins"),
        (rule("log1p", "a", cycle=7), "cycle", "no other kind"),
        (rule("hour", "a"), "columns", "takes no columns"),
        (rule("weekday", zone="Mars/Olympus"), "zone", "'Mars/Olympus' is no time zone"),
    ],
)
def test_a_mistake_names_its_field(bad: Derived, field: str, words: str):
    (found,) = mistakes(bad, TYPES)
    assert found[0] == field
    assert re.search(words, found[1])


@pytest.mark.parametrize("more", [{"quantiles": 1}, {"min_share": 0}, {"cycle": -1}, {"kind": "x"}])
def test_what_no_rule_may_say_is_refused(more: dict[str, Any]):
    with pytest.raises(ValidationError):
        Derived.model_validate({"name": "new", "kind": "bins", "columns": ["a"], **more})


def test_a_category_is_replaced_unless_it_is_kept():
    assert rule("frequent", "c").replaces
    assert not rule("frequent", "c", keep=True).replaces
    assert not rule("bins", "a", edges=[1]).replaces
    assert rule("bins", "a", edges=[1], keep=False).as_step()["replaces"]


def test_what_is_learned_is_told_from_what_is_not():
    learned = [rule("frequent", "c"), rule("target_mean", "c"), rule("bins", "a", quantiles=3)]
    assert all(one.is_learned for one in learned)
    assert not any(one.is_learned for one in (rule("bins", "a", edges=[1]), rule("sum", "a", "b")))


def test_a_cycle_takes_three_names():
    assert rule("cyclical", "a", cycle=7).names == ("new", "new_sin", "new_cos")
    assert rule("log1p", "a").names == ("new",)
