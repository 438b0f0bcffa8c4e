"""Whether a version that was given traffic must be taken back at once: it fails, is slow, is stuck.

Loss is not judged here, because it needs labels. What is judged is counted by the replicas, and
looked at every second, so each rule asks for near certainty: the chance that a version which just
keeps the limit is taken back at one look is at most `Limits.chance` (a million to one), and at
most 0.4% over the 3,600 looks of an hour (union bound).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Literal

Kind = Literal["errors", "invalid outputs", "latency", "constant outputs"]
# Outputs this close to each other are the same number.
SAME = 1e-9


@dataclass(frozen=True)
class VersionStats:
    """What replicas counted of one version, over `seconds` of observation.

    `exceptions` and `invalid_outputs` (no finite number) count requests, and are among
    `requests`. `latency_counts` are requests per bucket: `latency_le` holds the upper bounds in
    seconds, the last count is of what is above all of them. `output_min` and `output_max` hold one
    value per output column. `distinct_inputs` counts different rows, up to some cap.
    """

    requests: int = 0
    rows: int = 0
    exceptions: int = 0
    invalid_outputs: int = 0
    latency_le: tuple[float, ...] = ()
    latency_counts: tuple[int, ...] = ()
    output_min: tuple[float, ...] = ()
    output_max: tuple[float, ...] = ()
    distinct_inputs: int = 0
    seconds: float = 0.0

    @property
    def failures(self) -> int:
        """Requests that the version had no usable answer for."""
        return self.exceptions + self.invalid_outputs

    @property
    def is_constant(self) -> bool:
        """Whether every output was the same so far."""
        return bool(self.output_min) and all(
            high - low <= SAME for low, high in zip(self.output_min, self.output_max, strict=True)
        )

    def __add__(self, other: "VersionStats") -> "VersionStats":
        """Both processes' counts together."""
        same = not (self.latency_le and other.latency_le) or self.latency_le == other.latency_le
        counts = zip_longest(self.latency_counts, other.latency_counts, fillvalue=0)
        return VersionStats(
            requests=self.requests + other.requests,
            rows=self.rows + other.rows,
            exceptions=self.exceptions + other.exceptions,
            invalid_outputs=self.invalid_outputs + other.invalid_outputs,
            # Replicas of two releases of this project may cut their histograms differently.
            latency_le=(self.latency_le or other.latency_le) if same else (),
            latency_counts=tuple(a + b for a, b in counts) if same else (),
            output_min=_extreme(min, self.output_min, other.output_min),
            output_max=_extreme(max, self.output_max, other.output_max),
            distinct_inputs=max(self.distinct_inputs, other.distinct_inputs),
            seconds=max(self.seconds, other.seconds),
        )

    def since(self, earlier: "VersionStats", seconds: float) -> "VersionStats":
        """What was counted after `earlier`, `seconds` ago.

        Extremes and distinct inputs cannot be cut in time, and stay as they are.
        """
        before = earlier.latency_counts
        counts = zip_longest(self.latency_counts, before[: len(self.latency_counts)], fillvalue=0)
        return replace(
            self,
            requests=max(self.requests - earlier.requests, 0),
            rows=max(self.rows - earlier.rows, 0),
            exceptions=max(self.exceptions - earlier.exceptions, 0),
            invalid_outputs=max(self.invalid_outputs - earlier.invalid_outputs, 0),
            latency_counts=tuple(max(a - b, 0) for a, b in counts),
            seconds=seconds,
        )


@dataclass(frozen=True)
class Limits:
    """What a version may do before it is taken back.

    `failure_share` of its requests may fail, more if the version before failed as often.
    `latency_seconds` and `latency_ratio` times the 99th percentile of the version before are both
    to be exceeded, by more than one request in a hundred. `constant_rows` equal outputs to
    `constant_distinct` different rows are no model.
    """

    failure_share: float = 0.01
    latency_seconds: float = 0.05
    latency_ratio: float = 3.0
    constant_rows: int = 500
    min_requests: int = 5
    latency_requests: int = 100
    # A swap or a neighbour's burst slows every version for some seconds.
    latency_after: float = 30.0
    constant_distinct: int = 20
    chance: float = 1e-6


@dataclass(frozen=True)
class GuardVerdict:
    """What to do with a version, and why."""

    action: Literal["keep", "rollback"] = "keep"
    kinds: tuple[Kind, ...] = ()
    reasons: tuple[str, ...] = ()


