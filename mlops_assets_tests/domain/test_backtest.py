from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.domain.backtest import Replay, replay
from mlops_assets.domain.errors import DataError
from mlops_assets.domain.evidence import PolicyName, RetrainPolicy
from mlops_assets.domain.governor import Limits
from mlops_assets_tests.domain.histories import MadeUp, drifting_moments

NO_LIMITS = Limits(cooldown=0, budget_per_month=None)


def policy(name: PolicyName, **changes: Any) -> RetrainPolicy:
    plain = RetrainPolicy(
        name, cooldown=0, drift_patience=4, every=3, floor=0.5, rollback_periods=0, window=None
    )
    return replace(plain, **changes)


def ages(end: int, period: int) -> float:
    """A model that loses a tenth more with each period of its age."""
    return 1 + 0.1 * (period - end)


def trained(run: Replay) -> list[tuple[str, int]]:
    """After which periods a retrain was started, and how many periods it was trained on later."""
    return [(step.period, step.training.end) for step in run.steps]


def test_a_schedule_retrains_by_the_clock_on_all_that_is_labelled():
    run = replay(MadeUp(ages, 12), policy("schedule", every=3), NO_LIMITS, price=1.0)
    assert [end for _, end in trained(run)] == [3, 3, 3, 6, 6, 6, 9, 9, 9]
    assert [step.acted for step in run.steps].count("retrain") == run.retrains == 2
    assert run.steps[2].acted == "retrain"
    assert "3 periods since the release" in run.steps[2].verdict


def test_the_cost_is_the_loss_of_all_rows_and_the_price_of_each_retrain():
    learner = MadeUp(ages, 9, rows=[100 + place for place in range(9)])
    run = replay(learner, policy("schedule", every=3), NO_LIMITS, price=7.0)
    lost = sum(learner.rows[i] * ages(3 if i < 6 else 6, i) for i in range(3, 9))
    assert run.retrains == 1
    assert run.cost == pytest.approx(lost + 7.0)
    assert run.loss == pytest.approx(lost / sum(learner.rows[3:]))


def test_labels_come_late_and_so_do_decisions_and_training_rows():
    run = replay(MadeUp(ages, 14), policy("schedule", every=3), NO_LIMITS, price=1.0, delay=2)
    assert [step.decision is None for step in run.steps[:3]] == [True, True, False]
    first = next(step for step in run.steps if step.acted == "retrain")
    # After period 7 the labels of period 5 are there, the third that the first version served.
    assert first.period == "p007"
    assert [end for _, end in trained(run)][5] == 6


def test_the_newest_periods_are_left_to_the_gates():
    run = replay(MadeUp(ages, 12, holdout=2), policy("schedule", every=3), NO_LIMITS, price=1.0)
    assert [end for _, end in trained(run)] == [1, 1, 1, 4, 4, 4, 7, 7, 7]


def test_a_period_that_was_not_judged_tells_nothing_of_the_loss():
    total, odd = 14, 7

    def history(loss: float) -> MadeUp:
        return MadeUp(
            lambda end, period: loss if period == odd else ages(end, period),
            total,
            judges=lambda period: period != odd,
            moments=drifting_moments(total, drift=0.3),
        )

    runs = [replay(history(loss), policy("benefit"), NO_LIMITS, price=50.0) for loss in (1.0, 90.0)]
    decided = [[step.decision for step in run.steps] for run in runs]
    assert decided[0] == decided[1]
    assert any(one and "retraining" in one.reasons[0] for one in decided[0][odd:])


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    delay=st.integers(0, 3),
    known=st.integers(4, 12),
    name=st.sampled_from(["benefit", "performance", "schedule"]),
)
def test_no_decision_knows_the_future(seed: int, delay: int, known: int, name: PolicyName):
    total = 14
    draw = np.random.default_rng(seed)
    losses, later = draw.uniform(0.1, 2, (2, total, total))
    harm, later_harm = draw.random((2, total, total)) < 0.3
    moments = drifting_moments(total, drift=0.3, seed=seed)
    others = drifting_moments(total, drift=0.7, seed=seed + 1)
    labelled = known - delay

    def history(changed: bool) -> MadeUp:
        def is_new(period: int) -> bool:
            return changed and period > labelled

        return MadeUp(
            lambda end, period: float((later if is_new(period) else losses)[end, period]),
            total,
            harms=lambda end, period: bool((later_harm if is_new(period) else harm)[end, period]),
            moments=[(others if is_new(i) else moments)[i] for i in range(total)],
            rows=[500 if changed and i > known else 200 for i in range(total)],
        )

    runs = [
        replay(
            history(changed), policy(name, rollback_periods=2), NO_LIMITS, price=5.0, delay=delay
        )
        for changed in (False, True)
    ]
    before, after = (
        [(s.decision, s.verdict, s.acted, s.training) for s in run.steps[: known - 3 + 1]]
        for run in runs
    )
    assert before == after
    assert any(step.decision for step in runs[0].steps)


