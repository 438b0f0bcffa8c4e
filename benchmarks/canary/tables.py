"""The cells of the table, and the false promotions in them."""

from collections.abc import Sequence
from statistics import median
from typing import Any

from benchmarks.canary.walk import Outcome
from benchmarks.canary.worlds import RATIOS, Case


def summary(case: Case, method: str, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Shares and the median number of weeks of one cell."""
    n = len(outcomes)
    ended = [found.periods for found in outcomes if found.action in ("promote", "stop")]
    return {
        "loss": case.loss, "rows_per_week": case.rows, "subjects_return": case.sticky,
        "challenger": case.challenger, "method": method, "runs": n,
        "promoted": sum(found.action == "promote" for found in outcomes) / n,
        "stopped": sum(found.action == "stop" for found in outcomes) / n,
        "called_better": sum(found.better for found in outcomes) / n,
        "median_weeks": median(ended) if ended else None,
        "halves_ever_better": sum(found.ever_better for found in outcomes) / n,
        "halves_ever_worse": sum(found.ever_worse for found in outcomes) / n,
    }  # fmt: skip


def false_promotions(results: Sequence[dict[str, Any]], method: str) -> dict[str, float]:
    """The worst cell's share of each kind of false promotion."""
    own = [cell for cell in results if cell["method"] == method]
    equal = [cell for cell in own if RATIOS[cell["challenger"]] == 1]
    worse = [cell for cell in own if RATIOS[cell["challenger"]] > 1]
    return {
        "A/A called better, canary": max((cell["called_better"] for cell in equal), default=0.0),
        "A/A called better, halves": max(
            (cell["halves_ever_better"] for cell in equal), default=0.0
        ),
        "worse by the margin or more, promoted": max(
            (cell["promoted"] for cell in worse), default=0.0
        ),
    }


def show(results: Sequence[dict[str, Any]]) -> None:
    """Print the table."""
    head = ("loss", "rows/week", "challenger", "method", "promoted", "stopped", "better", "weeks",
            "halves: better", "worse")  # fmt: skip
    widths = (14, 11, 20, 11, 9, 8, 8, 6, 15, 7)
    print("".join(f"{name:<{w}}" for name, w in zip(head, widths, strict=True)))
    for cell in results:
        rows = f"{cell['rows_per_week']}{' again' if cell['subjects_return'] else ''}"
        weeks = "-" if cell["median_weeks"] is None else f"{cell['median_weeks']:g}"
        values = (
            cell["loss"], rows, cell["challenger"], cell["method"], f"{cell['promoted']:.1%}",
            f"{cell['stopped']:.1%}", f"{cell['called_better']:.1%}", weeks,
            f"{cell['halves_ever_better']:.1%}", f"{cell['halves_ever_worse']:.1%}",
        )  # fmt: skip
        print("".join(f"{value:<{w}}" for value, w in zip(values, widths, strict=True)))
