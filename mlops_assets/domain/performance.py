"""Whether a version does harm: its loss on matured labels against the loss it was released with.

The one-sided two-sample z-test of the mean loss finds harmful shifts and stays quiet on harmless
ones, which tests of the inputs cannot tell apart. It compares a period with the release's holdout
and, as holdouts are small, with the periods since in which neither it nor the CUSUM saw a rise. The
CUSUM (see `decay`) finds slow decay that no single period proves, and tests of segments of the
rows (see `segments`) find what their mean hides. All share one false-alarm rate, and none flags a
rise above the release too small to matter, however sure many rows make it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_assets.domain.contract import Task
from mlops_assets.domain.decay import LossSample, decay, deviation, pooled
from mlops_assets.domain.errors import DataError
from mlops_assets.domain.evaluation import Floats, Interval, metrics, paired_interval, row_losses
from mlops_assets.domain.excess import excess_of, least_excess
from mlops_assets.domain.label_maturity import best_case_losses, loss_at_best, share_outstanding
from mlops_assets.domain.segments import SegmentHarm, Segments, harmed_segment

# Of the false-alarm rate, what the CUSUM may use; with 1% its limit is the usual 5.
CUSUM_SHARE = 0.2
# And what the segments may use, where a version has references of them.
SEGMENT_SHARE = 0.1
MIN_HARM = 0.02


class LossReference(LossSample):
    """The row losses on the release's holdout."""

    @classmethod
    def of(cls, losses: Floats) -> "LossReference":
        """From the losses of a holdout (evaluation.row_losses). Raises DataError below 2 rows."""
        if len(losses) < 2 or not np.isfinite(losses).all():
            raise DataError(f"a loss reference needs 2 or more finite losses, not {len(losses)}")
        return cls(float(np.mean(losses)), float(np.std(losses, ddof=1)), len(losses))


