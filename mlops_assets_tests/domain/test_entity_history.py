"""Aggregates over the past, against a plain loop, and against knowledge of the future."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.domain import entity_history
from mlops_assets.domain.contract import HistoryRule
from mlops_assets.domain.entity_history import DAY, FEW, SECOND, Events, aggregate

AGGREGATES = ("count", "sum", "mean", "min", "max", "last", "days_since_last")


def rule(kind: str, column: str = "amount", days: float = 3) -> HistoryRule:
    return HistoryRule("past", "who", kind, column, days * 86_400, "daily", "event")  # type: ignore[arg-type]


def log(rows: list[tuple[int, int, float, int]]) -> Events:
    """Events from rows of key, time, value, and time at which the value was known."""
    codes, times, values, known = zip(*rows, strict=True) if rows else ((), (), (), ())
    return Events.of(
        np.array(codes, np.int64),
        np.array(times, np.int64),
        {"amount": np.array(values, np.float64)},
        {"amount": np.array(known, np.int64)},
    )


def asked(
    events: Events, wanted: HistoryRule, rows: list[tuple[int, int]], ahead: int = 0
) -> np.ndarray:
    codes, cutoffs = np.array(rows, np.int64).reshape(-1, 2).T
    return aggregate(events, wanted, codes, cutoffs, cutoffs + ahead)


def plainly(
    rows: list[tuple[int, int, float, int]], kind: str, code: int, cutoff: int, days: float
) -> float:
    """The same, as one would write it down."""
    seen = [
        (time, value)
        for key, time, value, known in sorted(rows, key=lambda row: row[1])
        if key == code
        and cutoff - days * DAY <= time < cutoff
        and known <= cutoff
        and not np.isnan(value)
    ]
    values = [value for _, value in seen]
    if kind == "count":
        return len(values)
    if kind == "sum":
        return sum(values)
    if not values:
        return float("nan")
    return {
        "mean": np.mean(values),
        "min": min(values),
        "max": max(values),
        "last": values[-1],
        "days_since_last": (cutoff - seen[-1][0]) / DAY,
    }[kind]


# Few moments, so that events, cutoffs and edges of windows meet often.
TIMES = st.integers(0, 12).map(lambda half_days: half_days * DAY // 2)
VALUES = st.one_of(st.integers(-5, 5).map(float), st.just(float("nan")))
# After the event; the last of them is never, for these tests.
LAGS = st.sampled_from([0, 1, 2, 3, 4, 10_000]).map(lambda days: days * DAY)
ROWS = st.lists(
    st.tuples(st.integers(0, 2), TIMES, VALUES, LAGS),
    max_size=25,
    unique_by=lambda row: row[:2],
).map(lambda rows: [(key, at, value, at + lag) for key, at, value, lag in rows])
QUERIES = st.lists(st.tuples(st.integers(-1, 2), TIMES), max_size=3 * FEW)


@pytest.mark.parametrize("kind", AGGREGATES)
@given(rows=ROWS, queries=QUERIES)
def test_it_is_what_a_plain_loop_over_the_window_finds(kind, rows, queries):
    found = asked(log(rows), rule(kind), queries)
    expected = [plainly(rows, kind, code, cutoff, 3) for code, cutoff in queries]
    np.testing.assert_allclose(found, np.array(expected, dtype=float))


@pytest.mark.parametrize("kind", AGGREGATES)
@given(rows=ROWS, later=ROWS, now=TIMES, codes=st.lists(st.integers(0, 2), min_size=1))
def test_another_future_changes_nothing(kind, rows, later, now, codes):
    """Neither events at or after the cutoff, nor values that were not known by then."""
    past = [row for row in rows if row[1] < now]
    unknown = [(key, at, 99.0 if known > now else value, known) for key, at, value, known in past]
    future = [(key, now + at, value, known + now // 2) for key, at, value, known in later]
    queries = [(code, now) for code in codes]
    before = asked(log([*past, *(row for row in rows if row[1] >= now)]), rule(kind), queries)
    np.testing.assert_array_equal(before, asked(log([*unknown, *future]), rule(kind), queries))


@given(rows=ROWS, queries=QUERIES)
def test_many_rows_at_once_are_each_row_alone_to_the_last_bit(rows, queries):
    thirds = [(key, at, value / 3, known) for key, at, value, known in rows]
    events = log(thirds)
    together = asked(events, rule("mean"), queries)
    alone = [asked(events, rule("mean"), [query])[0] for query in queries]
    assert together.tobytes() == np.array(alone, dtype=float).tobytes()


def test_cutting_the_work_into_parts_changes_nothing(monkeypatch: pytest.MonkeyPatch):
    draw = np.random.default_rng(0)
    rows = [(int(draw.integers(5)), n * DAY // 9, float(draw.normal()), 0) for n in range(300)]
    queries = [(n % 5, n * DAY // 7) for n in range(200)]
    whole = {kind: asked(log(rows), rule(kind), queries) for kind in AGGREGATES}
    monkeypatch.setattr(entity_history, "PAIRS", 7)
    for kind, found in whole.items():
        np.testing.assert_array_equal(asked(log(rows), rule(kind), queries), found)


def test_a_window_ends_before_its_cutoff_and_begins_with_its_first_moment():
    events = log([(0, 0, 1.0, 0), (0, 3 * DAY, 2.0, 0)])
    assert asked(events, rule("count"), [(0, 3 * DAY), (0, 3 * DAY + 1)]).tolist() == [1, 1]
    assert asked(events, rule("sum"), [(0, 3 * DAY), (0, 3 * DAY + 1)]).tolist() == [1, 2]


def test_days_count_from_the_rows_own_time_and_rows_without_values_count_without_a_column():
    events = log([(0, 0, float("nan"), 0)])
    found = asked(events, rule("days_since_last", column=""), [(0, DAY)], ahead=DAY // 2)
    assert found.tolist() == [1.5]
    assert asked(events, rule("count", column=""), [(0, DAY)]).tolist() == [1]
    assert asked(events, rule("count"), [(0, DAY)]).tolist() == [0]


def test_windows_may_be_shorter_than_a_second():
    events = log([(0, 0, 1.0, 0), (0, SECOND // 2, 1.0, 0)])
    assert asked(events, rule("count", days=0.25 / 86_400), [(0, SECOND * 3 // 4)]).tolist() == [1]
