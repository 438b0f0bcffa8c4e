"""Measure and print."""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import benchmarks.releases
from benchmarks.releases.endpoint import Endpoint
from benchmarks.releases.tables import show
from benchmarks.releases.windows import log, shadow, swaps
from benchmarks.serving.load import require_wrk
from benchmarks.serving.model import build

PARTS = ("swap", "shadow", "log")


def main() -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.releases", description=benchmarks.releases.__doc__
    )
    parser.add_argument("--windows", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    require_wrk()
    with tempfile.TemporaryDirectory(prefix="mlops-releases-") as scratch:
        folder = Path(scratch)
        first, second = build("boosting", folder / "1", 0), build("boosting", folder / "2", 1)
        endpoint = Endpoint(folder / "server", first)
        try:
            endpoint.wait_until_ready()
            endpoint.load(2)
            found: dict[str, Any] = {}
            if "swap" in arguments.only:
                found |= swaps(endpoint, first, second, arguments.windows, arguments.seconds)
            if "shadow" in arguments.only:
                found |= shadow(endpoint, first, second, arguments.pairs, arguments.seconds)
            if "log" in arguments.only:
                found |= log(endpoint, first, arguments.pairs, arguments.seconds)
        finally:
            endpoint.stop()
    show(found)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
