"""Whether to retrain now or later: the least expected cost over the periods to come.

A retrain costs its price at once; a model costs what it loses more than a fresh one would, which
grows with its age. Both are summed over a horizon and minimised over all dates of the coming
retrains by dynamic programming (Bellman 1957). The horizon is not known: what has run for t
periods is expected to run for about as long again (Gott, Nature 363, 1993).
"""

from dataclasses import dataclass

import numpy as np

from mlops_assets.domain.evaluation import Floats

HORIZON, LEAST_HORIZON, MOST_HORIZON = 1.0, 4, 120
# Where models do not surely age, a retrain for more rows alone must pay its price so many times:
# estimates of what more rows bring are rough, and in unchanging data nothing else speaks.
GROWTH_MARGIN = 8.0
# Around the best date all dates cost about the same, and estimates are rough: a retrain has to save
# this share of the demanded price against waiting. So what it brings per period has to pay it back
# within about 33 periods. In unchanging data this takes away a third of the retrains.
LEAST_SAVING = 0.03


@dataclass(frozen=True)
class Outlook:
    """What is to be expected, per row, of the served `version` and of one that is trained now.

    A model loses `drift` more with each period of its age and `growth / rows` more for being
    trained on so few rows. The served one, of age `age` in the coming period (0: trained on all
    periods before) and trained on `live_rows`, loses `excess` beyond that. One trained now has
    `fresh_rows` and is `delay` periods old when it starts to serve; `window` is the number of
    newest periods it is trained on, None for all. `ages` says whether models surely age in this
    data: where they don't, only more rows speak for a retrain.
    """

    version: str
    age: int
    live_rows: float
    fresh_rows: float
    rows_per_period: float
    drift: float
    growth: float
    excess: float
    delay: int
    window: int | None
    ages: bool = True

    @property
    def benefit(self) -> float:
        """What a model trained now is expected to lose less, per row of the coming period."""
        live = self.drift * self.age + self.excess + self.growth / max(self.live_rows, 1)
        return live - self.drift * self.delay - self.growth / max(self.fresh_rows, 1)


@dataclass(frozen=True)
class Plan:
    """Expected costs in loss times rows: of a retrain now, and of the best later date.

    `wait` is how many periods the best later date is away, None if there is none within the
    `horizon`. `demanded` is the price that a retrain has to pay for: `price`, or several times
    that where models do not surely age (GROWTH_MARGIN).
    """

    outlook: Outlook
    price: float
    cost_now: float
    cost_later: float
    wait: int | None
    horizon: int
    demanded: float = 0.0

    @property
    def pays(self) -> bool:
        """Whether retraining now costs less than any later date, by more than a trifle."""
        return self.saving > LEAST_SAVING * self.demanded

    @property
    def saving(self) -> float:
        """What a retrain now saves against the best later date; negative if it costs."""
        return self.cost_later - self.cost_now


def plan(outlook: Outlook, *, price: float, periods: int, harmed: bool = False) -> Plan:
    """Compare retraining now with the best later date; `periods` is how long the history is.

    Proven harm (`harmed`) is as good a sign of change as scouts that surely age.
    """
    demanded = price if outlook.ages or harmed else GROWTH_MARGIN * price
    horizon = int(min(max(LEAST_HORIZON, HORIZON * periods), MOST_HORIZON))
    fresh = _costs_when_trained(outlook, demanded, horizon)
    ages = outlook.age + np.arange(horizon)
    lost = outlook.drift * ages + outlook.excess + outlook.growth / max(outlook.live_rows, 1)
    kept = np.cumsum(outlook.rows_per_period * np.maximum(lost, 0))
    # The last date is never: nothing is paid at the end of the horizon.
    later = kept + np.append(demanded + fresh[1:horizon], 0.0)
    best = int(later.argmin())
    return Plan(
        outlook=outlook,
        price=price,
        demanded=demanded,
        cost_now=demanded + float(fresh[0]),
        cost_later=float(later[best]),
        wait=best + 1 if best + 1 < horizon else None,
        horizon=horizon,
    )


def _costs_when_trained(outlook: Outlook, price: float, horizon: int) -> Floats:
    """Least cost (horizon + 1,) from each period on, if a model was trained right before it."""
    growing = 0.0 if outlook.window else outlook.rows_per_period
    least = np.zeros(horizon + 1)
    for start in range(horizon - 1, -1, -1):
        ages = outlook.delay + np.arange(horizon - start)
        rows = max(outlook.fresh_rows + growing * start, 1)
        spent = np.cumsum(outlook.rows_per_period * (outlook.drift * ages + outlook.growth / rows))
        least[start] = (spent + np.append(price + least[start + 1 : horizon], 0.0)).min()
    return least
