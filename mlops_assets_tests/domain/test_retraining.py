from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.domain.errors import DataError
from mlops_assets.domain.evidence import PeriodEvidence, RetrainPolicy
from mlops_assets.domain.retraining import decide

POLICY = RetrainPolicy(
    name="performance",
    cooldown=2,
    drift_patience=3,
    every=8,
    floor=0.85,
    rollback_periods=2,
    window=26,
)
QUIET = PeriodEvidence(
    period="2013-03-04",
    version="3",
    drift_judged=True,
    drift_flagged=(),
    drift_alert=False,
    performance_judged=True,
    harmed=False,
    loss=0.41,
    reference_loss=0.4,
    accuracy=0.9,
    previous_is_better=False,
    periods_since_release=5,
)
HARMED = replace(QUIET, harmed=True, loss=0.62)
DRIFTED = replace(QUIET, drift_flagged=("distance",), drift_alert=True)

evidences = st.builds(
    PeriodEvidence,
    period=st.dates().map(str),
    version=st.sampled_from("123"),
    drift_judged=st.booleans(),
    drift_flagged=st.just(("distance",)),
    drift_alert=st.booleans(),
    performance_judged=st.booleans(),
    harmed=st.booleans(),
    loss=st.none() | st.floats(0, 5),
    reference_loss=st.none() | st.floats(0, 5),
    accuracy=st.none() | st.floats(0, 1),
    previous_is_better=st.booleans(),
    periods_since_release=st.integers(0, 10),
)
histories = st.lists(evidences, min_size=1, max_size=8)
policies = st.builds(
    RetrainPolicy,
    name=st.sampled_from(["performance", "rule_of_thumb", "schedule"]),
    cooldown=st.integers(0, 5),
    drift_patience=st.integers(1, 4),
    every=st.integers(1, 8),
    floor=st.floats(0, 1),
    rollback_periods=st.integers(0, 5),
    window=st.none() | st.integers(1, 52),
)
performance_policies = policies.map(lambda policy: replace(policy, name="performance"))


def act(*history: PeriodEvidence, **changes: Any):
    return decide("flight_delay", history, replace(POLICY, **changes))


@given(histories, policies)
def test_the_same_facts_give_the_same_decision_and_a_reason(
    history: list[PeriodEvidence], policy: RetrainPolicy
):
    decision = decide("m", history, policy)
    assert decision == decide("m", list(history), policy)
    assert decision.reasons
    assert all(decision.reasons)
    assert (decision.period, decision.version) == (history[-1].period, history[-1].version)
    assert decision.window == (policy.window if decision.action == "retrain" else None)


@given(histories, performance_policies)
def test_old_violations_alone_never_start_anything(
    history: list[PeriodEvidence], policy: RetrainPolicy
):
    assert decide("m", [*history, QUIET], policy).action == "nothing"


@given(histories, performance_policies)
def test_within_the_cooldown_no_retrain_is_started(
    history: list[PeriodEvidence], policy: RetrainPolicy
):
    newest = replace(history[-1], periods_since_release=policy.cooldown)
    assert decide("m", [*history, newest], policy).action != "retrain"


@given(histories, performance_policies)
def test_a_rollback_needs_proven_harm_by_a_fresh_version_that_the_previous_one_beats(
    history: list[PeriodEvidence], policy: RetrainPolicy
):
    newest = history[-1]
    due = (
        newest.performance_judged
        and newest.harmed
        and newest.previous_is_better
        and newest.periods_since_release <= policy.rollback_periods
    )
    assert (decide("m", history, policy).action == "rollback") is due


@given(histories, performance_policies, evidences)
def test_what_was_not_judged_counts_for_nothing(
    history: list[PeriodEvidence], policy: RetrainPolicy, newest: PeriodEvidence
):
    blind = replace(newest, performance_judged=False, drift_judged=False)
    decision = decide("m", [*history, blind], policy)
    assert decision.action == "nothing"
    assert "too little evidence" in decision.reasons[0]


def test_proven_harm_after_the_cooldown_retrains_and_tells_the_losses():
    decision = act(QUIET, HARMED)
    assert decision.action == "retrain"
    assert decision.reasons == (
        "harm: loss 0.6200, at the release 0.4000; 5 periods since the release (cooldown 2)",
    )
    assert decision.window == 26


def test_proven_harm_within_the_cooldown_is_an_alert_that_counts():
    decision = act(replace(HARMED, periods_since_release=1))
    assert decision.action == "alert"
    assert "cooldown, 1 of 2 periods" in decision.reasons[0]


