"""A seeded sample of a stream's rows that does not depend on how the stream was cut.

Each row gets a priority, a hash of its key and the seed, and the rows of the least priorities are
the sample (bottom-k sketch: Cohen and Kaplan 2007). Unlike a reservoir fed by a generator, the
same rows are found in one batch or many and, with keys of their own, in any order.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_assets.domain.coded import Coded, Column

Keys = NDArray[np.uint64]


class RowSample:
    """At most `most` rows of all that were added, in memory that is flat in their number."""

    def __init__(self, most: int, seed: int) -> None:
        self._most = most
        self._seed = _mixed(np.array([seed], dtype=np.uint64))
        self._priorities = np.empty(0, dtype=np.uint64)
        self._columns: dict[str, NDArray[Any]] = {}

    def add(self, keys: Keys, columns: Mapping[str, Column]) -> None:
        """Add rows with these keys (n,), unique among all rows; columns hold n values each."""
        priorities = _mixed(keys ^ self._seed)
        near = np.arange(len(keys))
        if len(self._priorities) == self._most:
            near = np.flatnonzero(priorities < self._priorities[-1])
        both = np.concatenate([self._priorities, priorities[near]])
        kept = np.argsort(both, kind="stable")[: self._most]
        self._priorities = both[kept]
        place = kept >= len(both) - len(near)
        # The old rows that stay are the first ones: they are in the order of priorities.
        old = int((~place).sum())
        fresh = near[kept[place] - (len(both) - len(near))]
        if not len(fresh) and self._columns:
            return
        for name, column in columns.items():
            values = _taken(column, fresh)
            merged = np.empty(len(kept), dtype=values.dtype)
            merged[place] = values
            if old:
                merged[~place] = self._columns[name][:old]
            self._columns[name] = merged

    def columns(self) -> dict[str, NDArray[Any]]:
        """The sampled rows by column, in the order of their priorities."""
        return dict(self._columns)


def row_numbers(start: int, rows: int) -> Keys:
    """Keys of rows that have none of their own: their places in the stream."""
    return np.arange(start, start + rows, dtype=np.uint64)


def _taken(column: Column, rows: NDArray[np.intp]) -> NDArray[Any]:
    taken: Column = column[rows]
    return taken.texts() if isinstance(taken, Coded) else taken


def _mixed(keys: Keys) -> Keys:
    """A bijection that spreads keys evenly: the finaliser of splitmix64 (Steele et al. 2014)."""
    x = keys + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
