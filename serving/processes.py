"""Leaving no process behind, however serving ends.

Ray starts a dozen processes and some of them start others; killed without warning, it leaves two
agents behind. So serving is two processes. The one that was asked for is a guard: it forks the
one that runs Ray, adopts its orphaned descendants (Linux: child subreaper), and in the end stops
every one of them. Should the guard be killed, the other notices and ends by itself.
"""

import contextlib
import ctypes
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

import psutil

logger = logging.getLogger(__name__)

_PR_SET_CHILD_SUBREAPER = 36


def guard(child: int, clean: Callable[[], None]) -> int:
    """Pass signals on to the child, wait for its end, clean up; returns its exit code."""
    adopt_orphans()
    ended = threading.Event()

    def stop(number: int = signal.SIGTERM, frame: FrameType | None = None) -> None:
        if not ended.is_set():
            os.kill(child, number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    watch_parent(stop)
    _, status = os.waitpid(child, 0)
    ended.set()
    clean()
    return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 1


def adopt_orphans() -> None:
    """Become the parent of descendants whose parent dies; a no-op where the kernel can't."""
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "prctl"):
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def watch_parent(on_death: Callable[[], None], every: float = 0.5) -> None:
    """Call `on_death` once the process that started this one is gone."""
    parent = os.getppid()
    if parent == 1:
        return

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(every)
        on_death()

    threading.Thread(target=watch, name="parent", daemon=True).start()


def kill_descendants(grace: float = 0.5) -> int:
    """Stop every descendant of this process, politely and then for sure; returns how many."""
    family = psutil.Process().children(recursive=True)
    for process in family:
        _signal(process, signal.SIGTERM)
    _, alive = psutil.wait_procs(family, timeout=grace)
    for process in alive:
        _signal(process, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=2)
    return len(family)


def _signal(process: psutil.Process, number: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def drain(name: str, number: int, seconds: float) -> None:
    """Send a signal to every descendant of this name, and wait a little for them to end."""
    named = [p for p in psutil.Process().children(recursive=True) if _name(p) == name]
    for process in named:
        _signal(process, number)
    psutil.wait_procs(named, timeout=seconds)


def end_after(seconds: float, clean: Callable[[], None]) -> None:
    """A last resort: clean up and end this process if it still runs by then."""

    def end() -> None:
        logger.error("Shutting down took more than %s s: ending at once.", seconds)
        clean()
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return ""
