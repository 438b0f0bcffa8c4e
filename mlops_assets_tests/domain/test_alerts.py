from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.domain.alerts import (
    REASON_LENGTH,
    Alert,
    Delivery,
    Resolution,
    Signal,
    alert_id,
    body_of,
    due,
    one_line,
    reconcile,
    title_of,
)

SIGNAL = Signal("gates", "4", "warning", "challenger 4 failed its gates", "failed: slices", "")
ALERT = Alert(
    id=alert_id("m", "gates", 0),
    model="m",
    cause="gates",
    occasion="4",
    severity="warning",
    title="challenger 4 failed its gates",
    reason="failed: slices_hold",
    link="http://127.0.0.1:3000/assets/m/challenger",
    at="2026-11-25T21:00:59+00:00",
    loop_time="2013-07-30T00:00:00+00:00",
)
ENDED = replace(ALERT, resolved_at="2026-11-25T22:00:00+00:00", resolution="version 5 passed")


def test_a_signal_that_lasts_is_one_alert_and_one_that_is_gone_resolves_it():
    assert reconcile("m", [], [SIGNAL]).opened == (SIGNAL,)
    again = replace(SIGNAL, occasion="5")
    assert reconcile("m", [ALERT], [again]) == reconcile("m", [], [])
    gone = reconcile("m", [ALERT], [])
    assert gone.resolved == (Resolution(ALERT.id, "it does not hold any more"),)
    assert reconcile("m", [ENDED], []).resolved == ()


def test_a_kind_that_was_not_looked_at_stays_as_it_is():
    assert reconcile("m", [ALERT], [], unknown=("gates",)).resolved == ()


def test_what_is_over_before_it_was_told_is_told_once():
    over = replace(SIGNAL, over="version 5 serves now")
    first = reconcile("m", [], [over])
    end = Resolution(ALERT.id, "version 5 serves now", "4")
    assert (first.opened, first.resolved) == ((over,), (end,))
    assert reconcile("m", [ENDED], [over]) == reconcile("m", [], [])
    assert reconcile("m", [ALERT], [over]).resolved == (end,)
    # The end of a later occasion of the same alert is not told twice either.
    later = replace(over, occasion="6")
    (end,) = reconcile("m", [ALERT], [later]).resolved
    told = replace(ENDED, last_occasion=end.occasion)
    assert reconcile("m", [told], [later]) == reconcile("m", [], [])


def test_a_cause_that_comes_back_is_another_alert():
    assert reconcile("m", [ENDED], [SIGNAL]).opened == (SIGNAL,)
    assert alert_id("m", "gates", 1) != ALERT.id


def test_a_channel_gets_each_message_until_it_arrives():
    assert due([ALERT], "console") == [(ALERT, "opened")]
    failed = replace(ALERT, deliveries=(Delivery("opened", "console", False),))
    assert due([failed], "console") == [(failed, "opened")]
    told = replace(ALERT, deliveries=(Delivery("opened", "console", True),))
    assert due([told], "console") == []
    assert due([told], "json 1234") == [(told, "opened")]
    ended = replace(ENDED, deliveries=told.deliveries)
    assert due([ended], "console") == [(ended, "resolved")]
    both = (*told.deliveries, Delivery("resolved", "console", True))
    assert due([replace(ended, deliveries=both)], "console") == []


def test_a_channel_that_was_down_hears_of_the_end_and_a_new_one_hears_no_history():
    assert due([ENDED], "json 1234") == []
    missed = replace(ENDED, deliveries=(Delivery("opened", "json 1234", False),))
    assert due([missed], "json 1234") == [(missed, "resolved")]


def test_a_message_says_what_why_since_when_where_and_which():
    assert title_of(ALERT, "opened") == "[m] challenger 4 failed its gates"
    assert body_of(ALERT, "opened").splitlines() == [
        "failed: slices_hold",
        "since 2026-11-25 21:00 UTC (loop time 2013-07-30 00:00)",
        "http://127.0.0.1:3000/assets/m/challenger",
        f"alert {ALERT.id}, opened",
    ]
    assert title_of(ENDED, "resolved") == "[m] resolved: challenger 4 failed its gates"
    assert body_of(replace(ENDED, link="", loop_time=ENDED.at), "resolved").splitlines() == [
        "version 5 passed",
        "began 2026-11-25 21:00 UTC: failed: slices_hold",
        f"alert {ALERT.id}, resolved",
    ]


@given(st.text())
def test_any_text_becomes_one_printable_line_of_bounded_length(text: str):
    line = one_line(text)
    assert len(line) <= REASON_LENGTH
    assert line.isprintable()
    assert one_line(line) == line


causes = st.sampled_from(["gates", "alert:1", "retrain:1", "run:close:p"])
signals = st.lists(
    st.builds(
        Signal,
        cause=causes,
        occasion=st.sampled_from("ab"),
        severity=st.just("info"),
        title=st.just("t"),
        reason=st.just("r"),
        link=st.just(""),
        over=st.sampled_from(["", "", "done"]),
    ),
    max_size=4,
    unique_by=lambda signal: signal.cause,
)


@given(st.lists(signals, max_size=12))
def test_whatever_happens_a_cause_has_one_open_alert_at_most_while_it_holds(
    ticks: list[list[Signal]],
):
    alerts: list[Alert] = []
    for tick in ticks:
        changes = reconcile("m", alerts, tick)
        for signal in changes.opened:
            number = sum(alert.cause == signal.cause for alert in alerts)
            identity = alert_id("m", signal.cause, number)
            fresh = replace(ALERT, id=identity, cause=signal.cause, occasion=signal.occasion)
            alerts.append(fresh)
        ends = {end.alert: end for end in changes.resolved}
        assert len(ends) == len(changes.resolved)
        alerts = [
            replace(alert, resolved_at="now", last_occasion=ends[alert.id].occasion)
            if alert.id in ends
            else alert
            for alert in alerts
        ]
        holding = {signal.cause for signal in tick if not signal.over}
        assert sorted(alert.cause for alert in alerts if alert.is_open) == sorted(holding)
        assert len({alert.id for alert in alerts}) == len(alerts)
        # Said again at once, it is no news.
        assert reconcile("m", alerts, tick) == reconcile("m", [], [])
