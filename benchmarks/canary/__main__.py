"""Run, print, and fail where a false-promotion rate of ours is above the limit."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import benchmarks.canary
from benchmarks.canary.tables import false_promotions, show, summary
from benchmarks.canary.walk import METHODS, simulate
from benchmarks.canary.worlds import MARGIN, RATIOS, cases

LIMIT = 0.05


def run(runs: int, processes: int) -> list[dict[str, Any]]:
    """All cells; those where a promotion would be false get all runs, the others a fifth."""
    results = []
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        pending = []
        for case in cases():
            n = runs if RATIOS[case.challenger] in (1.0, 1.0 + MARGIN) else max(runs // 5, 1)
            n = max(n // 4, 1) if case.sticky else n
            chunk = max(1, n // (4 * processes))
            pending.append((case, pool.map(simulate, [case] * n, range(n), chunksize=chunk)))
        for case, found in pending:
            outcomes = list(found)
            results += [summary(case, m, [one[m] for one in outcomes]) for m in METHODS]
    return results


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print, and fail where a false-promotion rate of ours is above the limit."""
    parser = argparse.ArgumentParser(description=(benchmarks.canary.__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the results as JSON, too")
    parser.add_argument("--runs", type=int, default=200, help="simulated canaries per cell")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    results = run(options.runs, options.processes)
    show(results)
    verdicts = {method: false_promotions(results, method) for method in METHODS}
    print(f"\nFalse promotions, worst cell (limit {LIMIT:.0%}), looking every week:")
    for method, found in verdicts.items():
        print(f"  {method:<11}" + ", ".join(f"{name} {rate:.1%}" for name, rate in found.items()))
    print(f"{time.perf_counter() - started:.0f} s")
    if options.json:
        content = {"results": results, "false_promotions": verdicts, "limit": LIMIT}
        options.json.write_text(json.dumps(content, indent=1))
    ours = [rate for method in METHODS[:2] for rate in verdicts[method].values()]
    return int(max(ours) > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
