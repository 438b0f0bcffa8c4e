"""The process that scores shadows, started the way serving starts it."""

import os
import sys
import threading
from pathlib import Path

import psutil

from mlops_assets.settings import Settings
from mlops_assets_tests.serving.conftest import Built, bundle, records
from mlops_assets_tests.serving.test_shadow import Watched
from mlops_assets_tests.waiting import eventually
from serving.shadowing import NICENESS, start_shadowing


def processes() -> list[psutil.Process]:
    return [
        one
        for one in psutil.Process().children()
        if one.status() != psutil.STATUS_ZOMBIE and "serving.shadowing" in one.cmdline()
    ]


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
        eventually(is_scored, "record of the shadow")
        [first] = processes()
        assert first.nice() == NICENESS
        if sys.platform == "linux":
            assert os.sched_getscheduler(first.pid) == os.SCHED_IDLE
        first.kill()
        eventually(lambda: processes() and processes() != [first], "other process")
        watched.publish(champion=one)
        eventually(lambda: not processes(), "end")
        watched.publish(champion=one, shadow=bundle("2", two))
        eventually(processes, "process")
    finally:
        stop.set()
        thread.join()
        watched.close()
    assert not processes()
