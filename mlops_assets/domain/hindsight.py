"""What the best dates of retraining would have cost, known only when all is over.

Two schedules frame a backtest: never to retrain, and to retrain each time. The value of a policy
is the share it gains of what the best dates gain over the better of these two. The best dates, of
all sets of dates, are found by dynamic programming (Bellman 1957) over training on all periods; a
policy that chooses shorter windows can do better than them.
"""

from dataclasses import dataclass

from mlops_assets.domain.learner import Learner, Training, first_training


@dataclass(frozen=True)
class Frame:
    """What never and always retraining cost at a price, and the best dates in hindsight."""

    price: float
    never: float
    always: float
    best: float
    best_retrains: tuple[int, ...]

    def value(self, cost: float) -> float | None:
        """Share of what can be gained over the better of never and always; None if nothing can."""
        start = min(self.never, self.always)
        return (start - cost) / (start - self.best) if start - self.best > 1e-9 else None


def tie_price(learner: Learner, delay: int = 0) -> float:
    """The price at which never and always retraining cost the same (0 if never loses nothing)."""
    never, always, dates = _extremes(learner, delay)
    return max((never - always) / max(dates, 1), 0.0)


def frame(learner: Learner, *, price: float, delay: int = 0) -> Frame:
    """The costs that a policy is measured by, over training on all periods."""
    never, always, dates = _extremes(learner, delay)
    best, chosen = _hindsight(learner, price, delay)
    return Frame(price, never, always + price * dates, best, chosen)


def _extremes(learner: Learner, delay: int) -> tuple[float, float, int]:
    first, total = learner.first, len(learner.periods)
    oldest = first_training(learner)
    never = always = 0.0
    for period in range(first, total):
        newest = Training(_trainable(learner, period, delay))
        never += learner.rows[period] * learner.loss(oldest, period)
        always += learner.rows[period] * learner.loss(newest, period)
    return never, always, total - 1 - first


def _trainable(learner: Learner, period: int, delay: int) -> int:
    """How many periods a version that serves from `period` on can be trained on."""
    oldest = first_training(learner).end
    if period == learner.first:
        return oldest
    return max(oldest, period - delay - learner.holdout)


def _hindsight(learner: Learner, price: float, delay: int) -> tuple[float, tuple[int, ...]]:
    """The least cost, and before which periods it retrains (Bellman 1957)."""
    first, total, oldest = learner.first, len(learner.periods), first_training(learner).end
    # Least cost from a period on, and its dates, by the periods that the live version knows.
    after: dict[int, tuple[float, tuple[int, ...]]] = dict.fromkeys(range(total + 1), (0.0, ()))
    for period in range(total - 1, first - 1, -1):
        here: dict[int, tuple[float, tuple[int, ...]]] = {}
        for end in range(oldest, _trainable(learner, period, delay) + 1):
            cost = learner.rows[period] * learner.loss(Training(end), period)
            stay = after[end]
            if period < total - 1:
                fresh = after[_trainable(learner, period + 1, delay)]
                if price + fresh[0] < stay[0]:
                    stay = (price + fresh[0], (period + 1, *fresh[1]))
            here[end] = (cost + stay[0], stay[1])
        after = here
    return after[oldest]
