import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.domain.lookahead import (
    GROWTH_MARGIN,
    LEAST_HORIZON,
    LEAST_SAVING,
    MOST_HORIZON,
    Outlook,
    Plan,
    plan,
)

ROWS, DRIFT = 1000.0, 0.01
DRIFTING = Outlook(
    version="3",
    age=0,
    live_rows=1e9,
    fresh_rows=1e9,
    rows_per_period=ROWS,
    drift=DRIFT,
    growth=0.0,
    excess=0.0,
    delay=0,
    window=None,
)


def waited(outlook: Outlook, price: float, periods: int = 120) -> int:
    """How old the model is when it is replaced, decided anew each period."""
    for age in range(periods):
        if plan(replace(outlook, age=age), price=price, periods=periods).pays:
            return age
    return periods


@pytest.mark.parametrize("interval", [3, 5, 8, 12])
def test_linear_drift_is_answered_at_the_interval_of_the_economic_order_quantity(interval: int):
    # Cost per period price/T + rows * drift * T/2 is least at T = sqrt(2 price / (rows drift)).
    price = interval**2 * ROWS * DRIFT / 2
    assert math.isclose(math.sqrt(2 * price / (ROWS * DRIFT)), interval)
    found = waited(DRIFTING, price)
    # What a period costs at another interval, beside the least.
    assert (found / interval + interval / found) / 2 < 1.05


def test_a_huge_price_never_pays():
    found = plan(replace(DRIFTING, age=50), price=1e12, periods=60)
    assert not found.pays
    assert found.wait is None
    assert found.saving == pytest.approx(-1e12, rel=0.01)


def test_a_retrain_that_is_free_pays_as_soon_as_there_is_drift():
    assert plan(replace(DRIFTING, age=1), price=0.0, periods=30).pays
    assert not plan(replace(DRIFTING, age=1, drift=0.0), price=1.0, periods=30).pays


def test_it_tells_how_long_to_wait():
    price = 8**2 * ROWS * DRIFT / 2
    waits = [plan(replace(DRIFTING, age=age), price=price, periods=100).wait for age in range(7)]
    # Each period of waiting brings the date one period nearer.
    assert all(wait is not None for wait in waits)
    known = [wait for wait in waits if wait is not None]
    assert known == sorted(known, reverse=True)
    assert abs(known[0] - 8) <= 1


def test_an_excess_beyond_the_drift_pays_back_over_the_horizon():
    harmed = replace(DRIFTING, drift=0.0, excess=0.05)
    # 0.05 * 1000 rows a period, over 40 periods: 2000.
    assert plan(harmed, price=1600, periods=40).pays
    assert not plan(harmed, price=2100, periods=40).pays


def test_more_rows_are_worth_what_the_learning_curve_says():
    starved = replace(DRIFTING, drift=0.0, growth=100.0, live_rows=1000.0, fresh_rows=1e9, window=8)
    assert starved.benefit == pytest.approx(0.1, rel=1e-5)
    # 0.1 * 1000 rows, over 20 periods.
    assert plan(starved, price=1900, periods=20).pays
    assert not plan(starved, price=2100, periods=20).pays


def test_labels_that_come_late_make_a_fresh_model_old():
    late = replace(DRIFTING, age=5, delay=3)
    assert late.benefit == pytest.approx(DRIFT * 2)
    assert waited(replace(DRIFTING, delay=3), 500.0) >= waited(DRIFTING, 500.0)


@pytest.mark.parametrize(
    ("periods", "horizon"), [(1, LEAST_HORIZON), (50, 50), (999, MOST_HORIZON)]
)
def test_the_horizon_is_about_as_long_as_the_history(periods: int, horizon: int):
    assert plan(DRIFTING, price=1.0, periods=periods).horizon == horizon


@settings(max_examples=60, deadline=None)
@given(
    age=st.integers(0, 12),
    drift=st.floats(0, 0.1),
    excess=st.floats(-0.05, 0.2),
    delay=st.integers(0, 3),
    growth=st.floats(0, 100),
    price=st.floats(0.1, 1e4),
)
def test_a_plan_is_the_least_cost_over_all_sets_of_dates(
    age: int, drift: float, excess: float, delay: int, growth: float, price: float
):
    horizon = 7
    outlook = replace(
        DRIFTING, age=age, drift=drift, excess=excess, delay=delay, growth=growth,
        live_rows=3000.0, fresh_rows=5000.0,
    )  # fmt: skip
    found = plan(outlook, price=price, periods=horizon)
    costs = {dates: spent(outlook, price, horizon, dates) for dates in range(2**horizon)}
    now = min(cost for dates, cost in costs.items() if dates & 1)
    later = min(cost for dates, cost in costs.items() if not dates & 1)
    assert found.cost_now == pytest.approx(now)
    assert found.cost_later == pytest.approx(later)
    assert found.pays == (found.cost_later - found.cost_now > LEAST_SAVING * found.demanded)


def spent(outlook: Outlook, price: float, horizon: int, dates: int) -> float:
    """The cost of retraining before each period whose bit is set in `dates`."""
    total, trained = 0.0, None
    for period in range(horizon):
        if dates >> period & 1:
            total, trained = total + price, period
        if trained is None:
            lost = outlook.drift * (outlook.age + period) + outlook.excess
            lost = max(lost + outlook.growth / outlook.live_rows, 0)
        else:
            rows = outlook.fresh_rows + outlook.rows_per_period * trained
            lost = outlook.drift * (outlook.delay + period - trained) + outlook.growth / rows
        total += outlook.rows_per_period * lost
    return total


def test_a_plan_keeps_what_it_was_made_of():
    found = plan(DRIFTING, price=3.0, periods=10)
    assert isinstance(found, Plan)
    assert (found.outlook, found.price) == (DRIFTING, 3.0)
    assert np.isclose(found.saving, found.cost_later - found.cost_now)


def test_a_retrain_that_saves_next_to_nothing_waits():
    price = 12**2 * ROWS * DRIFT / 2
    trifle = plan(replace(DRIFTING, age=13), price=price, periods=100)
    assert 0 < trifle.saving < LEAST_SAVING * price
    assert not trifle.pays
    assert plan(replace(DRIFTING, age=15), price=price, periods=100).pays


def test_where_models_do_not_surely_age_more_rows_must_pay_several_times_the_price():
    few = replace(DRIFTING, drift=0.0, growth=1000.0, live_rows=5_000, fresh_rows=8_000)
    price = 100.0
    assert plan(few, price=price, periods=20).pays
    unsure = plan(replace(few, ages=False), price=price, periods=20)
    assert not unsure.pays
    assert unsure.demanded == pytest.approx(GROWTH_MARGIN * price)
    assert plan(replace(few, ages=False), price=price, periods=20, harmed=True).pays
