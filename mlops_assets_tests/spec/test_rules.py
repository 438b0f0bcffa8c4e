from typing import Any

import pytest

from mlops_assets_tests.spec.examples import assert_told, columns, mistakes


def derived(kind: str, *names: str, **more: Any) -> list[dict[str, Any]]:
    return [{"name": "new", "kind": kind, "columns": names, **more}]


def test_a_part_of_the_event_time_may_be_used_by_later_rules():
    part = {"name": "hour", "kind": "hour"}
    cycle = {"name": "clock", "kind": "cyclical", "columns": ["hour"], "cycle": 24}
    assert mistakes(derived=[part, cycle]) == ()
    (problem,) = mistakes(derived=[cycle, part])
    assert problem.place == ("derived", 0, "columns")


def history(name: str = "past", **more: Any) -> list[dict[str, Any]]:
    return [{"name": name, "aggregate": "count", "window": "28d", **more}]


def test_an_input_from_the_past_may_be_used_by_derived_columns():
    ratio = {"name": "share", "kind": "ratio", "columns": ["past", "a"]}
    assert mistakes(history=history(), derived=[ratio]) == ()


@pytest.mark.parametrize("name", ["a", "id", "late", "period", "p_yes"])
def test_an_input_from_the_past_needs_a_name_of_its_own(name: str):
    (problem,) = mistakes(history=history(name))
    assert problem.place == ("history", 0, "name")
    (problem,) = mistakes(history=[*history(), *history()])
    assert problem.place == ("history", 1, "name")


def test_a_mistake_in_a_rule_on_the_past_is_found_at_its_place():
    (problem,) = mistakes(history=history(entity="a"))
    assert problem.place == ("history", 0, "entity")


def test_a_good_spec_has_no_problem():
    assert mistakes() == ()
    assert mistakes(derived=derived("cyclical", "a", cycle=24)) == ()


def test_all_mistakes_are_told_at_once():
    wrong = mistakes(
        columns=columns(late="number", x={"type": "number", "min": 2, "max": 1}),
        training={"metric": "r2"},
    )
    assert [p.place[0] for p in wrong] == ["columns", "columns", "training"]


@pytest.mark.parametrize(
    ("place", "words", "changes"),
    [
        (
            ("label", "above"),
            "'multiclass'",
            {"task": "multiclass", "label": {"column": "late", "above": 1}},
        ),
        (
            ("label", "known_after"),
            "negative",
            {"label": {"column": "late", "known_after": "-PT1H"}},
        ),
        (
            ("label", "known_after"),
            "already tells",
            {"label": {"column": "late", "known_at": "done", "known_after": "PT1H"}},
        ),
        (
            ("columns", "a", "categories"),
            "only a category",
            {"columns": columns(a={"type": "number", "categories": ["x"]})},
        ),
        (
            ("columns", "c"),
            "bound numbers",
            {"columns": columns(c={"type": "category", "max": 1})},
        ),
        (
            ("columns", "a", "min"),
            "min 2 exceeds max 1",
            {"columns": columns(a={"type": "number", "min": 2, "max": 1})},
        ),
        (("derived", 0, "columns"), "takes 2", {"derived": derived("ratio", "a")}),
        (("derived", 0, "columns"), "takes 1", {"derived": derived("log1p", "a", "b")}),
        (("derived", 0, "columns"), "not a numeric", {"derived": derived("log1p", "c")}),
        (("derived", 0, "columns"), "not a numeric", {"derived": derived("log1p", "x")}),
        (("derived", 0, "cycle"), "needs `cycle`", {"derived": derived("cyclical", "a")}),
        (
            ("derived", 0, "name"),
            "taken",
            {"derived": [{"name": "late", "kind": "log1p", "columns": ["a"]}]},
        ),
        (
            ("derived", 0, "name"),
            "'new_sin' is taken",
            {
                "columns": columns(new_sin="number"),
                "derived": derived("cyclical", "a", cycle=24),
            },
        ),
        (
            ("derived", 1, "name"),
            "taken",
            {"derived": derived("log1p", "a") + derived("log1p", "b")},
        ),
    ],
)
def test_a_mistake_is_found_at_its_place(
    place: tuple[str | int, ...], words: str, changes: dict[str, Any]
):
    assert_told(place, words, **changes)
