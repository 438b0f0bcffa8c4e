"""How a regression does as a prediction of quantiles, beside what always says the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_assets.domain.evaluation import pinball_losses


@dataclass(frozen=True)
class QuantileQuality:
    """The mean pinball loss for one quantile, and that of the training rows' quantile."""

    quantile: float
    loss: float
    guess: float


def quantile_quality(
    fitted: NDArray[Any],
    y: NDArray[Any],
    outputs: NDArray[Any],
    quantiles: Sequence[float],
    weights: NDArray[Any] | None = None,
) -> tuple[QuantileQuality, ...]:
    """The quality for each quantile, in their order.

    `fitted` (m,) are the labels that a constant guess is made of; `y` (n,), `outputs` (n, 1) and
    `weights` (n,) as in evaluation.pinball_losses.
    """
    found = []
    for quantile in quantiles:
        constant = np.full((len(y), 1), np.quantile(fitted, quantile))
        loss, guess = (
            next(iter(pinball_losses(y, told, (quantile,), weights).values()))
            for told in (outputs, constant)
        )
        found.append(QuantileQuality(quantile, loss, guess))
    return tuple(found)
