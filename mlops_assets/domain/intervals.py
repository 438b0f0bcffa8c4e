"""Metrics with bootstrap intervals, of all rows and of declared slices.

Every metric is a smooth function of sums over rows, so a resample is one vector of weights times
one small matrix, at any number of rows: weights are drawn from Poisson(1) (Hanley and MacGibbon,
Computer Methods and Programs in Biomedicine 2006), and the area under the ROC curve enters through
its placement values (DeLong, DeLong and Clarke-Pearson, Biometrics 1988). Intervals are
percentile intervals (Efron and Tibshirani 1993, chapter 13).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_assets.domain.contract import Task
from mlops_assets.domain.evaluation import Floats, Interval, metrics, relative, row_losses

RESAMPLES = 500
# Beyond so many rows, blocks of neighbours are resampled instead of rows.
MOST_BLOCKS = 2_000
MOST_VALUES = 20

_Statistic = Callable[[Floats], Floats]


@dataclass(frozen=True)
class SliceQuality:
    """Metrics of the rows where `column` has `value`; none where `rows` are below `min_rows`."""

    column: str
    value: str
    rows: int
    min_rows: int
    metrics: dict[str, Interval]

    @property
    def judged(self) -> bool:
        """Whether there were enough rows."""
        return bool(self.metrics)


def metric_intervals(
    task: Task,
    y: NDArray[Any],
    outputs: NDArray[Any],
    classes: Sequence[str],
    *,
    confidence: float,
    seed: int,
    weights: NDArray[Any] | None = None,
) -> dict[str, Interval]:
    """Each of evaluation.metrics with its interval, and `loss`, the mean of row_losses.

    `y` (n,), `outputs` (n, k) and `weights` (n,) as there. A metric that is undefined in a resample
    is left out of it. Raises DataError like `metrics`.
    """
    found = metrics(task, y, outputs, classes, weights)
    found["loss"] = float(row_losses(task, y, outputs, weights).mean())
    counts = relative(weights, len(y))
    parts = _parts(task, np.asarray(y), np.asarray(outputs, dtype=np.float64), counts)
    drawn_rows = _drawn_rows(len(y), seed)
    tail = (1 - confidence) / 2
    intervals = {}
    for name, value in found.items():
        columns, statistic = parts[name]
        with np.errstate(invalid="ignore", divide="ignore"):
            blocks = _blocks(columns * counts[:, None], drawn_rows.shape[1])
            drawn = statistic(drawn_rows @ blocks)
        drawn = drawn[np.isfinite(drawn)]
        lower, upper = np.quantile(drawn, [tail, 1 - tail]) if len(drawn) else (value, value)
        intervals[name] = Interval(value, float(lower), float(upper))
    return intervals


def slice_quality(
    task: Task,
    y: NDArray[Any],
    outputs: NDArray[Any],
    classes: Sequence[str],
    values: Mapping[str, NDArray[Any]],
    min_rows: Mapping[str, int],
    *,
    confidence: float,
    seed: int,
    weights: NDArray[Any] | None = None,
) -> list[SliceQuality]:
    """Metrics per value of each column of `values` (n,); `min_rows` holds each column's least.

    Of a column with many values the 20 most frequent are told apart.
    """
    found = []
    for column, of_rows in values.items():
        names, where, counts = np.unique(
            np.asarray(of_rows).astype(str), return_inverse=True, return_counts=True
        )
        for index in np.argsort(-counts, kind="stable")[:MOST_VALUES]:
            rows, least = where == index, min_rows[column]
            few = counts[index] < least
            intervals = (
                {}
                if few
                else metric_intervals(
                    task,
                    y[rows],
                    outputs[rows],
                    classes,
                    confidence=confidence,
                    seed=seed,
                    weights=None if weights is None else weights[rows],
                )
            )
            found.append(
                SliceQuality(column, str(names[index]), int(counts[index]), least, intervals)
            )
    return found


def _drawn_rows(rows: int, seed: int) -> Floats:
    """How often each block is drawn: Poisson counts, (resamples, blocks)."""
    drawn = np.random.default_rng(seed).poisson(1.0, (RESAMPLES, min(rows, MOST_BLOCKS)))
    return drawn.astype(np.float64)


def _blocks(columns: Floats, blocks: int) -> Floats:
    """Sums of neighbouring rows: (n, m) to (blocks, m)."""
    if len(columns) == blocks:
        return columns
    starts = np.linspace(0, len(columns), blocks + 1).astype(int)[:-1]
    return np.asarray(np.add.reduceat(columns, starts, axis=0))


def _parts(
    task: Task, y: NDArray[Any], outputs: Floats, rows: Floats
) -> dict[str, tuple[Floats, _Statistic]]:
    """For each metric, columns (n, m) and what makes the metric of their sums (resamples, m).

    Rows are summed as often as they count, `rows` (n,).
    """
    ones = np.ones(len(y))
    losses = row_losses(task, y, outputs)
    loss = _mean(losses)
    if task == "regression":
        error = y - outputs[:, 0]
        # Around a constant, so that a large offset costs no digits.
        centred = y - y.mean()
        return {
            "loss": loss,
            "mae": loss,
            "rmse": (np.c_[error**2, ones], lambda s: np.sqrt(s[:, 0] / s[:, 1])),
            "r2": (
                np.c_[error**2, centred**2, centred, ones],
                lambda s: 1 - s[:, 0] / (s[:, 1] - s[:, 2] ** 2 / s[:, 3]),
            ),
        }
    predicted = outputs.argmax(axis=1)
    onehot = y[:, None] == np.arange(outputs.shape[1])
    judged = [1] if task == "binary" else list(range(outputs.shape[1]))
    told = predicted[:, None] == np.array(judged)
    are = onehot[:, judged]
    counts = np.concatenate([told & are, told, are], axis=1).astype(np.float64)
    squared = ((outputs - onehot) ** 2).sum(axis=1) + ~onehot.any(axis=1)
    brier = (outputs[:, 1] - onehot[:, 1]) ** 2 if task == "binary" else squared
    k = len(judged)
    return {
        "loss": loss,
        "log_loss": loss,
        "accuracy": _mean((predicted == y).astype(np.float64)),
        "brier": _mean(brier),
        "precision": (counts, lambda s: _shares(s[:, :k], s[:, k : 2 * k])),
        "recall": (counts, lambda s: _shares(s[:, :k], s[:, 2 * k :])),
        "f1": (
            counts,
            lambda s: _shares(2 * s[:, :k], s[:, k : 2 * k] + s[:, 2 * k :]),
        ),
        "roc_auc": _areas(onehot, outputs, judged, rows),
    }


def _shares(some: Floats, all_of_them: Floats) -> Floats:
    """The mean share over the classes, 0 where a class has none."""
    return np.asarray((some / np.where(all_of_them > 0, all_of_them, 1)).mean(axis=1))


def _mean(values: Floats) -> tuple[Floats, _Statistic]:
    return np.c_[values, np.ones(len(values))], lambda s: s[:, 0] / s[:, 1]


def _areas(
    onehot: NDArray[np.bool_], outputs: Floats, judged: Sequence[int], rows: Floats
) -> tuple[Floats, _Statistic]:
    """Mean area over the classes that are defined, by placement values.

    A class' area is the mean placement of its positives; resampling the negatives moves it by
    the mean of theirs. To first order both add up.
    """
    columns, areas = [], []
    for index in judged:
        positive = onehot[:, index]
        if positive.all() or not positive.any():
            continue
        placed = _placements(positive, outputs[:, index], rows)
        areas.append(float(np.average(placed[positive], weights=rows[positive])))
        columns += [placed * positive, positive, placed * ~positive, ~positive]
    if not columns:
        return np.ones((len(onehot), 1)), lambda s: np.full(len(s), np.nan)
    area = np.array(areas)
    return (
        np.column_stack(columns).astype(np.float64),
        lambda s: (s[:, 0::4] / s[:, 1::4] + s[:, 2::4] / s[:, 3::4] - area).mean(axis=1),
    )


def _placements(positive: NDArray[np.bool_], score: Floats, rows: Floats) -> Floats:
    """For each row the share of the other side that it is ranked rightly against; ties half."""
    below = _share_below(score[~positive], rows[~positive], score)
    above = 1 - _share_below(score[positive], rows[positive], score)
    return np.where(positive, below, above)


def _share_below(others: Floats, rows: Floats, score: Floats) -> Floats:
    """The share of `others` (m,), each counting `rows` (m,), below each score; equals half."""
    order = np.argsort(others, kind="stable")
    sums = np.concatenate([[0.0], np.cumsum(rows[order])])
    ranked = others[order]
    ends = [sums[np.searchsorted(ranked, score, side=side)] for side in ("left", "right")]
    return np.asarray((ends[0] + ends[1]) / (2 * sums[-1]))
