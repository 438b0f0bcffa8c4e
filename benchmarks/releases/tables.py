"""The figures, and whether they are within their limits."""

from collections.abc import Iterator
from typing import Any


def show(found: dict[str, Any]) -> None:
    """The table and the limits."""
    rows: dict[str, Any] = {name: found[name] for name in ("quiet", "swap") if name in found}
    for name in ("shadow", "log"):
        if name in found:
            rows |= {f"no {name}": found[name]["without"], name: found[name]["with"]}
    print(f"{'':10s} requests/s   p50 ms   p99 ms")
    for name, one in rows.items():
        print(f"{name:10s} {one['rps']:10,.0f} {one['p50_ms']:8.2f} {one['p99_ms']:8.2f}")
    for text, figure, limit in _judged(found, sum(one["failed"] for one in rows.values())):
        print(
            f"{text:40s} {figure:8.3f}  limit {limit:g}  {'met' if figure <= limit else 'missed'}"
        )
    if "swap" in found:
        print(f"a new version answered {found['swap']['seconds']} s after the pointer moved")
    if "shadow" in found:
        share = found["shadow"]["scored_at_once"]
        print(f"the shadow scored {share:.0%} of the rows within the window, others later")


def _judged(found: dict[str, Any], failed: int) -> Iterator[tuple[str, float, float]]:
    """What is limited, its figure and its limit."""
    yield "failed requests", failed, 0
    if "swap" in found:
        swap = found["swap"]["p99_ms"] / found["quiet"]["p99_ms"]
        yield "p99 during a swap, times that before", swap, 2
    if "shadow" in found:
        yield "a shadow's cost in median latency", found["shadow"]["p50_ratio"] - 1, 0.1
    if "log" in found:
        yield "the log's cost in throughput", 1 - found["log"]["rps_ratio"], 0.1
