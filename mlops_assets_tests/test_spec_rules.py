import sys
from typing import Any

import pytest

from mlops_assets.spec import ModelSpec
from mlops_assets.spec_rules import RESERVED, Problem, problems
from mlops_assets.stores.prediction_log import RESERVED_COLUMNS

GOOD: dict[str, Any] = {
    "task": "binary",
    "source": {"kind": "parquet", "path": "x.parquet"},
    "entity": "id",
    "event_time": "at",
    "label": {"column": "late"},
    "period": {"start": "2024-01-01"},
    "columns": {"a": "number", "b": "integer?", "c": "category", "d": "boolean"},
}


def found(**changes: Any) -> tuple[Problem, ...]:
    return problems(ModelSpec(**{**GOOD, **changes}))


def columns(**more: Any) -> dict[str, Any]:
    return {**GOOD["columns"], **more}


def derived(kind: str, *names: str, **more: Any) -> list[dict[str, Any]]:
    return [{"name": "new", "kind": kind, "columns": names, **more}]


def candidate(**more: Any) -> dict[str, Any]:
    return {"candidates": [{"estimator": "random_forest", **more}]}


def space(**bounds: Any) -> dict[str, Any]:
    return {"max_depth": {"type": "int", **bounds}}


SPACE = space(low=1, high=9)


def test_a_part_of_the_event_time_may_be_used_by_later_rules():
    part = {"name": "hour", "kind": "hour"}
    cycle = {"name": "clock", "kind": "cyclical", "columns": ["hour"], "cycle": 24}
    assert found(derived=[part, cycle]) == ()
    (problem,) = found(derived=[cycle, part])
    assert problem.place == ("derived", 0, "columns")


def history(name: str = "past", **more: Any) -> list[dict[str, Any]]:
    return [{"name": name, "aggregate": "count", "window": "28d", **more}]


def test_an_input_from_the_past_may_be_used_by_derived_columns():
    ratio = {"name": "share", "kind": "ratio", "columns": ["past", "a"]}
    assert found(history=history(), derived=[ratio]) == ()


@pytest.mark.parametrize("name", ["a", "id", "late", "period", "p_yes"])
def test_an_input_from_the_past_needs_a_name_of_its_own(name: str):
    (problem,) = found(history=history(name))
    assert problem.place == ("history", 0, "name")
    (problem,) = found(history=[*history(), *history()])
    assert problem.place == ("history", 1, "name")


def test_a_mistake_in_a_rule_on_the_past_is_found_at_its_place():
    (problem,) = found(history=history(entity="a"))
    assert problem.place == ("history", 0, "entity")


def test_a_good_spec_has_no_problem():
    assert found() == ()
    assert found(derived=derived("cyclical", "a", cycle=24)) == ()


