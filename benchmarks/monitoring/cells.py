"""Runs each cell in a fresh process, one after the other, and ends those that take too long."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.monitoring import data

Cell = dict[str, Any]
WHO = ("ours", "evidently")
PATIENCE = 600.0


def measure(
    folder: Path, rows: Sequence[int], columns: Sequence[int], who: Sequence[str], limit: float
) -> Iterator[Cell]:
    """Every cell as it is done; Evidently's are given up after `limit` seconds each.

    A cell that the one before it, with fewer rows, shows to take longer is not begun.
    """
    for width in columns:
        lake = folder / f"{width}"
        print(f"writing {max(rows):,} rows x {width} columns ...", file=sys.stderr, flush=True)
        data.write(lake, width, rows)
        for name in who:
            before: Cell = {}
            for count in sorted(rows):
                cell = {"who": name, "rows": count, "columns": width}
                most = PATIENCE if name == "ours" else limit
                skip = _skip(before, count, most)
                before = cell | ({"skipped": skip} if skip else run(name, lake, count, most))
                yield before


def _skip(before: Cell, rows: int, limit: float) -> str:
    """Why a cell is not worth beginning; "" if it is."""
    if "skipped" in before:
        return f"{before['rows']:,} rows were not done in time" if "limit" in before else "as above"
    if not before:
        return ""
    own = before["read_seconds"] + before["judge_seconds"]
    expected = before["seconds"] + own * (rows / before["rows"] - 1)
    return f"about {expected:,.0f} s expected" if expected > limit else ""


def run(who: str, folder: Path, period: int, limit: float) -> Cell:
    """One cell: its costs, or why there are none. RuntimeError if the process failed."""
    command = [sys.executable, "-m", "benchmarks.monitoring.cell", who, str(folder), str(period)]
    started = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "DO_NOT_TRACK": "true", "PYTHONWARNINGS": "ignore"},
    )
    try:
        out, problems = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        return {"skipped": f"more than {limit:,.0f} s", "limit": limit}
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {problems}")
    return {"seconds": time.perf_counter() - started, **json.loads(out.splitlines()[-1])}
