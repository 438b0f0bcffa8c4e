"""Pictures of how a served model ages, as matplotlib Figures: `plots` offers them."""

from typing import Any

import numpy as np

from mlops_assets.domain.lookahead import Plan
from mlops_assets.domain.wording import counted
from mlops_assets.reports.canvas import BLACK, BLUE, GREEN, VERMILLION, blank

MOST_PERIODS = 24


def expected_losses(worth: Plan) -> Any:
    """Expected loss of a row, of the live version and of one trained now, over coming periods.

    Both are what age and want of rows cost: 0 is a model that knows everything until then. The
    area between them, times the rows of a period, is what a retrain earns.
    """
    found = worth.outlook
    periods = np.arange(min(worth.horizon, MOST_PERIODS))
    live = found.drift * (found.age + periods) + found.excess
    live = np.maximum(live + found.growth / max(found.live_rows, 1), 0)
    fresh = found.drift * (found.delay + periods) + found.growth / max(found.fresh_rows, 1)
    figure, axes = blank(_title(worth), 7.6, 3.6)
    axes.plot(periods + 1, live, color=VERMILLION, marker="o", markersize=4, label="live version")
    axes.plot(periods + 1, fresh, color=BLUE, marker="s", markersize=4, label="trained now")
    axes.fill_between(
        periods + 1, fresh, live, where=live > fresh, color=GREEN, alpha=0.15, linewidth=0
    )
    if not worth.pays and worth.wait is not None and worth.wait < len(periods):
        axes.axvline(worth.wait + 0.5, color=BLACK, linewidth=1.2, linestyle=(0, (4, 3)))
        axes.annotate(
            "expected to pay",
            (worth.wait + 0.5, 0.04),
            xycoords=("data", "axes fraction"),
            xytext=(4, 0),
            textcoords="offset points",
            fontsize=8,
        )
    axes.set_ylim(bottom=0)
    axes.set_xlabel(f"Coming periods of about {found.rows_per_period:,.0f} rows")
    axes.set_ylabel("Loss by age and want of rows")
    axes.legend(loc="best", fontsize=9, frameon=False)
    return figure


def _title(worth: Plan) -> str:
    if worth.pays:
        return f"A retrain at {worth.price:,.4g} pays: saves {worth.saving:,.4g}"
    when = "no date in sight" if worth.wait is None else f"perhaps in {counted(worth.wait)}"
    return f"A retrain at {worth.price:,.4g} does not pay yet; {when}"
