"""What is usual: the z-interval at 95%, looked at every week."""

import math
from collections.abc import Sequence

from mlops_assets.domain.sequential import Comparison, Sample, Stratum, Verdict


def naive(strata: Sequence[Stratum], *, pooled: bool) -> Comparison:
    """The z-interval of all rows so far, as if this were the only look."""
    if pooled:
        strata = [Stratum(*(_pooled(samples) for samples in _sides(strata)))]
    used = [stratum for stratum in strata if stratum.weight > 0]
    total = sum(stratum.weight for stratum in used)
    difference = variance = 0.0
    for stratum in used:
        share = stratum.weight / total
        ours, theirs = stratum.challenger, stratum.champion
        difference += share * (ours.mean - theirs.mean)
        variance += share**2 * (ours.variance / ours.rows + theirs.variance / theirs.rows)
    width = 1.96 * math.sqrt(variance) if used else math.inf
    low, high = difference - width, difference + width
    verdict: Verdict = "better" if high < 0 else "worse" if low > 0 else "not_yet"
    rows = [sum(sample.rows for sample in samples) for samples in _sides(used)]
    return Comparison(verdict, difference, low, high, rows[0], rows[1], "one look")


def _sides(strata: Sequence[Stratum]) -> tuple[list[Sample], list[Sample]]:
    return [s.champion for s in strata], [s.challenger for s in strata]


def _pooled(samples: Sequence[Sample]) -> Sample:
    n = sum(sample.rows for sample in samples)
    mean = sum(sample.rows * sample.mean for sample in samples) / max(n, 1)
    squares = sum(
        (s.rows - 1) * s.variance + s.rows * (s.mean - mean) ** 2 for s in samples if s.rows
    )
    return Sample(n, mean, squares / max(n - 1, 1))
