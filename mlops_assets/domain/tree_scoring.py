"""Ensembles of small trees over many rows at once, in Cython or numpy.

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

from mlops_assets.domain.threshold_bins import ThresholdBins

try:
    from mlops_assets.compiled.quick_scorer import QuickScorer
except ImportError:  # there was no C compiler when the project was installed
    QuickScorer = None  # type: ignore[assignment, misc]

MOST_LEAVES = 64
# Rows whose masks stay in the cache together.
BLOCK = 512
# Features of few bins share a table of up to so many, which stays in the cache too.
MOST_SHARED_BINS = 300


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


class NumpyScorer:
    """Sums of the leaves that the masks of some tables leave over, for each output.

    `columns` says for each feature which one of the matrix it is, `thresholds` holds its own,
    sorted, as float32. `leaves` are of shape (trees, 32 or 64), the masks have as many bits, and
    `slices` are the trees of each output.
    """

    def __init__(
        self,
        columns: Sequence[int],
        thresholds: Sequence[np.ndarray],
        is_strict: bool,
        tables: Sequence["Shared"],
        leaves: np.ndarray,
        slices: Sequence[slice],
    ) -> None:
        trees, width = leaves.shape
        self._bits = _Bits.of(width)
        self._columns = columns
        self._bins = ThresholdBins(thresholds, is_strict)
        self._tables = tables
        self._leaves = leaves.ravel()
        self._slices = slices
        # Where a tree's leaves begin, less what `_exits` counts too much.
        self._places: np.ndarray = (np.arange(trees) * width - self._bits.bias).astype(
            self._bits.whole
        )

    def sums(self, matrix: np.ndarray) -> np.ndarray:
        """Sums of shape (n, outputs), float32, for a float32 matrix of shape (n, features)."""
        rows = len(matrix)
        found = np.empty((rows, len(self._slices)), dtype=np.float32)
        bins = self._bins.of(matrix.T.take(self._columns, axis=0))
        places = [table.places(bins) for table in self._tables]
        for first in range(0, rows, BLOCK):
            block = slice(first, min(first + BLOCK, rows))
            exits = self._exits(block.stop - first, [one[block] for one in places])
            # All are places of the table: what is done with others only matters for the speed.
            values = self._leaves.take(exits, mode="wrap")
            for output, trees in enumerate(self._slices):
                # In a third of the time that `sum` takes.
                np.einsum("rt->r", values[:, trees], out=found[block, output])
        return found

    def _exits(self, rows: int, places: Sequence[np.ndarray]) -> np.ndarray:
        """Places in the table of leaves of each row's leaf in each tree."""
        alive: np.ndarray = np.empty((rows, len(self._places)), dtype=self._bits.mask)
        some = np.empty_like(alive)
        if not self._tables:
            alive.fill(self._bits.all)
        for number, (table, one) in enumerate(zip(self._tables, places, strict=True)):
            table.masks.take(one, axis=0, out=some if number else alive, mode="clip")
            if number:
                np.bitwise_and(alive, some, out=alive)
        np.negative(alive, out=some)
        # The lowest bit alone is a power of two, of which a float holds the logarithm.
        np.bitwise_and(alive, some, out=alive)
        leaf: np.ndarray = alive.astype(self._bits.real).view(self._bits.whole)
        leaf >>= self._bits.mantissa
        leaf += self._places
        return leaf


Scorer = type[NumpyScorer] | type["QuickScorer"]
# Both take the same and find the same leaves; the compiled one needs a quarter of the time.
FASTEST: Scorer = NumpyScorer if QuickScorer is None else QuickScorer


