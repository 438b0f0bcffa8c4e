"""Pictures of a model's quality, as matplotlib Figures: `plots` offers them.

`y` holds class indices (classification) or numbers (regression), shape (n,); `outputs` holds
probabilities, shape (n, classes). Everything is computed with numpy here, so that a picture
costs matplotlib and nothing more.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mlops_assets.reports.canvas import (
    BLACK,
    BLUE,
    CYCLE,
    GREY,
    VERMILLION,
    blank,
    nothing,
    plain,
)

MOST_CLASSES = 12
MOST_POINTS = 2_000
BINS = 10


def confusion_matrix(y: np.ndarray, predicted: np.ndarray, classes: Sequence[str]) -> Any:
    """Counts of true against predicted class indices, coloured by the share of the true class.

    From the 13th class on, the rest is drawn as one class "other". Rows of a class that the model
    does not know (-1) have no place in it.
    """
    y, predicted = y[y >= 0], predicted[y >= 0]
    if len(classes) > MOST_CLASSES:
        last = MOST_CLASSES - 1
        y, predicted = np.minimum(y, last), np.minimum(predicted, last)
        classes = [*classes[:last], "other"]
    k = len(classes)
    size = min(max(4.2, 1.6 + 0.62 * k), 9.0)
    figure, axes = blank("Confusion matrix", size + 0.8, size)
    if not len(y):
        nothing(axes, "No labelled rows")
        return figure
    counts = np.bincount(y.astype(int) * k + predicted.astype(int), minlength=k * k).reshape(k, k)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    _write_counts(axes, counts, shares)
    names = [plain(name, 14) for name in classes]
    turned = k > 2 and max(map(len, names)) * k > 40
    axes.set_xticks(
        range(k), names, rotation=40 if turned else 0, ha="right" if turned else "center"
    )
    axes.set_yticks(range(k), names)
    axes.set_xlabel("Predicted")
    axes.set_ylabel("Actual")
    axes.grid(False)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, shrink=0.8, format=lambda share, _: f"{share:.0%}")
    bar.set_label("Share of the actual class", fontsize=9)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8)
    return figure


def _write_counts(axes: Any, counts: np.ndarray, shares: np.ndarray) -> None:
    roomy = len(counts) <= 6
    for (row, column), count in np.ndenumerate(counts):
        text = f"{count:,}\n{shares[row, column]:.0%}" if roomy else f"{count:,}"
        axes.text(
            column,
            row,
            text,
            ha="center",
            va="center",
            fontsize=10 if roomy else 7,
            color="white" if shares[row, column] > 0.55 else BLACK,
        )


def roc_curves(y: np.ndarray, outputs: np.ndarray, classes: Sequence[str]) -> Any:
    """Receiver operating characteristic: of class 1 if there are two, else one against rest."""
    figure, axes = blank("ROC curve" if len(classes) == 2 else "ROC curves, one against the rest")
    drawn = 0
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    for index in [1] if len(classes) == 2 else range(min(len(classes), MOST_CLASSES)):
        positive = y == index
        if not positive.any() or positive.all():
            continue
        false, true = _roc(positive, outputs[:, index])
        area = float(np.sum(np.diff(false) * (true[1:] + true[:-1]) / 2))
        axes.plot(
            false,
            true,
            color=CYCLE[drawn % len(CYCLE)],
            linestyle="-" if drawn < len(CYCLE) else "--",
            linewidth=2,
            label=f"{plain(classes[index], 18)}  (AUC {area:.3f})",
        )
        drawn += 1
    if not drawn:
        nothing(axes, "Every labelled row has the same class")
        return figure
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    axes.set_aspect("equal")
    axes.set_xlabel("False positive rate")
    axes.set_ylabel("True positive rate")
    axes.legend(loc="lower right", fontsize=9, frameon=False)
    return figure


def _roc(positive: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rates at each distinct score, from (0, 0) to (1, 1)."""
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    true = np.cumsum(positive[order])[ends]
    false = ends + 1 - true
    return (
        np.concatenate([[0.0], false / false[-1]]),
        np.concatenate([[0.0], true / true[-1]]),
    )


