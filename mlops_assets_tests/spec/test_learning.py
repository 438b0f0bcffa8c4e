import sys
from typing import Any

import pytest

from mlops_assets_tests.spec.examples import assert_told, mistakes


def candidate(**more: Any) -> dict[str, Any]:
    return {"candidates": [{"estimator": "random_forest", **more}]}


def space(**bounds: Any) -> dict[str, Any]:
    return {"max_depth": {"type": "int", **bounds}}


SPACE = space(low=1, high=9)


@pytest.mark.parametrize(
    ("place", "words", "changes"),
    [
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
def test_what_no_training_or_gate_could_do_is_told_at_its_place(
    place: tuple[str | int, ...], words: str, changes: dict[str, Any]
):
    assert_told(place, words, **changes)


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_a_loss_may_have_a_ceiling_above_one(task: str):
    metric = "log_loss" if task == "binary" else "rmse"
    assert mistakes(task=task, gates={"minimum": {metric: 40}}) == ()


def test_a_history_just_long_enough_is_fine():
    assert mistakes(period={"start": "2024-01-01", "end": "2024-02-26"}) == ()


def test_an_estimator_whose_library_is_missing_is_told_with_the_install_command(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setitem(sys.modules, "xgboost", None)
    (problem,) = mistakes(training={"candidates": [{"estimator": "xgboost"}]})
    assert problem.place == ("training", "candidates", 0, "estimator")
    assert "pip install 'mlops_assets[boosting]'" in problem.message
