"""How much worse each answer was than the model itself expected.

For a classification that is Spiegelhalter's statistic of the Brier score (Probabilistic prediction
in patient management, Statistics in Medicine 1986), row by row: its mean under the model's own
probabilities is 0 and its variance known, so neither an uneven mix of easy and hard rows nor a
small sample adds noise to it. A regression tells no probabilities: there it is the loss.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_assets.domain.contract import Task
from mlops_assets.domain.evaluation import UNKNOWN_CLASS, Floats, relative


@dataclass(frozen=True)
class Excess:
    """How much worse each row's answer (n,) was than the model expected.

    `variances` (n,) are those that the model's own probabilities imply; None for a regression.
    """

    values: Floats
    variances: Floats | None


def excess_of(
    task: Task, y: NDArray[Any], outputs: NDArray[Any], weights: NDArray[Any] | None = None
) -> Excess:
    """Compare answers with what the model expects of them; arguments as evaluation.row_losses.

    For a classification the excess of half the Brier score: the probability that the true class
    was given, short of the one that it is given on average if the probabilities are right.
    """
    counts = relative(weights, len(y))
    if task == "regression":
        losses = np.abs(np.asarray(y, dtype=np.float64) - outputs[:, 0]) * counts
        return Excess(losses, None)
    told = outputs[np.arange(len(y)), np.asarray(y, dtype=np.int64)]
    told = np.where(y == UNKNOWN_CLASS, 0.0, told)
    expected = (outputs**2).sum(axis=1)
    variances = np.maximum((outputs**3).sum(axis=1) - expected**2, 0.0)
    return Excess((expected - told) * counts, variances * counts**2)


def least_excess(task: Task, outputs: NDArray[Any]) -> Floats:
    """The least excess (m,) that each row can have, whatever its label: `outputs` (m, k)."""
    if task == "regression" or not len(outputs):
        return np.zeros(len(outputs))
    return np.asarray((outputs**2).sum(axis=1) - outputs.max(axis=1), dtype=np.float64)
