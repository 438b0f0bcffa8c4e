"""How a challenger walks from the first percent of the traffic to all of it, or does not.

A step up needs enough labelled rows at the present share and no proof of harm. The last step, all
of the traffic, needs proof: the challenger is better, or surely not worse than the margin that its
gates had. Doubt that outlasts the policy's patience counts against the challenger, as everywhere.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from mlops_assets.domain.errors import DataError
from mlops_assets.domain.sequential import Comparison

Action = Literal["hold", "advance", "promote", "stop"]
STEPS = (1.0, 10.0, 50.0)


@dataclass(frozen=True)
class CanaryPolicy:
    """When to go on.

    `steps` are shares of the traffic in percent, rising, before all of it. `min_rows` of the
    challenger must be labelled at a step before it is left. `margin` ≥ 0 is how much worse than
    the champion, in units of the loss, the challenger may be and still be released. A canary that
    has been at one step for `patience` without being able to leave it is given up.
    """

    margin: float
    patience: timedelta
    min_rows: int = 50
    steps: tuple[float, ...] = STEPS

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in zip(self.steps, self.steps[1:], strict=False))
        if not self.steps or not rising or not 0 < self.steps[0] <= self.steps[-1] < 100:
            raise DataError(f"a canary's steps rise between 0 and 100 percent, not {self.steps}")
        if not (math.isfinite(self.margin) and self.margin >= 0):
            raise DataError(f"the margin is 0 or more, not {self.margin}")


@dataclass(frozen=True)
class CanaryState:
    """Where a canary is: its share in percent, since when, and what was labelled of it since."""

    weight: float
    since: datetime
    rows_at_step: int


@dataclass(frozen=True)
class CanaryStep:
    """What to do now: the share from now on (0 for stop, 100 for promote), and why."""

    action: Action
    weight: float
    reason: str


def first_weight(rows_per_period: float, periods: int, policy: CanaryPolicy) -> float:
    """The least step whose share of the traffic can give enough rows within so many periods.

    A model that answers twenty requests a day would spend a month at 1% to learn nothing.
    """
    return next(
        (w for w in policy.steps if rows_per_period * periods * w / 100 >= policy.min_rows),
        policy.steps[-1],
    )


def advance(
    state: CanaryState, comparison: Comparison, policy: CanaryPolicy, now: datetime
) -> CanaryStep:
    """What follows from the comparison of all rows of the canary so far.

    Harm is acted on at once, at any step and any number of rows, because the comparison says it
    only when it is sure. Raises DataError for a share that is none of the policy's steps.
    """
    if state.weight not in policy.steps:
        raise DataError(f"{state.weight:g}% is none of the canary's steps {policy.steps}")
    if comparison.verdict == "worse":
        return CanaryStep("stop", 0.0, f"surely worse: {comparison.reason}")
    few = state.rows_at_step < policy.min_rows
    if not few and state.weight == policy.steps[-1]:
        if comparison.verdict == "better":
            return CanaryStep("promote", 100.0, f"surely better: {comparison.reason}")
        if comparison.high <= policy.margin:
            within = f"surely not worse than the margin of {policy.margin:.4g}"
            return CanaryStep("promote", 100.0, f"{within}: {comparison.reason}")
    elif not few:
        weight = _next(policy.steps, state.weight)
        reason = f"no harm proven at {state.weight:g}%: {comparison.reason}"
        return CanaryStep("advance", weight, reason)
    missing = (
        f"{state.rows_at_step} labelled rows at {state.weight:g}% (needed {policy.min_rows})"
        if few
        else f"neither better nor surely within the margin of {policy.margin:.4g} yet"
    )
    if now - state.since >= policy.patience:
        waited = f"given up at {state.weight:g}% after {_days(now - state.since)}"
        return CanaryStep("stop", 0.0, f"{waited}: {missing}; {comparison.reason}")
    return CanaryStep("hold", state.weight, f"{missing}; {comparison.reason}")


def _next(steps: Sequence[float], weight: float) -> float:
    return steps[steps.index(weight) + 1]


def _days(waited: timedelta) -> str:
    days = waited / timedelta(days=1)
    return f"{days:.3g} days" if days >= 1 else f"{waited / timedelta(hours=1):.3g} hours"
