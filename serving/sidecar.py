"""`python -m serving.sidecar`: the follower of a node whose replicas another process runs.

In a pod it stands beside `python -m serving --no-follow`, or beside a worker of a Ray cluster, and
shares MLOPS_HOME with it: only this process imports the registry's client, and the replicas see
the pointer file that it publishes. Runs until SIGTERM; an outage of the registry never ends it.
"""

import argparse
import logging
import signal
import sys
import threading
from types import FrameType

from mlops_assets.settings import Settings
from serving.following import start_following
from serving.shadowing import start_shadowing


def main() -> int:
    """Follow until a signal; returns the exit code."""
    argparse.ArgumentParser(prog="python -m serving.sidecar", description=__doc__).parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    settings = Settings.load()
    for folder in (settings.bundle_cache, settings.serving_state.parent):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    stop = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    start_following(settings, stop)
    shadowing = start_shadowing(settings, stop)
    stop.wait()
    shadowing.join()
    return 0


if __name__ == "__main__":
    sys.exit(main())
