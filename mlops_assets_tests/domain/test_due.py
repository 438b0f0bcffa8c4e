from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.domain.due import Due, Work, due
from mlops_assets.domain.periods import Calendar

CALENDAR = Calendar("daily", date(2026, 1, 1))
START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = [f"2026-01-{day:02}" for day in range(1, 32)]
subsets = st.sets(st.sampled_from(DAYS[:20]))
moments = st.integers(0, 20 * 24).map(lambda hours: START + timedelta(hours=hours))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def ask(now: str, **facts: Any) -> tuple[Due, ...]:
    """With a day's wait, and a source that is always up to date."""
    known: dict[str, Any] = {
        "wait": timedelta(days=1),
        "ingested": (),
        "closed": (),
        "serving_since": None,
        "newest_row": at(now),
    }
    return due(CALENDAR, at(now), **(known | facts))


def periods(found: Sequence[Due], work: Work) -> list[str]:
    """All periods that are asked for, in the order of the requests."""
    return [
        day for part in found if part.work == work for day in DAYS if part.first <= day <= part.last
    ]


def test_a_backlog_is_ingested_in_one_go():
    (found,) = ask("2026-01-05T12:00")
    assert (found.work, found.first, found.last) == ("ingest", DAYS[0], DAYS[3])
    assert found.run_key == "ingest:2026-01-01:2026-01-04"
    assert found.reason == "4 periods are over and not ingested"


def test_a_period_that_is_not_over_waits():
    assert ask("2026-01-01T23:59") == ()
    assert [part.last for part in ask("2026-01-02")] == [DAYS[0]]


def test_periods_on_both_sides_of_a_known_one_are_two_requests():
    found = ask("2026-01-05", ingested={DAYS[1]})
    assert [(part.first, part.last) for part in found] == [
        (DAYS[0], DAYS[0]),
        (DAYS[2], DAYS[3]),
    ]


def test_a_period_without_data_waits_for_it():
    assert ask("2026-01-03", newest_row=None) == ()
    found = ask("2026-01-04", newest_row=at("2026-01-02T05:00"))
    assert periods(found, "ingest") == DAYS[:2]


def test_labels_get_their_time_before_a_period_is_closed():
    facts: dict[str, Any] = {"serving_since": at("2026-01-01T12:00"), "ingested": {DAYS[0]}}
    assert periods(ask("2026-01-02T23:59", **facts), "close") == []
    found = ask("2026-01-03", **(facts | {"ingested": DAYS[:2], "watched": DAYS[:2]}))[0]
    assert (found.work, found.first, found.last) == ("close", DAYS[0], DAYS[0])
    assert found.reason == "2026-01-01 ended 2026-01-02 00:00, labels have matured"


def test_a_period_that_waits_for_its_labels_is_watched_once():
    facts: dict[str, Any] = {"serving_since": at("2026-01-01T12:00"), "ingested": DAYS[:2]}
    (found,) = ask("2026-01-02T10:00", **facts)
    assert (found.work, found.first, found.last) == ("watch", DAYS[0], DAYS[0])
    assert found.reason == "2026-01-01 waits for its labels until 01-03 00:00"
    assert found.run_key == "watch:2026-01-01:2026-01-01"
    assert ask("2026-01-02T10:00", **facts, watched={DAYS[0]}) == ()
    assert ask("2026-01-02T10:00", **facts, failed={"watch": {DAYS[0]}}) == ()
    # Whose labels are there at once, or whose time has come, is closed without it.
    (found,) = ask("2026-01-02T10:00", **facts, wait=timedelta(0))
    assert found.work == "close"


def test_a_period_before_the_first_release_is_never_closed():
    found = ask("2026-01-10", serving_since=at("2026-01-04"), ingested=DAYS[:9])
    assert periods(found, "close") == DAYS[3:8]


def test_a_period_whose_run_failed_holds_up_no_other():
    found = ask("2026-01-05", failed={"ingest": {DAYS[1]}})
    assert periods(found, "ingest") == [DAYS[0], *DAYS[2:4]]
    facts: dict[str, Any] = {"serving_since": START, "ingested": DAYS[:9]}
    found = ask("2026-01-06", **facts, failed={"close": {DAYS[0]}})
    assert periods(found, "close") == DAYS[1:4]


def test_a_failed_range_is_taken_apart():
    found = ask("2026-01-06", alone=DAYS[1:3])
    assert [(part.first, part.last) for part in found] == [
        (DAYS[0], DAYS[0]),
        (DAYS[1], DAYS[1]),
        (DAYS[2], DAYS[2]),
        (DAYS[3], DAYS[4]),
    ]


@given(
    now=moments,
    newest=st.none() | moments,
    since=st.none() | moments,
    hours=st.integers(0, 72),
    ingested=subsets,
    closed=subsets,
    failed_ingest=subsets,
    failed_close=subsets,
    alone=subsets,
    watched=subsets,
)
def test_every_period_is_asked_for_exactly_when_it_should_be(
    now: datetime,
    newest: datetime | None,
    since: datetime | None,
    hours: int,
    ingested: set[str],
    closed: set[str],
    failed_ingest: set[str],
    failed_close: set[str],
    alone: set[str],
    watched: set[str],
):
    wait = timedelta(hours=hours)
    found = due(
        CALENDAR,
        now,
        wait=wait,
        ingested=ingested,
        closed=closed,
        serving_since=since,
        newest_row=newest,
        failed={"ingest": failed_ingest, "close": failed_close},
        alone=alone,
        watched=watched,
    )
    to_close, to_ingest, to_watch = [], [], []
    for place, day in enumerate(DAYS):
        begin = START + timedelta(days=place)
        end = begin + timedelta(days=1)
        if end > now or newest is None or begin > newest:
            continue
        served = since is not None and end > since
        if served and end + wait <= now and day not in closed | failed_close:
            to_close.append(day)
        elif day not in ingested | failed_ingest:
            to_ingest.append(day)
        if served and end + wait > now and day not in closed | watched:
            to_watch.append(day)
    assert periods(found, "watch") == to_watch
    assert periods(found, "close") == to_close
    assert periods(found, "ingest") == to_ingest
    assert len({part.run_key for part in found}) == len(found)
    for part in found:
        if part.first != part.last:
            assert part.work == "ingest"
            assert not alone & {day for day in DAYS if part.first <= day <= part.last}


@given(now=moments, ingested=subsets)
def test_doing_what_is_due_leaves_nothing_to_do(now: datetime, ingested: set[str]):
    facts: dict[str, Any] = {
        "wait": timedelta(days=2),
        "serving_since": START + timedelta(days=5),
        "newest_row": now,
    }
    found = due(CALENDAR, now, ingested=ingested, closed=(), **facts)
    closed = periods(found, "close")
    done = {*ingested, *periods(found, "ingest"), *closed}
    watched = periods(found, "watch")
    assert due(CALENDAR, now, ingested=done, closed=closed, watched=watched, **facts) == ()
