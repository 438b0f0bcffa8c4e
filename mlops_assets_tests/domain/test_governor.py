from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.domain.errors import DataError
from mlops_assets.domain.evidence import PeriodEvidence
from mlops_assets.domain.governor import Limits, Situation, govern
from mlops_assets.domain.past_retrains import Cause, Outcome, PastRetrain
from mlops_assets.domain.policies import Action
from mlops_assets.domain.retraining import Decision

NOW = datetime(2013, 3, 11, tzinfo=UTC)
PERIODS = [f"2013-{month:02d}-01" for month in range(1, 13)]
DECISION = Decision("abc", "flight_delay", PERIODS[5], "3", "retrain", 26, ("harm: loss 0.62",))
LIMITS = Limits(enabled=True, cooldown=2, budget_per_month=4)


def flagged(period: str, **changes: Any) -> PeriodEvidence:
    found: dict[str, Any] = {
        "version": "3",
        "drift_judged": True,
        "drift_flagged": ("temp", "humid"),
        "drift_alert": True,
        "performance_judged": True,
        "harmed": True,
        "loss": 0.62,
        "reference_loss": 0.52,
        "accuracy": 0.7,
        "previous_is_better": False,
        "periods_since_release": 6,
    }
    return PeriodEvidence(period=period, **(found | changes))


def tried(period: str, outcome: Outcome = "refused", **changes: Any) -> PastRetrain:
    found = PastRetrain(
        decision=f"d-{period}",
        period=period,
        at=NOW - timedelta(days=90),
        cause=Cause.of(flagged(period)),
        outcome=outcome,
        challenger="4",
    )
    return replace(found, **changes)


def judge(
    decision: Decision = DECISION,
    history: list[PeriodEvidence] | None = None,
    past: list[PastRetrain] | None = None,
    limits: Limits = LIMITS,
    **changes: Any,
):
    world = {"champion": "3", "newest_period": decision.period, "now": NOW} | changes
    if history is None:
        history = [flagged(period) for period in PERIODS if period <= decision.period]
    return govern(decision, history, past or [], limits, Situation(**world))


def at(place: int) -> Decision:
    return replace(DECISION, period=PERIODS[place])


def test_a_current_decision_starts_one_run_under_its_own_key_with_its_reason():
    result = judge()
    assert (result.action, result.rule, result.run_key) == ("start", "allowed", "abc")
    assert result.reason == "retrain of version 3 after 2013-06-01: harm: loss 0.62"


def test_a_rollback_starts_a_run_too_and_alerts_do_not():
    assert judge(replace(DECISION, action="rollback")).action == "start"
    assert judge(replace(DECISION, action="alert")).action == "drop"
    assert judge(replace(DECISION, action="nothing")).action == "drop"


def test_a_decision_that_was_started_before_is_dropped():
    assert judge(handled=frozenset({"abc"})).action == "drop"


def test_a_decision_about_a_version_that_no_longer_serves_is_dropped():
    result = judge(champion="4")
    assert result.action == "drop"
    assert "version 4 serves now" in result.reason


def test_a_decision_that_a_newer_period_superseded_is_dropped():
    result = judge(newest_period=PERIODS[6])
    assert (result.action, result.rule) == ("drop", "superseded")
    assert PERIODS[6] in result.reason


def test_while_a_run_is_at_work_a_decision_waits_and_names_it():
    result = judge(in_flight="run-7")
    assert result.action == "wait"
    assert "run-7" in result.reason


def test_a_retrain_waits_for_the_canary_and_a_rollback_does_not():
    walking = "canary of version 4 against 3, at 10%"
    result = judge(canary=walking)
    assert result.action == "wait"
    assert f"first the {walking}, has to end" in result.reason
    assert judge(replace(DECISION, action="rollback"), canary=walking).action == "start"


def test_a_pause_holds_a_retrain_until_it_ends_and_lets_rollbacks_through():
    result = judge(paused="paused by ann@cli: audit")
    assert (result.action, result.rule, result.held) == ("wait", "paused", True)
    assert result.reason.endswith("paused by ann@cli: audit")
    rollback = replace(DECISION, action="rollback")
    assert judge(rollback, paused="paused by ann@cli: audit").action == "start"


def test_a_spec_that_disables_retraining_holds_every_retrain_and_says_where():
    result = judge(limits=replace(LIMITS, enabled=False))
    assert (result.action, result.rule) == ("wait", "paused")
    assert "retraining.enabled is false in defs.yaml" in result.reason


@pytest.mark.parametrize(("served", "expected"), [(1, "drop"), (2, "drop"), (3, "start")])
def test_the_cooldown_holds_whatever_the_policy_is(served: int, expected: str):
    history = [flagged(DECISION.period, periods_since_release=served)]
    result = judge(history=history)
    assert result.action == expected
    assert (f"cooldown, period {served} of 2" in result.reason) == (expected == "drop")


def test_the_budget_counts_retrains_of_the_last_thirty_days_of_the_loops_clock():
    spent = [tried(PERIODS[0], "serves", at=NOW - timedelta(days=days)) for days in (29, 20, 9, 1)]
    result = judge(past=spent)
    assert (result.action, result.rule) == ("drop", "budget")
    assert "4 of 4 retrains in 30 days; the next one from 2013-03-12 00:00" in result.reason
    spent[0] = replace(spent[0], at=NOW - timedelta(days=30))
    assert judge(past=spent).action == "start"
    assert judge(past=spent * 3, limits=replace(LIMITS, budget_per_month=None)).action == "start"


def test_retrains_of_a_later_clock_do_not_count_when_history_is_replayed():
    later = [tried(PERIODS[0], "serves", at=NOW + timedelta(days=1))] * 9
    assert judge(past=later).action == "start"


