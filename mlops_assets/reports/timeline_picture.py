"""What a replay or a stretch of live operation looked like, in one picture.

It has the losses on top (the live model, and the first version had it been kept), then how many
columns drifted, then what was decided; vertical lines are releases.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from mlops_assets.domain.timeline import PeriodRow, released
from mlops_assets.reports.canvas import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    VERMILLION,
    entitle,
    nothing,
    period_ticks,
    png,
    release_marks,
    style,
)

# Colour and shape both tell the actions apart.
ACTIONS = {
    "retrain": (GREEN, "^"),
    "rollback": (VERMILLION, "v"),
    "alert": (ORANGE, "D"),
    "nothing": (GREY, "."),
}
OTHER_ACTION = (PURPLE, "s")


def timeline_png(rows: Sequence[PeriodRow], title: str) -> bytes:
    """Both losses, drift, decisions and releases over the periods (oldest first), as PNG."""
    from matplotlib.figure import Figure

    width = min(max(9.0, 3.0 + 0.22 * len(rows)), 16.0)
    figure = Figure(figsize=(width, 6.2), layout="constrained", facecolor="white")
    entitle(figure, title)
    losses, drift, decisions = figure.subplots(
        3, 1, sharex=True, height_ratios=[6.0, 1.5, 1.3], gridspec_kw={"hspace": 0.04}
    )
    for axes in (losses, drift, decisions):
        style(axes)
    periods = [row.period for row in rows]
    if rows:
        _draw_losses(losses, rows)
        _draw_drift(drift, rows)
        _draw_decisions(decisions, rows)
        releases = released(rows)
        if losses.axison:
            release_marks(losses, periods, releases)
        for axes in (drift, decisions):
            release_marks(axes, periods, releases, named=False)
        period_ticks(decisions, periods)
        losses.grid(False, axis="x")
        losses.grid(True, axis="y")
        for axes in (losses, drift):
            axes.tick_params(bottom=False, labelbottom=False)
        drift.grid(False)
        decisions.grid(False)
    else:
        nothing(losses, "No period has been played yet")
        drift.set_axis_off()
        decisions.set_axis_off()
    return png(figure, dpi=130)


def _numbers(values: Sequence[float | None]) -> np.ndarray:
    return np.array([math.nan if value is None else value for value in values], dtype=float)


def _draw_losses(axes: Any, rows: Sequence[PeriodRow]) -> None:
    live = _numbers([row.loss_live for row in rows])
    first = _numbers([row.loss_first for row in rows])
    places = np.arange(len(rows))
    both = np.isfinite(live) & np.isfinite(first)
    for better, colour in ((live < first, GREEN), (live > first, VERMILLION)):
        axes.fill_between(
            places,
            live,
            first,
            where=both & _with_neighbours(better),
            interpolate=True,
            color=colour,
            alpha=0.13,
            linewidth=0,
        )
    axes.plot(
        places,
        first,
        color=GREY,
        linewidth=1.8,
        linestyle=(0, (5, 2)),
        marker="o",
        markersize=3,
        label="first version, never replaced",
    )
    axes.plot(places, live, color=BLUE, linewidth=2.4, marker="o", markersize=5, label="live model")
    axes.set_ylabel("Loss (lower is better)")
    if np.isfinite(live).any() or np.isfinite(first).any():
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1.03), ncols=2, fontsize=9, frameon=False)
        axes.margins(y=0.12)
        if both.any():
            _say_gain(axes, live[both], first[both])
    else:
        nothing(axes, "No period has known labels yet")


def _with_neighbours(mask: np.ndarray) -> np.ndarray:
    """Also the places beside a true one, so that crossing areas are filled up to the crossing."""
    wide: np.ndarray = mask.copy()
    wide[1:] |= mask[:-1]
    wide[:-1] |= mask[1:]
    return wide


def _say_gain(axes: Any, live: np.ndarray, first: np.ndarray) -> None:
    gain = 1 - live.mean() / first.mean() if first.mean() else 0.0
    axes.annotate(
        f"mean loss {live.mean():.3f}, first version {first.mean():.3f}: "
        f"{abs(gain):.1%} {'lower' if gain >= 0 else 'higher'}",
        (0, 1),
        xycoords="axes fraction",
        xytext=(0, 20),
        textcoords="offset points",
        va="center",
        fontsize=9,
        color=BLACK,
    )


def _draw_drift(axes: Any, rows: Sequence[PeriodRow]) -> None:
    counts = np.array([len(row.flagged) for row in rows])
    axes.bar(np.arange(len(rows)), counts, width=0.62, color=ORANGE)
    for place, count in enumerate(counts):
        if count and len(rows) <= 60:
            axes.text(place, count, str(count), ha="center", va="bottom", fontsize=7.5)
    axes.set_ylim(0, max(1, counts.max()) * 1.45)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    _name_strip(axes, "Columns\nthat drifted")


def _draw_decisions(axes: Any, rows: Sequence[PeriodRow]) -> None:
    known = [action for action in ACTIONS if any(row.action == action for row in rows)]
    others = sorted({row.action for row in rows} - set(ACTIONS))
    for action in [*known, *others]:
        colour, marker = ACTIONS.get(action, OTHER_ACTION)
        places = [place for place, row in enumerate(rows) if row.action == action]
        axes.scatter(
            places,
            [0.5] * len(places),
            s=34 if action == "nothing" else 78,
            color=colour,
            marker=marker,
            zorder=3,
            label=f"{action} ({len(places)})",
        )
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    _name_strip(axes, "Decision")
    axes.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -1.15),
        ncols=5,
        fontsize=9,
        frameon=False,
        handletextpad=0.2,
    )


def _name_strip(axes: Any, name: str) -> None:
    axes.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9, labelpad=8)
