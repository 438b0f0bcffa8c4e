from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.domain.dispatch import dispatch
from mlops_assets.domain.retraining import Action, Decision

DECISION = Decision("abc", "flight_delay", "2013-03-04", "3", "retrain", 26, ("harm: loss 0.62",))


def send(decision: Decision = DECISION, **changes: Any):
    world = {
        "champion": "3",
        "newest_decided_period": "2013-03-04",
        "in_flight": None,
        "handled": frozenset(),
    } | changes
    return dispatch(decision, **world)


def test_a_current_decision_starts_one_run_under_its_own_key_with_its_reason():
    result = send()
    assert (result.action, result.run_key) == ("start", "abc")
    assert result.reason == "retrain of version 3 after 2013-03-04: harm: loss 0.62"


def test_a_rollback_starts_a_run_too_and_alerts_do_not():
    assert send(replace(DECISION, action="rollback")).action == "start"
    assert send(replace(DECISION, action="alert")).action == "drop"
    assert send(replace(DECISION, action="nothing")).action == "drop"


def test_a_decision_that_was_started_before_is_dropped():
    assert send(handled=frozenset({"abc"})).action == "drop"


def test_a_decision_about_a_version_that_no_longer_serves_is_dropped():
    result = send(champion="4")
    assert result.action == "drop"
    assert "version 4 serves now" in result.reason


def test_a_decision_that_a_newer_period_superseded_is_dropped():
    result = send(newest_decided_period="2013-03-11")
    assert result.action == "drop"
    assert "2013-03-11" in result.reason


def test_while_a_run_is_at_work_a_decision_waits_and_names_it():
    result = send(in_flight="run-7")
    assert result.action == "wait"
    assert "run-7" in result.reason


def test_a_retrain_waits_for_the_canary_and_a_rollback_does_not():
    walking = "canary of version 4 against 3, at 10%"
    result = send(canary=walking)
    assert result.action == "wait"
    assert f"first the {walking}, has to end" in result.reason
    assert send(replace(DECISION, action="rollback"), canary=walking).action == "start"


@given(
    action=st.sampled_from(["nothing", "alert", "retrain", "rollback"]),
    champion=st.sampled_from("34"),
    newest=st.sampled_from(["2013-02-25", "2013-03-04", "2013-03-11"]),
    in_flight=st.none() | st.just("run-7"),
    handled=st.sampled_from([frozenset(), frozenset({"abc"})]),
)
def test_a_run_starts_exactly_when_nothing_speaks_against_it(
    action: Action, champion: str, newest: str, in_flight: str | None, handled: frozenset[str]
):
    result = send(
        replace(DECISION, action=action),
        champion=champion,
        newest_decided_period=newest,
        in_flight=in_flight,
        handled=handled,
    )
    worth = (
        action in ("retrain", "rollback")
        and champion == "3"
        and newest <= "2013-03-04"
        and not handled
    )
    expected = ("wait" if in_flight else "start") if worth else "drop"
    assert result.action == expected
