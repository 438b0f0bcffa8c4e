"""Runs each cell in a fresh process, one after the other, and ends those that take too long."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.pipeline import data

Cell = dict[str, Any]
WHO = ("plain", "ours")


def measure(folder: Path, copies: Sequence[int], repeats: int, limit: float) -> Iterator[Cell]:
    """Every cell as it is done: the way to features by length of the history, then the cycle.

    What a cell wrote is removed before the next one. A cell that takes longer than `limit`
    seconds has no figures.
    """
    for count in sorted(copies):
        source = folder / f"source-{count}"
        print(f"writing {count} years of flights ...", file=sys.stderr, flush=True)
        data.write(source, count)
        for who in WHO:
            yield {"what": "data", "who": who, "copies": count} | run(
                "data", who, folder, count, limit
            )
        if count > 1:
            shutil.rmtree(source)
    data.write(folder / "source-1", 1)
    for _ in range(repeats):
        for who in WHO:
            yield {"what": "cycle", "who": who, "copies": 1} | run("cycle", who, folder, 1, limit)


def run(what: str, who: str, folder: Path, copies: int, limit: float) -> Cell:
    """One cell: its costs, or why there are none. RuntimeError if the process failed."""
    module = "benchmarks.pipeline.cell"
    command = [sys.executable, "-m", module, what, who, str(folder), str(copies)]
    before = {path.name for path in folder.iterdir()}
    started = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        # Dagster logs every event there, which a pipe could hold up.
        stderr=(folder / "log").open("w"),
        text=True,
        start_new_session=True,
        env={**os.environ, "DO_NOT_TRACK": "true", "PYTHONWARNINGS": "ignore"},
    )
    try:
        out, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        return {"skipped": f"more than {limit:,.0f} s"}
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    if process.returncode:
        problems = (folder / "log").read_text()[-2_000:]
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {problems}")
    found = {"whole_seconds": time.perf_counter() - started, **json.loads(out.splitlines()[-1])}
    for path in folder.iterdir():
        if path.name not in before and path.is_dir():
            shutil.rmtree(path)
    return found
