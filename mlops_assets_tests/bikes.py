"""The shipped bike model with a short search, and its history as a backtest replays it."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from mlops_assets.assets.decision import retrain_policy
from mlops_assets.domain.backtest import Step, replay
from mlops_assets.spec import Model
from mlops_assets.stores import monitoring
from mlops_assets.stores.backtest_cache import BacktestCache
from mlops_assets.stores.backtest_history import read_past
from mlops_assets.stores.backtest_learner import PastLearner
from mlops_assets.stores.lake import Lake
from mlops_assets_tests.backtested import ingest

BIKES = "bike_demand"
# The search is short. Most seasons are no harm, so that the reasons are of several kinds.
CHANGES: Mapping[str, Any] = {
    "training": {
        "window": {"min": 4},
        "validation": 1,
        "holdout": 2,
        "metric": "mae",
        "candidates": [{"estimator": "hist_gradient_boosting", "params": {"max_iter": 60}}],
    },
    "monitoring": {"wait": "P1D", "min_rows": 200, "min_harm": 0.4, "min_effect": 1.0},
}
_FIGURE = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]\d+)?")


def backtest(
    model: Model, lake: Lake, until: str, cache_folder: Path
) -> tuple[PastLearner, list[Step]]:
    """What a backtest makes of the history before a day; its last period is not decided on."""
    ingest(model, lake, until)
    past = read_past(model, lake, lake.periods(model.name, "features"))
    cache = BacktestCache.of(cache_folder, model, past.content)
    learner = PastLearner(model, past, cache, delay=model.label_delay)
    run = replay(
        learner,
        retrain_policy(model),
        model.spec.retraining.limits,
        price=learner.default_price,
        delay=model.label_delay,
        model=model.name,
    )
    return learner, list(run.steps[:-1])


def assert_decided_alike(lake: Lake, model: str, steps: Sequence[Step]) -> list[str]:
    """The loop's decisions are those of the steps, period by period. Returns the actions."""
    decided = monitoring.decisions(lake, model)
    for one, step in zip(decided, steps, strict=True):
        other = step.decision
        assert other is not None
        assert (one.id, one.period, one.version) == (other.id, other.period, other.version)
        assert (one.action, one.window) == (other.action, other.window)
        told, known = "; ".join(one.reasons), "; ".join(other.reasons)
        assert _FIGURE.sub("#", told) == _FIGURE.sub("#", known)
        figures = [[float(text) for text in _FIGURE.findall(text)] for text in (told, known)]
        # Losses, benefit, price and saving: ONNX answers in single precision.
        assert figures[0] == pytest.approx(figures[1], rel=2e-3, abs=2e-3)
    return [one.action for one in decided]
