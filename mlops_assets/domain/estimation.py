"""What a model's quality probably is before any label is known.

Classification: confidence-based performance estimation (CBPE, NannyML): calibrated probabilities
say how often each prediction is right, so their mean over the rows is the expected metric.
Calibration is isotonic regression, one class against the rest, on the release's holdout (Zadrozny
and Elkan, KDD 2002). Regression: the expected absolute error as a function of the prediction,
learned on the same holdout; a plain form of direct loss estimation, blind to what moves the error
at equal predictions. Both hold under covariate shift only: when the truth changes for equal
inputs, no estimate without labels can see it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_assets.domain.contract import Task
from mlops_assets.domain.errors import DataError
from mlops_assets.domain.evaluation import PROBABILITY_FLOOR, Floats, row_losses

FORMAT = 1
MOST_KNOTS = 100
ERROR_BINS = 20
# Of one normal standard error, for 95%.
_Z95 = 1.96


@dataclass(frozen=True)
class Curve:
    """A piecewise linear function through (x, y), constant outside."""

    x: tuple[float, ...]
    y: tuple[float, ...]

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in pairwise(self.x))
        if not self.x or len(self.x) != len(self.y) or not rising:
            raise DataError(f"a curve needs as many y as rising x, not {self.x} and {self.y}")

    def at(self, values: Floats) -> Floats:
        """The function's values (n,)."""
        return np.interp(values, self.x, self.y)


@dataclass(frozen=True)
class Estimator:
    """What a release's holdout of `rows` rows teaches about expected losses.

    One curve per class (probability told to probability), or one from prediction to expected
    absolute error and a second one to its expected square for a regression. `offset` is what
    the curves miss of the holdout's own loss: rare and costly errors among the surest answers.
    """

    task: Task
    curves: tuple[Curve, ...]
    rows: int
    offset: float = 0.0

    def to_json(self) -> bytes:
        """As a bundle keeps it."""
        curves = [{"x": curve.x, "y": curve.y} for curve in self.curves]
        content = {
            "format": FORMAT,
            "task": self.task,
            "curves": curves,
            "rows": self.rows,
            "offset": self.offset,
        }
        return json.dumps(content, sort_keys=True).encode()

    @classmethod
    def from_json(cls, raw: bytes) -> "Estimator":
        """Raises DataError for a file of another format."""
        content = json.loads(raw)
        if content["format"] != FORMAT:
            raise DataError(f"estimator of format {content['format']}, we read {FORMAT}")
        curves = tuple(Curve(tuple(one["x"]), tuple(one["y"])) for one in content["curves"])
        return cls(content["task"], curves, int(content["rows"]), float(content["offset"]))


@dataclass(frozen=True)
class Estimate:
    """Expected loss of `rows` rows, with the 95% interval of what their labels will then say.

    The interval holds the noise of the labels and of the holdout, not a change of the truth.
    `metrics` are expected accuracy, precision, recall and f1 (binary; from the expected confusion
    matrix), or expected mae. `calibrated` is False where the probabilities were taken as told.
    """

    rows: int
    loss: float
    lower: float
    upper: float
    metrics: dict[str, float]
    calibrated: bool


def fit_estimator(
    task: Task, y: NDArray[Any], outputs: NDArray[Any], weights: NDArray[Any] | None = None
) -> Estimator:
    """Learn from the holdout: `y` (n,) and `outputs` (n, k) as in evaluation.metrics.

    `weights` (n,) move the offset only: what is served later has none before its labels come.
    """
    scores = np.asarray(outputs, dtype=np.float64)
    if len(y) != len(scores) or len(y) < 2:
        raise DataError(f"an estimator needs 2 or more labelled rows, not {len(y)}")
    if task == "regression":
        error = np.abs(np.asarray(y, dtype=np.float64) - scores[:, 0])
        curves = [_binned(scores[:, 0], error), _binned(scores[:, 0], error**2)]
    else:
        curves = [_isotonic(scores[:, k], np.asarray(y) == k) for k in range(scores.shape[1])]
    plain = Estimator(task, tuple(curves), len(y))
    missed = float(row_losses(task, y, scores, weights).mean()) - estimate(plain, scores).loss
    return replace(plain, offset=missed)


def uncalibrated(task: Task, classes: int) -> Estimator | None:
    """For a version without estimator: probabilities as they were told; None for a regression."""
    if task == "regression":
        return None
    return Estimator(task, (Curve((0.0, 1.0), (0.0, 1.0)),) * classes, 0)


