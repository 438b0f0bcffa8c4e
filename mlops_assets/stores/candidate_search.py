"""The search over candidates: grids trial by trial, spaces through Optuna.

Optuna is asked for a batch of trials, they are scored fold by fold, and told in the order in which
they were asked for; so the result does not depend on which worker is done first. What a batch is
pruned by is known before it begins.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from mlops_assets.domain.training import Trial, trials
from mlops_assets.domain.trial_scores import (
    Fold,
    Recipe,
    Scores,
    is_hopeless,
    mean_scores,
    score,
)
from mlops_assets.spec import ModelSpec
from mlops_assets.spec.metrics import LOWER_IS_BETTER
from mlops_assets.spec.search import Choice, FloatRange, Search
from mlops_assets.spec.training import Candidate
from mlops_assets.stores.trial_workers import Run


@dataclass(frozen=True)
class Scored:
    """A trial and its mean scores over the folds that it was scored on, in `seconds`."""

    trial: Trial
    folds: tuple[Scores, ...]
    seconds: float
    pruned: bool = False

    @property
    def scores(self) -> Scores:
        """The mean over its folds."""
        return mean_scores(self.folds)


def recipe_of(spec: ModelSpec) -> Recipe:
    """What the spec says of all trials."""
    return Recipe(
        tuple(spec.derived_steps()),
        spec.training.seed,
        spec.training.class_weight == "balanced",
        spec.training.quantiles,
    )


def search(
    spec: ModelSpec,
    folds: Sequence[Fold],
    run: Run,
    keep: Callable[[Scored], None],
    say: Callable[[str], None],
) -> list[Scored]:
    """Score every trial of the grids and of the search; `keep` gets each as soon as it is known.

    `run` calls a function with each of some tasks (see trial_workers.workers). Raises
    NotTrainableError for a trial whose settings are refused.
    """
    rules = spec.training.search or Search()
    plain = [one.model_dump() for one in spec.training.candidates if not one.space]
    found: list[Scored] = []
    grids = _grids(trials(plain), spec, folds, run, rules.parallel)
    for scored in chain(grids, _sampled(spec, rules, folds, run, say)):
        keep(scored)
        found.append(scored)
    return found


def _grids(
    todo: Sequence[Trial], spec: ModelSpec, folds: Sequence[Fold], run: Run, parallel: int
) -> Iterator[Scored]:
    recipe = recipe_of(spec)
    for start in range(0, len(todo), parallel):
        batch = todo[start : start + parallel]
        tasks = [(trial, fold, recipe) for trial in batch for fold in folds]
        results = run(_timed, tasks)
        for place, trial in enumerate(batch):
            mine = results[place * len(folds) : (place + 1) * len(folds)]
            yield Scored(trial, tuple(one for one, _ in mine), sum(took for _, took in mine))


def _sampled(
    spec: ModelSpec, rules: Search, folds: Sequence[Fold], run: Run, say: Callable[[str], None]
) -> Iterator[Scored]:
    candidates = [one for one in spec.training.candidates if one.space]
    if not candidates:
        return
    study = _study(spec, rules)
    until = None if rules.time_budget is None else rules.time_budget.total_seconds()
    started, done = time.monotonic(), 0
    before: list[Scored] = []
    while done < rules.trials:
        if done and until is not None and time.monotonic() - started >= until:
            say(f"the time budget of {rules.time_budget} is over after {done} trials")
            return
        size = min(rules.parallel, rules.trials - done)
        asked = [study.ask() for _ in range(size)]
        batch = [_trial(one, candidates) for one in asked]
        scored = _batch(batch, spec, folds, run, before, prune=rules.pruning == "median")
        for optuna_trial, one in zip(asked, scored, strict=True):
            _tell(study, optuna_trial, one, spec.primary_metric)
            yield one
        before += scored
        done += size


def _batch(
    batch: Sequence[Trial],
    spec: ModelSpec,
    folds: Sequence[Fold],
    run: Run,
    before: Sequence[Scored],
    *,
    prune: bool,
) -> list[Scored]:
    """Score a batch fold by fold; who is hopeless after a fold leaves it."""
    recipe, metric = recipe_of(spec), spec.primary_metric
    lower = metric in LOWER_IS_BETTER
    parts: list[list[Scores]] = [[] for _ in batch]
    seconds = [0.0] * len(batch)
    alive = list(range(len(batch)))
    for number, fold in enumerate(folds, 1):
        results = run(_timed, [(batch[place], fold, recipe) for place in alive])
        for place, (scores, took) in zip(alive, results, strict=True):
            parts[place].append(scores)
            seconds[place] += took
        if prune and number < len(folds):
            others = [
                _mean(one.folds[:number], metric) for one in before if len(one.folds) >= number
            ]
            alive = [
                place
                for place in alive
                if not is_hopeless(_mean(parts[place], metric), others, lower_is_better=lower)
            ]
    return [
        Scored(trial, tuple(parts[place]), seconds[place], pruned=place not in alive)
        for place, trial in enumerate(batch)
    ]


def _mean(folds: Sequence[Scores], metric: str) -> float:
    return mean_scores(folds).get(metric, float("nan"))


def _timed(trial: Trial, fold: Fold, recipe: Recipe) -> tuple[Scores, float]:
    started = time.perf_counter()
    found = score(trial, fold, recipe)
    return found, time.perf_counter() - started


def _study(spec: ModelSpec, rules: Search) -> Any:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    seed = spec.training.seed
    sampler: Any = optuna.samplers.RandomSampler(seed=seed)
    if rules.sampler == "tpe":
        # Trials of the same batch must not be drawn from the same place: those that are not told
        # yet count as bad ones (constant liar).
        sampler = optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=min(10, max(2, rules.trials // 3)), constant_liar=True
        )
    lower = spec.primary_metric in LOWER_IS_BETTER
    return optuna.create_study(direction="minimize" if lower else "maximize", sampler=sampler)


def _trial(asked: Any, candidates: Sequence[Candidate]) -> Trial:
    """The settings that Optuna suggests for one of the candidates."""
    place = 0
    if len(candidates) > 1:
        place = asked.suggest_categorical("candidate", list(range(len(candidates))))
    candidate = candidates[place]
    settings: dict[str, Any] = {}
    for name, space in candidate.space.items():
        label = f"{place}.{name}"
        if isinstance(space, Choice):
            # By place, because Optuna knows fewer types of values.
            chosen = asked.suggest_categorical(label, list(range(len(space.values))))
            settings[name] = space.values[chosen]
        elif isinstance(space, FloatRange):
            settings[name] = asked.suggest_float(label, space.low, space.high, log=space.log)
        else:
            settings[name] = asked.suggest_int(label, space.low, space.high, log=space.log)
    told = " ".join(f"{name}={_short(value)}" for name, value in sorted(settings.items()))
    name = f"{candidate.estimator} #{asked.number + 1} {told}"
    params = {**candidate.params, **settings}
    return Trial(name, candidate.estimator, params, candidate.encoders or "")


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _tell(study: Any, asked: Any, scored: Scored, metric: str) -> None:
    import optuna

    means = [_mean(scored.folds[: number + 1], metric) for number in range(len(scored.folds))]
    for number, value in enumerate(means):
        if np.isfinite(value):
            asked.report(value, number)
    if scored.pruned:
        study.tell(asked, state=optuna.trial.TrialState.PRUNED)
    elif np.isfinite(means[-1]):
        study.tell(asked, means[-1])
    else:
        study.tell(asked, state=optuna.trial.TrialState.FAIL)
