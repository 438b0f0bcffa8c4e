"""What a challenger must prove before it may serve."""

from typing import Literal

from pydantic import Field

from mlops_assets.spec.metrics import Metric
from mlops_assets.spec.part import Part


class Slice(Part):
    """A part of the rows that must not be sacrificed for the average."""

    column: str = Field(description="Column whose values are the slices.")
    min_rows: int = Field(default=200, ge=1, description="Smaller slices are not judged.")
    max_loss_ratio: float = Field(
        default=1.1,
        gt=0,
        description="A slice fails when its loss surely exceeds the champion's on it this often.",
    )


class Parity(Part):
    """How closely the compiled model must follow the fitted pipeline."""

    tolerance: float = Field(default=1e-5, gt=0, description="Largest difference of most rows.")
    share: float = Field(default=0.999, gt=0, le=1, description="Share of rows within tolerance.")
    max_difference: float = Field(default=0.01, gt=0, description="Largest difference of any row.")


class Gates(Part):
    """What a challenger must prove before it may serve."""

    minimum: dict[Metric, float] = Field(
        default={},
        description="Worst allowed value per metric: a floor for scores, a ceiling for losses.",
    )
    margin: float = Field(
        default=0.02,
        ge=0,
        description="Non-inferiority: how much worse than the champion, as a share of its loss, "
        "the upper end of the interval may be.",
    )
    confidence: float = Field(default=0.95, gt=0.5, lt=1, description="Of every interval.")
    slices: tuple[Slice, ...] = Field(default=(), description="Slices that are judged alone.")
    max_calibration_error: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Classification: largest expected calibration error (10 equal-mass bins).",
    )
    latency_ms: float = Field(
        default=50.0, gt=0, description="Largest median time of a one-row prediction."
    )
    parity: Parity = Field(default=Parity(), description="Compiled model against pipeline.")
    require_card: bool = Field(
        default=False,
        description="Whether purpose (or description), owner and limits must be filled in for the "
        "model card.",
    )
    approval: Literal["automatic", "manual"] = Field(
        default="automatic", description="Whether a person must release a passed challenger."
    )
