"""Which periods want work now: newly over, waiting for labels, or old enough to be judged."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from mlops_assets.domain.periods import Calendar
from mlops_assets.domain.wording import counted

Work = Literal["ingest", "watch", "close"]


@dataclass(frozen=True)
class Due:
    """Run `work` on the periods from `first` to `last`, for this reason."""

    work: Work
    first: str
    last: str
    reason: str

    @property
    def run_key(self) -> str:
        """The same work is started once."""
        return f"{self.work}:{self.first}:{self.last}"


def due(
    calendar: Calendar,
    now: datetime,
    *,
    wait: timedelta,
    ingested: Collection[str],
    closed: Collection[str],
    serving_since: datetime | None,
    newest_row: datetime | None,
    failed: Mapping[Work, Collection[str]] | None = None,
    alone: Collection[str] = (),
    watched: Collection[str] = (),
) -> tuple[Due, ...]:
    """What to do at `now`, oldest first.

    A period in `failed` was worked on by a run of its own, which failed: it waits for a person and
    holds up no other. Periods in `alone` are ingested one by one, because a run over several of
    them failed.

    Periods that begin after the source's `newest_row` wait for their data.

    Periods that are over and not `ingested` are ingested in one go. A period that began after a
    version was serving is closed (labels, reports, decision) once `wait` has passed since its
    end; closing ingests too, so a period that is due for both is closed only. Until then such a
    period is watched once (drift, expected quality), if it was not `watched` before.
    """
    given_up = failed or {}

    def left(work: Work, periods: Sequence[str], done: Collection[str]) -> list[str]:
        return [one for one in periods if one not in done and one not in given_up.get(work, ())]

    over = begun(calendar, now, newest_row)
    served = [
        period
        for period in over
        if serving_since is not None and calendar.bounds(period).end > serving_since
    ]
    matured = {period for period in served if calendar.bounds(period).end + wait <= now}
    to_close = left("close", [period for period in served if period in matured], closed)
    waiting = [period for period in served if period not in matured]
    to_watch = left("watch", waiting, {*watched, *closed})
    to_ingest = left("ingest", over, {*ingested, *to_close})
    return (
        *(_ingest(stretch) for stretch in _runs(over, to_ingest, alone)),
        *(_close(period, calendar) for period in to_close),
        *(_watch(period, calendar, wait) for period in to_watch),
    )


def _ingest(periods: Sequence[str]) -> Due:
    are = "is" if len(periods) == 1 else "are"
    reason = f"{counted(len(periods))} {are} over and not ingested"
    return Due("ingest", periods[0], periods[-1], reason)


def _close(period: str, calendar: Calendar) -> Due:
    ended = calendar.bounds(period).end
    reason = f"{period} ended {ended:%Y-%m-%d %H:%M}, labels have matured"
    return Due("close", period, period, reason)


def _watch(period: str, calendar: Calendar, wait: timedelta) -> Due:
    until = calendar.bounds(period).end + wait
    reason = f"{period} waits for its labels until {until:%m-%d %H:%M}"
    return Due("watch", period, period, reason)


def begun(calendar: Calendar, now: datetime, newest_row: datetime | None) -> list[str]:
    """Periods that are over at `now`, and begin no later than the source's newest row."""
    if newest_row is None:
        return []
    return [
        period for period in calendar.closed(now) if calendar.bounds(period).start <= newest_row
    ]


def _runs(order: Sequence[str], wanted: Collection[str], alone: Collection[str]) -> list[list[str]]:
    """Cut `wanted` into stretches that follow each other in `order`; each of `alone` is one."""
    stretches: list[list[str]] = []
    previous: int | None = None
    for place, period in enumerate(order):
        if period not in wanted:
            continue
        if previous is not None and place == previous + 1 and period not in alone:
            stretches[-1].append(period)
        else:
            stretches.append([period])
        previous = None if period in alone else place
    return stretches
