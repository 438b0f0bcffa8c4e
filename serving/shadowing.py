"""`python -m serving.shadowing`: the process that scores shadows, and what starts it.

It runs beside the replicas or beside the follower of a node, whichever starts it; a lock keeps it
to one for each home. It ends with the process that started it.
"""

import fcntl
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from mlops_assets.settings import Settings
from serving.pointer import read_pointer

logger = logging.getLogger(__name__)

# For systems without Linux's idle class; there it gets a tenth of a core that others want.
NICENESS = 10
PAUSE_SECONDS = 0.1
LOOK_SECONDS = 1.0


def start_shadowing(settings: Settings, stop: threading.Event) -> threading.Thread:
    """Run the process for as long as the pointer file names a shadow, until stopped."""
    thread = threading.Thread(
        target=_supervise, args=(settings, stop), name="shadowing", daemon=True
    )
    thread.start()
    return thread


def _supervise(settings: Settings, stop: threading.Event) -> None:
    child: subprocess.Popen[bytes] | None = None
    while not stop.wait(LOOK_SECONDS):
        try:
            is_wanted = any(one.shadow for one in read_pointer(settings.serving_state).values())
            if child is not None and child.poll() is not None:
                logger.warning("The shadows' process ended with %s.", child.returncode)
                child = None
            if is_wanted and child is None:
                command = [sys.executable, "-m", "serving.shadowing"]
                child = subprocess.Popen(command, env=settings.environment())
            elif child is not None and not is_wanted:
                _end(child)
                child = None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            logger.error("Shadows are not looked after: %r", error)
    if child is not None:
        _end(child)


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(5)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def main() -> int:
    """Score until a signal or the parent's end; returns the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    os.nice(NICENESS)
    if sys.platform == "linux":
        # It gives way at once to whoever else wants the core, also when it has just woken up.
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    settings = Settings.load()
    stop = threading.Event()

    def end(number: int = 0, frame: FrameType | None = None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    from serving.processes import watch_parent

    watch_parent(end)
    with _alone(settings, stop) as is_mine:
        if is_mine:
            _score(settings, stop)
    return 0


def _score(settings: Settings, stop: threading.Event) -> None:
    from serving.shadow import Shadow
    from serving.stats import Stats

    stats = Stats(settings.serving_stats)
    stats.start()
    shadow = Shadow(settings.serving_state, settings.prediction_log, stats)
    is_broken, rows = False, 0
    # While there is a backlog it goes on at once.
    while not stop.wait(0.0 if rows else PAUSE_SECONDS):
        try:
            rows = shadow.step()
            is_broken = False
        except Exception:  # shadowing must outlive any one failure, which is logged once
            if not is_broken:
                logger.exception("Shadows cannot be scored; it is tried again")
            is_broken, rows = True, 0
    shadow.step()
    shadow.close()
    stats.write()


@contextmanager
def _alone(settings: Settings, stop: threading.Event) -> Iterator[bool]:
    """Wait until no other process of this home does it; False if stopped meanwhile."""
    path = settings.serving_state.parent / "shadow.lock"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with path.open("ab") as file:
        while not stop.is_set():
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                stop.wait(LOOK_SECONDS)
            else:
                yield True
                return
        yield False


if __name__ == "__main__":
    sys.exit(main())
