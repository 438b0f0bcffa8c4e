from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.domain.contract import Contract, ContractColumn, Task
from mlops_assets.domain.errors import NotTrainableError
from mlops_assets.domain.estimators import ESTIMATORS
from mlops_assets.domain.features import model_frame
from mlops_assets.domain.training import Trial, best, draw_evenly, fit, outputs_of, trials

COLUMNS = (
    ContractColumn("n", "number", nullable=True),
    ContractColumn("c", "category", nullable=True),
)
SMALL: dict[str, dict[str, Any]] = {
    "logistic_regression": {},
    "ridge": {},
    "random_forest": {"n_estimators": 5},
    "hist_gradient_boosting": {"max_iter": 5},
    "lightgbm": {"n_estimators": 5},
    "xgboost": {"n_estimators": 5},
}


def contract(task: Task) -> Contract:
    classes = {"binary": ("0", "1"), "multiclass": ("a", "b", "c"), "regression": ()}[task]
    return Contract("m", task, COLUMNS, classes, "id", "at", 100)


def data(task: Task) -> tuple[pd.DataFrame, np.ndarray]:
    draw = np.random.default_rng(0)
    n = draw.normal(size=120)
    frame = model_frame({"n": n, "c": draw.choice(["x", "y", None], 120)}, COLUMNS)
    if task == "regression":
        return frame, n * 3
    return frame, np.digitize(n, [0.0] if task == "binary" else [-0.5, 0.5])


def test_a_grid_is_every_combination_in_the_files_order():
    found = trials(
        [
            {"estimator": "ridge", "params": {}, "grid": ({},)},
            {
                "estimator": "random_forest",
                "params": {"n_estimators": 9, "max_depth": 1},
                "grid": ({"max_depth": (2, None), "bootstrap": True}, {"criterion": "entropy"}),
            },
        ]
    )
    assert [(trial.name, dict(trial.params)) for trial in found] == [
        ("ridge", {}),
        (
            "random_forest bootstrap=True max_depth=2",
            {"n_estimators": 9, "max_depth": 2, "bootstrap": True},
        ),
        (
            "random_forest bootstrap=True max_depth=None",
            {"n_estimators": 9, "max_depth": None, "bootstrap": True},
        ),
        (
            "random_forest criterion=entropy",
            {"n_estimators": 9, "max_depth": 1, "criterion": "entropy"},
        ),
    ]


CASES: list[tuple[str, Task]] = [
    (name, task)
    for name, family in ESTIMATORS.items()
    for task in ("binary", "multiclass", "regression")
    if family.name_for(task)  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("estimator", "task"), CASES)
def test_the_same_seed_gives_the_same_model(estimator: str, task: Task):
    frame, y = data(task)
    trial = Trial("t", estimator, SMALL[estimator])
    first, again = (fit(trial, contract(task), [], frame, y, seed=3) for _ in range(2))
    outputs = outputs_of(first, frame, task)
    np.testing.assert_array_equal(outputs, outputs_of(again, frame, task))
    assert outputs.shape == (len(y), max(1, len(contract(task).classes)))
    assert outputs.dtype == np.float64
    if task != "regression":
        np.testing.assert_allclose(outputs.sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize(("estimator", "task"), CASES)
def test_weights_reach_every_estimator(estimator: str, task: Task):
    frame, y = data(task)
    trial = Trial("t", estimator, SMALL[estimator])
    weights = np.where(frame["n"] > 0, 50.0, 1.0)
    plain, same, weighted = (
        outputs_of(fit(trial, contract(task), [], frame, y, 0, weights=w), frame, task)
        for w in (None, np.ones(len(y)), weights)
    )
    if estimator != "random_forest":  # draws its rows in another way when it is given weights
        np.testing.assert_allclose(plain, same, atol=1e-6)
    assert np.abs(weighted - plain).max() > 1e-3
    if task != "regression":
        fitted = fit(trial, contract(task), [], frame, y, 0, weights=weights, balanced=True)
        outputs = outputs_of(fitted, frame, task)
        np.testing.assert_allclose(outputs.sum(axis=1), 1, rtol=1e-6)
        assert np.abs(outputs - weighted).max() > 1e-6


def test_another_seed_gives_another_forest():
    frame, y = data("binary")
    trial = Trial("t", "random_forest", SMALL["random_forest"])
    first, other = (fit(trial, contract("binary"), [], frame, y, seed=seed) for seed in (1, 2))
    assert not np.array_equal(
        outputs_of(first, frame, "binary"), outputs_of(other, frame, "binary")
    )


def test_an_estimator_for_another_task_is_refused():
    frame, y = data("binary")
    with pytest.raises(ValueError, match="ridge cannot be used for the task 'binary'"):
        fit(Trial("t", "ridge", {}), contract("binary"), [], frame, y, seed=0)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 500), st.integers(1, 500), st.integers(0, 9))
def test_drawn_rows_are_distinct_in_order_and_no_more_than_asked(rows: int, limit: int, seed: int):
    drawn = draw_evenly(rows, limit, seed)
    assert len(drawn) == min(rows, limit)
    assert (np.diff(drawn) > 0).all()
    assert ((drawn >= 0) & (drawn < rows)).all()
    np.testing.assert_array_equal(drawn, draw_evenly(rows, limit, seed))


def test_rows_are_drawn_as_likely_early_as_late():
    drawn = np.concatenate([draw_evenly(100, 20, seed) for seed in range(200)])
    counts = np.bincount(drawn, minlength=100)
    assert counts.sum() == 4000
    # 40 expected each, standard deviation 5.7.
    assert counts.min() > 40 - 5 * 5.7
    assert counts.max() < 40 + 5 * 5.7


def test_the_best_score_wins_and_the_earlier_of_equals():
    assert best([0.3, 0.1, 0.1], lower_is_better=True) == 1
    assert best([0.3, 0.1, 0.3], lower_is_better=False) == 0


@pytest.mark.parametrize("lower", [True, False])
def test_a_score_that_is_no_number_never_wins(lower: bool):
    assert best([float("nan"), 0.4], lower_is_better=lower) == 1


@pytest.mark.parametrize("scores", [[], [float("nan")]])
def test_without_any_score_nothing_can_be_trained(scores: list[float]):
    with pytest.raises(NotTrainableError, match="no candidate has a score"):
        best(scores, lower_is_better=True)