def calibration(y: np.ndarray, outputs: np.ndarray, classes: Sequence[str]) -> Any:
    """Predicted probability against how often it came true, in ten bins of equal size.

    With two classes of class 1; with more, of whichever class was predicted. Bars span 95%
    (Wilson's interval).
    """
    binary = len(classes) == 2
    what = plain(classes[1], 24) if binary else "the predicted class"
    figure, axes = blank("Calibration", 6.0, 5.0)
    if not len(y):
        nothing(axes, "No labelled rows")
        return figure
    chance = outputs[:, 1] if binary else outputs.max(axis=1)
    came_true = (y == 1) if binary else (outputs.argmax(axis=1) == y)
    bins = np.array_split(np.argsort(chance, kind="stable"), min(BINS, len(y)))
    x = np.array([chance[rows].mean() for rows in bins])
    share = np.array([came_true[rows].mean() for rows in bins])
    lower, upper = _wilson(share, np.array([len(rows) for rows in bins]))
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (4, 3)), label="perfect")
    axes.errorbar(
        x,
        share,
        yerr=np.maximum([share - lower, upper - share], 0),
        color=BLUE,
        marker="o",
        markersize=5,
        linewidth=1.8,
        elinewidth=1,
        capsize=2,
        label=f"model ({len(y):,} rows)",
    )
    _draw_frequencies(axes, chance)
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.01)
    axes.set_xlabel(f"Predicted probability of {what}; below: how often it was given")
    axes.set_ylabel("Share that came true")
    axes.legend(loc="upper left", fontsize=9, frameon=False)
    return figure


def _draw_frequencies(axes: Any, chance: np.ndarray) -> None:
    """A histogram of the probabilities below the axes."""
    strip = axes.inset_axes((0, -0.26, 1, 0.1), sharex=axes)
    strip.hist(chance, bins=np.linspace(0, 1, 41), color=BLUE, alpha=0.45)
    strip.set_axis_off()


def _wilson(share: np.ndarray, rows: np.ndarray, z: float = 1.96) -> tuple[np.ndarray, np.ndarray]:
    centre = (share + z**2 / (2 * rows)) / (1 + z**2 / rows)
    half = z * np.sqrt(share * (1 - share) / rows + z**2 / (4 * rows**2)) / (1 + z**2 / rows)
    return centre - half, centre + half


def predicted_against_actual(y: np.ndarray, values: np.ndarray) -> Any:
    """Regression: actual values against predictions; the closer to the line the better."""
    figure, axes = blank("Predicted against actual", 5.6, 5.2)
    y, values = _thinned(y, values)
    if not len(y):
        nothing(axes, "No labelled rows")
        return figure
    ends = [float(min(y.min(), values.min())), float(max(y.max(), values.max()))]
    axes.scatter(values, y, s=9, color=BLUE, alpha=0.35, linewidths=0)
    axes.plot(ends, ends, color=BLACK, linewidth=1, linestyle=(0, (4, 3)), label="perfect")
    axes.set_xlabel("Predicted")
    axes.set_ylabel("Actual")
    axes.legend(loc="upper left", fontsize=9, frameon=False)
    return figure


def residuals(y: np.ndarray, values: np.ndarray) -> Any:
    """Regression: error (actual minus predicted) over the prediction, with its running median."""
    figure, axes = blank("Residuals", 6.4, 4.4)
    if not len(y):
        nothing(axes, "No labelled rows")
        return figure
    bins = np.array_split(np.argsort(values, kind="stable"), min(BINS * 2, len(y)))
    middle = [float(np.median(values[rows])) for rows in bins]
    median = [float(np.median((y - values)[rows])) for rows in bins]
    few, few_values = _thinned(y, values)
    axes.scatter(few_values, few - few_values, s=9, color=BLUE, alpha=0.3, linewidths=0)
    axes.axhline(0, color=BLACK, linewidth=1, linestyle=(0, (4, 3)))
    axes.plot(middle, median, color=VERMILLION, linewidth=2, label="running median")
    axes.set_xlabel("Predicted")
    axes.set_ylabel("Actual minus predicted")
    axes.legend(loc="upper left", fontsize=9, frameon=False)
    return figure


def _thinned(y: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Evenly spaced rows, as many as a scatter plot can show."""
    rows = np.unique(np.linspace(0, max(len(y) - 1, 0), MOST_POINTS).astype(int))[: len(y)]
    return y[rows], values[rows]
