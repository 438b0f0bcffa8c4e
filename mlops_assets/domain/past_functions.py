"""Inputs from an entity's past that a function of the model's author computes.

The function sees the events of one key in one window and the window's end, and nothing else, so
the same events give the same value in training and in serving. What it must not do is up to its
author: keep state between calls, read a clock, or draw at random.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mlops_assets.domain.contract import HistoryRule
from mlops_assets.domain.errors import PastFunctionError

if TYPE_CHECKING:
    from mlops_assets.domain.entity_history import Events

# Times of the events (n,), oldest first; their values (n,) by column, NaN where missing or not yet
# known; the end of the window.
PastFunction = Callable[[np.ndarray, Mapping[str, np.ndarray], np.datetime64], Any]
MOMENT = "datetime64[us]"
NUMBERS = (int, float, np.number, np.bool_)


def of_windows(
    events: "Events",
    rule: HistoryRule,
    function: PastFunction,
    first: np.ndarray,
    stop: np.ndarray,
    cutoffs: np.ndarray,
) -> np.ndarray:
    """What the function says of each window [first, stop) of events, float64 of shape (m,).

    Values that became known after the cutoff are NaN. Raises PastFunctionError when the function
    raises, or returns anything but a finite number, NaN or None (both are missing).
    """
    found = np.empty(len(first))
    rows = zip(first.tolist(), stop.tolist(), cutoffs.tolist(), strict=True)
    for place, (low, high, at) in enumerate(rows):
        times = _fixed(events.times[low:high].view(MOMENT))
        values = {}
        for name in rule.reads:
            column, known = events.values[name][low:high], events.known.get(name)
            if known is not None:
                column = np.where(known[low:high] <= at, column, np.nan)
            values[name] = _fixed(column)
        found[place] = _called(rule, function, times, values, np.datetime64(at, "us"))
    return found


def _fixed(values: np.ndarray) -> np.ndarray:
    """A view that cannot be written: other windows have the same events."""
    view = values[:]
    view.flags.writeable = False
    return view


def _called(
    rule: HistoryRule,
    function: PastFunction,
    times: np.ndarray,
    values: Mapping[str, np.ndarray],
    at: np.datetime64,
) -> float:
    try:
        found = function(times, values, at)
    except Exception as error:
        # The error's own text may hold values of rows; it is in the traceback where there is one.
        raise PastFunctionError(
            f"{rule.function}() in features.py, which computes {rule.name}, fails with "
            f"{type(error).__name__} on {len(times)} events"
        ) from error
    if found is None:
        return float("nan")
    number = float(found) if isinstance(found, NUMBERS) else float("inf")
    if np.isinf(number):
        kind = "an infinite number" if isinstance(found, NUMBERS) else type(found).__name__
        raise PastFunctionError(
            f"{rule.function}() in features.py, which computes {rule.name}, returns {kind}: "
            "return a finite number, or None where there is none"
        )
    return number
