"""Aggregates over the past events of keys, each as of its own moment.

A row sees events strictly before its cutoff, and of values that come later (a label) only those
that were known by then. Training and serving call the same function, so equal events give equal
values to the last bit. The process that answers requests imports this module: numpy only.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

import numpy as np

from mlops_assets.domain.contract import HistoryRule
from mlops_assets.domain.past_functions import PastFunction, of_windows
from mlops_assets.domain.periods import Calendar, Every

SECOND = 1_000_000
DAY = 86_400 * SECOND
EPOCH = date(1970, 1, 1)
NEVER = np.iinfo(np.int64).max
# How many pairs of a row and an event are held at once.
PAIRS = 2_000_000
# So many rows are cheaper to look at one by one.
FEW = 8


@dataclass(frozen=True)
class Events:
    """Events of many keys, in order of key and time; made by `of`.

    `codes` (the key, from 0) and `times` (microseconds since 1970 in UTC) are int64 of shape (n,).
    `values` has float64 columns, NaN for missing. `known` tells for some of them, as int64 times,
    when each value was known; all others were known at their event.
    """

    codes: np.ndarray
    times: np.ndarray
    values: Mapping[str, np.ndarray] = field(default_factory=dict)
    known: Mapping[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        codes: np.ndarray,
        times: np.ndarray,
        values: Mapping[str, np.ndarray],
        known: Mapping[str, np.ndarray],
    ) -> "Events":
        """Sort events by key and time; those of the same key and time stay in their order."""
        order = np.lexsort((times, codes))
        return cls(
            codes[order],
            times[order],
            {name: column[order] for name, column in values.items()},
            {name: column[order] for name, column in known.items()},
        )


def aggregate(
    events: Events,
    rule: HistoryRule,
    codes: np.ndarray,
    cutoffs: np.ndarray,
    times: np.ndarray,
    function: PastFunction | None = None,
) -> np.ndarray:
    """The rule's value for each row, float64 of shape (m,).

    `codes` are the rows' keys (-1 for one without events), `cutoffs` the moments up to which they
    see, `times` their own event times, all int64 of shape (m,). Where nothing counts, count and
    sum are 0, and all others are NaN. `function` is that of a rule which names one.
    """
    chosen, place = _different(codes, cutoffs)
    codes, cutoffs = codes[chosen], cutoffs[chosen]
    begin = cutoffs - round(rule.window_seconds * SECOND)
    first, stop = _before(events, codes, begin), _before(events, codes, cutoffs)
    if function is not None:
        return np.asarray(of_windows(events, rule, function, first, stop, cutoffs)[place])
    found = np.empty(len(codes))
    for part in _parts(stop - first):
        found[part] = _of_windows(events, rule, first[part], stop[part], cutoffs[part])
    if rule.aggregate == "days_since_last":
        return np.asarray((times - found[place]) / DAY)
    return np.asarray(found[place])


def period_starts(every: Every, times: np.ndarray) -> np.ndarray:
    """When the period of each time began; both in microseconds, int64 of shape (n,)."""
    calendar = Calendar(every, EPOCH)
    # Periods begin on the hour.
    hours, place = np.unique(times // (3600 * SECOND), return_inverse=True)
    moments = (datetime.fromtimestamp(hour * 3600, UTC) for hour in hours.tolist())
    starts = [int(calendar.floor(moment).timestamp()) * SECOND for moment in moments]
    return np.array(starts, dtype=np.int64)[place]


def _different(codes: np.ndarray, cutoffs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of which each has another window, and which of them each row shares it with."""
    if len(codes) <= FEW:
        return np.arange(len(codes)), np.arange(len(codes))
    moments, rank = np.unique(cutoffs, return_inverse=True)
    _, chosen, place = np.unique(
        codes * len(moments) + rank, return_index=True, return_inverse=True
    )
    return chosen, place


def _before(events: Events, codes: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """The place of each key's first event that is not before its moment: a binary search.

    A key without events, -1, comes before all others and has none.
    """
    low = np.searchsorted(events.codes, codes, "left")
    high = np.searchsorted(events.codes, codes, "right")
    if len(codes) <= FEW:
        rows = zip(low.tolist(), high.tolist(), moments.tolist(), strict=True)
        found = [start + np.searchsorted(events.times[start:end], at) for start, end, at in rows]
        return np.array(found, dtype=np.int64)
    while (open_rows := np.flatnonzero(low < high)).size:
        middle = (low[open_rows] + high[open_rows]) // 2
        is_before = events.times[middle] < moments[open_rows]
        low[open_rows] = np.where(is_before, middle + 1, low[open_rows])
        high[open_rows] = np.where(is_before, high[open_rows], middle)
    return low


def _parts(lengths: np.ndarray) -> Iterator[slice]:
    """Slices of the windows that hold about PAIRS events each."""
    ends = np.cumsum(lengths)
    start = 0
    while start < len(lengths):
        held = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, held + PAIRS, "right")))
        yield slice(start, stop)
        start = stop


def _of_windows(
    events: Events, rule: HistoryRule, first: np.ndarray, stop: np.ndarray, cutoffs: np.ndarray
) -> np.ndarray:
    """The aggregate of each window; for days_since_last the time of its newest event."""
    lengths = stop - first
    window = np.repeat(np.arange(len(first)), lengths)
    event = np.arange(len(window)) + np.repeat(first - (np.cumsum(lengths) - lengths), lengths)
    if rule.column:
        counts = ~np.isnan(events.values[rule.column][event])
        known = events.known.get(rule.column)
        if known is not None:
            counts &= known[event] <= cutoffs[window]
        window, event = window[counts], event[counts]
    number = np.bincount(window, minlength=len(first))
    if rule.aggregate == "count":
        return number.astype(np.float64)
    some = number > 0
    found = np.full(len(first), 0.0 if rule.aggregate == "sum" else np.nan)
    ends = np.cumsum(number)[some]
    if rule.aggregate == "days_since_last":
        found[some] = events.times[event[ends - 1]]
    elif rule.aggregate == "last":
        found[some] = events.values[rule.column][event[ends - 1]]
    elif some.any():
        reduce = {"min": np.minimum, "max": np.maximum}.get(rule.aggregate, np.add)
        found[some] = reduce.reduceat(events.values[rule.column][event], ends - number[some])
        if rule.aggregate == "mean":
            found[some] /= number[some]
    return found
