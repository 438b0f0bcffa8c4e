"""Whether a version decays: a rise of its loss that is too small for any one period to prove.

A one-sided CUSUM (Page, Continuous inspection schemes, Biometrika 1954) over the periods that the
version has served. It sums what Hawkins (Self-starting CUSUM charts, The Statistician 1987) calls
self-starting deviations: each period is compared with the release's holdout and all earlier
periods together. The holdout's own error is shared by all later periods, so a CUSUM of deviations
from the holdout alone drifts off where the holdout is small; these deviations are independent and
standard normal in an unchanged world, whatever the sizes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlops_assets.domain.errors import DataError

# Half the rise, in standard errors of a period's mean, that is to be found soonest.
ALLOWANCE = 0.5
# Of the reflected random walk's overshoot (Siegmund, Sequential Analysis, 1985, chapter 10).
_OVERSHOOT = 1.166


@dataclass(frozen=True)
class LossSample:
    """Mean and standard deviation (of single rows) of the losses of `rows` rows."""

    mean: float
    std: float
    rows: int

    def __post_init__(self) -> None:
        finite = math.isfinite(self.mean) and math.isfinite(self.std)
        if not finite or self.std < 0 or self.rows < 2:
            raise DataError(
                f"losses of {self.rows} rows with mean {self.mean} and standard deviation "
                f"{self.std} are no sample: both must be finite, of 2 rows or more"
            )


@dataclass(frozen=True)
class Decay:
    """The state after the newest period.

    `statistic` is the CUSUM, an alarm at `limit`; `since` counts the periods of the present rise,
    the newest included (0: there is none), and `rise` is the mean loss over them minus that of
    the release. `decaying` says that the rise is both sure and large enough to matter.
    """

    statistic: float
    limit: float
    since: int
    rise: float
    decaying: bool


def decay(
    release: LossSample, periods: Sequence[LossSample], *, false_alarm_rate: float, min_rise: float
) -> Decay:
    """Follow a version from its release through its judged periods, oldest first.

    In an unchanged world the share of periods that alarm is at most about `false_alarm_rate`
    (0.0021 gives the usual limit of 5). `min_rise` is in units of the loss. Raises DataError for
    a rate outside of (0, 1).
    """
    limit = cusum_limit(false_alarm_rate)
    before, statistic = release, 0.0
    since, risen, rows = 0, 0.0, 0
    for period in periods:
        statistic = max(0.0, statistic + deviation(period, before) - ALLOWANCE)
        since, risen, rows = (
            (since + 1, risen + period.mean * period.rows, rows + period.rows)
            if statistic
            else (0, 0.0, 0)
        )
        before = pooled(before, period)
    rise = risen / rows - release.mean if rows else 0.0
    return Decay(statistic, limit, since, rise, statistic > limit and rise >= min_rise)


def cusum_limit(share: float) -> float:
    """The limit that a CUSUM in an unchanged world exceeds in this share of all periods."""
    if not 0 < share < 1:
        raise DataError(f"a false-alarm rate lies between 0 and 1, not {share}")
    return max(-math.log(share) / (2 * ALLOWANCE) - _OVERSHOOT, 0.0)


def deviation(period: LossSample, before: LossSample) -> float:
    """How far the period's mean is above `before`, in standard errors of the difference.

    Mean and deviation of a skewed sample err together, so a small sample that is low by chance
    looks surer than it is. Of the pooled and the separate standard error the larger one counts.
    """
    both = pooled(before, period).std ** 2 * (1 / period.rows + 1 / before.rows)
    apart = period.std**2 / period.rows + before.std**2 / before.rows
    # Constant losses on both sides have no noise: any rise is a sure one.
    return (period.mean - before.mean) / max(float(np.sqrt(max(both, apart))), 1e-12)


def pooled(a: LossSample, b: LossSample) -> LossSample:
    """Both samples as one; the deviation is that around each sample's own mean."""
    rows = a.rows + b.rows
    mean = (a.mean * a.rows + b.mean * b.rows) / rows
    return LossSample(mean, math.sqrt((a.std**2 * a.rows + b.std**2 * b.rows) / rows), rows)
