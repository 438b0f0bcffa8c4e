"""The search over candidates: what is tried, in which order, and what wins.

Nothing here logs or stores: `trials` lists what to try, `fit` fits one, `best` compares. The
caller records each step.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import ParameterGrid
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import has_fit_parameter

from mlops_assets.domain.contract import Contract, Task
from mlops_assets.domain.errors import NotTrainableError
from mlops_assets.domain.estimators import encoders_of, made
from mlops_assets.domain.features import pipeline
from mlops_assets.domain.imbalance import BalancedClasses, fitted_estimator


@dataclass(frozen=True)
class Trial:
    """One combination of estimator and settings, with encoders other than its own, if any."""

    name: str
    estimator: str
    params: Mapping[str, Any]
    encoders: str = ""


def trials(candidates: Sequence[Mapping[str, Any]]) -> tuple[Trial, ...]:
    """Every combination of every candidate (`estimator`, `params`, `grid`), in the file's order."""
    found: list[Trial] = []
    for candidate in candidates:
        grid = [
            {key: list(v) if isinstance(v, list | tuple) else [v] for key, v in part.items()}
            for part in candidate["grid"]
        ]
        for settings in ParameterGrid(grid):
            params = {**candidate["params"], **settings}
            label = " ".join(f"{key}={value}" for key, value in sorted(settings.items()))
            name = f"{candidate['estimator']} {label}".strip()
            encoders = candidate.get("encoders") or ""
            found.append(Trial(name, candidate["estimator"], params, encoders))
    return tuple(found)


def fit(
    trial: Trial,
    contract: Contract,
    derived: Sequence[Mapping[str, Any]],
    frame: pd.DataFrame,
    y: np.ndarray,
    seed: int,
    *,
    weights: np.ndarray | None = None,
    balanced: bool = False,
) -> Pipeline:
    """Fit a trial on `frame` (the contract's columns) and `y` (class indices, or values).

    `weights` (n,) say how much each row counts; with `balanced` all classes count the same in
    sum, see imbalance.BalancedClasses. Raises NotTrainableError when the estimator cannot be
    imported or does not do for the task, or when it has no use for weights.
    """
    estimator = made(trial.estimator, contract.task, trial.params, seed)
    is_forest = trial.estimator == "random_forest"
    if is_forest:
        # Each tree has a seed of its own, so growing them on all cores changes nothing; adding up
        # their votes on several threads would, in the last digits.
        estimator.set_params(n_jobs=-1)
    if (weights is not None or balanced) and not has_fit_parameter(estimator, "sample_weight"):
        raise NotTrainableError(
            f"{trial.estimator} cannot weigh rows (its fit has no sample_weight): remove it from "
            "the candidates, or weight and training.class_weight from the spec"
        )
    last = BalancedClasses(estimator) if balanced else estimator
    encoders = encoders_of(trial.estimator, trial.encoders)
    model = pipeline(encoders, contract.columns, derived, last)
    model.fit(frame, y, **({} if weights is None else {"model__sample_weight": weights}))
    if is_forest:
        fitted_estimator(model).set_params(n_jobs=1)
    return model


def outputs_of(model: Pipeline, frame: pd.DataFrame, task: Task) -> np.ndarray:
    """Probabilities of shape (n, classes), or values of shape (n, 1); float64."""
    if task == "regression":
        return np.asarray(model.predict(frame), dtype=np.float64).reshape(-1, 1)
    return np.asarray(model.predict_proba(frame), dtype=np.float64)


def draw_evenly(rows: int, limit: int, seed: int) -> np.ndarray:
    """Indices, in order, of at most `limit` of `rows` rows, each as likely as the other."""
    if rows <= limit:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).choice(rows, limit, replace=False))


def best(scores: Sequence[float], *, lower_is_better: bool) -> int:
    """Position of the winning score; the earlier one of equals. A NaN never wins.

    Raises NotTrainableError when no score is a number.
    """
    if not len(scores) or np.isnan(scores).all():
        raise NotTrainableError(
            "no candidate has a score: the validation periods have too few rows, or rows of one "
            "class only; raise training.validation or choose another training.metric."
        )
    return int(np.nanargmin(scores) if lower_is_better else np.nanargmax(scores))
