"""Versions trained on a model's past: the search, the fits and what they say of later rows."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_assets.domain.contract import Contract
from mlops_assets.domain.evaluation import LOWER_IS_BETTER
from mlops_assets.domain.labels import classes_of, encode
from mlops_assets.domain.learner import Training
from mlops_assets.domain.splits import Split
from mlops_assets.domain.training import Trial, best, draw_evenly, fit, outputs_of
from mlops_assets.domain.trial_scores import Fold, Part, fold_ends
from mlops_assets.spec import Model
from mlops_assets.stores import candidate_search
from mlops_assets.stores.backtest_cache import Scored
from mlops_assets.stores.backtest_history import PastRows
from mlops_assets.stores.trial_workers import workers

Say = Callable[[str], None]


def start_of(training: Training) -> int:
    """The first period that a version is trained on."""
    return max(0, training.end - training.window) if training.window else 0


def search(model: Model, past: PastRows, split: Split, say: Say) -> Trial:
    """The candidate that wins on the validation periods of the first version's split."""
    spec, rules = model.spec, model.spec.training
    metric, periods = spec.primary_metric, len(split.train) + len(split.validation)

    def keep(scored: candidate_search.Scored) -> None:
        value = scored.scores.get(metric, float("nan"))
        say(f"search: {scored.trial.name}, {metric} {value:.4f}")

    number = rules.search.folds if rules.search else 1
    folds = [
        _fold(model, past, fitted_on, end)
        for fitted_on, end in fold_ends(periods, rules.validation, number)
    ]
    with workers(rules.search.parallel if rules.search else 1) as run:
        found = candidate_search.search(spec, folds, run, keep, say)
    whole = [one for one in found if not one.pruned]
    values = [one.scores.get(metric, float("nan")) for one in whole]
    return whole[best(values, lower_is_better=metric in LOWER_IS_BETTER)].trial


def _fold(model: Model, past: PastRows, fitted_on: int, end: int) -> Fold:
    train, classes = _rows(model, past, 0, fitted_on, model.spec.training.search_rows)
    place = past.place(fitted_on, end)
    mask = past.known[place]
    later = Part(
        past.frame.iloc[place][mask],
        targets(model, past, place, mask, classes),
        past.weights_of(place, mask),
    )
    return Fold(model.spec.contract(model.name, classes), train, later)


def train(model: Model, past: PastRows, trial: Trial, training: Training) -> Scored:
    """Fit a version, and score all rows from the end of its training on."""
    fitted, classes = _fit(model, past, trial, start_of(training), training.end)
    later = past.frame.iloc[past.place(training.end, len(past.periods))]
    outputs = outputs_of(fitted, later.reset_index(drop=True), model.spec.task)
    return Scored(classes, outputs.astype(np.float32))


def targets(
    model: Model, past: PastRows, place: slice, mask: NDArray[np.bool_], classes: tuple[str, ...]
) -> NDArray[Any]:
    """The labels (m,) of the rows in `mask` as a loss takes them."""
    return encode(past.label.iloc[place][mask], model.spec.task, classes)


def _fit(
    model: Model, past: PastRows, trial: Trial, first: int, last: int
) -> tuple[Any, tuple[str, ...]]:
    """The fitted pipeline and its classes."""
    spec = model.spec
    rows, classes = _rows(model, past, first, last)
    contract: Contract = spec.contract(model.name, classes)
    fitted = fit(
        trial,
        contract,
        spec.derived_steps(),
        rows.frame,
        rows.y,
        spec.training.seed,
        weights=rows.weights,
        balanced=spec.training.class_weight == "balanced",
    )
    return fitted, classes


def _rows(
    model: Model, past: PastRows, first: int, last: int, most: int | None = None
) -> tuple[Part, tuple[str, ...]]:
    """At most `most` labelled rows of the periods first, …, last - 1, and their classes."""
    spec, place = model.spec, past.place(first, last)
    mask = past.known[place]
    labels = past.label.iloc[place][mask]
    frame = past.frame.iloc[place][mask].reset_index(drop=True)
    weights = past.weights_of(place, mask)
    if most is not None:
        picked = draw_evenly(len(labels), most, spec.training.seed)
        frame, labels = frame.iloc[picked], labels.iloc[picked]
        weights = None if weights is None else weights[picked]
    classes = () if spec.task == "regression" else classes_of(labels)
    return Part(frame, encode(labels, spec.task, classes), weights), classes
