"""One server from spawn to end: start, check its answers, measure each cell, stop."""

import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.serving.cells import SINGLE, Cell, Result, Window, summarise
from benchmarks.serving.load import drive, write_bodies
from benchmarks.serving.model import Built, Sample
from benchmarks.serving.servers.base import ROOT, Server, Setup
from benchmarks.serving.trees import Busy, Tree, cpu_used

START_SECONDS = 120.0
ANSWER_SECONDS = 300.0
TOLERANCE = 1e-5
# How many different requests of each size are sent in turn: no server may profit from a cache.
BODIES = {1: 64, 1000: 8, 10_000: 2}


class ServerError(Exception):
    """A server did not start, or answered wrongly."""


@dataclass(frozen=True)
class Effort:
    """How long each cell is measured."""

    windows: int
    seconds: float
    warm_up: float

    def window_for(self, rate: float, concurrency: int) -> float:
        """Seconds of a window: more, up to three times, where few requests end within one.

        The load tool drops what is under way when a window ends, so a slow server would look
        slower than it is. `rate` is in requests per second.
        """
        turn = concurrency / rate if rate else float("inf")
        return min(max(self.seconds, 3 * turn), 3 * self.seconds)


def samples_of(built: Built, rows: int) -> list[Sample]:
    """The requests of one size, the same for every server."""
    return [built.sample(rows, seed=1000 + i) for i in range(BODIES.get(rows, 4))]


@contextmanager
def running(server: Server, setup: Setup) -> Iterator[tuple[Tree, float]]:
    """The started server and its cold start in seconds; it is gone afterwards.

    Raises ServerError, with the end of its log, when it does not answer in time.
    """
    setup.folder.mkdir(parents=True)
    log = setup.folder / "server.log"
    launch = server.launch(setup)
    started = time.monotonic()
    tree = Tree(launch.command, _environment(launch.environment), ROOT, log)
    try:
        sample = setup.built.sample(1, seed=1)
        request = _request(server, setup, sample, SINGLE)
        try:
            _await_answer(tree, request, started)
        except ServerError as error:
            tail = log.read_text(errors="replace")[-3000:]
            raise ServerError(f"{server.name}: {error}; its log ends with:\n{tail}") from error
        yield tree, time.monotonic() - started
    finally:
        tree.stop()
        shutil.rmtree(setup.folder, ignore_errors=True)


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Ours, with the pipeline's own steps importable, and one thread for small requests.

    scikit-learn spreads even one row over threads, which makes it slower.
    """
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "DO_NOT_TRACK": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        **extra,
    }


def _request(server: Server, setup: Setup, sample: Sample, form: str) -> urllib.request.Request:
    return urllib.request.Request(  # noqa: S310 - always http on loopback
        setup.url + server.path,
        data=server.encode(sample.columns, form),
        headers=server.headers(form),
        method="POST",
    )


def _await_answer(tree: Tree, request: urllib.request.Request, started: float) -> None:
    said = "nothing"
    while time.monotonic() - started < START_SECONDS:
        if tree.process.poll() is not None:
            raise ServerError(f"ended with {tree.process.returncode}")
        try:
            ask(request, timeout=10)
            return
        except urllib.error.HTTPError as error:
            said = f"{error.code} {error.read()[:300]!r}"
        except (urllib.error.URLError, OSError) as error:
            said = str(error)
        time.sleep(0.05)
    raise ServerError(f"no answer within {START_SECONDS:.0f} s, the last was {said}")


def ask(request: urllib.request.Request, timeout: float = ANSWER_SECONDS) -> bytes:
    """The body of a 200 answer; urllib's errors otherwise."""
    with urllib.request.urlopen(request, timeout=timeout) as answer:  # noqa: S310
        return bytes(answer.read())


def check(server: Server, setup: Setup, samples: Sequence[Sample], form: str) -> None:
    """Compare answers with the pipeline's; raises ServerError for a difference."""
    for sample in samples:
        try:
            answer = ask(_request(server, setup, sample, form))
        except urllib.error.HTTPError as error:
            said = f"{server.name} answers {sample.rows} rows as {form} with {error.code}"
            raise ServerError(f"{said}: {error.read()[:300]!r}") from error
        try:
            got = np.array(server.probabilities(answer, form), dtype=float)
        except (ValueError, LookupError, TypeError) as error:
            said = f"{server.name} answers what cannot be read: {error!r}"
            raise ServerError(f"{said}: {answer[:300]!r}") from error
        if got.shape != sample.expected.shape:
            raise ServerError(f"{server.name} answers {sample.rows} rows with {len(got)}")
        worst = float(np.abs(got - sample.expected).max())
        if not worst <= TOLERANCE:
            raise ServerError(
                f"{server.name} is off by {worst:.2g}, more than {TOLERANCE}, as {form}"
            )


def measure(
    server: Server,
    setup: Setup,
    tree: Tree,
    cold_start: float,
    cells: Sequence[Cell],
    samples: Mapping[int, Sequence[Sample]],
    effort: Effort,
) -> Iterator[Result]:
    """Measure every cell in every format that applies; results as they come."""
    for rows in sorted({cell.rows for cell in cells}):
        for form in server.formats if rows > 1 else (SINGLE,):
            check(server, setup, samples[rows], form)
            bodies = setup.folder / f"bodies-{rows}-{form}"
            encoded = [server.encode(sample.columns, form) for sample in samples[rows]]
            write_bodies(bodies, server.headers(form), encoded)
            probe = _request(server, setup, samples[rows][0], form)
            for cell in (cell for cell in cells if cell.rows == rows):
                url = setup.url + server.path
                tidy = partial(server.tidy, setup)
                windows = _windows(url, tree, bodies, cell.concurrency, effort, probe, tidy)
                yield Result(
                    server=server.name,
                    model=setup.built.model,
                    concurrency=cell.concurrency,
                    rows=rows,
                    rss_mb=round(tree.memory_mb(), 1),
                    cold_start_s=round(cold_start, 2),
                    format=form,
                    **summarise(windows, rows),
                )


def _windows(
    url: str,
    tree: Tree,
    bodies: Path,
    concurrency: int,
    effort: Effort,
    probe: urllib.request.Request,
    tidy: Callable[[], None],
) -> list[Window]:
    """The windows of one cell after a warm-up.

    A request that is answered in between shows that what the last window left behind is done.
    """
    seen = drive(url, bodies, concurrency, effort.warm_up)
    seconds = effort.window_for(seen.requests / seen.seconds, concurrency)
    windows = []
    for _ in range(effort.windows):
        tidy()
        ask(probe)
        before, machine = tree.cpu_times(), Busy()
        window = drive(url, bodies, concurrency, seconds)
        used = cpu_used(before, tree.cpu_times())
        windows.append(replace(window, cpu_seconds=used, others=machine.others(used)))
    return windows