@pytest.mark.parametrize(
    ("place", "words", "changes"),
    [
        (("columns", "late"), "is the label", {"columns": columns(late="number")}),
        (
            ("columns", "done"),
            "only together with the label",
            {"columns": columns(done="number"), "label": {"column": "late", "known_at": "done"}},
        ),
        (("columns", "id"), "already the entity", {"columns": columns(id="number")}),
        (("columns", "at"), "already the event time", {"columns": columns(at="number")}),
        (
            ("columns", "share"),
            "is the weight",
            {"columns": columns(share="number"), "weight": "share"},
        ),
        (("weight",), "already has a role", {"weight": "late"}),
        (("weight",), "lake uses itself", {"weight": "period"}),
        (
            ("training", "candidates", 0, "space"),
            "only with training.search",
            {"training": candidate(space=SPACE)},
        ),
        (
            ("training", "candidates", 0, "space"),
            "not both",
            {"training": {**candidate(space=SPACE, grid=[{"n_jobs": 1}]), "search": {}}},
        ),
        (
            ("training", "candidates", 0, "space", "max_depth"),
            "fixed in params",
            {"training": {**candidate(space=SPACE, params={"max_depth": 2}), "search": {}}},
        ),
        (
            ("training", "candidates", 0, "space", "max_depth"),
            "low 5 is not below high 5",
            {"training": {**candidate(space=space(low=5, high=5)), "search": {}}},
        ),
        (
            ("training", "candidates", 0, "space", "max_depth"),
            "above 0",
            {"training": {**candidate(space=space(low=0, high=5, log=True)), "search": {}}},
        ),
        (
            ("training", "search"),
            "no candidate has a space",
            {"training": {"search": {"trials": 3}}},
        ),
        (
            ("training", "search", "folds"),
            "at least 5 needed",
            {"training": {"search": {"folds": 3}}},
        ),
        (
            ("training", "class_weight"),
            "no classes",
            {"task": "regression", "training": {"class_weight": "balanced"}},
        ),
        (("columns", "period"), "lake uses itself", {"columns": columns(period="number")}),
        (
            ("columns", "probabilities"),
            "lake uses itself",
            {"columns": columns(probabilities="number")},
        ),
        (("columns", "p_1"), "lake uses itself", {"columns": columns(p_1="number")}),
        (("entity",), "lake uses itself", {"entity": "period"}),
        (("event_time",), "lake uses itself", {"event_time": "label"}),
        (("label", "column"), "lake uses itself", {"label": {"column": "reasons"}}),
        (
            ("label", "known_at"),
            "lake uses itself",
            {"label": {"column": "late", "known_at": "period"}},
        ),
        (("label", "column"), "already identifies", {"label": {"column": "id"}}),
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
        (("training", "metric"), "use accuracy", {"training": {"metric": "mae"}}),
        (
            ("training", "candidates", 0, "estimator"),
            "for regression",
            {"training": {"candidates": [{"estimator": "ridge"}]}},
        ),
        (("training", "candidates", 0, "grid"), "tries nothing", {"training": candidate(grid=[])}),
        (
            ("training", "candidates", 0, "grid", 1, "max_depth"),
            "no value",
            {"training": candidate(grid=[{}, {"max_depth": []}])},
        ),
        (
            ("training", "window", "last"),
            "below min 4",
            {"training": {"window": {"last": 3, "min": 4}}},
        ),
        (("gates", "minimum", "r2"), "does not exist", {"gates": {"minimum": {"r2": 0.1}}}),
        (("gates", "minimum", "roc_auc"), "exceeds 1", {"gates": {"minimum": {"roc_auc": 65}}}),
        (
            ("gates", "slices", 0, "column"),
            "not a column",
            {"gates": {"slices": [{"column": "x"}]}},
        ),
        (
            ("gates", "max_calibration_error"),
            "regression",
            {"task": "regression", "gates": {"max_calibration_error": 0.1}},
        ),
        (
            ("period", "end"),
            "not after start",
            {"period": {"start": "2024-01-01", "end": "2024-01-01"}},
        ),
        (
            ("training", "window", "min"),
            "has 7 weekly periods, but a training needs 8",
            {"period": {"start": "2024-01-01", "end": "2024-02-19"}},
        ),
    ],
)
def test_a_mistake_is_found_at_its_place(
    place: tuple[str | int, ...], words: str, changes: dict[str, Any]
):
    matching = [problem for problem in found(**changes) if problem.place == place]
    assert any(words in problem.message for problem in matching), found(**changes)


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_a_loss_may_have_a_ceiling_above_one(task: str):
    metric = "log_loss" if task == "binary" else "rmse"
    assert found(task=task, gates={"minimum": {metric: 40}}) == ()


def test_a_history_just_long_enough_is_fine():
    assert found(period={"start": "2024-01-01", "end": "2024-02-26"}) == ()


def test_columns_that_the_source_lacks_are_named_where_they_are_used():
    label = {"column": "late", "known_at": "done"}
    spec = ModelSpec(**{**GOOD, "label": label})
    have = ("b", "c", "d", "id")
    places = [problem.place for problem in problems(spec, have)]
    assert places == [("event_time",), ("label", "column"), ("label", "known_at"), ("columns", "a")]
    assert "it has b, c, d, id" in problems(spec, have)[0].message


def test_all_mistakes_are_told_at_once():
    wrong = found(
        columns=columns(late="number", x={"type": "number", "min": 2, "max": 1}),
        training={"metric": "r2"},
    )
    assert [p.place[0] for p in wrong] == ["columns", "columns", "training"]


def test_every_column_that_the_prediction_log_needs_is_reserved():
    assert set(RESERVED_COLUMNS) <= set(RESERVED)


def test_an_estimator_whose_library_is_missing_is_told_with_the_install_command(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setitem(sys.modules, "xgboost", None)
    (problem,) = found(training={"candidates": [{"estimator": "xgboost"}]})
    assert problem.place == ("training", "candidates", 0, "estimator")
    assert "pip install 'mlops_assets[boosting]'" in problem.message