@dataclass(frozen=True)
class PerformanceReport:
    """A period's verdict.

    `loss` is that of the labelled rows, with the standard deviation `loss_std` of single rows;
    `loss_at_best` is the period's if every label that is still to come proves the model right,
    and what the tests take. `harmed` is proven harm in this period, in all rows together or in
    those of `segment` (`harmed_part` is its column where it is the segment alone), `decaying` a
    proven rise over the last `decay_periods` periods. `loss`, `z`, `p_value` and `cusum` are None
    where there was nothing to compute them from. `worse_than_previous` is the interval of this
    version's loss minus the previous version's on the same rows.
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
    loss_std: float | None = None
    loss_at_best: float | None = None
    cusum: float | None = None
    cusum_limit: float | None = None
    decay_periods: int = 0
    decaying: bool = False
    harmed_part: str = ""
    segment: SegmentHarm | None = None

    @property
    def previous_is_better(self) -> bool:
        """Whether the previous version surely had the lower loss on these rows."""
        return self.worse_than_previous is not None and self.worse_than_previous.lower > 0

    @property
    def sample(self) -> LossSample | None:
        """What the CUSUM of later periods takes of this one; None if it was not judged."""
        if not self.judged or self.loss_at_best is None or self.loss_std is None:
            return None
        return LossSample(self.loss_at_best, self.loss_std, self.labelled)


def performance(
    task: Task,
    y: NDArray[Any],
    outputs: NDArray[Any],
    classes: Sequence[str],
    *,
    predictions: int,
    reference: LossSample,
    min_rows: int,
    min_coverage: float,
    false_alarm_rate: float,
    previous_losses: Floats | None,
    seed: int,
    min_harm: float = MIN_HARM,
    past: Sequence[LossSample] = (),
    missing_outputs: NDArray[Any] | None = None,
    usual_coverage: float = 1.0,
    immature: str = "",
    weights: NDArray[Any] | None = None,
    segments: Segments | None = None,
) -> PerformanceReport:
    """Judge the labelled rows of a period: `y` (n,) and `outputs` (n, classes) or (n, 1).

    `predictions` counts all answers of the period, labelled or not, and `missing_outputs` (m, k)
    are those of the rows without label. With `weights` (n,) rows count in proportion to them,
    as in evaluation.metrics. `previous_losses` (n,) are the previous version's on the
    same rows, `past` what this version's earlier judged periods were, oldest first. A rise of
    less than `min_harm`, a share of the reference's loss, is no harm. `usual_coverage` is the
    share of rows that ever get a label. Too few labels, or `immature` ones (the reason says
    why), are reported and not judged. `segments` are the inputs of the rows, those without label
    in the order of `missing_outputs`, and what the release was like there; None for versions that
    have no such reference. Raises DataError for inputs that do not fit together.
    """
    labelled = len(y)
    if labelled > predictions:
        raise DataError(f"{labelled} labels for {predictions} predictions: join each label once")
    coverage = labelled / predictions if predictions else 0.0
    enough = labelled >= max(min_rows, 2) and coverage >= min_coverage
    judged = enough and not immature
    losses = row_losses(task, y, outputs, weights) if labelled else np.empty(0)
    few = (
        f"too few labels to judge: {labelled} (needed {min_rows}), {coverage:.0%} of the "
        f"predictions (needed {min_coverage:.0%})"
    )
    report = PerformanceReport(
        predictions=predictions,
        labelled=labelled,
        coverage=coverage,
        judged=judged,
        metrics=metrics(task, y, outputs, classes, weights) if labelled else {},
        loss=float(losses.mean()) if labelled else None,
        reference_loss=reference.mean,
        z=None,
        p_value=None,
        harmed=False,
        worse_than_previous=None,
        reason=f"not judged yet: {immature}" if immature else few,
        loss_std=float(losses.std(ddof=1)) if labelled > 1 else None,
    )
    if not judged:
        return report
    missing = best_case_losses(task, missing_outputs) if missing_outputs is not None else None
    outstanding = share_outstanding(coverage, usual_coverage)
    best = loss_at_best(losses, np.empty(0) if missing is None else missing, outstanding)
    worse = None
    if previous_losses is not None:
        # One end of the interval is used, so that end alone carries the false-alarm rate.
        worse = paired_interval(losses, previous_losses, 1 - 2 * min(false_alarm_rate, 0.4), seed)
    if segments is not None:
        segment = harmed_segment(
            segments,
            excess_of(task, y, outputs, weights),
            rate=false_alarm_rate * SEGMENT_SHARE,
            min_harm=min_harm,
            least=None if missing_outputs is None else least_excess(task, missing_outputs),
            usual_coverage=usual_coverage,
        )
        report = replace(report, segment=segment)
    slow = false_alarm_rate * CUSUM_SHARE
    fast = false_alarm_rate - slow - (false_alarm_rate * SEGMENT_SHARE if segments else 0.0)
    return _judged(report, best, worse, reference, past, fast, slow, min_harm)


def _judged(
    report: PerformanceReport,
    best: float,
    worse: Interval | None,
    reference: LossSample,
    past: Sequence[LossSample],
    limit: float,
    slow_rate: float,
    min_harm: float,
) -> PerformanceReport:
    """The report with the verdicts of the z-test at `limit` and of the CUSUM at `slow_rate`."""
    from scipy.special import ndtr

    period = LossSample(best, report.loss_std or 0.0, report.labelled)
    floor = min_harm * abs(reference.mean)
    before = decay(reference, past, false_alarm_rate=slow_rate, min_rise=floor)
    slow = decay(reference, [*past, period], false_alarm_rate=slow_rate, min_rise=floor)
    # What may be a slow rise is no standard for the period after it.
    unharmed = _unharmed(past[: len(past) - before.since], reference, limit)
    z = deviation(period, reduce(pooled, unharmed, reference))
    p_value = float(ndtr(-z))
    matters = best - reference.mean >= floor
    overall = p_value < limit and matters
    found = replace(
        report,
        z=z,
        p_value=p_value,
        harmed=overall or report.segment is not None,
        harmed_part=report.segment.column if report.segment and not overall else "",
        worse_than_previous=worse,
        loss_at_best=best,
        cusum=slow.statistic,
        cusum_limit=slow.limit,
        decay_periods=slow.since,
        decaying=slow.decaying,
    )
    if p_value >= limit:
        verdict = "is not surely above"
    else:
        verdict = "is surely above" if matters else f"is less than {min_harm:.1%} above"
    return replace(found, reason=_reason(found, verdict, limit, len(unharmed)))


def _unharmed(past: Sequence[LossSample], release: LossSample, limit: float) -> list[LossSample]:
    """The periods that were not surely worse than the release and those before them."""
    from scipy.special import ndtr

    known, found = release, []
    for period in past:
        if ndtr(-deviation(period, known)) >= limit:
            known = pooled(known, period)
            found.append(period)
    return found


def _reason(report: PerformanceReport, verdict: str, limit: float, unharmed: int) -> str:
    bound = (
        ""
        if report.loss_at_best == report.loss
        else f" (at best {report.loss_at_best:.4f}, if the labels to come are as predicted)"
    )
    since = f", with {unharmed} unharmed period(s) since" if unharmed else ""
    reasons = [
        f"loss {report.loss:.4f}{bound} {verdict} {report.reference_loss:.4f} of the "
        f"release{since}: p = {report.p_value:.2g} (limit {limit:.2g})"
    ]
    if report.decaying:
        reasons.append(
            f"decaying: the loss has risen over {report.decay_periods} period(s), CUSUM "
            f"{report.cusum:.1f} (limit {report.cusum_limit:.1f})"
        )
    if report.segment is not None:
        reasons.append(report.segment.reason)
    return "; ".join(reasons)
