"""Rows that are close in time share a fate: how much a mean varies beyond what its rows explain.

A stormy day is the Tuesday of its week. Periods are cut into blocks of time, and the variance of a
mean between blocks is estimated by moments (DerSimonian and Laird, Meta-analysis in clinical
trials, Controlled Clinical Trials 1986), where Cochran's Q shows that there is any.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_assets.domain.evaluation import Floats

# Equal parts of a period whose rows may share a fate: the days of a week.
TIME_BLOCKS = 7
# The p-value of Cochran's Q below which means are taken to vary from block to block; an estimate
# where they don't would only hide a rise.
UNEVEN = 0.02


def time_blocks(times: NDArray[Any], start: datetime, end: datetime) -> NDArray[np.intp]:
    """In which of the equal parts of a period, from 0, each of its `times` (n,) in UTC lies."""
    first, last = (np.datetime64(one.astimezone(UTC).replace(tzinfo=None)) for one in (start, end))
    place = (times - first) / (last - first) * TIME_BLOCKS
    return np.clip(np.floor(place), 0, TIME_BLOCKS - 1).astype(np.intp)


def unevenness(rows: Floats) -> Floats:
    """What a block's own deviation adds to the variance of each mean (means,), as a share.

    `rows` (blocks, means) counts the rows: 1 / blocks where they are spread evenly, 1 if all of
    a mean's lie in one block.
    """
    shares = rows / np.maximum(rows.sum(axis=0), 1)
    return np.asarray((shares**2).sum(axis=0))


def between_blocks(
    rows: Floats, sums: Floats, within: Floats, groups: Sequence[slice], least_rows: int
) -> Floats:
    """The variance of each mean (means,) from block to block, beyond that of its rows' mean.

    `rows` and `sums` are arrays (blocks, means), `within` (means,) the variance of single rows.
    It is estimated for each of the `groups` of means, whose rows do not overlap, and is at least
    what it is over all of them. Means of fewer than `least_rows` rows tell nothing of it.
    """
    total = np.maximum(rows.sum(axis=0), 1)
    used = (rows.sum(axis=0) >= least_rows) & (within > 0)
    deviation = (sums / np.maximum(rows, 1) - sums.sum(axis=0) / total) ** 2
    scale = np.where(used, 1 / np.maximum(within, 1e-300), 0.0)
    spread = scale * (rows * deviation).sum(axis=0)
    free = np.where(used, (rows > 0).sum(axis=0) - 1, 0)
    weight = scale * (total - (rows**2).sum(axis=0) / total)
    found = np.full(len(within), _by_moments(spread, free, weight))
    for group in groups:
        own = _by_moments(spread[group], free[group], weight[group])
        found[group] = np.maximum(found[group], own)
    return found


def _by_moments(spread: Floats, free: NDArray[Any], weight: Floats) -> float:
    """The variance that makes Cochran's Q (`spread`) what it is; 0 where chance may have."""
    from scipy.special import chdtrc

    found, expected = float(spread.sum()), int(free.sum())
    if expected <= 0 or chdtrc(expected, found) >= UNEVEN:
        return 0.0
    return (found - expected) / float(weight.sum())
