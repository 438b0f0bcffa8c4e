"""Ensembles of small trees over many rows at once, in numpy.

Walking a tree costs a mispredicted branch at every other node. QuickScorer (Lucchese et al. 2015,
"QuickScorer: a fast algorithm to rank documents with additive ensembles of regression trees")
walks none: each feature's value rules out leaves of every tree, as a bit mask that depends only
on between which thresholds the value lies; the first leaf that no feature rules out is the one
that the walk would have ended in. So a row costs one look-up per feature and one `and` over all
trees, whatever the depth. The leaves found are exactly those of the walk.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MOST_LEAVES = 64
# Rows whose masks stay in the cache together.
BLOCK = 256
# Below this many thresholds a binary search takes no longer than a grid.
FEW_THRESHOLDS = 16
CELLS = 2048
# More thresholds than this in one cell: the grid would cost more than the search.
MOST_IN_A_CELL = 5
# Of the thresholds of a grid: far from where float32 ends, so that cells can be computed in it.
SPANS = (1e-30, 1e30)


@dataclass(frozen=True)
class Tree:
    """A tree as parallel lists over its nodes, the root first.

    At node i a row goes to `left[i]` where its `feature[i]` is at most `value[i]` (or below it, see
    `TreeScorer`), or where it is NaN and `missing_left[i]`; else to `right[i]`. `left[i]` is -1 for
    a leaf, whose `value[i]` is its output.
    """

    feature: Sequence[int]
    value: Sequence[float]
    left: Sequence[int]
    right: Sequence[int]
    missing_left: Sequence[bool]


class TreeScorer:
    """Sums of the trees' outputs, for each output of an ensemble.

    `outputs[t]` is the output to which tree t adds. With `is_strict`, equality goes right. All
    numbers are compared as float32. Raises ValueError for a tree of more than MOST_LEAVES leaves.
    """

    def __init__(self, trees: Sequence[Tree], outputs: Sequence[int], is_strict: bool) -> None:
        most = max(list(tree.left).count(-1) for tree in trees)
        if most > MOST_LEAVES:
            raise ValueError(f"a tree has {most} leaves, the limit is {MOST_LEAVES}")
        self._bits = _Bits.of(32 if most <= 32 else 64)
        order = sorted(range(len(trees)), key=lambda tree: outputs[tree])
        ordered = [outputs[tree] for tree in order]
        self._slices = [
            slice(ordered.index(k), ordered.index(k) + ordered.count(k)) for k in sorted({*ordered})
        ]
        width = self._bits.width
        self._leaves = np.zeros((len(trees), width), dtype=np.float32)
        splits: dict[int, list[_Split]] = {}
        for place, tree in enumerate(order):
            self._add(trees[tree], place, splits)
        self._places: np.ndarray = (np.arange(len(trees)) * width).astype(self._bits.whole)
        self.features = tuple(sorted(splits))
        self._tables = [
            _Table.of(splits[feature], len(trees), self._bits, is_strict)
            for feature in self.features
        ]

    def _add(
        self,
        tree: Tree,
        place: int,
        splits: dict[int, list["_Split"]],
        node: int = 0,
        first: int = 0,
    ) -> int:
        """Number the leaves below a node from `first` on, and collect the splits by feature.

        Returns how many leaves there are.
        """
        if tree.left[node] < 0:
            self._leaves[place, first] = tree.value[node]
            return 1
        left = self._add(tree, place, splits, tree.left[node], first)
        ruled_out = ((1 << left) - 1) << first
        split = _Split(place, np.float32(tree.value[node]), ruled_out, tree.missing_left[node])
        splits.setdefault(tree.feature[node], []).append(split)
        return left + self._add(tree, place, splits, tree.right[node], first + left)

    def sums(self, matrix: np.ndarray) -> np.ndarray:
        """Sums of shape (n, outputs), float32, for a float32 matrix of shape (n, features)."""
        rows = len(matrix)
        found = np.empty((rows, len(self._slices)), dtype=np.float32)
        bins = [
            table.bins(matrix[:, feature])
            for table, feature in zip(self._tables, self.features, strict=True)
        ]
        for first in range(0, rows, BLOCK):
            block = slice(first, min(first + BLOCK, rows))
            values = self._leaves.ravel().take(
                self._exits(block.stop - first, [one[block] for one in bins])
            )
            for output, trees in enumerate(self._slices):
                found[block, output] = values[:, trees].sum(axis=1)
        return found

    def _exits(self, rows: int, bins: Sequence[np.ndarray]) -> np.ndarray:
        """Places in the table of leaves of each row's leaf in each tree."""
        alive: np.ndarray = np.full(
            (rows, len(self._places)), self._bits.all, dtype=self._bits.mask
        )
        some = np.empty_like(alive)
        for table, one in zip(self._tables, bins, strict=True):
            table.masks.take(one, axis=0, out=some, mode="clip")
            np.bitwise_and(alive, some, out=alive)
        np.negative(alive, out=some)
        # The lowest bit alone is a power of two, of which a float holds the logarithm.
        np.bitwise_and(alive, some, out=alive)
        power: np.ndarray = alive.astype(self._bits.real).view(self._bits.whole)
        leaf = (power >> self._bits.mantissa) - self._bits.bias
        places: np.ndarray = leaf + self._places
        return places