def test_back_off_doubles_with_each_challenger_that_failed_its_gates():
    past: list[PastRetrain] = []
    started = []
    for place, period in enumerate(PERIODS):
        history = [flagged(known) for known in PERIODS[: place + 1]]
        result = judge(at(place), history, past)
        if result.action == "start":
            started.append(place)
            past = [*past, tried(period)]
        else:
            assert result.rule == "back-off"
    # 1, 2, then 4 periods are sat out.
    assert started == [0, 2, 5, 10]
    result = judge(at(6), None, past[:3])
    assert "3 retrains in a row for the same evidence (loss +0.1000" in result.reason
    assert "version 4 failed its gates); 0 of 4 periods sat out" in result.reason


@pytest.mark.parametrize("outcome", ["refused", "taken back"])
def test_a_challenger_that_was_refused_or_taken_back_makes_the_next_one_wait(outcome: Outcome):
    assert judge(past=[tried(PERIODS[4], outcome)]).rule == "back-off"


def test_back_off_begins_anew_after_a_success_and_ignores_runs_that_died():
    failed = [tried(period) for period in PERIODS[:3]]
    assert judge(past=failed).rule == "back-off"
    assert judge(past=[*failed, tried(PERIODS[3], "serves")]).action == "start"
    assert judge(past=[*failed, tried(PERIODS[3], "void")]).rule == "back-off"
    assert judge(past=[tried(PERIODS[4], "void", challenger="")]).action == "start"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "back-off"),
        ({"drift_flagged": ("temp",)}, "back-off"),
        ({"drift_flagged": ("temp", "dewp")}, "back-off"),
        ({"loss": 0.71}, "back-off"),
        ({"loss": 0.73}, "allowed"),
        ({"harmed": False}, "back-off"),
        ({"harmed": False, "drift_flagged": ("temp", "dewp")}, "allowed"),
    ],
)
def test_evidence_of_something_else_ends_the_back_off(changes: dict[str, Any], expected: str):
    history = [*(flagged(period) for period in PERIODS[:5]), flagged(PERIODS[5], **changes)]
    assert judge(history=history, past=[tried(PERIODS[4])]).rule == expected


def test_harm_is_news_after_a_retrain_for_drift_alone():
    drift = Cause.of(flagged(PERIODS[4], harmed=False))
    assert judge(past=[tried(PERIODS[4], cause=drift)]).action == "start"


def test_a_challenger_that_waits_for_a_person_is_the_answer_to_the_same_evidence():
    past = [tried(PERIODS[0], "waits")]
    result = judge(past=past)
    assert (result.action, result.rule) == ("drop", "already handled")
    assert "the retrain after 2013-01-01 made version 4 for the same evidence" in result.reason
    assert "waits to be released" in result.reason
    worse = [*(flagged(period) for period in PERIODS[:5]), flagged(PERIODS[5], loss=0.9)]
    assert judge(history=worse, past=past).action == "start"


def test_rollbacks_know_neither_cooldown_nor_budget_nor_back_off():
    history = [flagged(DECISION.period, periods_since_release=1)]
    past = [tried(PERIODS[4], at=NOW)] * 9
    assert judge(replace(DECISION, action="rollback"), history, past).action == "start"


def test_a_decision_whose_reports_are_gone_is_an_error():
    with pytest.raises(DataError, match="the decision after 2013-06-01 was made from reports"):
        judge(history=[flagged(PERIODS[4])])


@given(
    action=st.sampled_from(["nothing", "alert", "retrain", "rollback"]),
    champion=st.sampled_from("34"),
    newest=st.sampled_from(PERIODS[4:7]),
    in_flight=st.none() | st.just("run-7"),
    handled=st.sampled_from([frozenset(), frozenset({"abc"})]),
    paused=st.sampled_from(["", "paused by ann"]),
    served=st.integers(1, 4),
    spent=st.integers(0, 6),
)
def test_a_run_starts_exactly_when_nothing_speaks_against_it(
    action: Action,
    champion: str,
    newest: str,
    in_flight: str | None,
    handled: frozenset[str],
    paused: str,
    served: int,
    spent: int,
):
    result = judge(
        replace(DECISION, action=action),
        [flagged(DECISION.period, periods_since_release=served)],
        [tried(PERIODS[0], "serves", at=NOW)] * spent,
        champion=champion,
        newest_period=newest,
        in_flight=in_flight,
        handled=handled,
        paused=paused,
    )
    worth = (
        action in ("retrain", "rollback")
        and champion == "3"
        and newest <= DECISION.period
        and not handled
    )
    within = action == "rollback" or (served > 2 and spent < 4)
    if not worth:
        assert result.action == "drop"
    elif in_flight or (paused and action == "retrain"):
        assert result.action == "wait"
    else:
        assert result.action == ("start" if within else "drop")
    assert result.run_key == "abc"
    assert result.held == (result.rule in ("paused", "cooldown", "budget"))


@given(alarms=st.lists(st.booleans(), min_size=1, max_size=60), cooldown=st.integers(0, 3))
def test_one_lasting_alarm_starts_few_retrains_however_long_it_lasts(
    alarms: list[bool], cooldown: int
):
    """Every challenger fails: n periods of one alarm start about log2(n) retrains."""
    days = [f"{NOW + timedelta(days=day):%Y-%m-%d}" for day in range(len(alarms))]
    history: list[PeriodEvidence] = []
    past: list[PastRetrain] = []
    for place, day in enumerate(days):
        history.append(flagged(day, periods_since_release=place + 1))
        if not alarms[place]:
            continue
        decision = replace(DECISION, period=day)
        limits = Limits(cooldown=cooldown, budget_per_month=None)
        if judge(decision, history, past, limits).action == "start":
            past = [*past, tried(day)]
    assert len(past) <= len(days).bit_length()
