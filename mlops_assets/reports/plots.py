"""The pictures that checks, reports and experiments carry, as matplotlib Figures.

Those of a model's quality are made in `quality_plots`, those of its labels, slices and estimates
in `service_plots`, those of its ageing in `staleness_plots`, that of its card in `card_plots`;
here are the histories and the drift
of a model in service.
`png` and `markdown_image` turn any of them into bytes and into Dagster metadata.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mlops_assets.domain.drift import ColumnDrift, DriftReport
from mlops_assets.reports.canvas import (
    BLACK,
    BLUE,
    GREY,
    VERMILLION,
    blank,
    markdown_image,
    nothing,
    period_ticks,
    plain,
    png,
    release_marks,
)
from mlops_assets.reports.card_plots import importance
from mlops_assets.reports.quality_plots import (
    calibration,
    confusion_matrix,
    predicted_against_actual,
    residuals,
    roc_curves,
)
from mlops_assets.reports.service_plots import estimate_history, label_arrival, slice_losses
from mlops_assets.reports.staleness_plots import expected_losses

__all__ = [
    "calibration",
    "columns_drift",
    "confusion_matrix",
    "estimate_history",
    "expected_losses",
    "importance",
    "label_arrival",
    "loss_history",
    "markdown_image",
    "png",
    "predicted_against_actual",
    "residuals",
    "roc_curves",
    "slice_losses",
]

MOST_COLUMNS = 25


def columns_drift(report: DriftReport, min_effect: float | None = None) -> Any:
    """Effect of each column's most telling test (domain.column_tests); flagged ones in red.

    `min_effect`, where known, is drawn as a line: smaller changes are never flagged. A column
    beyond the line that is not flagged may have changed by chance.
    """
    tests = sorted(report.by_column.values(), key=lambda test: (not test.flagged, -test.effect))
    order, hidden = tests[:MOST_COLUMNS], len(tests[MOST_COLUMNS:])
    figure, axes = blank(
        f"Drift per column: {len(report.flagged)} of {len(tests)} flagged in {report.rows:,} rows",
        7.2,
        max(2.4, 1.5 + 0.27 * len(order)),
    )
    if not order:
        nothing(axes, plain(report.reason, 80))
        return figure
    reach = max(0.02, min_effect or 0, *(test.effect for test in order))
    colours = [VERMILLION if test.flagged else BLUE for test in order]
    axes.barh(range(len(order)), [test.effect for test in order], height=0.66, color=colours)
    if min_effect is not None:
        axes.axvline(min_effect, color=BLACK, linewidth=1.4)
    _label_bars(axes, order, reach * 0.015)
    names = [f"{plain(test.column)}  ·  {plain(test.test, 22)}" for test in order]
    axes.set_yticks(range(len(order)), names)
    axes.set_ylim(len(order) - 0.4, -0.6)
    axes.set_xlim(0, reach * 1.26)
    axes.grid(False, axis="y")
    line = f"; line: smallest that counts, {min_effect:g}" if min_effect is not None else ""
    rest = f"; {hidden} smaller ones not shown" if hidden else ""
    axes.set_xlabel(f"Size of the change{line}{rest}")
    return figure


def _label_bars(axes: Any, tests: Sequence[ColumnDrift], gap: float) -> None:
    for place, test in enumerate(tests):
        axes.text(
            test.effect + gap,
            place,
            f"{test.effect:.2f}" + ("  flagged" if test.flagged else ""),
            va="center",
            fontsize=8,
            color=VERMILLION if test.flagged else BLACK,
            fontweight="bold" if test.flagged else "normal",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.8},
        )


def loss_history(
    periods: Sequence[str],
    losses: Sequence[float | None],
    reference: float | None,
    releases: Mapping[str, str],
) -> Any:
    """Loss of the serving model per period (None: labels unknown), with its expected level.

    `reference` is the loss on the holdout at release; `releases` maps periods to the version
    that began to serve in them.
    """
    figure, axes = blank("Loss of the serving model", 8.0, 3.8)
    values = np.array([math.nan if loss is None else loss for loss in losses], dtype=float)
    if not np.isfinite(values).any():
        nothing(axes, "No period has known labels yet")
        return figure
    places = np.arange(len(periods))
    if reference is not None:
        axes.axhline(reference, color=GREY, linewidth=1.4, linestyle=(0, (4, 3)))
        axes.annotate(
            f"holdout at release {reference:.3f}",
            (1, reference),
            xycoords=("axes fraction", "data"),
            xytext=(-2, 4),
            textcoords="offset points",
            ha="right",
            fontsize=8,
            color=GREY,
        )
    axes.plot(places, values, color=BLUE, linewidth=2, marker="o", markersize=4)
    release_marks(axes, periods, releases)
    period_ticks(axes, periods)
    axes.set_ylabel("Loss, lower is better")
    return figure
