import json
from dataclasses import replace

import pytest

from mlops_assets.domain.backtest import Training
from mlops_assets.domain.errors import DataError
from mlops_assets.domain.evidence import RetrainPolicy
from mlops_assets.domain.governor import Limits
from mlops_assets.domain.policy_comparison import (
    FACTORS,
    PolicyComparison,
    compare_policies,
    named_policy,
)
from mlops_assets_tests.domain.histories import MadeUp, drifting_moments

BASE = RetrainPolicy(
    "benefit", cooldown=0, drift_patience=4, every=8, floor=0.5, rollback_periods=0, window=None
)
LIMITS = Limits(cooldown=0, budget_per_month=None)
MOVING = MadeUp(
    lambda end, period: 1 + 0.2 * (period - end), 24, moments=drifting_moments(24, drift=0.2)
)
STILL = MadeUp(lambda end, period: 1.0, 24)


@pytest.fixture(scope="module")
def found() -> PolicyComparison:
    policies = {name: named_policy(name, BASE) for name in ("benefit", "schedule:4")}
    return compare_policies(
        MOVING, [STILL, STILL], policies, LIMITS, price=100.0, delay=0, model="m"
    )


def test_each_policy_is_valued_against_the_best_dates(found: PolicyComparison):
    for one in found.outcomes.values():
        assert one.value == found.frame.value(one.replay.cost)
        assert one.value is not None
        assert one.value <= 1
    assert found.outcomes["schedule:4"].replay.retrains == 5
    assert found.periods[0] == "p003"


def test_false_alarms_are_counted_on_the_quiet_histories(found: PolicyComparison):
    # 20 decisions in each of two histories, and 5 retrains by the clock in each.
    assert found.outcomes["schedule:4"].false_retrains == pytest.approx(100 * 5 / 20)
    assert found.outcomes["schedule:4"].false_alerts == 0


def test_without_quiet_histories_false_alarms_are_unknown():
    policies = {"schedule": named_policy("schedule", BASE)}
    one = compare_policies(MOVING, [], policies, LIMITS, price=1.0, delay=0, model="m")
    assert one.outcomes["schedule"].false_retrains is None


def test_only_the_policy_that_looks_at_prices_changes_with_them(found: PolicyComparison):
    assert [at.factor for at in found.prices] == list(FACTORS)
    clock = {at.replays["schedule:4"].retrains for at in found.prices}
    worth = [at.replays["benefit"].retrains for at in found.prices]
    assert clock == {5}
    assert worth == sorted(worth, reverse=True)
    assert worth[0] > worth[-1]
    for at in found.prices:
        run = at.replays["schedule:4"]
        assert run.cost == pytest.approx(run.total_loss + 5 * at.factor * 100.0)


def test_no_policy_beats_the_best_dates_at_any_price(found: PolicyComparison):
    for at in found.prices:
        assert all(run.cost >= at.frame.best - 1e-6 for run in at.replays.values())


def test_a_policy_on_a_window_does_not_beat_them_either():
    class Forgetting(MadeUp):
        def loss(self, training: Training, period: int) -> float:
            return super().loss(training, period) / (10 if training.window else 1)

    learner = Forgetting(lambda end, period: 1 + 0.2 * (period - end), 16)
    short = {"schedule": replace(named_policy("schedule:3", BASE), window=4)}
    one = compare_policies(learner, [], short, LIMITS, price=1.0, delay=0, model="m")
    assert one.outcomes["schedule"].replay.cost < min(one.frame.never, one.frame.always)
    assert one.outcomes["schedule"].replay.cost >= one.frame.best - 1e-9


def test_it_can_be_written_as_json(found: PolicyComparison):
    content = json.loads(json.dumps(found.content()))
    assert [one["policy"] for one in content["policies"]] == ["benefit", "schedule:4"]
    assert set(content["frame"]["best_retrains"]) <= set(found.periods)
    assert len(content["policies"][0]["steps"]) == len(found.periods)


def test_a_schedule_may_name_its_interval():
    assert named_policy("schedule:3", BASE).every == 3
    assert named_policy("schedule", BASE).every == 8
    assert named_policy("drift", BASE).name == "drift"


@pytest.mark.parametrize("text", ["", "magic", "schedule:0", "schedule:x", "drift:3"])
def test_what_names_no_policy_is_refused(text: str):
    with pytest.raises(DataError, match="no policy"):
        named_policy(text, BASE)


@pytest.mark.parametrize(("price", "delay"), [(0.0, 0), (-1.0, 0), (1.0, -1)])
def test_impossible_prices_and_delays_are_refused(price: float, delay: int):
    policies = {"schedule": named_policy("schedule", BASE)}
    with pytest.raises(DataError, match="must be above 0"):
        compare_policies(MOVING, [], policies, LIMITS, price=price, delay=delay, model="m")
