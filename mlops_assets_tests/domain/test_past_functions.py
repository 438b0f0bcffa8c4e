"""What a function of the model's author sees of the past, and what it may answer."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.domain.contract import HistoryRule
from mlops_assets.domain.entity_history import DAY, Events, aggregate
from mlops_assets.domain.errors import PastFunctionError
from mlops_assets.domain.past_functions import PastFunction

Row = tuple[int, int, int, int]


def rule(days: float = 3) -> HistoryRule:
    return HistoryRule(
        "past", "who", "", "", days * 86_400, "daily", "event", ("amount", "paid"), "seen"
    )


def asked(rows: list[Row], function: PastFunction, moments: list[tuple[int, int]]) -> np.ndarray:
    """What the function says of key and cutoff; rows are key, time, value, time of being known."""
    codes, times, values, known = np.array(rows, float).reshape(-1, 4).T
    events = Events.of(
        codes.astype(np.int64),
        times.astype(np.int64),
        {"amount": values, "paid": values},
        {"paid": known.astype(np.int64)},
    )
    keys, cutoffs = np.array(moments, np.int64).reshape(-1, 2).T
    return aggregate(events, rule(), keys, cutoffs, cutoffs, function)


def everything(times: np.ndarray, values: Mapping[str, np.ndarray], at: np.datetime64) -> float:
    """A number that changes with whatever the function sees."""
    parts = [times.astype(np.int64), *(np.nan_to_num(values[name], nan=-7.0) for name in values)]
    weighed = [
        (place * part * np.arange(1, len(part) + 1)).sum() for place, part in enumerate(parts, 1)
    ]
    return float(sum(weighed) + at.astype(np.int64))


MOMENTS = st.integers(0, 6 * DAY)
ROWS = st.lists(st.tuples(st.integers(0, 2), MOMENTS, st.integers(0, 9), MOMENTS), min_size=1)


@given(rows=ROWS, others=ROWS, cutoff=MOMENTS)
def test_another_future_changes_nothing_that_is_seen(
    rows: list[Row], others: list[Row], cutoff: int
):
    """Other events from the cutoff on, and other values that became known after it."""

    def paid_alone(times: np.ndarray, values: Mapping[str, np.ndarray], at: np.datetime64) -> float:
        return everything(times, {"paid": values["paid"]}, at)

    past = [row for row in rows if row[1] < cutoff]
    changed = [
        (key, time, value + 50 if known > cutoff else value, known)
        for key, time, value, known in past
    ]
    later = [row for row in others if row[1] >= cutoff]
    moments = [(key, cutoff) for key in range(3)]
    before = asked(past, paid_alone, moments)
    np.testing.assert_array_equal(before, asked(changed + later, paid_alone, moments))
    of_all = asked(past, everything, moments)
    np.testing.assert_array_equal(of_all, asked(past + later, everything, moments))


def test_it_sees_its_own_window_in_order_of_time_and_only_what_is_known():
    seen: list[Any] = []

    def seeing(times: np.ndarray, values: Mapping[str, np.ndarray], at: np.datetime64) -> int:
        seen.append((times.astype(np.int64).tolist(), {n: v.tolist() for n, v in values.items()}))
        assert at == np.datetime64(4 * DAY, "us")
        return len(times)

    rows = [(0, 3 * DAY, 3, 5 * DAY), (0, 2 * DAY, 2, 3 * DAY), (0, 0, 1, 0), (1, 0, 9, 0)]
    assert asked(rows, seeing, [(0, 4 * DAY), (2, 4 * DAY)]).tolist() == [2, 0]
    (times, values), nobody = seen
    assert times == [2 * DAY, 3 * DAY]
    assert values["amount"] == [2, 3]
    assert values["paid"][0] == 2
    assert np.isnan(values["paid"][1])
    assert nobody == ([], {"amount": [], "paid": []})


def test_rows_that_share_a_window_ask_once():
    calls: list[int] = []
    function = lambda times, values, at: calls.append(1) or 5  # noqa: E731
    found = asked([(0, 0, 1, 0)], function, [(0, DAY)] * 20)
    assert found.tolist() == [5] * 20
    assert len(calls) == 1


def _writes(times: Any, values: Any, at: Any) -> float:
    values["amount"][0] = 9
    return 1.0


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda times, values, at: "3", "returns str: return a finite number"),
        (lambda times, values, at: np.ones(2), "returns ndarray"),
        (lambda times, values, at: float("inf"), "returns an infinite number"),
        (lambda times, values, at: 1 / 0, "fails with ZeroDivisionError on 1 events"),
        (_writes, "fails with ValueError"),
    ],
)
def test_what_is_no_number_is_told_with_the_functions_name(function: PastFunction, words: str):
    with pytest.raises(PastFunctionError, match=rf"seen\(\) in features\.py.*past, {words}"):
        asked([(0, 0, 1, 0)], function, [(0, DAY)])


@pytest.mark.parametrize("missing", [None, float("nan"), np.float64("nan")])
def test_none_and_nan_are_missing(missing: float | None):
    assert np.isnan(asked([(0, 0, 1, 0)], lambda times, values, at: missing, [(0, DAY)]))