def test_proven_harm_right_after_a_release_rolls_back_to_a_better_version():
    fresh = replace(HARMED, periods_since_release=2, previous_is_better=True)
    assert act(fresh).action == "rollback"
    assert act(replace(fresh, periods_since_release=3)).action == "retrain"
    assert act(fresh, rollback_periods=0).action == "alert"


def test_drift_that_does_no_harm_is_left_alone_until_it_lasts():
    second = act(QUIET, DRIFTED, DRIFTED)
    assert second.action == "nothing"
    assert "harmless so far" in second.reasons[0]
    assert "drift 2 of 3 periods in a row" in second.reasons[0]
    assert act(DRIFTED, DRIFTED, DRIFTED).action == "retrain"


def test_drift_that_paused_starts_counting_again():
    assert act(DRIFTED, DRIFTED, QUIET, DRIFTED).action == "nothing"


def test_periods_too_small_to_judge_do_not_interrupt_lasting_drift():
    small = replace(QUIET, drift_judged=False)
    assert act(DRIFTED, small, DRIFTED, DRIFTED).action == "retrain"
    assert act(DRIFTED, DRIFTED, DRIFTED, small).action == "nothing"


def test_drift_under_an_older_version_does_not_count_for_the_new_one():
    older = replace(DRIFTED, version="2")
    assert act(older, older, DRIFTED).action == "nothing"
    assert act(older, older, DRIFTED, DRIFTED, DRIFTED).action == "retrain"


def test_lasting_drift_within_the_cooldown_is_an_alert():
    assert act(DRIFTED, DRIFTED, DRIFTED, cooldown=5).action == "alert"


def test_drift_before_the_labels_are_mature_is_an_alert_that_names_the_columns():
    decision = act(DRIFTED, DRIFTED, replace(DRIFTED, performance_judged=False))
    assert decision.action == "alert"
    assert decision.reasons[0].startswith("drift in distance, and too few labels")


def test_a_quiet_period_says_that_it_is_one():
    assert act(QUIET).reasons == ("no harm: loss 0.4100, at the release 0.4000; no drift",)
    assert "too few labels" in act(replace(QUIET, performance_judged=False)).reasons[0]
    assert "too few rows to judge drift" in act(replace(QUIET, drift_judged=False)).reasons[0]


def test_the_rule_of_thumb_retrains_on_a_drop_of_more_than_five_points():
    for accuracy, action in ((0.85, "nothing"), (0.849, "retrain")):
        newest = replace(QUIET, accuracy=accuracy)
        assert act(QUIET, newest, name="rule_of_thumb", floor=0.0).action == action


def test_the_rule_of_thumb_retrains_below_its_floor_and_looks_back_five_periods():
    low, high = replace(QUIET, accuracy=0.84), replace(QUIET, accuracy=0.86)
    assert act(low, low, low, name="rule_of_thumb").action == "retrain"
    assert act(low, low, low, *[high] * 5, name="rule_of_thumb").action == "nothing"


def test_the_rule_of_thumb_retrains_on_three_drift_alerts_in_five_even_old_ones():
    history = (DRIFTED, DRIFTED, DRIFTED, QUIET)
    assert act(*history, QUIET, name="rule_of_thumb").action == "retrain"
    assert act(*history, QUIET, QUIET, name="rule_of_thumb").action == "nothing"


def test_the_rule_of_thumb_without_accuracy_looks_at_drift_alone():
    blind = replace(DRIFTED, accuracy=None)
    assert act(blind, blind, name="rule_of_thumb").action == "nothing"
    assert act(blind, blind, blind, name="rule_of_thumb").action == "retrain"


def test_the_schedule_retrains_every_so_many_periods_whatever_happened():
    for served, action in ((7, "nothing"), (8, "retrain"), (9, "retrain")):
        newest = replace(HARMED, periods_since_release=served)
        assert act(newest, name="schedule").action == action


def test_the_id_tells_model_period_version_and_action_apart():
    base = act(QUIET)
    others = [
        act(replace(QUIET, period="2013-03-11")),
        act(replace(QUIET, version="4")),
        act(HARMED),
        decide("bike_demand", [QUIET], POLICY),
    ]
    assert len({base.id, *(other.id for other in others)}) == 5
    assert base.id == act(replace(QUIET, loss=0.42)).id


def test_an_empty_history_is_refused():
    with pytest.raises(DataError, match="flight_delay"):
        act()
