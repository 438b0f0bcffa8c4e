import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_assets.domain.canary import (
    CanaryPolicy,
    CanaryState,
    CanaryStep,
    advance,
    first_weight,
)
from mlops_assets.domain.errors import DataError
from mlops_assets.domain.sequential import Comparison, Verdict

START = datetime(2026, 1, 5, tzinfo=UTC)
POLICY = CanaryPolicy(margin=0.01, patience=timedelta(weeks=8))


def seen(low: float, high: float) -> Comparison:
    """A comparison with this interval."""
    verdict: Verdict = "better" if high < 0 else "worse" if low > 0 else "not_yet"
    return Comparison(verdict, (low + high) / 2, low, high, 900, 100, "so it is")


def step(
    weight: float, low: float, high: float, *, rows: int = 100, weeks: float = 1
) -> CanaryStep:
    """What follows at this share after so many weeks at it."""
    state = CanaryState(weight, START, rows)
    return advance(state, seen(low, high), POLICY, START + timedelta(weeks=weeks))


@pytest.mark.parametrize(("weight", "after"), [(1.0, 10.0), (10.0, 50.0)])
@pytest.mark.parametrize(("low", "high"), [(-0.1, 0.5), (-0.1, -0.05), (-math.inf, math.inf)])
def test_enough_rows_without_proof_of_harm_lead_to_the_next_step(weight, after, low, high):
    found = step(weight, low, high)
    assert (found.action, found.weight) == ("advance", after)
    assert f"no harm proven at {weight:g}%" in found.reason
    assert "so it is" in found.reason


def test_too_few_rows_at_the_step_hold_it_even_if_the_challenger_is_better():
    found = step(1, -0.5, -0.1, rows=49)
    assert (found.action, found.weight) == ("hold", 1)
    assert found.reason.startswith("49 labelled rows at 1% (needed 50)")
    assert step(50, -0.5, -0.1, rows=49).action == "hold"


@pytest.mark.parametrize("weight", POLICY.steps)
@pytest.mark.parametrize("rows", [0, 1000])
def test_proof_of_harm_stops_at_any_step(weight: float, rows: int):
    found = step(weight, 0.001, 0.3, rows=rows)
    assert (found.action, found.weight) == ("stop", 0)
    assert found.reason == "surely worse: so it is"


def test_a_surely_better_challenger_gets_everything():
    found = step(50, -0.3, -0.001)
    assert (found.action, found.weight) == ("promote", 100)
    assert found.reason == "surely better: so it is"


def test_one_that_is_surely_within_the_margin_gets_everything():
    found = step(50, -0.1, 0.01)
    assert (found.action, found.weight) == ("promote", 100)
    assert "surely not worse than the margin of 0.01" in found.reason


def test_harm_within_the_margin_is_harm_too():
    assert step(50, 0.001, 0.005).action == "stop"


def test_doubt_at_the_last_step_holds_and_in_the_end_gives_up():
    held = step(50, -0.1, 0.011, weeks=7.9)
    assert (held.action, held.weight) == ("hold", 50)
    assert "neither better nor surely within the margin of 0.01 yet" in held.reason
    over = step(50, -0.1, 0.011, weeks=8)
    assert (over.action, over.weight) == ("stop", 0)
    assert over.reason.startswith("given up at 50% after 56 days")


def test_too_little_traffic_gives_up_in_the_end():
    over = step(1, -math.inf, math.inf, rows=3, weeks=8)
    assert over.action == "stop"
    assert "3 labelled rows at 1% (needed 50)" in over.reason


@pytest.mark.parametrize(
    ("rows", "weight"), [(10_000, 1.0), (625, 1.0), (624, 10.0), (63, 10.0), (62, 50.0), (0, 50.0)]
)
def test_a_model_with_little_traffic_starts_where_it_can_learn(rows: float, weight: float):
    assert first_weight(rows, 8, POLICY) == weight


@given(
    looks=st.lists(
        st.tuples(st.floats(-1, 1), st.floats(0, 1), st.integers(0, 200)), min_size=1, max_size=60
    )
)
def test_every_walk_ends_and_only_proof_ends_it_well(looks: list[tuple[float, float, int]]):
    weight, since, rows = 1.0, START, 0
    visited = [weight]
    for week in range(8 * len(POLICY.steps) + 1):
        low, width, new = looks[week % len(looks)]
        rows += new
        now = START + timedelta(weeks=week + 1)
        comparison = seen(low, low + width)
        found = advance(CanaryState(weight, since, rows), comparison, POLICY, now)
        if found.action in ("promote", "stop"):
            assert found.weight == (100 if found.action == "promote" else 0)
            break
        if found.action == "advance":
            weight, since, rows = found.weight, now, 0
            visited.append(weight)
    assert found.action in ("promote", "stop"), "the walk went on for ever"
    assert visited == list(POLICY.steps[: len(visited)]), "a step was left out"
    if found.action == "promote":
        assert visited[-1] == 50
        assert comparison.high <= POLICY.margin


def test_a_share_that_is_no_step_is_refused():
    with pytest.raises(DataError, match="20% is none of the canary's steps"):
        step(20, -1, 1)


@pytest.mark.parametrize("steps", [(), (10, 1), (0, 10), (1, 100), (1, 1)])
def test_steps_that_do_not_rise_below_everything_are_refused(steps: tuple[float, ...]):
    with pytest.raises(DataError, match="rise between 0 and 100"):
        CanaryPolicy(0.01, timedelta(days=1), steps=steps)


@pytest.mark.parametrize("margin", [-0.1, math.nan, math.inf])
def test_a_margin_that_is_none_is_refused(margin: float):
    with pytest.raises(DataError, match="margin"):
        CanaryPolicy(margin, timedelta(days=1))
