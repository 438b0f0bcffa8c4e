from dataclasses import replace
from typing import Any

from mlops_assets.domain import alert_signals as signals
from mlops_assets.domain.retraining import Decision

DECISION = Decision("abc", "m", "2013-07-22", "3", "retrain", None, ("harm: loss 0.6",))


def decided(action: str = "retrain", champion: str = "3", **changes: Any):
    about = {"started": False, "held": "", "link": "L"} | changes
    return signals.of_decision(replace(DECISION, action=action), champion, **about)


def test_a_decision_to_do_nothing_is_none_and_an_alert_is_told_at_once():
    assert decided("nothing") is None
    assert signals.of_decision(None, "3", started=False, held="", link="") is None
    found = decided("alert")
    assert (found.cause, found.severity, found.over) == ("alert:3", "warning", "")
    assert (found.title, found.reason) == ("look at version 3", "after 2013-07-22: harm: loss 0.6")
    assert (found.kind, found.occasion, found.link) == ("alert", "abc", "L")
    harm = decided("alert", harmed=True)
    assert (harm.cause, harm.title) == ("harm:3", "version 3 does harm")


def test_a_retrain_is_told_when_it_was_started_or_held_back_and_not_before():
    assert decided() is None
    started = decided(started=True)
    assert (started.cause, started.severity) == ("retrain:3", "info")
    held = decided(held="retrain of version 3 after 2013-07-22: budget spent")
    assert (held.cause, held.severity) == ("held:3", "warning")
    assert "budget spent" in held.reason
    assert decided("rollback", started=True).severity == "failure"


def test_a_decision_about_a_version_that_was_replaced_is_over():
    assert decided(champion="4", started=True).over == "version 4 serves now"


def test_failed_gates_are_named():
    assert signals.of_gates("4", (), refused=False, link="") is None
    found = signals.of_gates("4", ("calibrated", "slices_hold"), refused=True, link="")
    assert found.title == "challenger 4 failed its gates"
    assert found.reason == "failed: calibrated, slices_hold; the champion goes on serving"
    assert signals.of_gates("5", (), refused=True, link="").cause == found.cause


def test_an_incident_never_quotes_what_the_model_answered():
    taken = signals.Taken("i1", "3", "errors", "5 of 9 requests raised an error", "2")
    found = signals.of_incident(taken, "L")
    assert found.reason == "errors: 5 of 9 requests raised an error; version 2 serves again"
    stuck = replace(taken, kind="constant outputs", reasons="got the same outputs (0.731)")
    assert "0.731" not in signals.of_incident(stuck, "L").reason
    assert signals.of_incident(replace(taken, over="done"), "L").over == "done"


def test_a_failed_run_is_told_by_step_and_class_of_error():
    run = signals.FailedRun("r1", "close", "2013-07-22", "m__raw_data", "SourceError")
    found = signals.of_run(run, "L")
    assert (found.cause, found.occasion) == ("run:close:2013-07-22", "r1")
    assert found.title == "close of 2013-07-22 failed"
    assert found.reason == "step m__raw_data raised SourceError"
    whole = replace(run, job="train", period="", step="", error="its process was lost")
    assert signals.of_run(whole, "L").cause == "run:train"
    assert signals.of_run(whole, "L").reason == "the run ended: its process was lost"


def test_data_is_stale_when_more_periods_are_missing_than_allowed_or_their_end_is():
    def stale(missing: list[str], newest: str = "d3", old_rows: bool = False):
        return signals.of_staleness(newest, missing, 1, old_rows=old_rows, link="")

    assert stale(["d4", "d5"], newest="") is None
    assert stale([]) is None
    assert stale(["d4"]) is None
    found = stale(["d4", "d5"])
    assert found.reason == "2 periods after d3 are over and not ingested, up to d5 (limit 1)"
    assert "freshness of raw_data failed" in stale([], old_rows=True).reason
