"""How a challenger is made: on which history, from which candidates, chosen how."""

from typing import Annotated, Literal

from pydantic import Field

from mlops_assets.spec.metrics import Metric
from mlops_assets.spec.part import Part
from mlops_assets.spec.search import Scalar, Search, Space


class Candidate(Part):
    """An estimator and the settings to try."""

    estimator: str = Field(
        description="logistic_regression, ridge, random_forest, hist_gradient_boosting, lightgbm "
        "or xgboost, in its form for the task (the last two need `pip install "
        "'mlops_assets[boosting]'`); or the import path of a class in the manner of scikit-learn, "
        "as package.module:Class."
    )
    encoders: Literal["linear", "forest", "boosting"] | None = Field(
        default=None,
        description="What the estimator gets: linear fills missing numbers, scales them, and makes "
        "a column of each level; forest fills missing numbers and numbers the levels; boosting "
        "numbers the levels only. Default: the estimator's own; for an import path forest in "
        "sklearn.ensemble and sklearn.tree, else linear.",
    )
    params: dict[str, Scalar | None] = Field(
        default={}, description="Settings that are not searched."
    )
    grid: tuple[dict[str, Scalar | tuple[Scalar | None, ...] | None], ...] = Field(
        default=({},),
        description="Search space: one trial per combination; a value or a list per setting.",
    )
    space: dict[str, Space] = Field(
        default={},
        description="Settings that training.search varies: {type: float, low, high, log}, {type: "
        "int, low, high, log} or {type: choice, values}.",
    )


class Window(Part):
    """Which history a training uses."""

    last: int | None = Field(
        default=None, ge=1, description="Fit on the last N periods only; empty: all of them."
    )
    min: int = Field(default=4, ge=1, description="Least number of training periods.")


class Training(Part):
    """How a challenger is made."""

    window: Window = Field(default=Window(), description="Which history a training uses.")
    validation: int = Field(
        default=2, ge=1, description="Periods after the training rows that choose the candidate."
    )
    holdout: int = Field(
        default=2, ge=1, description="Newest periods, used by the gates only, never for training."
    )
    candidates: tuple[Candidate, ...] = Field(
        default=(Candidate(estimator="hist_gradient_boosting"),),
        min_length=1,
        description="Estimators that compete.",
    )
    metric: Metric | None = Field(
        default=None,
        description="What the candidates are compared by; log_loss, or mae for a regression.",
    )
    search: Search | None = Field(
        default=None, description="How candidates with a space are searched, by Optuna."
    )
    quantiles: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        default=(),
        description="Regression: quantiles for which the pinball loss is reported too; a candidate "
        "predicts one with params {loss: quantile, quantile: 0.9}.",
    )
    search_rows: int = Field(
        default=20_000,
        ge=100,
        description="At most so many training rows in the search, drawn evenly; the winner is "
        "refitted on all of them.",
    )
    class_weight: Literal["balanced"] | None = Field(
        default=None,
        description="Classification: balanced fits as if every class were equally frequent, and "
        "then divides the probabilities by what that added, so that they stay those of the rows.",
    )
    seed: int = Field(default=0, ge=0, description="Seed of every random choice.")
