"""What drift reports cost, and how often they are wrong when nothing changed.

    python -m benchmarks.monitoring [--rows N …] [--columns N …] [--json FILE] [--quick]

Costs: the report as its asset makes it, from a Delta table read in batches to the finished page,
against Evidently's default preset on the same rows in pandas; each cell in a fresh process, whose
seconds include its imports (ours loads Evidently to draw). Evidently's cells are given up after
--limit seconds, and those that would surely take longer are not begun. False alarms: 20 awkward
columns that never change.

The exit code is 0 whether or not goals are met.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.monitoring import cells, false_alarms, tables


def options(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line; by default everything, about ten minutes on two cores."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.monitoring",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    sizes = [10_000, 100_000, 1_000_000, 10_000_000]
    add("--rows", nargs="*", type=int, default=sizes, metavar="N", help="none: no costs")
    add("--columns", nargs="+", type=int, default=[20, 50], metavar="N")
    add("--who", nargs="+", choices=cells.WHO, default=list(cells.WHO), metavar="WHO")
    add("--limit", type=float, default=90, help="seconds for a cell of Evidently")
    add("--trials", type=int, default=100, help="unchanged reports per pair of sizes; 0: none")
    add("--budget", type=float, default=0.05, help="false-alarm rate of a report in the trials")
    add("--quick", action="store_true", help="10k and 100k rows, 20 columns, 20 trials: a minute")
    add("--json", type=Path, metavar="FILE", help="write the results here")
    chosen = parser.parse_args(arguments)
    if chosen.quick:
        chosen.rows, chosen.columns, chosen.trials = [10_000, 100_000], [20], 20
    return chosen


def main(arguments: Sequence[str]) -> None:
    """Measure and print."""
    chosen = options(arguments)
    # As an interruption from the keyboard does, it ends what was begun and removes the data.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    found: list[dict[str, Any]] = []
    if chosen.rows:
        with tempfile.TemporaryDirectory(prefix="drift-benchmark-") as folder:
            for cell in cells.measure(
                Path(folder), chosen.rows, chosen.columns, chosen.who, chosen.limit
            ):
                found.append(cell)
                print(tables.costs([cell]).splitlines()[-1], file=sys.stderr, flush=True)
        print(tables.costs(found) + "\n")
    alarms = []
    if chosen.trials:
        alarms = false_alarms.measure(chosen.trials, chosen.budget)
        print(tables.false_alarms(alarms) + "\n")
    judged = tables.goals(found, alarms)
    print(tables.goals_table(judged))
    if (load := os.getloadavg()[0]) > 1.5 * (os.cpu_count() or 1):
        print(f"\nThe machine is busy (load {load:.1f}): times are longer than they need be.")
    if chosen.json:
        text = json.dumps({"costs": found, "false_alarms": alarms, "goals": judged}, indent=1)
        chosen.json.write_text(text)


if __name__ == "__main__":
    main(sys.argv[1:])
