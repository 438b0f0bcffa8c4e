from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from mlops_assets.domain.features import model_frame
from mlops_assets.domain.trial_scores import Fold, Part
from mlops_assets.spec import ModelSpec
from mlops_assets.stores.candidate_search import Scored, search
from mlops_assets.stores.trial_workers import workers

SPEC: dict[str, Any] = {
    "task": "binary",
    "source": {"kind": "parquet", "path": "x.parquet"},
    "entity": "id",
    "event_time": "at",
    "label": {"column": "late"},
    "period": {"start": "2024-01-01"},
    "columns": {"a": "number", "b": "number"},
}
LINEAR = {
    "estimator": "logistic_regression",
    "space": {"C": {"type": "float", "low": 1e-4, "high": 10, "log": True}},
}
TREES = {
    "estimator": "hist_gradient_boosting",
    "params": {"max_iter": 4},
    "space": {
        "max_leaf_nodes": {"type": "int", "low": 2, "high": 9},
        "max_depth": {"type": "choice", "values": [1, None]},
    },
}
# Only the strength matters, and only weak regularisation is any good.
WIDE = {
    "estimator": "logistic_regression",
    "space": {"C": {"type": "float", "low": 1e-7, "high": 1, "log": True}},
}


def spec(*candidates: dict[str, Any], seed: int = 0, **rules: Any) -> ModelSpec:
    training = {"candidates": candidates, "search": rules or None, "seed": seed}
    return ModelSpec.model_validate({**SPEC, "training": training})


def folds(number: int = 1) -> list[Fold]:
    """The same relation in each, so that a poor trial is poor early."""
    draw = np.random.default_rng(0)
    contract = spec(LINEAR).contract("m", ("0", "1"))

    def part(rows: int) -> Part:
        a, b = draw.normal(size=(2, rows))
        y = (a + draw.normal(0, 0.5, rows) > 0).astype(int)
        return Part(model_frame({"a": a, "b": b}, contract.columns), y)

    return [Fold(contract, part(120), part(80)) for _ in range(number)]


def in_order(function: Callable[..., Any], tasks: Sequence[tuple[Any, ...]]) -> list[Any]:
    return [function(*task) for task in tasks]


def last_first(function: Callable[..., Any], tasks: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Workers that finish in another order."""
    return [function(*task) for task in reversed(tasks)][::-1]


def told(found: Sequence[Scored]) -> list[tuple[str, bool, dict[str, float]]]:
    return [(one.trial.name, one.pruned, one.scores) for one in found]


def searched(rules: ModelSpec, parts: list[Fold], run: Any = in_order) -> list[Scored]:
    return search(rules, parts, run, lambda scored: None, lambda text: None)


def test_the_same_seed_gives_the_same_search_whoever_is_done_first():
    rules, parts = spec(LINEAR, TREES, trials=9, parallel=3, folds=2), folds(2)
    first = told(searched(rules, parts))
    assert first == told(searched(rules, parts, last_first))
    assert len(first) == len({name for name, _, _ in first}) == 9
    other = spec(LINEAR, TREES, trials=9, parallel=3, folds=2, seed=1)
    assert told(searched(other, parts)) != first


def test_processes_give_what_one_process_gives():
    rules, parts = spec(LINEAR, TREES, trials=4, parallel=2), folds()
    with workers(2) as run:
        found = searched(rules, parts, run)
    assert told(found) == told(searched(rules, parts))


def test_settings_come_from_their_spaces_and_reach_the_estimator():
    found = searched(spec(LINEAR, TREES, trials=16), folds())
    for one in found:
        params = one.trial.params
        if one.trial.estimator == "logistic_regression":
            assert set(params) == {"C"}
            assert 1e-4 <= params["C"] <= 10
        else:
            assert params["max_iter"] == 4
            assert params["max_leaf_nodes"] in range(2, 10)
            assert params["max_depth"] in (1, None)
    assert {one.trial.estimator for one in found} == {"logistic_regression", TREES["estimator"]}


def test_tpe_looks_where_it_found_something_and_random_does_not():
    parts, means = folds(), {}
    for sampler in ("tpe", "random"):
        found = searched(spec(WIDE, trials=40, sampler=sampler), parts)
        means[sampler] = np.mean([one.scores["log_loss"] for one in found[20:]])
    assert means["tpe"] < means["random"] - 0.02


def test_a_hopeless_trial_is_left_after_a_fold_and_never_wins():
    how: dict[str, Any] = {"trials": 20, "folds": 3, "sampler": "random", "parallel": 2}
    found = searched(spec(WIDE, **how), folds(3))
    pruned = [one for one in found if one.pruned]
    whole = [one for one in found if not one.pruned]
    assert 3 < len(pruned) < 17
    assert {len(one.folds) for one in whole} == {3}
    assert {len(one.folds) for one in pruned} <= {1, 2}
    everything = searched(spec(WIDE, **how, pruning="none"), folds(3))
    assert not any(one.pruned for one in everything)
    # What was pruned would not have won.
    best = min(everything, key=lambda one: one.scores["log_loss"])
    assert best.trial.name in {one.trial.name for one in whole}


def test_grids_are_tried_whole_and_first_as_they_are_without_a_search():
    grid = {"estimator": "logistic_regression", "grid": [{"C": [0.1, 1.0]}]}
    alone = told(searched(spec(grid), folds()))
    assert [name for name, _, _ in alone] == [
        "logistic_regression C=0.1",
        "logistic_regression C=1.0",
    ]
    both = told(searched(spec(TREES, grid, trials=2, parallel=2), folds()))
    assert both[:2] == alone
    assert len(both) == 4


def test_when_the_time_is_over_no_trial_begins_and_what_was_found_counts():
    said: list[str] = []
    rules = spec(TREES, trials=500, parallel=2, time_budget=timedelta(0))
    found = search(rules, folds(), in_order, lambda scored: None, said.append)
    assert len(found) == 2
    assert said == ["the time budget of 0:00:00 is over after 2 trials"]


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("2 h", 7200), ("PT5M", 300)]
)
def test_a_time_budget_is_written_as_people_say_it(text: str, seconds: int):
    rules = spec(LINEAR, time_budget=text).training.search
    assert rules is not None
    assert rules.time_budget == timedelta(seconds=seconds)
