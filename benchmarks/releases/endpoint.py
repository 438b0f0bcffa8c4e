"""One endpoint with its default settings, what it serves, and wrk's load on it."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from benchmarks.serving.cells import SINGLE, Window
from benchmarks.serving.load import drive, write_bodies
from benchmarks.serving.model import NAME, Built
from benchmarks.serving.servers.base import Setup, free_port
from benchmarks.serving.servers.our_server import Ours
from mlops_assets.stores.files import write_atomically

CONCURRENCY = 16
READY_SECONDS = 90
# Has the replicas look for a file that switches their prediction log off.
SWITCH = Path(__file__).parent.parent / "serving" / "switch"


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
