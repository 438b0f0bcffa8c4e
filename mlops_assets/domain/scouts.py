"""Scouts: models so cheap that one of any age and any window can be had at any time.

A scout is a ridge regression of the label (of each class's indicator) on indicators of the inputs
(domain.encoding). Its fit and its squared loss need only the sums X'X, X'y and y'y of each period
(Moments), and sums of periods can be added. So once a period has been read, every scout that was
trained up to any period, on any number of periods before, can be fitted and tested on every other
period without reading a row again: some milliseconds, where one fit of the served model takes
seconds. Scouts see how fast a model ages in this data; how much faster the served one ages, which
knows more than they do, is learned (domain.staleness).

Sources: ridge regression, Hoerl and Kennard 1970; linear models of class indicators, Hastie,
Tibshirani and Friedman, The Elements of Statistical Learning, 2009, section 4.2.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlops_assets.domain.errors import DataError
from mlops_assets.domain.evaluation import Floats

RIDGE = 10.0
# The ages of the scouts that show how models age, and the periods that the oldest one knows.
AGES = (1, 2, 3, 4, 6, 8, 12, 16)
FIRST = 2


@dataclass(frozen=True)
class Moments:
    """Sums over the labelled rows of a period: `gram` (d, d), `cross` (d, k), `squares`."""

    rows: int
    gram: Floats
    cross: Floats
    squares: float


def moments(encoded: Floats, targets: Floats) -> Moments:
    """Sums of `encoded` (n, d) and `targets` (n, k), a column per class or one of values."""
    if len(encoded) != len(targets) or targets.ndim != 2:
        raise DataError(f"targets {targets.shape} do not belong to rows {encoded.shape}")
    return Moments(
        rows=len(encoded),
        gram=encoded.T @ encoded,
        cross=encoded.T @ targets,
        squares=float((targets**2).sum()),
    )


class Scouts:
    """Losses of scouts over the periods of a history, oldest first.

    A scout is named by its `end`, how many of the periods were over when it was trained, and its
    `window`, how many of them it was trained on (None: all).
    """

    def __init__(self, history: Sequence[Moments]) -> None:
        self.history = history
        self._sums: list[Moments] = []
        self._fits: dict[tuple[int, int], Floats] = {}
        self._losses: dict[tuple[int, int, int], float] = {}
        self._aging: dict[tuple[int, int | None], Floats] = {}
        for part in history:
            self._sums.append(_plus(self._sums[-1], part) if self._sums else part)

    def __len__(self) -> int:
        return len(self.history)

    def upto(self, periods: int) -> "Scouts":
        """The scouts of the first `periods` periods only, sharing what was computed before."""
        view = Scouts(())
        view.history = self.history[:periods]
        view._sums, view._fits = self._sums, self._fits
        view._losses, view._aging = self._losses, self._aging
        return view

    def rows(self, end: int, window: int | None) -> int:
        """Rows that a scout was trained on."""
        start = self._start(end, window)
        before = self._sums[start - 1].rows if start else 0
        return self._sums[end - 1].rows - before if end > start else 0

    def loss(self, end: int, window: int | None, period: int) -> float:
        """Mean squared loss of a scout on the rows of a period (0 if it has none)."""
        key = (end, self._start(end, window), period)
        if key not in self._losses:
            self._losses[key] = self._loss(*key)
        return self._losses[key]

    def fresh(self, period: int, window: int | None) -> float:
        """Loss on a period of the scout trained up to it."""
        return self.loss(period, window, period)

    def aging(self, period: int, window: int | None) -> Floats:
        """What scouts of several ages lose more on a period than a fresh one: lines (m, 3).

        Each is the age in periods, the difference of 1 / rows that they were trained on, and the
        difference of their losses.
        """
        key = (period, window)
        if key not in self._aging:
            fresh, known = self.fresh(period, window), max(self.rows(period, window), 1)
            lines = [
                (
                    age,
                    1 / max(self.rows(period - age, window), 1) - 1 / known,
                    self.loss(period - age, window, period) - fresh,
                )
                for age in AGES
                if period - age >= FIRST
            ]
            self._aging[key] = np.array(lines, dtype=np.float64).reshape(-1, 3)
        return self._aging[key]

    @staticmethod
    def _start(end: int, window: int | None) -> int:
        return 0 if window is None else max(0, end - window)

    def _loss(self, end: int, start: int, period: int) -> float:
        test = self.history[period]
        if (end, start) not in self._fits:
            self._fits[end, start] = self._fit(end, start)
        weights = self._fits[end, start]
        total = test.squares - 2 * float((weights * test.cross).sum())
        total += float(((test.gram @ weights) * weights).sum())
        return max(total, 0.0) / max(test.rows, 1)

    def _fit(self, end: int, start: int) -> Floats:
        if not 0 <= start < end <= len(self.history):
            raise DataError(f"no scout of periods {start} to {end} of {len(self.history)}")
        last = self._sums[end - 1]
        gram, cross = last.gram, last.cross
        if start:
            gram, cross = gram - self._sums[start - 1].gram, cross - self._sums[start - 1].cross
        penalty = np.full(len(gram), RIDGE)
        # The constant, the last column, is hardly held back.
        penalty[-1] = 1e-6 * RIDGE
        return np.asarray(np.linalg.solve(gram + np.diag(penalty), cross))


def _plus(a: Moments, b: Moments) -> Moments:
    return Moments(a.rows + b.rows, a.gram + b.gram, a.cross + b.cross, a.squares + b.squares)
