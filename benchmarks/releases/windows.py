"""Windows without a change beside windows with a swap, a shadow, or the prediction log."""

import threading
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from benchmarks.releases.endpoint import Endpoint
from benchmarks.serving.cells import Window
from benchmarks.serving.model import Built

SETTLE_SECONDS = 2


def swaps(
    endpoint: Endpoint, first: Built, second: Built, windows: int, seconds: float
) -> dict[str, Any]:
    """Median figures without a change, and with a swap in the middle."""
    quiet = [endpoint.load(seconds) for _ in range(windows)]
    swapped, times = [], []
    for number in range(windows):
        built, version = (second, f"b{number}") if number % 2 == 0 else (first, f"a{number}")
        window, took = _with(
            lambda: endpoint.load(seconds),
            lambda v=version, b=built: _swap(endpoint, v, b),  # type: ignore[misc]
            seconds / 2,
        )
        swapped.append(window)
        times.append(took)
    quiet += [endpoint.load(seconds) for _ in range(windows)]
    return {
        "quiet": _figures(quiet),
        "swap": {**_figures(swapped), "seconds": round(median(times), 2)},
    }


def shadow(
    endpoint: Endpoint, first: Built, second: Built, pairs: int, seconds: float
) -> dict[str, Any]:
    """What a shadow costs, and how much of the traffic it scored meanwhile."""
    shares: list[float] = []

    def without() -> Window:
        endpoint.publish("c", first)
        time.sleep(SETTLE_SECONDS)
        return endpoint.load(seconds)

    def watched() -> Window:
        endpoint.publish("c", first, shadow=second)
        # Until it follows: what it scores in this window is then of this window.
        before, _ = endpoint.shadow_rows()
        while endpoint.shadow_rows()[0] == before:
            endpoint.load(1)
            time.sleep(1)
        time.sleep(1)
        before, _ = endpoint.shadow_rows()
        window = endpoint.load(seconds)
        shares.append((endpoint.shadow_rows()[0] - before) / max(1, window.requests))
        return window

    found = _paired(without, watched, pairs)
    return {"shadow": {**found, "scored_at_once": round(median(shares), 3)}}


def log(endpoint: Endpoint, built: Built, pairs: int, seconds: float) -> dict[str, Any]:
    """What the prediction log costs."""
    # Without the shadow of an earlier part: it reads the log, so it would cost where that is on.
    endpoint.publish("d", built)
    time.sleep(SETTLE_SECONDS)

    def without() -> Window:
        endpoint.log_off.touch()
        return endpoint.load(seconds)

    def logged() -> Window:
        endpoint.log_off.unlink(missing_ok=True)
        return endpoint.load(seconds)

    return {"log": _paired(without, logged, pairs)}


def _paired(
    without: Callable[[], Window], with_it: Callable[[], Window], pairs: int
) -> dict[str, Any]:
    """Figures of both, and the median over pairs of their ratios; each first in every other."""
    found = []
    for number in range(pairs):
        if number % 2:
            after = with_it()
            found.append((without(), after))
        else:
            before = without()
            found.append((before, with_it()))
    return {
        "without": _figures([a for a, _ in found]),
        "with": _figures([b for _, b in found]),
        "p50_ratio": _ratio([(b.p50_ms or 0.0, a.p50_ms or 0.0) for a, b in found]),
        "p99_ratio": _ratio([(b.p99_ms or 0.0, a.p99_ms or 0.0) for a, b in found]),
        "rps_ratio": _ratio([(b.requests / b.seconds, a.requests / a.seconds) for a, b in found]),
    }


def _ratio(values: list[tuple[float, float]]) -> float:
    return round(median(a / b for a, b in values if b), 4)


def _swap(endpoint: Endpoint, version: str, built: Built) -> float:
    began = time.perf_counter()
    endpoint.publish(version, built)
    while endpoint.version() != version:
        time.sleep(0.02)
    return time.perf_counter() - began


def _with(
    load: Callable[[], Window], change: Callable[[], float], after: float
) -> tuple[Window, float]:
    """The window, and what `change` returned, which was called that long after its start."""
    took: list[float] = []

    def later() -> None:
        time.sleep(after)
        took.append(change())

    thread = threading.Thread(target=later)
    thread.start()
    window = load()
    thread.join()
    return window, took[0]


def _figures(windows: list[Window]) -> dict[str, float]:
    return {
        "rps": round(median(w.requests / w.seconds for w in windows), 1),
        "p50_ms": round(median(w.p50_ms or 0.0 for w in windows), 3),
        "p99_ms": round(median(w.p99_ms or 0.0 for w in windows), 3),
        "failed": sum(w.errors for w in windows),
    }
