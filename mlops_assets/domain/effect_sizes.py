"""How large a difference is, whatever the number of rows: what a p-value cannot say."""

import numpy as np
from numpy.typing import NDArray

# Shares of the reference beyond which values count as the limit itself (Tukey's winsorising).
TAILS = (0.01, 0.99)


def wasserstein(reference: NDArray[np.float64], current: NDArray[np.float64]) -> float:
    """Winsorised Wasserstein distance of two samples, in standard deviations of the reference.

    `reference` holds its evenly spaced quantiles, sorted, and `current` any values. Both sides
    are clipped to the reference's 1st and 99th percentile, so that no single value, however
    far, can move it; 0.1 is a shift by a tenth of a standard deviation. A column that hardly
    varies within these limits is clipped to the reference's range instead, and one that does
    not vary at all gives the share of rows that differ from its only value.
    """
    points = len(reference)
    place = np.ceil(np.linspace(0, 1, points) * len(current)).astype(int) - 1
    quantiles = np.sort(current)[np.clip(place, 0, None)]
    low, high = (reference[round(share * (points - 1))] for share in TAILS)
    if low == high:
        low, high = reference[0], reference[-1]
    if low == high:
        return float((current != low).mean())
    # Scaled first: the squares of large numbers overflow.
    scale = max(abs(low), abs(high))
    before, now = reference.clip(low, high) / scale, quantiles.clip(low, high) / scale
    return float(np.abs(before - now).mean() / before.std())


def jensen_shannon(reference: NDArray[np.float64], current: NDArray[np.float64]) -> float:
    """Jensen-Shannon distance of two distributions over the same cells, 0 to 1.

    The square root of the divergence in bits (Endres and Schindelin 2003), of counts or shares.
    """
    p, q = reference / reference.sum(), current / current.sum()
    middle = (p + q) / 2
    divergence = _entropy(middle) - (_entropy(p) + _entropy(q)) / 2
    return float(np.sqrt(min(max(divergence, 0.0), 1.0)))


def share_distance(reference: float, current: float) -> float:
    """Jensen-Shannon distance of two shares: 0 to 2% is 0.1, and so is 50% to 62%."""
    sides = (np.array([share, 1 - share]) for share in (reference, current))
    return jensen_shannon(*sides)


def _entropy(shares: NDArray[np.float64]) -> float:
    some = shares[shares > 0]
    return float(-(some * np.log2(some)).sum())
