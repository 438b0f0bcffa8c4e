from datetime import UTC, date, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops_assets.assets.options import partitions
from mlops_assets.domain.periods import Calendar, Every

EVERY: tuple[Every, ...] = ("hourly", "daily", "weekly", "monthly", "quarterly", "yearly")
LENGTH = {"hourly": 1 / 24, "daily": 1, "weekly": 7, "monthly": 31, "quarterly": 92, "yearly": 366}
cadences = st.sampled_from(EVERY)
days = st.dates(date(1990, 1, 1), date(2060, 1, 1))
moments = st.datetimes(
    datetime(1990, 1, 1),
    datetime(2060, 1, 1),
    timezones=st.integers(-14, 14).map(lambda hours: timezone(timedelta(hours=hours))),
)
quick = settings(max_examples=60, deadline=None)


def later(start: datetime, calendar: Calendar, periods: float) -> datetime:
    return start + timedelta(days=periods * LENGTH[calendar.every])


@quick
@given(cadences, moments)
def test_a_moment_lies_in_the_bounds_of_its_own_period(every: Every, moment: datetime):
    calendar = Calendar(every, date(1990, 1, 1))
    bounds = calendar.bounds(calendar.key(moment))
    assert bounds.start <= moment < bounds.end
    assert calendar.floor(moment) == bounds.start
    assert calendar.floor(bounds.start) == bounds.start
    assert calendar.following(bounds.start) == bounds.end


@quick
@given(cadences, moments)
def test_the_last_moment_of_a_period_is_in_it_and_its_end_in_the_next(
    every: Every, moment: datetime
):
    calendar = Calendar(every, date(1990, 1, 1))
    key = calendar.key(moment)
    end = calendar.bounds(key).end
    assert calendar.key(end - timedelta(microseconds=1)) == key
    assert calendar.key(end) > key


@quick
@given(cadences, moments, moments)
def test_keys_sort_as_text_in_the_order_of_time(every: Every, one: datetime, other: datetime):
    calendar = Calendar(every, date(1990, 1, 1))
    keys = calendar.key(one), calendar.key(other)
    starts = calendar.floor(one), calendar.floor(other)
    assert (keys[0] < keys[1]) == (starts[0] < starts[1])
    assert (keys[0] == keys[1]) == (starts[0] == starts[1])


@quick
@given(cadences, days, st.floats(0, 30))
def test_closed_periods_touch_and_are_over(every: Every, start: date, length: float):
    calendar = Calendar(every, start)
    now = later(calendar.first, calendar, length)
    closed = calendar.closed(now)
    bounds = [calendar.bounds(key) for key in closed]
    assert list(closed) == sorted(set(closed))
    assert all(one.end == other.start for one, other in pairwise(bounds))
    if closed:
        assert bounds[0].start == calendar.first
        assert bounds[-1].end <= now < calendar.following(bounds[-1].end)
    else:
        assert now < calendar.following(calendar.first)


@quick
@given(cadences, days, st.integers(0, 40), st.floats(0, 50))
def test_periods_are_dagsters_partitions(every: Every, start: date, days: int, length: float):
    calendar = Calendar(every, start, start + timedelta(days=days) if days else None)
    now = later(calendar.first, calendar, length)
    assert partitions(calendar).get_partition_keys(current_time=now) == list(calendar.closed(now))


@quick
@given(cadences, moments)
def test_bounds_are_dagsters_windows(every: Every, moment: datetime):
    calendar = Calendar(every, date(1990, 1, 1))
    key = calendar.key(moment)
    window = partitions(calendar).time_window_for_partition_key(key)
    assert (window.start, window.end) == (calendar.bounds(key).start, calendar.bounds(key).end)


@quick
@given(cadences, days, st.integers(1, 40))
def test_a_history_that_has_ended_holds_its_last_day_and_no_more(
    every: Every, start: date, length: int
):
    end = start + timedelta(days=length)
    calendar = Calendar(every, start, end)
    closed = calendar.closed(datetime(2100, 1, 1, tzinfo=UTC))
    last = datetime(end.year, end.month, end.day, tzinfo=UTC) - timedelta(microseconds=1)
    assert closed[-1] == calendar.key(last)
    assert calendar.bounds(closed[-1]).end == calendar.stop


def test_weeks_begin_on_monday_and_months_on_the_first():
    moment = datetime(2024, 2, 29, 23, 30, tzinfo=UTC)
    assert Calendar("weekly", date(2024, 1, 3)).first == datetime(2024, 1, 1, tzinfo=UTC)
    assert Calendar("weekly", date(2024, 1, 1)).key(moment) == "2024-02-26"
    assert Calendar("monthly", date(2024, 1, 1)).key(moment) == "2024-02-01"
    assert Calendar("daily", date(2024, 1, 1)).key(moment) == "2024-02-29"
    assert Calendar("hourly", date(2024, 1, 1)).key(moment) == "2024-02-29-23:00"


def test_a_moment_elsewhere_belongs_to_its_utc_day():
    moment = datetime(2024, 1, 1, 1, 0, tzinfo=timezone(timedelta(hours=2)))
    assert Calendar("daily", date(2023, 1, 1)).key(moment) == "2023-12-31"


def test_between_takes_the_periods_that_begin_inside():
    calendar = Calendar("daily", date(2024, 1, 1), date(2024, 1, 5))
    start, end = datetime(2024, 1, 2, tzinfo=UTC), datetime(2024, 1, 4, tzinfo=UTC)
    assert calendar.between(start, end) == ("2024-01-02", "2024-01-03")
    assert calendar.between(start, datetime(2030, 1, 1, tzinfo=UTC))[-1] == "2024-01-04"
    assert calendar.between(end, start) == ()


def test_gaps_are_stretches_between_the_first_and_the_last():
    calendar = Calendar("daily", date(2024, 1, 1))
    days = [f"2024-01-{day:02}" for day in (2, 4, 5, 9)]
    assert calendar.gaps(days) == (
        ("2024-01-03", "2024-01-03", 1),
        ("2024-01-06", "2024-01-08", 3),
    )
    assert calendar.told_gaps(days) == [
        "2024-01-03 has no rows",
        "2024-01-06 … 2024-01-08 have no rows (3 periods)",
    ]
    assert calendar.gaps(days[1:3]) == calendar.gaps(days[:1]) == calendar.gaps([]) == ()


@pytest.mark.parametrize("key", ["2024-13-01", "today", "2024-01-01-05:00", ""])
def test_a_key_of_another_cadence_is_refused(key: str):
    with pytest.raises(ValueError, match=r"does not match|unconverted"):
        Calendar("daily", date(2024, 1, 1)).bounds(key)


@quick
@given(cadences, moments, st.integers(0, 30))
def test_as_many_periods_before_is_the_way_back(every: Every, moment: datetime, count: int):
    calendar = Calendar(every, date(1990, 1, 1))
    start = calendar.floor(moment)
    found = calendar.before(start, count)
    for _ in range(count):
        found = calendar.following(found)
    assert found == start


def test_a_duration_takes_the_nearest_number_of_periods():
    weekly = Calendar("weekly", date(2026, 1, 5))
    taken = {days: weekly.nearest(timedelta(days=days)) for days in (0, 1, 3, 4, 7, 10, 11)}
    assert taken == {0: 0, 1: 0, 3: 0, 4: 1, 7: 1, 10: 1, 11: 2}
