"""`python -m benchmarks.releases`: what releases cost the clients that ask meanwhile.

One endpoint with its default settings, wrk at concurrency 16. Windows without a change are
compared with windows in the middle of which another version takes over. Then in pairs, in turns
without and with: a shadow that scores a copy of the traffic, and the prediction log. Limits: no
failed request, p99 during a swap at most twice that before, a shadow that costs at most 10% of
latency, a log that costs at most 10% of throughput.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.serving.cells import SINGLE, Window
from benchmarks.serving.load import drive, require_wrk, write_bodies
from benchmarks.serving.model import NAME, Built, build
from benchmarks.serving.servers.base import Setup, free_port
from benchmarks.serving.servers.our_server import Ours
from mlops_assets.stores.files import write_atomically

CONCURRENCY = 16
READY_SECONDS = 90
SETTLE_SECONDS = 2
PARTS = ("swap", "shadow", "log")
# Has the replicas look for a file that switches their prediction log off.
SWITCH = Path(__file__).parent / "serving" / "switch"


def main() -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.releases", description=__doc__)
    parser.add_argument("--windows", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    require_wrk()
    with tempfile.TemporaryDirectory(prefix="mlops-releases-") as scratch:
        folder = Path(scratch)
        first, second = build("boosting", folder / "1", 0), build("boosting", folder / "2", 1)
        endpoint = Endpoint(folder / "server", first)
        try:
            endpoint.wait_until_ready()
            endpoint.load(2)
            found: dict[str, Any] = {}
            if "swap" in arguments.only:
                found |= swaps(endpoint, first, second, arguments.windows, arguments.seconds)
            if "shadow" in arguments.only:
                found |= shadow(endpoint, first, second, arguments.pairs, arguments.seconds)
            if "log" in arguments.only:
                found |= log(endpoint, arguments.pairs, arguments.seconds)
        finally:
            endpoint.stop()
    show(found)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))
    return 0


class Endpoint:
    """Our server, and the pointer file that says what it serves."""

    def __init__(self, folder: Path, built: Built) -> None:
        folder.mkdir()
        self.setup = Setup(Path(sys.executable), free_port(), folder, built)
        self._server = Ours()
        launch = self._server.launch(self.setup)
        self.log_off = folder / "log-off"
        environment = {
            **launch.environment,
            "PYTHONPATH": f"{SWITCH}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
            "BENCHMARK_LOG_OFF": str(self.log_off),
        }
        self._pointer = folder / "home" / "serving" / "state.json"
        self._generation = 1
        bodies = folder / "bodies"
        sample = [built.sample(1, seed).columns for seed in range(64)]
        encoded = [self._server.encode(columns, SINGLE) for columns in sample]
        write_bodies(bodies, self._server.headers(SINGLE), encoded)
        self._bodies = bodies
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                launch.command, env=environment, stdout=log, stderr=log
            )

    def publish(self, version: str, built: Built, shadow: Built | None = None) -> None:
        """Serve this version from now on."""
        self._generation += 1
        entry: dict[str, Any] = {
            "version": version,
            "path": str(built.bundle),
            "since": "2026-01-01T00:00:00+00:00",
            "released_at": "",
        }
        if shadow is not None:
            entry["shadow"] = {"version": "shadow", "path": str(shadow.bundle)}
        content = {"generation": self._generation, "models": {NAME: entry}}
        write_atomically(self._pointer, json.dumps(content).encode())

    def version(self) -> str:
        """The version that /health names; empty while nothing answers."""
        try:
            with urllib.request.urlopen(f"{self.setup.url}/health", timeout=5) as answer:  # noqa: S310
                return str(json.load(answer)["models"][NAME]["version"])
        except (OSError, ValueError, KeyError):
            return ""

    def shadow_rows(self) -> tuple[float, float]:
        """Rows that were scored as a shadow, and requests that were left out, until now."""
        request = urllib.request.Request(  # noqa: S310
            f"{self.setup.url}/metrics", headers=self._server.headers(SINGLE)
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            lines = answer.read().decode().splitlines()

        def total(name: str) -> float:
            return sum(float(line.split()[-1]) for line in lines if line.startswith(name))

        return total("mlops_shadow_rows_total"), total("mlops_shadow_dropped_total")

    def load(self, seconds: float) -> Window:
        """One window."""
        return drive(self.setup.url + self._server.path, self._bodies, CONCURRENCY, seconds)

    def wait_until_ready(self) -> None:
        """Return when it answers; raises RuntimeError when it does not."""
        for _ in range(READY_SECONDS * 10):
            if self.version():
                return
            time.sleep(0.1)
        raise RuntimeError(f"not ready after {READY_SECONDS} s")

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(timeout=30)


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


def log(endpoint: Endpoint, pairs: int, seconds: float) -> dict[str, Any]:
    """What the prediction log costs."""

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


if __name__ == "__main__":
    sys.exit(main())
