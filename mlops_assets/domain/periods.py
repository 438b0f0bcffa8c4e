"""Periods: how a model's history is cut, and which of them are over.

A period's key is the same text as the key of its Dagster partition. All times are in UTC; weeks
begin on Monday.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from typing import Literal

Every = Literal["hourly", "daily", "weekly", "monthly", "quarterly", "yearly"]
KEY_FORMAT = {
    "hourly": "%Y-%m-%d-%H:%M",
    "daily": "%Y-%m-%d",
    "weekly": "%Y-%m-%d",
    "monthly": "%Y-%m-%d",
    "quarterly": "%Y-%m-%d",
    "yearly": "%Y-%m-%d",
}


# When a period of each length begins.
CRON = {
    "hourly": "0 * * * *",
    "daily": "0 0 * * *",
    "weekly": "0 0 * * 1",
    "monthly": "0 0 1 * *",
    "quarterly": "0 0 1 1,4,7,10 *",
    "yearly": "0 0 1 1 *",
}

# The length of the shortest period of each kind.
SHORTEST: dict[Every, timedelta] = {
    "hourly": timedelta(hours=1),
    "daily": timedelta(days=1),
    "weekly": timedelta(days=7),
    "monthly": timedelta(days=28),
    "quarterly": timedelta(days=90),
    "yearly": timedelta(days=365),
}

# Periods that begin with the first of a month, and how many months they last.
MONTHS: dict[Every, int] = {"monthly": 1, "quarterly": 3, "yearly": 12}


@dataclass(frozen=True)
class Bounds:
    """A half-open stretch of time, [start, end)."""

    start: datetime
    end: datetime


@dataclass(frozen=True)
class Calendar:
    """The periods of one model, from `start` on, and before `end` where the history has ended."""

    every: Every
    start: date
    end: date | None = None

    def floor(self, moment: datetime) -> datetime:
        """The beginning of the period that holds `moment`."""
        moment = moment.astimezone(UTC)
        if self.every == "hourly":
            return moment.replace(minute=0, second=0, microsecond=0)
        midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
        if self.every == "daily":
            return midnight
        if self.every == "weekly":
            return midnight - timedelta(days=midnight.weekday())
        months = MONTHS[self.every]
        return midnight.replace(month=(midnight.month - 1) // months * months + 1, day=1)

    def following(self, start: datetime) -> datetime:
        """The beginning of the period after the one that begins at `start`."""
        if self.every in MONTHS:
            years, month = divmod(start.month - 1 + MONTHS[self.every], 12)
            return start.replace(year=start.year + years, month=month + 1, day=1)
        return start + SHORTEST[self.every]

    def before(self, start: datetime, periods: int) -> datetime:
        """The beginning of the period that is so many before the one that begins at `start`."""
        for _ in range(periods):
            start = self.floor(start - timedelta(seconds=1))
        return start

    def nearest(self, duration: timedelta) -> int:
        """How many periods a duration takes, to the nearest."""
        return round(duration / (self.following(self.first) - self.first))

    @property
    def first(self) -> datetime:
        """The beginning of the first period."""
        return self.floor(datetime(self.start.year, self.start.month, self.start.day, tzinfo=UTC))

    @property
    def stop(self) -> datetime | None:
        """The end of the last period, for a history that has ended."""
        if self.end is None:
            return None
        last = datetime(self.end.year, self.end.month, self.end.day, tzinfo=UTC)
        start = self.floor(last)
        return start if start == last else self.following(start)

    def key(self, moment: datetime) -> str:
        """The key of the period that holds `moment`."""
        return self.floor(moment).strftime(KEY_FORMAT[self.every])

    def bounds(self, key: str) -> Bounds:
        """The stretch of time of the period with this key."""
        start = datetime.strptime(key, KEY_FORMAT[self.every]).replace(tzinfo=UTC)
        return Bounds(start, self.following(start))

    def closed(self, now: datetime) -> tuple[str, ...]:
        """Keys of all periods that are over at `now`, oldest first."""
        return tuple(key for key, bounds in self._walk(now) if bounds.end <= now)

    def between(self, start: datetime, end: datetime) -> tuple[str, ...]:
        """Keys of the periods that begin in [start, end), oldest first."""
        return tuple(key for key, bounds in self._walk(end) if start <= bounds.start < end)

    def covering(self, start: datetime, end: datetime) -> tuple[str, ...]:
        """Keys of the periods that overlap [start, end), oldest first."""
        found = []
        at = max(self.floor(start), self.first)
        limit = end if self.stop is None else min(end, self.stop)
        while at < limit:
            found.append(at.strftime(KEY_FORMAT[self.every]))
            at = self.following(at)
        return tuple(found)

    def gaps(self, keys: Collection[str]) -> tuple[tuple[str, str, int], ...]:
        """Stretches between the first and the last of `keys` that none of them covers.

        Each as its first key, its last key and its number of periods, oldest first.
        """
        if not keys:
            return ()
        known, found = set(keys), []
        walk = self.between(self.bounds(min(known)).start, self.bounds(max(known)).end)
        for is_known, some in groupby(walk, known.__contains__):
            stretch = list(some)
            if not is_known:
                found.append((stretch[0], stretch[-1], len(stretch)))
        return tuple(found)

    def told_gaps(self, keys: Collection[str]) -> list[str]:
        """A sentence for each of the `gaps`, as people read it."""
        return [
            f"{first} has no rows"
            if count == 1
            else f"{first} … {last} have no rows ({count} periods)"
            for first, last, count in self.gaps(keys)
        ]

    def _walk(self, until: datetime) -> Iterator[tuple[str, Bounds]]:
        start = self.first
        limit = until if self.stop is None else min(until, self.stop)
        while start < limit:
            yield start.strftime(KEY_FORMAT[self.every]), Bounds(start, self.following(start))
            start = self.following(start)
