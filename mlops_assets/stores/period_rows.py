"""Rows of many periods, some periods at a time: few readings and commits, in flat memory."""

from collections.abc import Iterator, Mapping, Sequence, Sized
from itertools import accumulate

import numpy as np
import pyarrow as pa

from mlops_assets.domain.errors import SourceAwayError, SourceError
from mlops_assets.spec import Model
from mlops_assets.stores import sources
from mlops_assets.stores.delta_tables import by_period
from mlops_assets.stores.lake import Lake

# Of what is written in one commit, and of what Pandas handles at once; a longer period is alone.
# A commit takes longer the more periods the table has, so few of them make a long history linear.
MOST_ROWS = 131_072
BATCH_ROWS = 65_536


def from_source(
    model: Model, periods: Sequence[str], most: int = MOST_ROWS
) -> Iterator[dict[str, pa.Table]]:
    """The source's rows of all periods, in groups of adjoining ones with about `most` rows.

    A group that cannot be read is read again period by period, so that an error is one of a
    single period. Raises as `sources.read`.
    """
    waiting, size = list(periods), 1
    while waiting:
        group = _adjoining(model, waiting[:size])
        try:
            rows = _read(model, group)
        except SourceAwayError:
            raise
        except SourceError:
            if len(group) == 1:
                raise
            size = 1
            continue
        yield _cut(model, group, rows)
        waiting = waiting[len(group) :]
        size = max(1, min(2 * len(group), most * len(group) // max(rows.num_rows, 1)))


def from_lake(
    lake: Lake, model: str, table: str, periods: Sequence[str], most: int = MOST_ROWS
) -> Iterator[dict[str, pa.Table]]:
    """The rows that a table has of all periods, in groups with at most `most` rows."""
    held = {period: found.rows for period, found in lake.held(model, table).items()}
    for group in groups(periods, held, most):
        yield by_period(lake.read(model, table, periods=group), group)


def batches(group: Mapping[str, pa.Table], most: int = BATCH_ROWS) -> Iterator[dict[str, pa.Table]]:
    """The periods of a group, with at most `most` rows at a time."""
    rows = {period: part.num_rows for period, part in group.items()}
    for periods in groups(list(group), rows, most):
        yield {period: group[period] for period in periods}


def slices(group: Mapping[str, Sized]) -> dict[str, slice]:
    """Where the rows of each period lie when all of the group are one after the other."""
    ends = list(accumulate((len(rows) for rows in group.values()), initial=0))
    return {period: slice(*ends[n : n + 2]) for n, period in enumerate(group)}


def groups(
    periods: Sequence[str], rows: Mapping[str, int], most: int = MOST_ROWS
) -> Iterator[list[str]]:
    """The periods in order, cut where a group would have more than `most` rows."""
    group: list[str] = []
    total = 0
    for period in periods:
        count = rows.get(period, 0)
        if group and total + count > most:
            yield group
            group, total = [], 0
        group.append(period)
        total += count
    if group:
        yield group


def _adjoining(model: Model, periods: Sequence[str]) -> list[str]:
    """The first periods, up to where one does not begin when the one before it ends."""
    bounds = [model.calendar.bounds(period) for period in periods]
    for place in range(1, len(bounds)):
        if bounds[place].start != bounds[place - 1].end:
            return list(periods[:place])
    return list(periods)


def _read(model: Model, group: Sequence[str]) -> pa.Table:
    spec = model.spec
    return sources.read(
        spec.source,
        model.folder,
        columns=spec.source_columns,
        event_time=spec.event_time,
        start=model.calendar.bounds(group[0]).start,
        end=model.calendar.bounds(group[-1]).end,
    )


def _cut(model: Model, group: Sequence[str], rows: pa.Table) -> dict[str, pa.Table]:
    """Rows in order of event time, by period."""
    times = rows[model.spec.event_time].cast(pa.timestamp("us", tz="UTC")).to_numpy()
    starts = [model.calendar.bounds(period).start.replace(tzinfo=None) for period in group]
    places = [*np.searchsorted(times, np.array(starts, "datetime64[us]")), rows.num_rows]
    return {
        period: rows.slice(places[place], places[place + 1] - places[place])
        for place, period in enumerate(group)
    }
