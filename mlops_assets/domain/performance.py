"""Whether a version does harm: its loss on matured labels against the loss it was released with.

The one-sided two-sample z-test of the mean loss finds harmful shifts and stays quiet on harmless
ones, which tests of the inputs cannot tell apart, and sees slow decay that a comparison with the
previous period misses.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_assets.domain.contract import Task
from mlops_assets.domain.errors import DataError
from mlops_assets.domain.evaluation import Floats, Interval, metrics, paired_interval, row_losses


@dataclass(frozen=True)
class LossReference:
    """Mean and standard deviation of the row losses on the release's holdout of `rows` rows."""

    mean: float
    std: float
    rows: int

    @classmethod
    def of(cls, losses: Floats) -> "LossReference":
        """From the losses of a holdout (evaluation.row_losses). Raises DataError below 2 rows."""
        if len(losses) < 2 or not np.isfinite(losses).all():
            raise DataError(f"a loss reference needs 2 or more finite losses, not {len(losses)}")
        return cls(float(np.mean(losses)), float(np.std(losses, ddof=1)), len(losses))


@dataclass(frozen=True)
class PerformanceReport:
    """A period's verdict.

    `loss`, `z` and `p_value` are None where there was nothing to compute them from.
    `worse_than_previous` is the interval of this version's loss minus the previous version's on
    the same rows.
    """

    predictions: int
    labelled: int
    coverage: float
    judged: bool
    metrics: dict[str, float]
    loss: float | None
    reference_loss: float
    z: float | None
    p_value: float | None
    harmed: bool
    worse_than_previous: Interval | None
    reason: str

    @property
    def previous_is_better(self) -> bool:
        """Whether the previous version surely had the lower loss on these rows."""
        return self.worse_than_previous is not None and self.worse_than_previous.lower > 0


def performance(
    task: Task,
    y: NDArray[Any],
    outputs: NDArray[Any],
    classes: Sequence[str],
    *,
    predictions: int,
    reference: LossReference,
    min_rows: int,
    min_coverage: float,
    false_alarm_rate: float,
    previous_losses: Floats | None,
    seed: int,
) -> PerformanceReport:
    """Judge the labelled rows of a period: `y` (n,) and `outputs` (n, classes) or (n, 1).

    `predictions` counts all answers of the period, labelled or not; `previous_losses` (n,) are
    the previous version's on the same rows. Too few labels are reported, not judged. Raises
    DataError for inputs that do not fit together.
    """
    labelled = len(y)
    if labelled > predictions:
        raise DataError(f"{labelled} labels for {predictions} predictions: join each label once")
    coverage = labelled / predictions if predictions else 0.0
    judged = labelled >= max(min_rows, 2) and coverage >= min_coverage
    losses = row_losses(task, y, outputs) if labelled else np.empty(0)
    loss = float(losses.mean()) if labelled else None
    z, p_value = _z_test(losses, reference) if judged else (None, None)
    harmed = p_value is not None and p_value < false_alarm_rate
    worse = None
    if judged and previous_losses is not None:
        # One end of the interval is used, so that end alone carries the false-alarm rate.
        worse = paired_interval(losses, previous_losses, 1 - 2 * min(false_alarm_rate, 0.4), seed)
    return PerformanceReport(
        predictions=predictions,
        labelled=labelled,
        coverage=coverage,
        judged=judged,
        metrics=metrics(task, y, outputs, classes) if labelled else {},
        loss=loss,
        reference_loss=reference.mean,
        z=z,
        p_value=p_value,
        harmed=harmed,
        worse_than_previous=worse,
        reason=(
            _verdict_text(loss, reference, p_value, false_alarm_rate)
            if loss is not None and p_value is not None
            else f"too few labels to judge: {labelled} (needed {min_rows}), {coverage:.0%} of the "
            f"predictions (needed {min_coverage:.0%})"
        ),
    )


def _z_test(losses: Floats, reference: LossReference) -> tuple[float, float]:
    """z and p-value of the mean loss being above the reference's, each with its own variance."""
    from scipy.special import ndtr

    difference = float(losses.mean()) - reference.mean
    spread = float(np.sqrt(losses.var(ddof=1) / len(losses) + reference.std**2 / reference.rows))
    # Constant losses on both sides have no noise: any rise is a sure one.
    z = difference / max(spread, 1e-12)
    return z, float(ndtr(-z))


def _verdict_text(loss: float, reference: LossReference, p_value: float, limit: float) -> str:
    verdict = "is surely above" if p_value < limit else "is not surely above"
    return (
        f"loss {loss:.4f} {verdict} {reference.mean:.4f} of the release: "
        f"p = {p_value:.2g} (limit {limit:g})"
    )
