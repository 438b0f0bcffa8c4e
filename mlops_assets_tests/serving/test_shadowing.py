"""The process that scores shadows, started the way serving starts it."""

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from mlops_assets.settings import Settings
from mlops_assets_tests.serving.conftest import Built, bundle, records
from mlops_assets_tests.serving.test_shadow import Watched
from serving.shadowing import NICENESS, start_shadowing

SECONDS = 60


def processes() -> list[psutil.Process]:
    return [
        one
        for one in psutil.Process().children()
        if one.status() != psutil.STATUS_ZOMBIE and "serving.shadowing" in one.cmdline()
    ]


def wait_for(what: str, happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not happened():
        assert time.monotonic() < deadline, f"no {what} within {SECONDS} s"
        time.sleep(0.05)


def test_it_runs_at_low_priority_for_as_long_as_there_is_a_shadow(
    tmp_path: Path, bundles: dict[str, Built]
):
    settings = Settings(home=tmp_path)
    watched = Watched(settings.serving_state, settings.prediction_log)
    one, two = bundles["1"].folder, bundles["2"].folder
    watched.publish(champion=one, shadow=bundle("2", two))
    stop = threading.Event()
    thread = start_shadowing(settings, stop)

    def is_scored() -> bool:
        watched.ask(*records(1, seed=1))
        return bool(watched.logged("shadow"))

    try:
        wait_for("record of the shadow", is_scored)
        [first] = processes()
        assert first.nice() == NICENESS
        if sys.platform == "linux":
            assert os.sched_getscheduler(first.pid) == os.SCHED_IDLE
        first.kill()
        wait_for("other process", lambda: processes() and processes() != [first])
        watched.publish(champion=one)
        wait_for("end", lambda: not processes())
        watched.publish(champion=one, shadow=bundle("2", two))
        wait_for("process", processes)
    finally:
        stop.set()
        thread.join()
        watched.close()
    assert not processes()
