from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from mlops_assets.domain.history import choose_period, cut, ended, without_strays

MONDAY = "2026-01-05"


def times(start: str, every: str, count: int) -> pd.Series:
    return pd.Series(pd.date_range(start, periods=count, freq=every, tz="UTC"))


@pytest.mark.parametrize(
    ("every", "count", "chosen"),
    [
        ("10min", 365 * 144, "weekly"),
        ("1h", 2 * 8760, "monthly"),
        ("5min", 20 * 288, "daily"),
        ("1s", 20 * 3600, "hourly"),
        ("1D", 700, "monthly"),
        ("2h", 12 * 8766, "monthly"),
    ],
)
def test_the_period_gives_enough_periods_with_enough_rows(every, count, chosen):
    found = choose_period(times(MONDAY, every, count))
    assert found.history.calendar.every == chosen
    assert f"{chosen} periods of about" in found.reason


@pytest.mark.parametrize(("every", "chosen"), [("YS", "yearly"), ("QS", "quarterly")])
def test_a_survey_gets_periods_in_which_there_are_rows(every, chosen):
    waves = times("1990-01-01", every, 30).repeat(300)
    found = choose_period(waves)
    assert found.history.calendar.every == chosen
    assert found.history.empty == ()
    assert "shorter ones are mostly empty" in found.reason


@pytest.mark.parametrize("stray", ["1900-01-01", "2199-12-31"])
def test_times_that_stand_for_none_stretch_no_history(stray: str):
    usual = times(MONDAY, "1h", 2000)
    strays = pd.Series([pd.Timestamp(stray, tz="UTC")] * 12)
    every = pd.concat([usual, strays]).sort_values().reset_index(drop=True)
    assert list(without_strays(every)) == list(usual)
    assert list(without_strays(usual)) == list(usual)
    # Two stretches of a survey are no strays.
    both = pd.concat([usual, times("2020-01-06", "1h", 2000)]).sort_values().reset_index(drop=True)
    assert len(without_strays(both)) == 4000


def test_monthly_snapshots_are_no_weekly_history_of_gaps():
    assert choose_period(times("2020-01-01", "MS", 60)).history.calendar.every == "monthly"


def test_too_few_rows_for_any_period_are_told():
    assert "the best of few rows" in choose_period(times(MONDAY, "1D", 30)).reason


def test_rows_are_counted_by_period_and_gaps_are_seen():
    week = times(MONDAY, "1D", 28)
    found = cut(week[(week < "2026-01-12") | (week >= "2026-01-19")], "weekly")
    assert found.rows == {"2026-01-05": 7, "2026-01-12": 0, "2026-01-19": 7, "2026-01-26": 7}
    assert found.empty == ("2026-01-12",)
    assert found.typical == 7
    assert str(found.calendar.start) == MONDAY


def test_a_row_at_the_first_instant_of_a_period_belongs_to_it():
    found = cut(times(MONDAY, "7D", 2), "weekly")
    assert list(found.rows) == [MONDAY, "2026-01-12"]


def test_a_history_has_ended_when_nothing_came_for_several_periods():
    found = cut(times(MONDAY, "1D", 28), "weekly")
    assert not ended(found, datetime(2026, 2, 10, tzinfo=UTC))
    assert ended(found, datetime(2026, 2, 2, tzinfo=UTC) + timedelta(days=29))