def estimate(estimator: Estimator, outputs: NDArray[Any]) -> Estimate:
    """What the labels of these rows will probably say: `outputs` (n, k).

    Raises DataError for no rows, or outputs that do not fit the estimator.
    """
    scores = np.asarray(outputs, dtype=np.float64)
    wide = 1 if estimator.task == "regression" else len(estimator.curves)
    if not len(scores) or scores.ndim != 2 or scores.shape[1] != wide:
        raise DataError(f"outputs of shape {scores.shape} for an estimate of (n, {wide}), n > 0")
    if estimator.task == "regression":
        mean, square = (curve.at(scores[:, 0]) for curve in estimator.curves)
        found = {"mae": float(mean.mean()) + estimator.offset}
    else:
        chance = probabilities(estimator, scores)
        losses = -np.log(np.clip(scores, PROBABILITY_FLOOR, 1.0))
        mean, square = (chance * losses).sum(axis=1), (chance * losses**2).sum(axis=1)
        found = _expected_metrics(estimator.task, chance, scores)
    loss = float(mean.mean()) + estimator.offset
    variance = float(np.maximum(square - mean**2, 0).mean())
    rows = len(scores)
    spread = _Z95 * np.sqrt(variance * (1 / rows + (1 / estimator.rows if estimator.rows else 0)))
    return Estimate(
        rows, loss, loss - float(spread), loss + float(spread), found, estimator.rows > 0
    )


def probabilities(estimator: Estimator, outputs: Floats) -> Floats:
    """Calibrated probabilities (n, classes), each row adding up to 1."""
    chance = np.column_stack([curve.at(outputs[:, k]) for k, curve in enumerate(estimator.curves)])
    total = chance.sum(axis=1, keepdims=True)
    return np.where(total > 0, chance / np.where(total > 0, total, 1), outputs)


def mean_absolute_error(estimated: Sequence[float], realised: Sequence[float]) -> float | None:
    """Of estimates whose labels have matured since; None where there are none."""
    if not len(estimated):
        return None
    return float(np.abs(np.asarray(estimated) - np.asarray(realised)).mean())


def _expected_metrics(task: Task, chance: Floats, scores: Floats) -> dict[str, float]:
    predicted = scores.argmax(axis=1)
    found = {"accuracy": float(chance[np.arange(len(scores)), predicted].mean())}
    if task == "binary":
        told, positive = predicted == 1, chance[:, 1]
        hits, are = float(positive[told].sum()), float(positive.sum())
        found |= {
            "precision": hits / max(float(told.sum()), 1.0),
            "recall": hits / are if are else 0.0,
            "f1": 2 * hits / max(float(told.sum()) + are, 1.0),
        }
    return found


def _isotonic(score: Floats, happened: NDArray[np.bool_]) -> Curve:
    """Isotonic regression of what happened on what was told, thinned to at most 100 knots."""
    from scipy.optimize import isotonic_regression

    x, where, counts = np.unique(score, return_inverse=True, return_counts=True)
    share = np.bincount(where, weights=happened.astype(np.float64)) / counts
    fitted = isotonic_regression(share, weights=counts)
    # Each block of equal values is one knot at its mean score: a step function's exact means.
    starts = np.asarray(fitted.blocks)[:-1]
    mass = np.add.reduceat(counts.astype(np.float64), starts)
    middle = np.add.reduceat(x * counts, starts) / mass
    level = np.add.reduceat(fitted.x * counts, starts) / mass
    return _thinned(middle, level, mass)


def _binned(x: Floats, values: Floats) -> Curve:
    """Mean of `values` over equal-mass bins of x."""
    names, where, counts = np.unique(x, return_inverse=True, return_counts=True)
    level = np.bincount(where, weights=values) / counts
    return _thinned(names, level, counts.astype(np.float64), ERROR_BINS)


def _thinned(x: Floats, y: Floats, mass: Floats, most: int = MOST_KNOTS) -> Curve:
    """At most `most` knots of about equal mass, each at the means of what it stands for."""
    part = np.minimum((np.cumsum(mass) - mass / 2) / mass.sum() * most, most - 1).astype(int)
    starts = np.flatnonzero(np.diff(part, prepend=-1))
    total = np.add.reduceat(mass, starts)
    return Curve(
        tuple(float(v) for v in np.add.reduceat(x * mass, starts) / total),
        tuple(float(v) for v in np.add.reduceat(y * mass, starts) / total),
    )
