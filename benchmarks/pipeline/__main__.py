"""What the data assets and a whole retrain cycle cost beside plain scripts.

    python -m benchmarks.pipeline [--copies N …] [--repeats N] [--json FILE] [--quick]

Data: 52 weeks of flights, then the same as 10 and 100 years, from the source through raw_data and
validated_data to features, in one Dagster run over all weeks, against pandas and pandera writing
one Parquet file per week. One row in a thousand breaks the contract. Cycle: 12 weeks ingested, ten
candidates searched, the winner refitted, judged, bundled, registered and released, in two Dagster
runs, against a script that does the same with the same libraries.

Each cell is a fresh process. Goals on data are about the work without imports and definitions,
the one on the cycle about the whole process. The exit code is 0 whether or not goals are met.
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

from benchmarks.pipeline import cells, tables


def options(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line; by default everything, about half an hour on two cores."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.pipeline",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--copies", nargs="*", type=int, default=[1, 10, 100], metavar="N", help="years of rows")
    add("--repeats", type=int, default=3, metavar="N", help="retrain cycles of each; 0: none")
    add("--limit", type=float, default=1_800, help="seconds for a cell")
    add("--quick", action="store_true", help="one year, one cycle: two minutes")
    add("--json", type=Path, metavar="FILE", help="write the results here")
    chosen = parser.parse_args(arguments)
    if chosen.quick:
        chosen.copies, chosen.repeats = [1], 1
    return chosen


def main(arguments: Sequence[str]) -> None:
    """Measure and print."""
    chosen = options(arguments)
    # As an interruption from the keyboard does, it ends what was begun and removes the data.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="pipeline-benchmark-") as folder:
        for cell in cells.measure(Path(folder), chosen.copies, chosen.repeats, chosen.limit):
            found.append(cell)
            print(tables.costs([cell]).splitlines()[-1], file=sys.stderr, flush=True)
    judged = tables.goals(found)
    print(tables.costs(found) + "\n")
    print(tables.goals_table(judged))
    if (load := os.getloadavg()[0]) > 1.5 * (os.cpu_count() or 1):
        print(f"\nThe machine is busy (load {load:.1f}): times are longer than they need be.")
    if chosen.json:
        chosen.json.write_text(json.dumps({"costs": found, "goals": judged}, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
