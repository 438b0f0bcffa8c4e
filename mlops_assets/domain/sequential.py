"""Whether one version loses less than another on live traffic, however often one looks.

Subjects are assigned to the two versions by a hash, rows arrive in strata (a period at one split),
and the answer is asked for after each period. An interval for a fixed number of rows would be wrong
far more often than it says, so this one is a confidence sequence: with the stated confidence it
holds the true difference at *every* look.

- Within a stratum, means are compared, so that hard and easy weeks cancel even though the
  challenger's share grows from week to week; strata are averaged with weights that depend on counts
  only, n₀n₁/(n₀+n₁).
- The boundary is Robbins' normal mixture (Ann. Math. Statist. 41, 1970), over several sizes of
  differences, at the estimated variance: an asymptotic confidence sequence (Waudby-Smith, Arbour,
  Sinha, Kennedy, Ramdas, Time-uniform central limit theory and asymptotic confidence sequences,
  Ann. Statist. 52, 2024, arXiv 2103.06476), which needs no bound of the losses. Rows that share a
  day or a place may depend on each other: what is random is the assignment (Ham, Bojinov, Lindon,
  Tingley, Design-based confidence sequences, arXiv 2210.08639).
- What is assigned is a subject, so noise is counted by subject, over all strata together.
- Asymptotic means: wrong for a handful of rows, most of all for skewed losses, whose small samples
  look good and quiet at once. So nothing is said below `LEAST_SUBJECTS` of either side, and the
  challenger is taken to be at least as noisy as the champion, of whom there are more rows.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mlops_assets.domain.errors import DataError
from mlops_assets.domain.evaluation import Floats

Verdict = Literal["better", "worse", "not_yet"]
LEAST_SUBJECTS = 50
# Sizes of differences to be sharp for, as multiples of the effect that is asked for, and weights.
SCALES = ((1.0, 0.4), (5.0, 0.2), (25.0, 0.2), (125.0, 0.2))


@dataclass(frozen=True, eq=False)
class Sample:
    """Rows of one version in one stratum: number, mean and variance (ddof 1) of the losses.

    `subjects` (n,) numbers the subject of each row, by the same numbers in all strata, and
    `deviations` (n,) are the losses less their mean; both None where no subject has two rows in
    the whole comparison, which spares a pass over the rows.
    """

    rows: int
    mean: float
    variance: float
    subjects: NDArray[np.int64] | None = None
    deviations: Floats | None = None

    @classmethod
    def of(cls, losses: Floats, subjects: NDArray[np.int64] | None = None) -> "Sample":
        """From the losses (n,) and the subjects (n,). Raises DataError if they are unusable."""
        losses = np.asarray(losses, dtype=np.float64)
        if not np.isfinite(losses).all():
            raise DataError("losses must be finite; some are NaN or infinite")
        if subjects is not None and len(subjects) != len(losses):
            raise DataError(f"{len(subjects)} subjects for {len(losses)} losses")
        n = len(losses)
        mean = float(losses.mean()) if n else 0.0
        variance = float(losses.var(ddof=1)) if n > 1 else 0.0
        return cls(n, mean, variance, subjects, None if subjects is None else losses - mean)

    def distinct(self) -> int:
        """How many subjects the rows are of."""
        return self.rows if self.subjects is None else len(np.unique(self.subjects))


@dataclass(frozen=True)
class Stratum:
    """Rows of both versions in one period at one split."""

    champion: Sample
    challenger: Sample

    @property
    def weight(self) -> float:
        """How much the stratum counts; nothing, where it cannot tell its own noise."""
        ours, theirs = self.challenger.rows, self.champion.rows
        return ours * theirs / (ours + theirs) if min(ours, theirs) > 1 else 0.0


@dataclass(frozen=True)
class Comparison:
    """The challenger's mean loss less the champion's, and the interval that holds it at all looks.

    `low` and `high` are infinite where there are too few subjects for any interval.
    """

    verdict: Verdict
    difference: float
    low: float
    high: float
    n_champion: int
    n_challenger: int
    reason: str


def compare(strata: Sequence[Stratum], *, effect: float, confidence: float) -> Comparison:
    """Compare challenger and champion on all strata so far; it may be asked at any time.

    `effect` > 0, in units of the loss, is the least difference that one wants to see soon; larger
    ones are seen sooner, smaller ones later. It must not be chosen from the same rows. With
    probability `confidence` the interval holds the difference (weighted over the strata) at all
    looks, so a version that is no better is called better in at most half of 1 - confidence of
    all comparisons. Raises DataError for limits that are none.
    """
    if not (effect > 0 and math.isfinite(effect) and 0 < confidence < 1):
        raise DataError(f"effect {effect} must be above 0, confidence {confidence} between 0 and 1")
    used = [stratum for stratum in strata if stratum.weight > 0]
    ours = sum(stratum.challenger.rows for stratum in used)
    theirs = sum(stratum.champion.rows for stratum in used)
    total = sum(stratum.weight for stratum in used)
    shares = [stratum.weight / total for stratum in used]
    difference = math.fsum(
        share * (stratum.challenger.mean - stratum.champion.mean)
        for share, stratum in zip(shares, used, strict=True)
    )
    known = min(_subjects([s.challenger for s in used]), _subjects([s.champion for s in used]))
    if known < LEAST_SUBJECTS:
        reason = (
            f"too few to compare: {ours} labelled rows of the challenger, {theirs} of the "
            f"champion, of {known} subjects on the smaller side (needed {LEAST_SUBJECTS})"
        )
        return Comparison("not_yet", difference, -math.inf, math.inf, theirs, ours, reason)
    width = half_width(_variance(used, shares), effect, confidence)
    low, high = difference - width, difference + width
    verdict: Verdict = "better" if high < 0 else "worse" if low > 0 else "not_yet"
    reason = (
        f"the challenger's loss is {difference:+.4g} against the champion's, at {confidence:.0%} "
        f"between {low:+.4g} and {high:+.4g} however often one looks ({ours} and {theirs} rows)"
    )
    return Comparison(verdict, difference, low, high, theirs, ours, reason)


def half_width(variance: float, effect: float, confidence: float) -> float:
    """Half-width of the confidence sequence of a mean whose estimate has this variance.

    Robbins' mixture of parameter r: for a Brownian motion B at information t = 1 / variance,
    √(r / (t + r)) exp(B² / 2(t + r)) stays below 1 / (1 - confidence) for ever with that
    probability. One r is sharp for differences of one size only, and blind to disasters in the
    first few rows if it is made for small ones. A weighted mean over several r is as valid, and
    is never much wider than the best of them.
    """
    if variance <= 0:
        return 0.0
    tail = -2 * math.log(1 - confidence)
    # At information t a single mixture is sharpest with about r = t / best, and then has the
    # half-width reach / √t; so this r makes it sharpest where its half-width is the effect.
    best = tail + math.log1p(tail)
    reach = math.sqrt((1 + 1 / best) * (math.log1p(best) + tail))
    seen = [(reach / (times * effect)) ** 2 / best * variance for times, _ in SCALES]
    terms = [
        (math.log(weight) - math.log1p(1 / rv) / 2, 1 / (2 * (1 + rv)))
        for rv, (_, weight) in zip(seen, SCALES, strict=True)
    ]
    return math.sqrt(variance * _root(terms, tail / 2))


def _root(terms: Sequence[tuple[float, float]], level: float) -> float:
    """The x at which log Σ exp(a + b x) over the terms (a, b > 0) reaches the level.

    The function is convex and rises, so Newton's method from the right ends at the root.
    """
    x = min((level - a) / b for a, b in terms)
    for _ in range(50):
        top = max(a + b * x for a, b in terms)
        shares = [math.exp(a + b * x - top) for a, b in terms]
        value = top + math.log(sum(shares)) - level
        slope = sum(b * share for share, (_, b) in zip(shares, terms, strict=True)) / sum(shares)
        if value <= 1e-12 * slope * x:
            break
        x -= value / slope
    return x


def _variance(strata: Sequence[Stratum], shares: Sequence[float]) -> float:
    """Of the weighted difference: the larger of that by rows and that by subjects."""
    parts = list(zip(shares, strata, strict=True))
    independent = sum(
        share**2
        * (
            s.champion.variance / s.champion.rows
            + max(s.challenger.variance, s.champion.variance) / s.challenger.rows
        )
        for share, s in parts
    )
    if any(sample.subjects is None for s in strata for sample in (s.champion, s.challenger)):
        return independent
    # A subject may be the champion's at first and the challenger's later: its errors then offset.
    both = _by_subject(
        [(-share / s.champion.rows, s.champion) for share, s in parts]
        + [(share / s.challenger.rows, s.challenger) for share, s in parts]
    )
    own = _by_subject([(share / s.challenger.rows, s.challenger) for share, s in parts])
    borrowed = _by_subject(
        [(share / math.sqrt(s.champion.rows * s.challenger.rows), s.champion) for share, s in parts]
    )
    return max(independent, both + max(borrowed - own, 0.0))


def _by_subject(parts: Sequence[tuple[float, Sample]]) -> float:
    """Sum over the subjects of the square of the sum of their scaled deviations."""
    scaled: list[NDArray[Any]] = [
        factor * math.sqrt(sample.rows / (sample.rows - 1)) * sample.deviations
        for factor, sample in parts
        if sample.deviations is not None
    ]
    numbers = [sample.subjects for _, sample in parts if sample.subjects is not None]
    _, where = np.unique(np.concatenate(numbers), return_inverse=True)
    return float(np.square(np.bincount(where, weights=np.concatenate(scaled))).sum())


def _subjects(samples: Sequence[Sample]) -> int:
    """Distinct subjects of all strata; rows, where each is a subject of its own."""
    numbers = [sample.subjects for sample in samples if sample.subjects is not None]
    if len(numbers) < len(samples):
        return sum(sample.rows for sample in samples)
    return len(np.unique(np.concatenate(numbers))) if numbers else 0