@dataclass(frozen=True)
class _Bits:
    """Types of the masks, and how a float of the same size holds a power of two."""

    width: int
    mask: type
    real: type
    whole: type
    mantissa: int
    bias: int

    @classmethod
    def of(cls, width: int) -> "_Bits":
        if width == 32:
            return cls(32, np.uint32, np.float32, np.int32, 23, 127)
        return cls(64, np.uint64, np.float64, np.int64, 52, 1023)

    @property
    def all(self) -> int:
        """No leaf ruled out."""
        return (1 << self.width) - 1


@dataclass(frozen=True)
class _Split:
    """An inner node: going right in tree `tree` rules out the leaves of `ruled_out`."""

    tree: int
    threshold: np.float32
    ruled_out: int
    missing_left: bool


class _Table:
    """Of one feature: in which bin a value lies, and which leaves each bin leaves over.

    Bin b holds the values that have b thresholds to their left; the last one is for NaN.
    """

    def __init__(self, thresholds: np.ndarray, masks: np.ndarray, is_strict: bool) -> None:
        self._thresholds = thresholds
        # Nothing passes the end.
        self._padded = np.append(thresholds, np.float32(np.nan))
        self._side = "right" if is_strict else "left"
        self._passes = np.greater_equal if is_strict else np.greater
        self.masks = masks
        self._grid = _grid(thresholds)

    @classmethod
    def of(cls, splits: Sequence[_Split], trees: int, bits: _Bits, is_strict: bool) -> "_Table":
        thresholds = np.unique(np.array([split.threshold for split in splits], dtype=np.float32))
        masks: np.ndarray = np.full((len(thresholds) + 2, trees), bits.all, dtype=bits.mask)
        for split in splits:
            over = bits.mask(bits.all ^ split.ruled_out)
            right = int(np.searchsorted(thresholds, split.threshold)) + 1
            masks[right:-1, split.tree] &= over
            if not split.missing_left:
                masks[-1, split.tree] &= over
        return cls(thresholds, masks, is_strict)

    def bins(self, values: np.ndarray) -> np.ndarray:
        """The bin of each value, of shape (n,)."""
        if self._grid is None:
            found = np.searchsorted(self._thresholds, values, side=self._side)  # type: ignore[call-overload]
        else:
            values = np.ascontiguousarray(values)
            found = self._grid.below.take(self._grid.cells(values))
            for _ in range(self._grid.most):
                found += self._passes(values, self._padded.take(found))
        is_missing = np.isnan(values)
        if is_missing.any():
            found[is_missing] = len(self._thresholds) + 1
        return np.asarray(found)


@dataclass(frozen=True)
class _Grid:
    """Cells of equal width: thresholds to the left of each, and at most `most` within one."""

    origin: np.float32
    scale: np.float32
    below: np.ndarray
    most: int

    def cells(self, values: np.ndarray) -> np.ndarray:
        """The cell of each value: the same or a higher one for a higher value; 0 for NaN."""
        return _cells(values, self.origin, self.scale)


def _cells(values: np.ndarray, origin: np.float32, scale: np.float32) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):
        place = (values - origin) * scale
    np.fmax(place, np.float32(0), out=place)
    np.fmin(place, np.float32(CELLS - 1), out=place)
    return place.astype(np.int32)


def _grid(thresholds: np.ndarray) -> _Grid | None:
    """A grid over the thresholds, or None where a search is as good."""
    if len(thresholds) <= FEW_THRESHOLDS or not np.isfinite(thresholds).all():
        return None
    span = float(thresholds[-1]) - float(thresholds[0])
    if not SPANS[0] < span < SPANS[1]:
        return None
    origin, scale = thresholds[0], np.float32((CELLS - 1) / span)
    counts = np.bincount(_cells(thresholds, origin, scale), minlength=CELLS)
    if counts.max() > MOST_IN_A_CELL:
        return None
    below = (np.cumsum(counts) - counts).astype(np.int64)
    return _Grid(origin, scale, below, int(counts.max()))
