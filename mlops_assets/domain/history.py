"""How a table lies in time: which period suits it, where its gaps are."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd

from mlops_assets.domain.periods import Bounds, Calendar, Every

# What monitoring judges a period by, and what a first training and some reports need.
WANTED_ROWS = 200
WANTED_PERIODS = 16
LEAST_PERIODS = 10
# So many rows at an end of the history may have times that stand for none.
STRAY_SHARE = 0.01
LEAST_FAR = timedelta(days=365)
# More than these only take time and room: ten years of weeks.
MOST_PERIODS = 520
ORDER: tuple[Every, ...] = ("weekly", "monthly", "daily", "hourly")
# Only where most months are empty: who waits a year sees harm a year late.
SPARSE_ORDER: tuple[Every, ...] = ("quarterly", "yearly")
LENGTHS: Mapping[Every, timedelta] = {
    "hourly": timedelta(hours=1),
    "daily": timedelta(days=1),
    "weekly": timedelta(days=7),
    "monthly": timedelta(days=31),
    "quarterly": timedelta(days=92),
    "yearly": timedelta(days=366),
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
    def is_sparse(self) -> bool:
        """Whether most periods have no row."""
        return len(self.empty) > len(self.rows) / 2

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


def without_strays(times: pd.Series) -> pd.Series:
    """The times without a few at an end that lie further away than all others reach.

    Such times, of 1900 or 2199, stand for a missing one. `times` are in order.
    """
    few = int(len(times) * STRAY_SHARE)
    body = times.iloc[few : len(times) - few]
    if not few or body.iloc[-1] == body.iloc[0]:
        return times
    far = max(body.iloc[-1] - body.iloc[0], LEAST_FAR)
    steps = times.diff()
    early = np.flatnonzero(steps.iloc[1 : few + 1] > far)
    late = np.flatnonzero(steps.iloc[len(times) - few :] > far)
    first = int(early[-1]) + 1 if len(early) else 0
    last = len(times) - few + int(late[0]) if len(late) else len(times)
    return times.iloc[first:last]


def choose_period(times: pd.Series) -> PeriodChoice:
    """The longest usual period that leaves enough periods, and enough rows in each.

    Of lengths that leave most periods without a row, such as weeks of a yearly survey, none is
    chosen.
    """
    span = times.max() - times.min()
    cuts = {every: cut(times, every) for every in ORDER if span / LENGTHS[every] < 20_000}
    if cuts["monthly"].is_sparse:
        longer = [cut(times, every) for every in SPARSE_ORDER]
        found = next((history for history in longer if not history.is_sparse), longer[-1])
        return PeriodChoice(found, f"{_told(found)}; shorter ones are mostly empty")
    dense = [history for history in cuts.values() if not history.is_sparse]
    for history in dense:
        enough = WANTED_PERIODS <= len(history.rows) <= MOST_PERIODS
        if enough and history.typical >= WANTED_ROWS:
            return PeriodChoice(history, _told(history))
    able = [history for history in dense if len(history.rows) >= LEAST_PERIODS]
    if able:
        found = max(able, key=lambda history: history.typical)
    else:
        found = max(dense, key=lambda history: len(history.rows))
    return PeriodChoice(found, f"{_told(found)}; the best of few rows")


def ended(history: History, now: datetime) -> bool:
    """Whether the history stopped so long before `now` that it is a finished one."""
    if not history.rows:
        return False
    last = history.last
    return now.astimezone(UTC) - last.end > max(4 * (last.end - last.start), timedelta(days=7))


def _told(history: History) -> str:
    count, every = len(history.rows), history.calendar.every
    return f"{count} {every} periods of about {history.typical:,} rows"
