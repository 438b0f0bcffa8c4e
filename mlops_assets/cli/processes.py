"""Finding and ending everything that a started process has started.

Three signs of kinship, because each alone can be lost: being a descendant (lost when a parent
dies), being in a session that we opened (lost by setsid), carrying our mark in the environment
(lost when a process overwrites its title, as Ray's do).
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import psutil

MARK = "MLOPS_SUPERVISOR"
KILL_SECONDS = 5.0


@dataclass
class Kin:
    """All processes that belong to one supervisor, told by its token."""

    token: str
    sessions: set[int] = field(default_factory=set)
    _seen: set[psutil.Process] = field(default_factory=set)

    def remember(self, leaders: Iterable[int]) -> None:
        """Note the descendants of these processes while their parents are alive."""
        self._seen = {process for process in self._seen if is_alive(process)}
        for pid in leaders:
            with contextlib.suppress(psutil.Error):
                self._seen.update(psutil.Process(pid).children(recursive=True))

    def alive(self) -> list[psutil.Process]:
        """Every process of ours that runs now, this one excluded."""
        found = {process for process in self._seen if is_alive(process)}
        for process in psutil.process_iter():
            if process.pid != os.getpid() and self._is_ours(process) and is_alive(process):
                found.add(process)
        return list(found)

    def end_session(self, session: int) -> None:
        """Kill what is left of a session whose leader has ended, and forget it."""
        kill([process for process in self.alive() if _session(process.pid) == session])
        # Its number may be given to a stranger later on.
        self.sessions.discard(session)

    def _is_ours(self, process: psutil.Process) -> bool:
        if _session(process.pid) in self.sessions:
            return True
        try:
            return bool(process.environ().get(MARK) == self.token)
        except (psutil.Error, OSError):
            return False


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs; a zombie that nobody has reaped does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def is_running(pid: int, created: float) -> bool:
    """Whether this very process runs, and not a later one with the same number."""
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - created) < 1 and is_alive(process)
    except psutil.NoSuchProcess:
        return False


def end(
    processes: list[psutil.Process], grace: float, hurry: Callable[[], bool] = lambda: False
) -> list[psutil.Process]:
    """SIGTERM, then SIGKILL after `grace` seconds or as soon as `hurry`; returns survivors."""
    _signal(processes, signal.SIGTERM)
    return kill(wait_for_end(processes, grace, hurry))


def kill(processes: list[psutil.Process]) -> list[psutil.Process]:
    """SIGKILL; returns those that survive even that."""
    _signal(processes, signal.SIGKILL)
    return wait_for_end(processes, KILL_SECONDS)


def wait_for_end(
    processes: list[psutil.Process], seconds: float, hurry: Callable[[], bool] = lambda: False
) -> list[psutil.Process]:
    """Wait until all have ended; returns those that have not."""
    deadline = time.monotonic() + seconds
    while left := [process for process in processes if is_alive(process)]:
        if time.monotonic() > deadline or hurry():
            break
        time.sleep(0.05)
    return left


def _signal(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return -1
