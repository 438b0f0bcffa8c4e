"""`python -m benchmarks.serving`: measure how fast models are served, by us and by others.

The exit code is 0 whether or not goals are met, and 1 if a server could not be measured.
"""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from benchmarks.serving import goals, tables, venvs
from benchmarks.serving.load import LoadError, require_wrk
from benchmarks.serving.measure import Effort
from benchmarks.serving.model import MODELS
from benchmarks.serving.run import Plan, Run
from benchmarks.serving.servers import DEFAULT, SERVERS
from serving.processes import adopt_orphans, kill_descendants


def options(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line; by default every combination, which takes 70 to 100 minutes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    add = parser.add_argument
    add("--servers", nargs="+", choices=list(SERVERS), default=list(DEFAULT), metavar="NAME")
    add("--models", nargs="+", choices=MODELS, default=list(MODELS), metavar="NAME")
    add("--concurrency", nargs="+", type=int, default=[1, 8, 64], metavar="N")
    add("--rows", nargs="+", type=int, default=[1, 1000, 10_000], metavar="N")
    add("--windows", type=int, default=3, help="windows per cell, of which the median is taken")
    add("--seconds", type=int, default=5, help="length of a window")
    add("--warm-up", type=int, default=2, help="seconds of load before the first window")
    add("--goals", action="store_true", help="only what goals are judged by, 17 minutes")
    add("--quick", action="store_true", help="one window of a second: does everything work?")
    add("--json", type=Path, metavar="FILE", help="write the results here, after each server")
    add("--venvs", type=Path, default=venvs.DEFAULT_FOLDER, help="where peers are installed")
    return parser.parse_args(arguments)


def plan(chosen: argparse.Namespace) -> Plan:
    """What was asked for on the command line."""
    quick = Effort(windows=1, seconds=1, warm_up=1)
    effort = Effort(chosen.windows, chosen.seconds, chosen.warm_up)
    return Plan(
        servers=tuple(SERVERS[name] for name in chosen.servers),
        models=tuple(chosen.models),
        rows=tuple(chosen.rows),
        concurrency=tuple(chosen.concurrency),
        only_goals=chosen.goals,
        effort=quick if chosen.quick else effort,
        venvs=chosen.venvs,
        report=chosen.json,
    )


def main(arguments: Sequence[str]) -> int:
    """Measure and print; returns the exit code."""
    wanted = plan(options(arguments))
    for number in (signal.SIGINT, signal.SIGTERM):
        # Explicitly: a shell starts background jobs with SIGINT ignored.
        signal.signal(number, _interrupt)
    # Whatever a server forgets to end becomes our child, and ends with us.
    adopt_orphans()
    try:
        require_wrk()
        run = Run(wanted)
        run.everything()
    except LoadError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; everything is stopped", file=sys.stderr)
        return 130
    finally:
        kill_descendants()
    print("\n" + tables.tables(run.results))
    print(tables.goals(goals.judge(run.results)))
    if warning := tables.quietness(run.results):
        print("\n" + warning)
    for problem in run.broken:
        print(f"\nnot measured: {problem}", file=sys.stderr)
    return 1 if run.broken else 0


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
