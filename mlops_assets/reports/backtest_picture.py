"""A backtest in one picture: loss over time with retrains, and cost over price, by policy."""

from typing import Any

import numpy as np

from mlops_assets.domain.policy_comparison import PolicyComparison
from mlops_assets.reports.canvas import (
    BLACK,
    CYCLE,
    GREY,
    entitle,
    period_ticks,
    plain,
    png,
    style,
)

MARKS = ("o", "s", "^", "D", "v", "P", "X")


def backtest_png(found: PolicyComparison, title: str) -> bytes:
    """Draw a comparison as PNG."""
    from matplotlib.figure import Figure

    width = min(max(11.0, 5.0 + 0.25 * len(found.periods)), 18.0)
    figure = Figure(figsize=(width, 8.4), layout="constrained", facecolor="white")
    entitle(figure, title)
    losses, costs = figure.subplots(2, 1, height_ratios=[1.25, 1.0])
    for axes in (losses, costs):
        style(axes)
    _draw_losses(losses, found)
    _draw_costs(costs, found)
    handles, labels = losses.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=9, frameon=False)
    return png(figure, dpi=120)


def _draw_losses(axes: Any, found: PolicyComparison) -> None:
    """A line per policy, a mark after each period that started a retrain."""
    places = np.arange(len(found.periods))
    for name, colour, mark in _styles(found):
        steps = found.outcomes[name].replay.steps
        values = np.array([step.loss for step in steps])
        started = np.array([step.acted == "retrain" for step in steps])
        axes.plot(places, values, color=colour, linewidth=1.8, label=plain(name))
        axes.plot(
            places[started], values[started], mark, color=colour, markersize=7, linestyle="none"
        )
    axes.set_ylabel("Loss of the served version")
    axes.set_title("A mark: a retrain was started after this period", loc="left", fontsize=9)
    period_ticks(axes, found.periods)


def _draw_costs(axes: Any, found: PolicyComparison) -> None:
    """Cost at each price that was tried, above that of the best dates in hindsight."""
    prices = [at.frame.price for at in found.prices]
    for name, colour, mark in _styles(found):
        above = [at.replays[name].cost - at.frame.best for at in found.prices]
        axes.plot(prices, above, color=colour, marker=mark, markersize=5, linewidth=1.8)
    for label, line, values in (
        ("never", (0, (5, 2)), [at.frame.never - at.frame.best for at in found.prices]),
        ("always", (0, (1, 1.5)), [at.frame.always - at.frame.best for at in found.prices]),
    ):
        axes.plot(prices, values, color=GREY, linestyle=line, linewidth=1.6)
        axes.annotate(
            label, (prices[0], values[0]), xytext=(-4, 4), textcoords="offset points",
            fontsize=8, color=GREY, ha="right",
        )  # fmt: skip
    axes.axvline(found.price, color=BLACK, linewidth=1, alpha=0.55)
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("Price of a retrain, loss x rows (the line: the price that was asked for)")
    axes.set_ylabel("Cost above the best dates")


def _styles(found: PolicyComparison) -> list[tuple[str, str, str]]:
    return [
        (name, CYCLE[place % len(CYCLE)], MARKS[place % len(MARKS)])
        for place, name in enumerate(found.outcomes)
    ]