class TreeScorer:
    """Sums of the trees' outputs, for each output of an ensemble.

    `outputs[t]` is the output to which tree t adds. With `is_strict`, equality goes right. All
    numbers are compared as float32. `scorer` does the work, from the tables made here. Raises
    ValueError for a tree of more than MOST_LEAVES leaves.
    """

    def __init__(
        self,
        trees: Sequence[Tree],
        outputs: Sequence[int],
        is_strict: bool,
        scorer: Scorer = FASTEST,
    ) -> None:
        most = max(list(tree.left).count(-1) for tree in trees)
        if most > MOST_LEAVES:
            raise ValueError(f"a tree has {most} leaves, the limit is {MOST_LEAVES}")
        bits = _Bits.of(32 if most <= 32 else 64)
        order = sorted(range(len(trees)), key=lambda tree: outputs[tree])
        ordered = [outputs[tree] for tree in order]
        slices = [
            slice(ordered.index(k), ordered.index(k) + ordered.count(k)) for k in sorted({*ordered})
        ]
        leaves = np.zeros((len(trees), bits.width), dtype=np.float32)
        splits: dict[int, list[_Split]] = {}
        for place, tree in enumerate(order):
            _add(trees[tree], place, leaves[place], splits)
        self.features = tuple(sorted(splits))
        tables = [_Table.of(splits[one], len(trees), bits) for one in self.features]
        thresholds = [table.thresholds for table in tables]
        shared = _shared([table.masks for table in tables])
        self._scorer = scorer(self.features, thresholds, is_strict, shared, leaves, slices)
        # A single row takes numpy as long as a hundred.
        self.is_quick_for_few = scorer is not NumpyScorer

    def sums(self, matrix: np.ndarray) -> np.ndarray:
        """Sums of shape (n, outputs), float32, for a float32 matrix of shape (n, features)."""
        return self._scorer.sums(matrix)


def _add(
    tree: Tree,
    place: int,
    leaves: np.ndarray,
    splits: dict[int, list["_Split"]],
    node: int = 0,
    first: int = 0,
) -> int:
    """Number the leaves below a node from `first` on, and collect the splits by feature.

    Returns how many leaves there are.
    """
    if tree.left[node] < 0:
        leaves[first] = tree.value[node]
        return 1
    left = _add(tree, place, leaves, splits, tree.left[node], first)
    ruled_out = ((1 << left) - 1) << first
    split = _Split(place, np.float32(tree.value[node]), ruled_out, tree.missing_left[node])
    splits.setdefault(tree.feature[node], []).append(split)
    return left + _add(tree, place, leaves, splits, tree.right[node], first + left)


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


@dataclass(frozen=True)
class _Table:
    """Of one feature: which leaves each bin leaves over, of shape (bins, trees).

    Bin b holds the values that have b thresholds to their left; the last one is for NaN.
    """

    thresholds: np.ndarray
    masks: np.ndarray

    @classmethod
    def of(cls, splits: Sequence[_Split], trees: int, bits: _Bits) -> "_Table":
        thresholds = np.unique(np.array([split.threshold for split in splits], dtype=np.float32))
        masks: np.ndarray = np.full((len(thresholds) + 2, trees), bits.all, dtype=bits.mask)
        for split in splits:
            over = bits.mask(bits.all ^ split.ruled_out)
            right = int(np.searchsorted(thresholds, split.threshold)) + 1
            masks[right:-1, split.tree] &= over
            if not split.missing_left:
                masks[-1, split.tree] &= over
        return cls(thresholds, masks)


@dataclass(frozen=True, eq=False)
class Shared:
    """One table for some features: a bin for each combination of their bins."""

    features: tuple[int, ...]
    strides: tuple[int, ...]
    masks: np.ndarray

    def places(self, bins: np.ndarray) -> np.ndarray:
        """The combined bin of each row, of shape (n,), from bins of shape (features, n)."""
        found: np.ndarray = bins[self.features[0]]
        for feature, stride in zip(self.features[1:], self.strides[1:], strict=True):
            found = found + bins[feature] * stride
        return found


def _shared(tables: Sequence[np.ndarray]) -> list[Shared]:
    """The tables, those of few bins combined: a row then takes fewer look-ups."""
    found: list[Shared] = []
    for feature in sorted(range(len(tables)), key=lambda one: -len(tables[one])):
        masks = tables[feature]
        room = [one for one in found if len(one.masks) * len(masks) <= MOST_SHARED_BINS]
        if not room:
            found.append(Shared((feature,), (1,), masks))
            continue
        # The fullest, so that others keep their room.
        other = max(room, key=lambda one: len(one.masks))
        both = (masks[:, None, :] & other.masks[None, :, :]).reshape(-1, masks.shape[1])
        strides = (*other.strides, len(other.masks))
        found[found.index(other)] = Shared((*other.features, feature), strides, both)
    return found
