from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.domain.evidence import PeriodEvidence, PolicyName, RetrainPolicy
from mlops_assets.domain.lookahead import Outlook, Plan
from mlops_assets.domain.policies import POLICIES, Advice

POLICY = RetrainPolicy(
    name="benefit",
    cooldown=2,
    drift_patience=3,
    every=8,
    floor=0.85,
    rollback_periods=2,
    window=None,
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
HARM = {"harmed": True, "loss": 0.62}
DRIFT = {"drift_flagged": ("distance",), "drift_alert": True}
OUTLOOK = Outlook(
    version="4",
    age=3,
    live_rows=5000,
    fresh_rows=8000,
    rows_per_period=1000,
    drift=0.01,
    growth=0.0,
    excess=0.0,
    delay=0,
    window=8,
)
PAYS = Plan(OUTLOOK, price=50, cost_now=80, cost_later=100, wait=2, horizon=20)
WAITS = Plan(OUTLOOK, price=50, cost_now=120, cost_later=100, wait=2, horizon=20)


def advise(name: PolicyName, *history: dict[str, Any], **changes: Any) -> Advice:
    """The policy's advice on evidence that differs from a quiet period like this."""
    evidence = [replace(QUIET, **one) for one in history or ({},)]
    return POLICIES[name](evidence, replace(POLICY, name=name, **changes))


def test_every_policy_has_a_name_of_the_spec():
    assert set(POLICIES) == set(get_args(PolicyName))


@pytest.mark.parametrize("name", ["performance", "drift", "rule_of_thumb", "schedule", "benefit"])
def test_a_quiet_period_leads_to_nothing(name: PolicyName):
    assert advise(name, {"plan": WAITS}).action == "nothing"


def test_a_retrain_that_pays_is_started_on_the_window_that_was_found_best():
    advice = advise("benefit", {"plan": PAYS})
    assert (advice.action, advice.window) == ("retrain", 8)
    assert (
        "a retrain costs 50; with that paid it still saves 20 against waiting, over 20 periods"
        in advice.reason
    )
    assert "lose 0.03 less per row, trained on the last 8 periods" in advice.reason


def test_the_users_window_comes_first():
    assert advise("benefit", {"plan": PAYS}, window=26).window == 26


def test_the_advice_is_about_the_version_that_serves_now():
    # Labels come late: the newest labelled period was served by the version before.
    assert advise("benefit", {"plan": PAYS}).version == "4"


@pytest.mark.parametrize(
    ("evidence", "action", "told"),
    [
        (HARM, "alert", "harm: loss 0.6200"),
        (DRIFT, "alert", "drift in distance, harmless so far"),
        ({**DRIFT, "performance_judged": False}, "alert", "too few labels tell yet"),
        ({"performance_judged": False}, "nothing", "too few labels to judge the loss"),
        ({}, "nothing", "expected to pay in 2 periods"),
        ({"plan": replace(WAITS, wait=1)}, "nothing", "expected to pay in 1 period"),
    ],
)
def test_what_is_not_worth_a_retrain_is_told(evidence: dict, action: str, told: str):
    advice = advise("benefit", {"plan": WAITS, **evidence})
    assert advice.action == action
    assert told in advice.reason


def test_harm_is_part_of_the_reason_of_a_retrain_that_pays():
    assert advise("benefit", {**HARM, "plan": PAYS}).reason.startswith("harm: loss 0.6200")


@pytest.mark.parametrize(
    ("found", "action", "told"),
    [
        ({"decay_periods": 6, "plan": WAITS}, "alert", "slow decay, risen over 6 periods: loss"),
        ({"decay_periods": 6, "plan": PAYS}, "retrain", "slow decay, risen over 6 periods: loss"),
        ({"decay_periods": 6, "plan": None}, "retrain", "slow decay, risen over 6 periods: loss"),
        ({"decay_periods": 6, **HARM, "plan": WAITS}, "alert", "harm: loss 0.6200"),
    ],
)
def test_slow_decay_is_harm_and_the_reason_tells_which(found: dict, action: str, told: str):
    advice = advise("benefit", found)
    assert advice.action == action
    assert advice.reason.startswith(told)


def test_decay_of_too_few_labels_is_no_harm():
    found = {"decay_periods": 6, "performance_judged": False, "plan": WAITS}
    assert not replace(QUIET, **found).proven_harm
    assert advise("benefit", found).action == "nothing"


def test_no_retrain_pays_before_its_labels_are_judged():
    assert advise("benefit", {"plan": PAYS, "performance_judged": False}).action == "nothing"


def test_without_a_plan_proven_harm_alone_retrains():
    assert advise("benefit", {}).action == "nothing"
    assert advise("benefit", HARM).action == "retrain"


@pytest.mark.parametrize("name", ["benefit", "performance"])
def test_a_bad_release_is_rolled_back_rather_than_retrained(name: PolicyName):
    bad = {**HARM, "previous_is_better": True, "periods_since_release": 1, "plan": PAYS}
    assert advise(name, bad).action == "rollback"
    assert advise(name, {**bad, "periods_since_release": 3}).action == "retrain"
    assert advise(name, {**bad, "previous_is_better": False, "plan": None}).action == "alert"


def test_a_fresh_version_is_not_retrained_by_performance_or_drift():
    fresh = {"periods_since_release": 2}
    assert advise("performance", {**HARM, **fresh}).action == "alert"
    assert advise("drift", {**DRIFT, **fresh}).action == "alert"
    assert "cooldown, 2 of 2 periods" in advise("drift", {**DRIFT, **fresh}).reason


def test_harmless_drift_retrains_only_where_it_lasts():
    assert advise("performance", DRIFT, DRIFT).action == "nothing"
    assert advise("performance", DRIFT, DRIFT, DRIFT).action == "retrain"
    assert advise("performance", DRIFT, {}, DRIFT).action == "nothing"
    # Periods of another version, or too small ones, neither count nor break the row.
    other, small = {**DRIFT, "version": "2"}, {"drift_judged": False}
    assert advise("performance", other, DRIFT, DRIFT).action == "nothing"
    assert advise("performance", DRIFT, small, DRIFT, DRIFT).action == "retrain"


def test_drift_retrains_at_the_first_flag():
    assert advise("drift", DRIFT).action == "retrain"
    assert advise("drift", DRIFT, {}).action == "nothing"


@pytest.mark.parametrize(
    ("history", "told"),
    [
        (({"accuracy": 0.95}, {"accuracy": 0.89}), "accuracy fell by 0.060"),
        (({"accuracy": 0.84},), "mean accuracy 0.840"),
        ((DRIFT, DRIFT, {}, DRIFT), "3 drift alerts in 4 periods"),
    ],
)
def test_the_rule_of_thumb_retrains_on_each_of_its_rules(history: tuple, told: str):
    advice = advise("rule_of_thumb", *history)
    assert advice.action == "retrain"
    assert told in advice.reason


def test_the_rule_of_thumb_lets_small_things_pass():
    assert advise("rule_of_thumb", {"accuracy": 0.95}, {"accuracy": 0.9}).action == "nothing"
    assert advise("rule_of_thumb", DRIFT, DRIFT, {}, {}, {}, DRIFT).action == "nothing"
    assert advise("rule_of_thumb", {"accuracy": None}, {"accuracy": None}).action == "nothing"


def test_a_schedule_looks_at_nothing_but_the_age():
    assert advise("schedule", {**HARM, "periods_since_release": 7}).action == "nothing"
    assert advise("schedule", {"periods_since_release": 8}, window=4) == Advice(
        "retrain", "8 periods since the release, a retrain every 8", 4
    )


@given(
    name=st.sampled_from(get_args(PolicyName)),
    judged=st.booleans(),
    harmed=st.booleans(),
    drifted=st.booleans(),
    served=st.integers(1, 12),
    worth=st.sampled_from([None, PAYS, WAITS]),
)
def test_each_advice_has_a_reason_and_only_retrains_have_a_window(
    name: PolicyName, judged: bool, harmed: bool, drifted: bool, served: int, worth: Plan | None
):
    evidence = {
        "performance_judged": judged,
        "harmed": harmed,
        "drift_alert": drifted,
        "periods_since_release": served,
        "plan": worth,
    }
    advice = advise(name, evidence, window=5)
    assert advice.reason
    assert advice.window == (5 if advice.action == "retrain" else None)
    if name in ("benefit", "performance") and not judged:
        assert advice.action in ("nothing", "alert")


def test_without_a_plan_harm_alone_retrains_and_lasting_drift_is_only_told():
    harmed = {"plan": None, "harmed": True, "loss": 0.9, "periods_since_release": 5}
    assert advise("benefit", harmed).action == "retrain"
    drifted = {"plan": None, "drift_flagged": ("temp",), "drift_alert": True}
    advice = advise("benefit", *[drifted] * 8)
    assert advice.action == "alert"
    assert "too little history to weigh a retrain" in advice.reason


def test_the_reason_tells_when_a_retrain_has_to_pay_more_than_its_price():
    advice = advise("benefit", {"plan": replace(WAITS, demanded=250.0)})
    assert "has to pay for 250" in advice.reason
