"""Pictures of a served model's labels and quality, as matplotlib Figures: `plots` offers them."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mlops_assets.domain.evaluation import Interval
from mlops_assets.reports.canvas import (
    BLACK,
    BLUE,
    GREY,
    ORANGE,
    VERMILLION,
    blank,
    nothing,
    period_ticks,
    plain,
)

MOST_SLICES = 30


def label_arrival(hours: np.ndarray, predictions: int, median: float | None) -> Any:
    """Share of a period's predictions whose label was known so many hours after the event."""
    figure, axes = blank("When labels became known", 7.2, 3.2)
    if not len(hours) or not predictions:
        nothing(axes, "No label is known yet")
        return figure
    arrived = np.sort(hours)
    share = np.arange(1, len(arrived) + 1) / predictions
    few = np.unique(np.linspace(0, len(arrived) - 1, 500).astype(int))
    axes.step(arrived[few], share[few], where="post", color=BLUE, linewidth=2)
    axes.axhline(len(arrived) / predictions, color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    if median is not None:
        axes.axvline(median, color=ORANGE, linewidth=1.4)
        axes.annotate(
            f"median {median:.1f} h",
            (median, 0.04),
            xytext=(4, 0),
            textcoords="offset points",
            fontsize=8,
            color=BLACK,
        )
    axes.set_ylim(0, 1.02)
    axes.set_xlabel(f"Hours after the event; {len(arrived):,} of {predictions:,} are known")
    axes.set_ylabel("Share of predictions")
    return figure


def estimate_history(
    periods: Sequence[str],
    estimated: Sequence[Interval],
    realised: Sequence[float | None],
    reference: float,
) -> Any:
    """Loss estimated without labels, with its interval, and what the labels said later (None:
    not known yet), per period; the line is the holdout's loss at release.
    """
    figure, axes = blank("Loss, estimated without labels and realised", 8.0, 3.6)
    if not periods:
        nothing(axes, "Nothing has been estimated yet")
        return figure
    places = np.arange(len(periods))
    middle = np.array([one.mean for one in estimated])
    ends = [middle - [one.lower for one in estimated], [one.upper for one in estimated] - middle]
    axes.errorbar(
        places - 0.08,
        middle,
        yerr=np.maximum(ends, 0),
        color=ORANGE,
        marker="s",
        markersize=4,
        linewidth=1.4,
        elinewidth=1,
        capsize=2,
        label="estimated",
    )
    known = np.array([math.nan if loss is None else loss for loss in realised], dtype=float)
    axes.plot(places + 0.08, known, color=BLUE, marker="o", markersize=5, label="realised")
    axes.axhline(reference, color=GREY, linewidth=1.2, linestyle=(0, (4, 3)))
    period_ticks(axes, periods)
    axes.set_ylabel("Loss, lower is better")
    axes.legend(loc="best", fontsize=9, frameon=False)
    return figure


def slice_losses(slices: Mapping[str, Interval], overall: float) -> Any:
    """Mean loss of each slice with its interval, and that of all rows as a line."""
    shown = list(slices.items())[:MOST_SLICES]
    figure, axes = blank("Loss per slice", 7.2, max(2.2, 1.4 + 0.26 * len(shown)))
    if not shown:
        nothing(axes, "No slice has enough labels")
        return figure
    for place, (_, interval) in enumerate(shown):
        axes.plot([interval.lower, interval.upper], [place, place], color=BLUE, linewidth=2)
        axes.plot(interval.mean, place, marker="o", markersize=5, color=BLUE)
    axes.axvline(overall, color=VERMILLION, linewidth=1.2)
    axes.set_yticks(range(len(shown)), [plain(name, 34) for name, _ in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.grid(False, axis="y")
    axes.set_xlabel("Loss, lower is better; line: all rows")
    return figure
