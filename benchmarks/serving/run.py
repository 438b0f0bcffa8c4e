"""The whole run: models, servers and cells, one after another, with progress on the way."""

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving.cells import Cell, Result, cells_of_goals, matrix
from benchmarks.serving.load import LoadError
from benchmarks.serving.measure import Effort, ServerError, measure, running, samples_of
from benchmarks.serving.model import Built, Sample, build
from benchmarks.serving.servers.base import Server, Setup, free_port
from benchmarks.serving.venvs import VenvError, python_of
from mlops_assets.stores.files import write_atomically
from serving.processes import kill_descendants


@dataclass(frozen=True)
class Plan:
    """What to measure, and how long."""

    servers: tuple[Server, ...]
    models: tuple[str, ...]
    rows: tuple[int, ...]
    concurrency: tuple[int, ...]
    only_goals: bool
    effort: Effort
    venvs: Path
    report: Path | None

    def cells(self, model: str) -> list[Cell]:
        """The cells of one model."""
        return cells_of_goals(model) if self.only_goals else matrix(self.rows, self.concurrency)


class Run:
    """Results so far, and what could not be measured."""

    def __init__(self, plan: Plan) -> None:
        self.results: list[Result] = []
        self.broken: list[str] = []
        self._plan = plan
        self._pythons: dict[str, Path] = {}

    def everything(self) -> None:
        """Measure every server with every model; a server that breaks is told and left out."""
        with tempfile.TemporaryDirectory(prefix="mlops-bench-") as folder:
            self._make_environments()
            for model in self._plan.models:
                started = time.monotonic()
                built = build(model, Path(folder) / model)
                print(f"{model}: trained and compiled in {time.monotonic() - started:.0f} s")
                cells = self._plan.cells(model)
                samples = {rows: samples_of(built, rows) for rows in {c.rows for c in cells}}
                for server in self._plan.servers:
                    if server.name in self._pythons:
                        self._server(server, built, samples, Path(folder) / "server")
                    self._report()

    def _make_environments(self) -> None:
        for server in self._plan.servers:
            try:
                self._pythons[server.name] = (
                    python_of(server.venv, self._plan.venvs)
                    if server.venv
                    else Path(sys.executable)
                )
            except VenvError as error:
                self.broken.append(f"{server.name}: {error}")

    def _server(
        self, server: Server, built: Built, samples: dict[int, list[Sample]], folder: Path
    ) -> None:
        setup = Setup(self._pythons[server.name], free_port(), folder, built)
        try:
            with running(server, setup) as (tree, cold_start):
                cells = self._plan.cells(built.model)
                for result in measure(
                    server, setup, tree, cold_start, cells, samples, self._plan.effort
                ):
                    self.results.append(result)
                    print(_progress(result), flush=True)
        except (ServerError, LoadError, OSError) as error:
            self.broken.append(f"{server.name} with {built.model}: {error}")
        except subprocess.CalledProcessError as error:
            said = (error.stderr or b"").decode(errors="replace")[-2000:]
            self.broken.append(f"{server.name} with {built.model}: {error}: {said}")
        finally:
            # What lost its parent meanwhile has become ours.
            kill_descendants()

    def _report(self) -> None:
        if self._plan.report:
            content = {"results": [result.to_json() for result in self.results]}
            write_atomically(self._plan.report, json.dumps(content, indent=1).encode())


def _progress(r: Result) -> str:
    tail = "-" if r.p99_ms is None else f"{r.p99_ms:.1f}"
    return (
        f"{r.model:<9} {r.label:<16} {r.rows:>6} rows {r.concurrency:>3} clients "
        f"{r.rps:>10,.1f} requests/s, p99 {tail} ms, {r.errors} errors"
    )
