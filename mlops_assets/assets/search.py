"""The search of a training: its folds from the frozen set, each trial in MLflow, the winner."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mlops_assets.domain.errors import NotTrainableError
from mlops_assets.domain.estimators import encoders_of, is_import_path
from mlops_assets.domain.splits import TrainingSet
from mlops_assets.domain.trainable import refuse_untrainable
from mlops_assets.domain.training import Trial, best, draw_evenly, trials
from mlops_assets.domain.trial_scores import Fold, Part, Scores, fit_few, fold_ends
from mlops_assets.resources import Stores
from mlops_assets.spec import Model
from mlops_assets.spec.metrics import LOWER_IS_BETTER
from mlops_assets.stores import candidate_search, tracking, training_rows
from mlops_assets.stores.candidate_search import Scored
from mlops_assets.stores.servable import why_not_servable
from mlops_assets.stores.trial_workers import workers


@dataclass(frozen=True)
class Searched:
    """The outcome of the search: the winner, and every trial's metrics on validation."""

    winner: Trial
    trials: tuple[tuple[Trial, Scores], ...]


def search(
    model: Model, manifest: TrainingSet, stores: Stores, say: Callable[[str], None]
) -> Searched:
    """Score every candidate on the validation periods; each trial is a nested MLflow run.

    Raises NotTrainableError where no trial has a score, or a trial cannot be fitted.
    """
    metric = model.spec.primary_metric

    def keep(scored: Scored) -> None:
        tracking.log_trial(scored.trial, scored.scores, scored.seconds, pruned=scored.pruned)
        value = scored.scores.get(metric, float("nan"))
        told = f"pruned after {len(scored.folds)} folds, " if scored.pruned else ""
        say(f"trial {scored.trial.name}: {told}{metric} {value:.4f}, {scored.seconds:.1f} s")

    folds = list(_folds(model, manifest, stores))
    _refuse_unservable(model, folds[0])
    rules = model.spec.training.search
    with workers(rules.parallel if rules else 1, stores.ray_address) as run:
        found = candidate_search.search(model.spec, folds, run, keep, say)
    whole = [(one.trial, one.scores) for one in found if not one.pruned]
    values = [scores.get(metric, float("nan")) for _, scores in whole]
    winner = best(values, lower_is_better=metric in LOWER_IS_BETTER)
    return Searched(whole[winner][0], tuple(whole))


def _refuse_unservable(model: Model, fold: Fold) -> None:
    """Raise NotTrainableError for a candidate from elsewhere that nothing could serve.

    It is fitted to a few rows for that, so that the search is not made for nothing.
    """
    paths = [one for one in model.spec.training.candidates if is_import_path(one.estimator)]
    for candidate in paths:
        dumped = candidate.model_dump()
        first = trials([{**dumped, "grid": [_first_of(part) for part in dumped["grid"][:1]]}])[0]
        recipe = candidate_search.recipe_of(model.spec)
        reason = why_not_servable(fit_few(first, fold, recipe), fold.contract)
        if reason:
            raise NotTrainableError(f"{candidate.estimator} could not be served: {reason}")


def _first_of(part: Mapping[str, Any]) -> dict[str, Any]:
    return {key: v[0] if isinstance(v, list | tuple) else v for key, v in part.items()}


def _folds(model: Model, manifest: TrainingSet, stores: Stores) -> Iterator[Fold]:
    spec, rules = model.spec, model.spec.training
    linear = [
        candidate.estimator
        for candidate in rules.candidates
        if encoders_of(candidate.estimator, candidate.encoders or "") == "linear"
    ]
    replaced = {name for rule in spec.derived if rule.replaces for name in rule.columns}
    periods, number = manifest.split.searched, rules.search.folds if rules.search else 1
    for fitted_on, end in fold_ends(len(periods), rules.validation, number):
        train = training_rows.read(model, stores.lake, manifest, periods[:fitted_on])
        # A class may be too rare, or too new, to be among the rows of the search.
        train = train.drawn(draw_evenly(len(train), rules.search_rows, rules.seed))
        contract = spec.contract(model.name, train.classes)
        refuse_untrainable(train.frame, train.y, contract, linear, replaced)
        later = training_rows.read(
            model, stores.lake, manifest, periods[fitted_on:end], train.classes
        )
        yield Fold(
            contract,
            Part(train.frame, train.y, train.weights),
            Part(later.frame, later.y, later.weights),
        )
