"""How a trial is scored: on windows of time, one after the other, each after what it is fitted on.

Windows move forward from an origin that grows (rolling-origin evaluation: Tashman, International
Journal of Forecasting 16, 2000).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from mlops_assets.domain.contract import Contract
from mlops_assets.domain.errors import NotTrainableError
from mlops_assets.domain.evaluation import metrics, pinball_losses
from mlops_assets.domain.training import Trial, fit, outputs_of

Scores = dict[str, float]
# Enough to see whether a model of this kind can be compiled.
FEW_ROWS = 200


@dataclass(frozen=True, eq=False)
class Part:
    """Rows: `frame` (n, columns of the contract), `y` (n,), `weights` (n,) or None."""

    frame: pd.DataFrame
    y: np.ndarray
    weights: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Fold:
    """What a trial is fitted on, and the later rows that score it.

    The classes of `contract` are those of the rows that it is fitted on.
    """

    contract: Contract
    train: Part
    validation: Part


@dataclass(frozen=True)
class Recipe:
    """What all trials of a search have in common."""

    derived: tuple[Mapping[str, Any], ...]
    seed: int
    balanced: bool = False
    quantiles: tuple[float, ...] = ()


def score(trial: Trial, fold: Fold, recipe: Recipe) -> Scores:
    """Fit on the fold's training rows, and every metric of the task on its validation rows.

    The same however many threads there are. Raises NotTrainableError, with the trial's name, for
    settings that the estimator refuses.
    """
    later, contract = fold.validation, fold.contract
    # Linear algebra on several threads adds up in another order.
    with threadpool_limits(1, user_api="blas"):
        fitted = _fitted(trial, contract, fold.train, recipe)
        outputs = outputs_of(fitted, later.frame, contract.task)
    found = metrics(contract.task, later.y, outputs, contract.classes, later.weights)
    if not recipe.quantiles:
        return found
    return found | pinball_losses(later.y, outputs, recipe.quantiles, later.weights)


def fit_few(trial: Trial, fold: Fold, recipe: Recipe) -> Pipeline:
    """A trial fitted to a few of the fold's rows, of all its classes: quick, and of no use else.

    Raises NotTrainableError like `score`.
    """
    train = fold.train
    if fold.contract.task == "regression":
        picked = np.arange(min(len(train.y), FEW_ROWS))
    else:
        places = [np.flatnonzero(train.y == one)[:FEW_ROWS] for one in np.unique(train.y)]
        picked = np.sort(np.concatenate(places))
    weights = None if train.weights is None else train.weights[picked]
    rows = Part(train.frame.iloc[picked], train.y[picked], weights)
    return _fitted(trial, fold.contract, rows, recipe)


def _fitted(trial: Trial, contract: Contract, rows: Part, recipe: Recipe) -> Pipeline:
    try:
        return fit(
            trial,
            contract,
            recipe.derived,
            rows.frame,
            rows.y,
            recipe.seed,
            weights=rows.weights,
            balanced=recipe.balanced,
        )
    except (TypeError, ValueError) as error:
        raise NotTrainableError(
            f"the trial {trial.name} cannot be fitted: {error}. Correct its params, grid or space."
        ) from error


def fold_ends(periods: int, validation: int, folds: int) -> list[tuple[int, int]]:
    """Where each fold's training periods and its validation periods end, oldest fold first.

    Of `periods`, the newest fold is scored on the last `validation`; each one before it on as many
    before. Raises NotTrainableError where a fold has nothing to be fitted on.
    """
    ends = [
        (periods - validation * (back + 1), periods - validation * back)
        for back in reversed(range(folds))
    ]
    if ends[0][0] < 1:
        raise NotTrainableError(
            f"{periods} periods are too few for {folds} folds of {validation}: lower "
            "training.search.folds or training.validation, or train on a longer history"
        )
    return ends


def mean_scores(parts: Sequence[Scores]) -> Scores:
    """Each metric's mean over the folds; one that is undefined on some fold is left out."""
    shared = [name for name in parts[0] if all(name in part for part in parts)]
    return {name: float(np.mean([part[name] for part in parts])) for name in shared}


def is_hopeless(
    value: float, earlier: Sequence[float], *, lower_is_better: bool, least: int = 4
) -> bool:
    """Whether a trial's mean after some folds is worse than the median of earlier trials' there.

    Fewer than `least` earlier trials prove nothing. Source: the median stopping rule of Golovin et
    al., Google Vizier, KDD 2017.
    """
    known = [one for one in earlier if not np.isnan(one)]
    if len(known) < least:
        return False
    middle = float(np.median(known))
    return bool(np.isnan(value) or (value > middle if lower_is_better else value < middle))
