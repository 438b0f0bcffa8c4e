"""The picture of a model card that reports have no use for: what the model relies on."""

from collections.abc import Sequence
from typing import Any

from mlops_assets.domain.importance import Importance
from mlops_assets.reports.canvas import BLACK, BLUE, GREY, blank, nothing, plain

MOST_INPUTS = 25


def importance(found: Sequence[Importance], loss: str) -> Any:
    """How much the loss rises without each input, largest first, with its interval.

    Grey: the rise may be chance.
    """
    shown = found[:MOST_INPUTS]
    figure, axes = blank("What the model relies on", 7.2, max(2.4, 1.3 + 0.27 * len(shown)))
    if not shown:
        nothing(axes, "The model has no inputs")
        return figure
    places = range(len(shown))
    rises = [one.rise for one in shown]
    axes.barh(
        places,
        [rise.mean for rise in rises],
        xerr=[rise.mean - rise.lower for rise in rises],
        height=0.66,
        color=[BLUE if one.matters else GREY for one in shown],
        ecolor=BLACK,
        error_kw={"elinewidth": 1, "capsize": 2},
    )
    axes.axvline(0, color=BLACK, linewidth=1)
    axes.set_yticks(places, [plain(one.column) for one in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.grid(False, axis="y")
    rest = f"; {len(found) - len(shown)} smaller ones not shown" if len(found) > len(shown) else ""
    axes.set_xlabel(f"Rise of the {plain(loss)} when the input is shuffled{rest}")
    return figure
