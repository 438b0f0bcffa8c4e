"""What the best dates of retraining would have cost, known only when all is over.

Two schedules frame a backtest: never to retrain, and to retrain each time. The value of a policy
is the share it gains of what the best dates gain over the better of these two. The best dates, of
all sets of dates, are found by dynamic programming (Bellman 1957) over training on all periods; a
policy that chooses shorter windows can do better than them.
"""

from collections.abc import Collection
from dataclasses import dataclass

from mlops_assets.domain.learner import Learner, Training


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


def frame(
    learner: Learner, *, price: float, delay: int = 0, also: Collection[Training] = ()
) -> Frame:
    """The costs that a policy is measured by; `also` are trainings on fewer than all periods."""
    never, always, dates = _extremes(learner, delay)
    best, chosen = _hindsight(learner, price, delay, also)
    return Frame(price, never, always + price * dates, best, chosen)


def trainings(learner: Learner, delay: int) -> tuple[Training, ...]:
    """All versions that the frame is made of, oldest first."""
    newest = _trainable(learner, len(learner.periods) - 1, delay)
    window = learner.oldest.window
    return tuple(Training(end, window) for end in range(learner.oldest.end, newest + 1))


def _extremes(learner: Learner, delay: int) -> tuple[float, float, int]:
    first, total, oldest = learner.first, len(learner.periods), learner.oldest
    never = always = 0.0
    for period in range(first, total):
        newest = Training(_trainable(learner, period, delay), oldest.window)
        never += learner.rows[period] * learner.loss(oldest, period)
        always += learner.rows[period] * learner.loss(newest, period)
    return never, always, total - 1 - first


def _trainable(learner: Learner, period: int, delay: int) -> int:
    """How many periods a version that serves from `period` on can be trained on."""
    oldest = learner.oldest.end
    if period == learner.first:
        return oldest
    return max(oldest, period - delay - learner.holdout)


_Path = tuple[float, tuple[int, ...]]


def _hindsight(
    learner: Learner, price: float, delay: int, also: Collection[Training]
) -> tuple[float, tuple[int, ...]]:
    """The least cost, and before which periods it retrains (Bellman 1957)."""
    first, total, oldest = learner.first, len(learner.periods), learner.oldest
    everything = {*trainings(learner, delay), oldest, *also}
    # Least cost from a period on, and its dates, by the version that serves in it.
    after: dict[Training, _Path] = dict.fromkeys(everything, (0.0, ()))
    for period in range(total - 1, first - 1, -1):
        switch: _Path = (float("inf"), ())
        if period < total - 1:
            end = _trainable(learner, period + 1, delay)
            cost, dates = min(after[one] for one in everything if one.end == end)
            switch = (price + cost, (period + 1, *dates))
        here = {}
        for one in everything:
            if one.end > _trainable(learner, period, delay):
                continue
            stay = min(after[one], switch, key=lambda path: path[0])
            here[one] = (learner.rows[period] * learner.loss(one, period) + stay[0], stay[1])
        after = here
    return after[oldest]
