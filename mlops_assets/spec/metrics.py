"""The metrics that a spec may name, and those that exist for each task."""

from typing import Literal

from mlops_assets.domain.contract import Task

LossMetric = Literal["log_loss", "brier", "mae", "rmse"]
ScoreMetric = Literal["accuracy", "precision", "recall", "f1", "roc_auc", "r2"]
Metric = LossMetric | ScoreMetric
LOWER_IS_BETTER = frozenset(("log_loss", "brier", "mae", "rmse"))
TASK_METRICS: dict[Task, frozenset[str]] = {
    "binary": frozenset(("log_loss", "brier", "accuracy", "precision", "recall", "f1", "roc_auc")),
    "multiclass": frozenset(
        ("log_loss", "brier", "accuracy", "precision", "recall", "f1", "roc_auc")
    ),
    "regression": frozenset(("mae", "rmse", "r2")),
}
