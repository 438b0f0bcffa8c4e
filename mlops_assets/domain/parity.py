"""Whether a compiled model still says what the fitted pipeline says."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ParityResult:
    """The verdict on two sets of outputs for the same rows.

    Differences are per row, the largest over its outputs, in units of the outputs' scale.
    """

    rows: int
    share_within: float
    max_difference: float
    holds: bool
    reason: str


def compare(
    expected: NDArray[Any],
    actual: NDArray[Any],
    tolerance: float,
    share: float,
    max_difference: float,
) -> ParityResult:
    """Compare `actual` with `expected`, both (n, outputs).

    Holds when at least `share` of the rows differ by no more than `tolerance` and no row differs
    by more than `max_difference`. Where the outputs' mean size exceeds 1, as in a regression,
    both are shares of that size: float32 graphs keep 7 digits of 500, not of 0.5.
    """
    left, right = np.asarray(expected, dtype=np.float64), np.asarray(actual, dtype=np.float64)
    if left.shape != right.shape or left.ndim != 2:
        return _refused(len(left), f"outputs have shapes {left.shape} and {right.shape}")
    if not left.size:
        return _refused(0, "there are no rows to compare")
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        return _refused(len(left), "some outputs are NaN or infinite")
    differences = np.abs(left - right).max(axis=1) / max(1.0, float(np.abs(left).mean()))
    within, largest = float((differences <= tolerance).mean()), float(differences.max())
    holds = within >= share and largest <= max_difference
    reason = (
        f"{within:.4%} of {len(left)} rows differ by at most {tolerance:g} (needed {share:.4%}), "
        f"the largest difference is {largest:.2g} (limit {max_difference:g})"
    )
    return ParityResult(len(left), within, largest, holds, reason)


def _refused(rows: int, reason: str) -> ParityResult:
    return ParityResult(rows, 0.0, float("inf"), False, reason)
