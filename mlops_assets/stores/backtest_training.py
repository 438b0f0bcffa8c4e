"""Versions trained on a model's past: the search, the fits and what they say of later rows."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_assets.domain.contract import Contract
from mlops_assets.domain.evaluation import LOWER_IS_BETTER, metrics
from mlops_assets.domain.labels import classes_of, encode
from mlops_assets.domain.learner import Training
from mlops_assets.domain.splits import Split
from mlops_assets.domain.training import Trial, best, draw_evenly, fit, outputs_of, trials
from mlops_assets.spec import Model
from mlops_assets.stores.backtest_cache import Scored
from mlops_assets.stores.backtest_history import PastRows

Say = Callable[[str], None]


def start_of(model: Model, training: Training) -> int:
    """The first period that a version is trained on."""
    rules = model.spec.training
    last = training.window or rules.window.last
    return max(0, training.end - rules.validation - last) if last else 0


def search(model: Model, past: PastRows, split: Split, say: Say) -> Trial:
    """The candidate that wins on the validation periods of the first version's split."""
    spec = model.spec
    end = len(split.train)
    place = past.place(end, end + len(split.validation))
    mask = past.known[place]
    todo = trials([candidate.model_dump() for candidate in spec.training.candidates])
    scores = []
    for count, trial in enumerate(todo, 1):
        fitted, classes = _fit(model, past, trial, 0, end, spec.training.search_rows)
        outputs = outputs_of(fitted, past.frame.iloc[place][mask], spec.task)
        y = targets(model, past, place, mask, classes)
        weights = past.weights_of(place, mask)
        score = metrics(spec.task, y, outputs, classes, weights)[spec.primary_metric]
        say(f"search {count}/{len(todo)}: {trial.name}, {spec.primary_metric} {score:.4f}")
        scores.append(score)
    return todo[best(scores, lower_is_better=spec.primary_metric in LOWER_IS_BETTER)]


def train(model: Model, past: PastRows, trial: Trial, training: Training) -> Scored:
    """Fit a version, and score all rows from the end of its training on."""
    start = start_of(model, training)
    fitted, classes = _fit(model, past, trial, start, training.end)
    later = past.frame.iloc[past.place(training.end, len(past.periods))]
    outputs = outputs_of(fitted, later.reset_index(drop=True), model.spec.task)
    return Scored(classes, outputs.astype(np.float32))


def targets(
    model: Model, past: PastRows, place: slice, mask: NDArray[np.bool_], classes: tuple[str, ...]
) -> NDArray[Any]:
    """The labels (m,) of the rows in `mask` as a loss takes them."""
    return encode(past.label.iloc[place][mask], model.spec.task, classes)


def _fit(
    model: Model, past: PastRows, trial: Trial, first: int, last: int, most: int | None = None
) -> tuple[Any, tuple[str, ...]]:
    """The fitted pipeline, on at most `most` labelled rows, and its classes."""
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
    y = encode(labels, spec.task, classes)
    contract: Contract = spec.contract(model.name, classes)
    fitted = fit(
        trial,
        contract,
        spec.derived_steps(),
        frame,
        y,
        spec.training.seed,
        weights=weights,
        balanced=spec.training.class_weight == "balanced",
    )
    return fitted, classes
