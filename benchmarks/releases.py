"""`python -m benchmarks.releases`: what releases cost the clients that ask meanwhile.

One endpoint with its default settings, wrk at concurrency 16. Windows without a change are
compared with windows in the middle of which another version takes over, and with windows in which
a shadow scores a copy of the traffic. Limits: no failed request, p99 during a swap at most twice
that before, a shadow that costs at most 10% of latency.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
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


def main() -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.releases", description=__doc__)
    parser.add_argument("--windows", type=int, default=3)
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
            found = measure(endpoint, first, second, arguments.windows, arguments.seconds)
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
        self._pointer = folder / "home" / "serving" / "state.json"
        self._generation = 1
        bodies = folder / "bodies"
        sample = [built.sample(1, seed).columns for seed in range(64)]
        encoded = [self._server.encode(columns, SINGLE) for columns in sample]
        write_bodies(bodies, self._server.headers(SINGLE), encoded)
        self._bodies = bodies
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                launch.command, env=dict(launch.environment), stdout=log, stderr=log
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


def measure(
    endpoint: Endpoint, first: Built, second: Built, windows: int, seconds: float
) -> dict[str, Any]:
    """Median figures without a change, with a swap in the middle, and with a shadow."""
    endpoint.load(2)
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
    endpoint.publish("c", first, shadow=second)
    time.sleep(2)
    shadowed = [endpoint.load(seconds) for _ in range(windows)]
    every = [*quiet, *swapped, *shadowed]
    return {
        "quiet": _figures(quiet),
        "swap": {**_figures(swapped), "seconds": round(median(times), 2)},
        "shadow": _figures(shadowed),
        "failed": sum(window.errors for window in every),
    }


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
    }


def show(found: dict[str, Any]) -> None:
    """The table and the limits."""
    print(f"{'':8s} requests/s   p50 ms   p99 ms")
    for name in ("quiet", "swap", "shadow"):
        one = found[name]
        print(f"{name:8s} {one['rps']:10,.0f} {one['p50_ms']:8.2f} {one['p99_ms']:8.2f}")
    swap = found["swap"]["p99_ms"] / found["quiet"]["p99_ms"]
    shadow = found["shadow"]["p50_ms"] / found["quiet"]["p50_ms"] - 1
    for text, figure, limit in (
        ("failed requests", found["failed"], 0),
        ("p99 during a swap, times that before", swap, 2),
        ("a shadow's cost in median latency", shadow, 0.1),
    ):
        print(
            f"{text:40s} {figure:8.2f}  limit {limit:g}  {'met' if figure <= limit else 'missed'}"
        )
    print(f"a new version answered {found['swap']['seconds']} s after the pointer moved")


if __name__ == "__main__":
    sys.exit(main())