def judge(current: VersionStats, previous: VersionStats | None, limits: Limits) -> GuardVerdict:
    """Judge a version by what it did since it got traffic, against the version before it."""
    before = previous or VersionStats()
    found = [*_failing(current, before, limits), *_slow(current, before, limits)]
    found += _stuck(current, before, limits)
    if not found:
        return GuardVerdict()
    return GuardVerdict(
        "rollback", tuple(kind for kind, _ in found), tuple(why for _, why in found)
    )


def chance_of(count: int, of: int, share: float) -> float:
    """An upper bound of the chance of `count` or more out of `of`, where each has chance `share`.

    Hoeffding 1963, "Probability inequalities for sums of bounded random variables", theorem 1:
    exp(-n KL(count/n ‖ share)); exact where all of them occur.
    """
    if of == 0 or count <= share * of:
        return 1.0
    if share <= 0:
        return 0.0
    seen = count / of
    divergence = seen * math.log(seen / share)
    if seen < 1:
        divergence += (1 - seen) * math.log((1 - seen) / (1 - share))
    return math.exp(-of * divergence)


def quantile(stats: VersionStats, share: float) -> float | None:
    """Upper end of the latency bucket that holds this quantile; None where it has no end."""
    needed = share * sum(stats.latency_counts)
    reached = 0
    for bound, count in zip(stats.latency_le, stats.latency_counts, strict=False):
        reached += count
        if reached >= needed and reached:
            return bound
    return None


def _failing(now: VersionStats, before: VersionStats, limits: Limits) -> list[tuple[Kind, str]]:
    requests = max(now.requests, now.failures)
    allowed = limits.failure_share
    if before.requests >= limits.latency_requests:
        # Where the version before failed too, going back to it helps nobody.
        allowed = max(allowed, min(before.failures / before.requests, 0.9))
    if requests < limits.min_requests:
        return []
    if chance_of(now.failures, requests, allowed) > limits.chance:
        return []
    kinds: list[tuple[Kind, str]] = []
    if now.exceptions:
        said = f"{now.exceptions} of {requests} requests raised an error (limit {allowed:.2%})"
        kinds.append(("errors", said))
    if now.invalid_outputs:
        said = (
            f"{now.invalid_outputs} of {requests} requests got outputs that are no finite number "
            f"(limit {allowed:.2%})"
        )
        kinds.append(("invalid outputs", said))
    return kinds


def _slow(now: VersionStats, before: VersionStats, limits: Limits) -> list[tuple[Kind, str]]:
    usual = quantile(before, 0.99)
    if usual is None or sum(before.latency_counts) < limits.latency_requests:
        return []
    requests = sum(now.latency_counts)
    if requests < limits.latency_requests or now.seconds < limits.latency_after:
        return []
    limit = max(limits.latency_seconds, limits.latency_ratio * usual)
    # A bucket counts as slow where all of it is above the limit.
    lower = (0.0, *now.latency_le)
    slow = sum(c for low, c in zip(lower, now.latency_counts, strict=False) if low >= limit)
    if chance_of(slow, requests, 0.01) > limits.chance:
        return []
    return [
        (
            "latency",
            f"{slow} of {requests} requests took more than {limit * 1000:.3g} ms, so the 99th "
            f"percentile is above it; it was {usual * 1000:.3g} ms of the version before",
        )
    ]


def _stuck(now: VersionStats, before: VersionStats, limits: Limits) -> list[tuple[Kind, str]]:
    is_judged = (
        now.rows >= limits.constant_rows
        and now.distinct_inputs >= limits.constant_distinct
        and before.rows >= limits.constant_rows
    )
    if not is_judged or not now.is_constant or before.is_constant or not before.output_min:
        return []
    values = ", ".join(f"{value:.6g}" for value in now.output_min[:5])
    return [
        (
            "constant outputs",
            f"all of {now.rows} rows, different ones among them, got the same outputs ({values}); "
            "those of the version before vary",
        )
    ]


def _extreme(
    which: Callable[[float, float], float], a: tuple[float, ...], b: tuple[float, ...]
) -> tuple[float, ...]:
    if not (a and b):
        return a or b
    return tuple(which(x, y) for x, y in zip(a, b, strict=False))