def test_a_harmful_release_is_rolled_back_and_does_not_come_back():
    # What is trained on 6 periods is poison; the version before it is fine.
    learner = MadeUp(
        lambda end, period: 5.0 if end == 6 else 1.0,
        14,
        harms=lambda end, period: end == 6 or period == 5 or (period >= 9 and end == 3),
        is_worse=lambda end, than, period: (end, than) == (6, 3) or (end, than) == (3, 6),
    )
    run = replay(learner, policy("performance", rollback_periods=9), NO_LIMITS, price=1.0)
    acted = {step.period: step.acted for step in run.steps if step.acted != "nothing"}
    assert acted == {"p005": "retrain", "p006": "rollback"}
    assert [step.training.end for step in run.steps[:5]] == [3, 3, 3, 6, 3]
    # Harm again, and the version that was taken back would be "better": it stays away.
    stuck = run.steps[6]
    assert stuck.decision is not None
    assert stuck.decision.action == "rollback"
    assert "no version before this one that was not taken back" in stuck.verdict


def test_challengers_that_are_refused_lead_to_back_off():
    learner = MadeUp(
        ages, 16, harms=lambda end, period: period >= 4, refuses=lambda end: "worse than it"
    )
    run = replay(learner, policy("performance"), NO_LIMITS, price=1.0)
    started = [place for place, step in enumerate(run.steps) if step.acted == "retrain"]
    # Harm from the second served period on; then 1, 2 and 4 periods are sat out.
    assert started == [1, 3, 6, 11]
    assert run.retrains == 4
    assert run.cost == pytest.approx(run.total_loss + 4)
    assert {step.training.end for step in run.steps} == {3}
    assert "the gates refused version 2: worse than it" in run.steps[1].verdict
    assert "periods sat out" in run.steps[2].verdict


def test_the_governor_holds_retrains_back():
    learner = MadeUp(ages, 16, harms=lambda end, period: True)
    free = replay(learner, policy("performance"), NO_LIMITS, price=1.0)
    held = replay(learner, policy("performance"), Limits(cooldown=3), price=1.0)
    off = replay(learner, policy("performance"), Limits(enabled=False), price=1.0)
    assert free.retrains > held.retrains > off.retrains == 0
    assert "cooldown" in held.steps[0].verdict


def test_a_world_that_drifts_is_followed_and_an_unchanging_one_is_left_alone():
    moving = MadeUp(
        lambda end, period: 1 + 0.2 * (period - end),
        30,
        moments=drifting_moments(30, drift=0.2),
        first=6,
    )
    still = MadeUp(
        lambda end, period: 1.0, 30, moments=drifting_moments(30), rows=[5000] * 30, first=6
    )
    assert replay(moving, policy("benefit"), NO_LIMITS, price=20.0).retrains >= 4
    assert replay(still, policy("benefit"), NO_LIMITS, price=5000.0).retrains == 0


def test_a_history_that_is_too_short_is_refused_with_the_numbers():
    with pytest.raises(DataError, match="has 3 periods, of which the first version needs 3"):
        replay(MadeUp(ages, 3), policy("schedule"), NO_LIMITS, price=1.0)


def test_the_same_history_gives_the_same_replay():
    learner = MadeUp(ages, 20, moments=drifting_moments(20, drift=0.3))
    runs = [replay(learner, policy("benefit"), NO_LIMITS, price=10.0) for _ in range(2)]
    assert runs[0] == runs[1]
