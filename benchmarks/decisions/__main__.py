"""Retraining policies on real histories: what each is worth, what it does without a cause.

    python -m benchmarks.decisions --data DIR [--delay 0 2] [--seeds 5] [--json FILE] [--quick]

Every *.parquet in DIR is a history: features (numbers, or text for categories), `y` in {0, 1} and
`period` from 0. Period t is served by the live version; its labels arrive `delay` periods later.
The price of a retrain is c* x {0.3, 1, 3}, where at c* never and always retraining cost the same.
The value of a policy is (J0 - J) / (J0 - Jopt), with J its loss summed over rows and its retrains'
price, J0 the better of never and always, and Jopt the hindsight optimum by dynamic programming
over expanding windows: 0 is trivial, 1 is optimal; a policy that chooses shorter windows can be
worth more. What the default policy computes besides is charged by its CPU share of a training.

Then: each history shuffled, so that nothing changes, at the price c*; and shifts put into
unchanging rows. `--quick` leaves the shifts out and uses two seeds.
"""

import os

# One thread per training: results are the same, and processes do not fight over the cores.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import argparse
import json
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.decisions import shifts, tables, values

SIZES = {500: 6, 2_000: 4, 10_000: 1}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for. Returns the exit code."""
    asked = _arguments(arguments)
    paths = sorted(asked.data.glob("*.parquet"))
    if not paths:
        print(f"{asked.data}: there is no *.parquet in it", file=sys.stderr)
        return 2
    seeds = range(asked.seeds or (2 if asked.quick else 5))
    begun = time.monotonic()
    # Spawned: a fork of a process that has threads (OpenMP, Arrow) may die in its child.
    with ProcessPoolExecutor(asked.processes, mp_context=get_context("spawn")) as pool:
        # The largest first, so that no core waits for the other at the end.
        large_first = sorted(paths, key=lambda path: -path.stat().st_size)
        delays = tuple(asked.delay)
        jobs = [(values.values, path, seed, delays) for path in large_first for seed in seeds]
        replayed = list(_all(pool, jobs, "histories"))
        shifted: list[list[shifts.Outcome]] = []
        if not asked.quick:
            trials = [
                (shifts.outcomes, path, n, seed)
                for n, repeats in sorted(SIZES.items(), reverse=True)
                for path in large_first
                for seed in range(repeats)
            ]
            shifted = list(_all(pool, trials, "shifts"))
    _tell(asked.json, replayed, [one for part in shifted for one in part])
    print(f"\n{time.monotonic() - begun:.0f} s")
    return 0


def _tell(file: Path | None, replayed: Iterable[Any], shifted: Sequence[shifts.Outcome]) -> None:
    parts = list(replayed)
    policies = tables.policy_rows([one for found, _, _ in parts for one in found])
    quiets = tables.quiet_rows([one for _, found, _ in parts for one in found])
    moved = tables.shift_rows(shifted)
    cpu = tables.cpu_share([cost for _, _, cost in parts])
    print("\nvalue\n" + tables.value_table(policies))
    print("\nper 100 unchanged periods\n" + tables.quiet_table(quiets))
    if moved:
        print("\nshifts\n" + tables.shift_table(moved))
    print("\n" + tables.goals(policies, quiets, moved, cpu))
    if file:
        content = {"policies": policies, "quiet": quiets, "shifts": moved}
        file.write_text(json.dumps({**content, "monitoring_cpu_share": cpu}, indent=1))


def _all(pool: ProcessPoolExecutor, jobs: Sequence[tuple[Any, ...]], what: str) -> Iterable[Any]:
    """Results in the order of the jobs; progress goes to stderr."""
    # Nothing of this module may be submitted: a spawned process does not import a `__main__`.
    waiting = [pool.submit(job, *arguments) for job, *arguments in jobs]
    for done, _ in enumerate(as_completed(waiting), 1):
        print(f"\r{what}: {done} of {len(jobs)}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return [one.result() for one in waiting]


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.decisions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of *.parquet files")
    parser.add_argument("--delay", type=int, nargs="+", default=[0, 2], help="periods until labels")
    parser.add_argument("--seeds", type=int, default=0, help="draws of each history (5; quick: 2)")
    parser.add_argument("--processes", type=int, default=2, help="processes at a time")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--quick", action="store_true", help="values and quiet periods only")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
