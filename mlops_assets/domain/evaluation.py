"""How good a model's outputs are: metrics, losses of single rows, intervals and calibration.

The formulas are written with numpy, because the reports of every period need them and importing
scikit-learn takes seconds; the tests compare each with scikit-learn's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlops_assets.domain.contract import Task
from mlops_assets.domain.errors import DataError

Floats = NDArray[np.float64]

LOWER_IS_BETTER = frozenset(("log_loss", "brier", "mae", "rmse"))
PROBABILITY_FLOOR = 1e-7
UNKNOWN_CLASS = -1

# A bootstrap draws at most this many numbers at a time (32 MB), from at most this many blocks.
_DRAWS_AT_ONCE = 4_000_000
_MOST_BLOCKS = 10_000


@dataclass(frozen=True)
class Interval:
    """A mean and the interval that holds it with the confidence that was asked for."""

    mean: float
    lower: float
    upper: float


def relative(weights: NDArray[Any] | None, rows: int) -> Floats:
    """How much each of `rows` rows counts, 1 on average; all the same without `weights` (n,).

    Raises DataError for weights that are no numbers above 0.
    """
    if weights is None:
        return np.ones(rows)
    counts = np.asarray(weights, dtype=np.float64)
    if len(counts) != rows or not (np.isfinite(counts).all() and (counts > 0).all()):
        raise DataError(f"{rows} rows need as many weights above 0; some are missing or are not")
    return np.asarray(counts / counts.mean())


def metrics(
    task: Task,
    y: NDArray[Any],
    outputs: NDArray[Any],
    classes: Sequence[str],
    weights: NDArray[Any] | None = None,
) -> dict[str, float]:
    """Every metric of the task that is defined on these rows.

    `y` (n,) holds class indices, UNKNOWN_CLASS for a class that the model does not know, or the
    values of a regression; `outputs` is (n, classes), or (n, 1) for a regression. Precision,
    recall and f1 are those of class 1 (binary) or the mean over the classes (multiclass), Brier
    is the squared error of p(class 1), or summed over the classes. roc_auc (multiclass: mean of
    one class against the rest) and r2 are left out where they are undefined, as on rows of a
    single class. With `weights` (n,) rows count in proportion to them. Raises DataError for no
    rows, wrong shapes or values that are not finite.
    """
    truth, scores = _checked(task, y, outputs)
    counts = relative(weights, len(truth))
    if task == "regression":
        return _regression_metrics(truth, scores[:, 0], counts)
    if classes and len(classes) != scores.shape[1]:
        raise DataError(f"outputs have {scores.shape[1]} columns for {len(classes)} classes")
    predicted = scores.argmax(axis=1)
    onehot = truth[:, None] == np.arange(scores.shape[1])
    judged = [1] if task == "binary" else list(range(scores.shape[1]))
    quality = np.array([_precision_recall_f1(truth == c, predicted == c, counts) for c in judged])
    precision, recall, f1 = quality.mean(axis=0)
    result = {
        "accuracy": float(((predicted == truth) * counts).mean()),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
        "log_loss": float(row_losses(task, truth, scores, counts).mean()),
        "brier": _brier(onehot, scores, counts, binary=task == "binary"),
    }
    areas = [_roc_auc(onehot[:, c], scores[:, c], counts) for c in judged]
    defined = [area for area in areas if area is not None]
    return result | ({"roc_auc": float(np.mean(defined))} if defined else {})


def row_losses(
    task: Task, y: NDArray[Any], outputs: NDArray[Any], weights: NDArray[Any] | None = None
) -> Floats:
    """Loss of each row (n,): log loss, its probability clipped at 1e-7, or absolute error.

    A class that the model does not know had probability zero. With `weights` (n,) each loss is
    multiplied by how much its row counts, so that their mean is the weighted loss. Raises
    DataError like `metrics`.
    """
    truth, scores = _checked(task, y, outputs)
    counts = relative(weights, len(truth))
    if task == "regression":
        return np.asarray(np.abs(truth - scores[:, 0]) * counts, dtype=np.float64)
    told = scores[np.arange(len(truth)), truth]
    told = np.where(truth == UNKNOWN_CLASS, 0.0, told)
    return np.asarray(-np.log(np.clip(told, PROBABILITY_FLOOR, 1.0)) * counts, dtype=np.float64)


def pinball_losses(
    y: NDArray[Any],
    outputs: NDArray[Any],
    quantiles: Sequence[float],
    weights: NDArray[Any] | None = None,
) -> dict[str, float]:
    """Mean pinball loss per quantile, as `pinball_<quantile>`; outputs (n, 1).

    Source: Koenker and Bassett, Regression Quantiles, Econometrica 46 (1978).
    """
    error = np.asarray(y, dtype=np.float64) - np.asarray(outputs, dtype=np.float64)[:, 0]
    error = error * relative(weights, len(error))
    return {
        f"pinball_{q:g}": float(np.mean(np.maximum(q * error, (q - 1) * error))) for q in quantiles
    }


def paired_interval(
    a: NDArray[Any], b: NDArray[Any], confidence: float, seed: int, resamples: int = 1000
) -> Interval:
    """Percentile bootstrap interval of mean(a - b) over rows that both were measured on.

    Beyond 10,000 rows the means of consecutive blocks are resampled instead of rows: the same
    interval for independent rows, an honest wider one where neighbours resemble each other.
    Raises DataError for no rows, different lengths or values that are not finite.
    """
    if len(a) != len(b) or not len(a):
        raise DataError(f"a paired interval needs the same rows, more than 0: {len(a)}, {len(b)}")
    differences = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    if not np.isfinite(differences).all():
        raise DataError("a paired interval needs finite values; some are NaN or infinite")
    starts = np.linspace(0, len(differences), min(len(differences), _MOST_BLOCKS) + 1).astype(int)
    blocks = np.add.reduceat(differences, starts[:-1]) / np.diff(starts)
    rng = np.random.default_rng(seed)
    step = max(1, _DRAWS_AT_ONCE // len(blocks))
    means = np.concatenate(
        [
            blocks[rng.integers(len(blocks), size=(min(step, resamples - done), len(blocks)))].mean(
                axis=1
            )
            for done in range(0, resamples, step)
        ]
    )
    tail = (1 - confidence) / 2
    lower, upper = np.quantile(means, [tail, 1 - tail])
    return Interval(float(differences.mean()), float(lower), float(upper))


def calibration_error(
    y: NDArray[Any],
    outputs: NDArray[Any],
    bins: int = 10,
    weights: NDArray[Any] | None = None,
) -> float:
    """Expected calibration error over equal-mass bins (Nguyen and O'Connor 2015).

    Of the probability of class 1 (two classes), or of the predicted class against being right.
    Rows of equal probability share a bin. A perfect model shows about 0.25 / sqrt(n / bins) of
    noise, so limits below that need more rows.
    """
    truth, scores = _checked(
        "binary" if np.shape(outputs)[1:] == (2,) else "multiclass", y, outputs
    )
    if scores.shape[1] == 2:
        told, happened = scores[:, 1], truth == 1
    else:
        told, happened = scores.max(axis=1), scores.argmax(axis=1) == truth
    edges = np.quantile(told, np.linspace(0, 1, bins + 1)[1:-1])
    where = np.searchsorted(edges, told, side="right")
    counts = relative(weights, len(told))
    gaps = np.bincount(where, weights=(told - happened) * counts, minlength=bins)
    return float(np.abs(gaps).sum() / len(told))


def _checked(task: Task, y: NDArray[Any], outputs: NDArray[Any]) -> tuple[NDArray[Any], Floats]:
    scores = np.asarray(outputs, dtype=np.float64)
    width = {"binary": 2, "regression": 1}.get(task)
    if scores.ndim != 2 or (width and scores.shape[1] != width):
        raise DataError(f"outputs of a {task} model have shape {scores.shape}, not (n, {width})")
    if len(y) != len(scores) or not len(y):
        raise DataError(
            f"{len(y)} labels for {len(scores)} outputs; both must be the same, above 0"
        )
    if not (np.isfinite(scores).all() and np.isfinite(y).all()):
        raise DataError("labels and outputs must be finite; some are NaN or infinite")
    truth = np.asarray(y, dtype=np.float64 if task == "regression" else np.int64)
    # Without this check an index of -2 would silently be another class.
    if task != "regression" and not (truth.min() >= -1 and truth.max() < scores.shape[1]):
        raise DataError(
            f"class indices reach from {truth.min()} to {truth.max()}; the model knows "
            f"0 to {scores.shape[1] - 1}, and {UNKNOWN_CLASS} stands for a class it does not know"
        )
    return truth, scores


def _regression_metrics(truth: Floats, values: Floats, counts: Floats) -> dict[str, float]:
    errors = truth - values
    squares = errors**2 * counts
    spread = float(((truth - (truth * counts).mean()) ** 2 * counts).sum())
    result = {
        "mae": float((np.abs(errors) * counts).mean()),
        "rmse": float(np.sqrt(squares.mean())),
    }
    return result | ({"r2": 1 - float(squares.sum()) / spread} if spread else {})


def _precision_recall_f1(
    truth: NDArray[np.bool_], predicted: NDArray[np.bool_], counts: Floats
) -> tuple[float, float, float]:
    hits, told, are = (float(counts[x].sum()) for x in (truth & predicted, predicted, truth))
    # Without predictions, or without cases, the value is 0, as in scikit-learn.
    return hits / (told or 1), hits / (are or 1), 2 * hits / (told + are or 1)


def _brier(onehot: NDArray[np.bool_], scores: Floats, counts: Floats, *, binary: bool) -> float:
    if binary:
        return float(((scores[:, 1] - onehot[:, 1]) ** 2 * counts).mean())
    # An unknown class was told with probability 0 and happened: one more squared error of 1.
    return float((((scores - onehot) ** 2).sum(axis=1) + ~onehot.any(axis=1)).dot(counts)) / len(
        counts
    )


def _roc_auc(truth: NDArray[np.bool_], scores: Floats, counts: Floats) -> float | None:
    """Area under the ROC curve: the share of pairs in the right order, ties half.

    Source: Mann and Whitney, Annals of Mathematical Statistics 18 (1947).
    """
    if truth.all() or not truth.any():
        return None
    values, where = np.unique(scores, return_inverse=True)
    ups = np.bincount(where, weights=counts * truth, minlength=len(values))
    downs = np.bincount(where, weights=counts * ~truth, minlength=len(values))
    below = np.cumsum(downs) - downs / 2
    return float((ups * below).sum() / (ups.sum() * downs.sum()))
