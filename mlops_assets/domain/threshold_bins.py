"""Between which thresholds of a feature its values lie, for many rows and features at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CELLS = 2048
# More thresholds than this in one cell: the grid would cost more than a binary search.
MOST_IN_A_CELL = 5
# Of the thresholds of a grid: far from where float32 ends, so that cells can be computed in it.
SPANS = (1e-30, 1e30)


Number = np.ndarray | np.float32


class ThresholdBins:
    """In which bin of each feature a value lies, for sorted `thresholds` of each.

    With `is_strict`, a value that equals a threshold has it to its left.

    Equal cells are laid over a feature's thresholds, and a table says how many lie to the left of
    a cell, so that only those within it are compared. All features are looked up at once; those
    whose thresholds lie too unevenly take a binary search each.
    """

    def __init__(self, thresholds: Sequence[np.ndarray], is_strict: bool) -> None:
        self._thresholds = thresholds
        self._side = "right" if is_strict else "left"
        self._passes = np.greater_equal if is_strict else np.greater
        grids = {place: grid_of(one) for place, one in enumerate(thresholds)}
        found = {place: grid for place, grid in grids.items() if grid.most <= MOST_IN_A_CELL}
        # Those with most thresholds in a cell come first: they take the most comparisons.
        self._gridded = sorted(found, key=lambda place: -found[place].most)
        self._searched = [place for place in grids if place not in found]
        ordered = [found[place] for place in self._gridded]
        self._origins = np.array([[grid.origin] for grid in ordered], dtype=np.float32)
        self._scales = np.array([[grid.scale] for grid in ordered], dtype=np.float32)
        # One after another, and after each something that nothing passes.
        padded = [np.append(thresholds[place], np.float32(np.nan)) for place in self._gridded]
        ends = np.cumsum([0, *map(len, padded)])
        self._starts: np.ndarray = ends[:-1, None].astype(np.intp)
        self._padded = np.concatenate([*padded, np.empty(0, np.float32)])
        self._cells: np.ndarray = np.arange(len(ordered), dtype=np.int32)[:, None] * CELLS
        starts = self._starts.ravel().tolist()
        below = [grid.below + start for grid, start in zip(ordered, starts, strict=True)]
        self._below = np.concatenate([*below, np.empty(0, np.intp)])
        most = [grid.most for grid in ordered]
        self._rounds = [sum(one > turn for one in most) for turn in range(max(most, default=0))]

    def of(self, values: np.ndarray) -> np.ndarray:
        """Bins of shape (features, n) for float32 of that shape.

        A value has the bin b if b thresholds lie to its left; NaN has the bin after the last one.
        """
        bins = np.empty(values.shape, dtype=np.intp)
        if self._gridded:
            bins[self._gridded] = self._by_grid(values[self._gridded])
        for place in self._searched:
            thresholds = self._thresholds[place]
            bins[place] = np.searchsorted(thresholds, values[place], side=self._side)  # type: ignore[call-overload]
        is_missing = np.isnan(values)
        if is_missing.any():
            last = np.array([[len(one) + 1] for one in self._thresholds])
            np.copyto(bins, last, where=is_missing)
        return bins

    def _by_grid(self, values: np.ndarray) -> np.ndarray:
        cells = _cells(values, self._origins, self._scales)
        cells += self._cells
        found = self._below.take(cells)
        for count in self._rounds:
            some = found[:count]
            some += self._passes(values[:count], self._padded.take(some))
        found -= self._starts
        return found


@dataclass(frozen=True)
class Grid:
    """Cells of equal width: thresholds to the left of each, and at most `most` within one."""

    origin: np.float32
    scale: np.float32
    below: np.ndarray
    most: int


def grid_of(thresholds: np.ndarray) -> Grid:
    """A grid over sorted thresholds: all in one cell where they lie too far apart for float32."""
    origin = scale = np.float32(0)
    span = float(thresholds[-1]) - float(thresholds[0])
    if SPANS[0] < span < SPANS[1]:
        origin, scale = thresholds[0], np.float32((CELLS - 1) / span)
    counts = np.bincount(_cells(thresholds, origin, scale), minlength=CELLS)
    below = (np.cumsum(counts) - counts).astype(np.intp)
    return Grid(origin, scale, below, int(counts.max()))


def _cells(values: np.ndarray, origin: Number, scale: Number) -> np.ndarray:
    """The cell of each value: the same or a higher one for a higher value; 0 for NaN."""
    with np.errstate(over="ignore", invalid="ignore"):
        place = values - origin
        place *= scale
    np.fmax(place, np.float32(0), out=place)
    # Faster than `fmin`, and there is no NaN any more.
    np.minimum(place, np.float32(CELLS - 1), out=place)
    cells: np.ndarray = place.astype(np.int32)
    return cells
