from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.domain.backtest import Training, frame, tie_price
from mlops_assets_tests.domain.histories import MadeUp


def cost_of(learner: MadeUp, dates: tuple[int, ...], price: float, delay: int) -> float:
    """What retraining right before these periods costs, step by step."""
    end = oldest = max(learner.first - learner.holdout, 1)
    total = price * len(dates)
    for period in range(learner.first, len(learner.periods)):
        if period in dates:
            end = max(oldest, period - delay - learner.holdout)
        total += learner.rows[period] * learner.losses(end, period)
    return total


def random_history(seed: int, total: int, holdout: int) -> MadeUp:
    draw = np.random.default_rng(seed)
    losses = draw.uniform(0, 1, (total + 1, total))
    rows = [int(n) for n in draw.integers(1, 20, total)]
    return MadeUp(lambda end, period: float(losses[end, period]), total, rows=rows, holdout=holdout)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    total=st.integers(4, 10),
    price=st.floats(0, 20),
    delay=st.integers(0, 2),
    holdout=st.integers(0, 2),
)
def test_the_best_dates_are_the_best_of_all_sets_of_dates(
    seed: int, total: int, price: float, delay: int, holdout: int
):
    learner = random_history(seed, total, holdout)
    places = range(learner.first + 1, total)
    costs = {
        dates: cost_of(learner, dates, price, delay)
        for count in range(len(places) + 1)
        for dates in combinations(places, count)
    }
    found = frame(learner, price=price, delay=delay)
    assert found.best == pytest.approx(min(costs.values()))
    assert costs[found.best_retrains] == pytest.approx(found.best)
    assert found.never == pytest.approx(costs[()])
    assert found.always == pytest.approx(costs[tuple(places)])


def test_the_optimum_is_worth_1_and_the_better_of_never_and_always_0():
    found = frame(MadeUp(lambda end, period: 1 + 0.1 * (period - end), 20), price=30.0)
    assert found.value(found.best) == 1
    assert found.value(min(found.never, found.always)) == 0
    middle = (found.best + min(found.never, found.always)) / 2
    assert found.value(middle) == pytest.approx(0.5)
    assert found.value(max(found.never, found.always)) < 0


def test_where_nothing_can_be_gained_there_is_no_value():
    found = frame(MadeUp(lambda end, period: 1.0, 10), price=5.0)
    assert found.best_retrains == ()
    assert found.value(found.never) is None


def test_never_and_always_cost_the_same_at_the_tie_price():
    learner = MadeUp(lambda end, period: 1 + 0.05 * (period - end), 15)
    price = tie_price(learner, delay=1)
    found = frame(learner, price=price, delay=1)
    assert price > 0
    assert found.never == pytest.approx(found.always)


def test_the_tie_price_is_zero_where_always_retraining_loses_more():
    assert tie_price(MadeUp(lambda end, period: 1 + 0.05 * end, 15)) == 0


def test_shorter_windows_that_were_tried_count_among_the_best():
    # Whoever was trained on a window loses nothing.
    class Forgetting(MadeUp):
        def loss(self, training: Training, period: int) -> float:
            return 0.0 if training.window else super().loss(training, period)

    learner = Forgetting(lambda end, period: 1 + 0.1 * (period - end), 12)
    tried = [Training(5, 4), Training(8, 4)]
    found = frame(learner, price=30.0, also=tried)
    assert found.best_retrains == (5,)
    assert found.best == pytest.approx(200 * (1.0 + 1.1) + 30)
    assert found.best < frame(learner, price=30.0).best
