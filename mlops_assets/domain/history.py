"""How a table lies in time: which period suits it, where its gaps are."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import pandas as pd

from mlops_assets.domain.periods import Bounds, Calendar, Every

# What monitoring judges a period by, and what a first training and some reports need.
WANTED_ROWS = 200
WANTED_PERIODS = 16
LEAST_PERIODS = 10
ORDER: tuple[Every, ...] = ("weekly", "monthly", "daily", "hourly")
LENGTHS: Mapping[Every, timedelta] = {
    "hourly": timedelta(hours=1),
    "daily": timedelta(days=1),
    "weekly": timedelta(days=7),
    "monthly": timedelta(days=31),
}


@dataclass(frozen=True)
class History:
    """Rows per period, from the first to the last that has any; `calendar` cuts them."""

    calendar: Calendar
    rows: Mapping[str, int] = field(default_factory=dict)

    @property
    def last(self) -> Bounds:
        """The last period that has rows; IndexError if there is none."""
        return self.calendar.bounds(list(self.rows)[-1])

    @property
    def empty(self) -> tuple[str, ...]:
        """Periods without a row between the first and the last one."""
        return tuple(period for period, count in self.rows.items() if not count)

    @property
    def typical(self) -> int:
        """Median rows of the periods that have any."""
        found = sorted(count for count in self.rows.values() if count)
        return found[len(found) // 2] if found else 0


@dataclass(frozen=True)
class PeriodChoice:
    """The chosen length with the history cut by it, and why."""

    history: History
    reason: str


def cut(times: pd.Series, every: Every, start: date | None = None) -> History:
    """Count the rows of each period; `times` are UTC, without missing values."""
    if not len(times):
        return History(Calendar(every, start or date(1970, 1, 1)))
    first, last = times.min().to_pydatetime(), times.max().to_pydatetime()
    begin = Calendar(every, first.date()).floor(first)
    calendar = Calendar(every, start or begin.date())
    counts = times.dt.floor("h").value_counts()
    rows = dict.fromkeys(calendar.between(calendar.first, last + timedelta(microseconds=1)), 0)
    for moment, count in counts.items():
        key = calendar.key(pd.Timestamp(str(moment)).to_pydatetime())
        if key in rows:
            rows[key] += int(count)
    while rows and not rows[next(iter(rows))]:
        del rows[next(iter(rows))]
    return History(calendar, rows)


def choose_period(times: pd.Series) -> PeriodChoice:
    """The longest usual period that leaves enough periods, and enough rows in each."""
    span = times.max() - times.min()
    cuts = {every: cut(times, every) for every in ORDER if span / LENGTHS[every] < 20_000}
    for every, history in cuts.items():
        if len(history.rows) >= WANTED_PERIODS and history.typical >= WANTED_ROWS:
            return PeriodChoice(history, _told(every, history))
    enough = {e: h for e, h in cuts.items() if len(h.rows) >= LEAST_PERIODS}
    if enough:
        every = max(enough, key=lambda e: enough[e].typical)
    else:
        every = max(cuts, key=lambda e: len(cuts[e].rows))
    return PeriodChoice(cuts[every], f"{_told(every, cuts[every])}; the best of few rows")


def ended(history: History, now: datetime) -> bool:
    """Whether the history stopped so long before `now` that it is a finished one."""
    if not history.rows:
        return False
    last = history.last
    return now.astimezone(UTC) - last.end > max(4 * (last.end - last.start), timedelta(days=7))


def _told(every: Every, history: History) -> str:
    count = len(history.rows)
    return f"{count} {every} periods of about {history.typical:,} rows"
