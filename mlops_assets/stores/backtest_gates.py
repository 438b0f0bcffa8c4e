"""The gates on a challenger of a backtest: all but the one on the serving bundle."""

from typing import Any

import pandas as pd
from numpy.typing import NDArray

from mlops_assets.domain import gates
from mlops_assets.domain.evaluation import Floats, calibration_error, metrics
from mlops_assets.domain.gates import GateResult, SliceRule
from mlops_assets.spec import ModelSpec


def gate_results(
    spec: ModelSpec,
    holdout: pd.DataFrame,
    y: NDArray[Any],
    outputs: Floats,
    classes: tuple[str, ...],
    losses: Floats,
    champion_losses: Floats | None,
    weights: Floats | None = None,
) -> tuple[GateResult, ...]:
    """The verdicts on the rows (n,) of the challenger's holdout."""
    rules, seed = spec.gates, spec.training.seed
    slices = [SliceRule(s.column, s.min_rows, s.max_loss_ratio) for s in rules.slices]
    values = {rule.column: holdout[rule.column].to_numpy() for rule in slices}
    error = None if spec.task == "regression" else calibration_error(y, outputs, weights=weights)
    found = metrics(spec.task, y, outputs, classes, weights)
    return (
        gates.minimum_quality(found, {str(name): limit for name, limit in rules.minimum.items()}),
        gates.not_worse_than_champion(
            losses, champion_losses, rules.margin, rules.confidence, seed
        ),
        gates.slices_hold(values, losses, champion_losses, slices, rules.confidence, seed),
        gates.calibrated(error, rules.max_calibration_error),
    )
