"""A server is a tree of processes: its CPU time, its memory, and its end."""

import contextlib
import resource
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

STOP_SECONDS = 20.0


class Tree:
    """A program that was started here, with all its descendants."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path
    ) -> None:
        with log.open("ab") as output:
            # A session of its own: Ctrl-C reaches us alone, and we stop it in order.
            self.process = subprocess.Popen(
                list(command),
                env=dict(environment),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._root = psutil.Process(self.process.pid)

    def members(self) -> list[psutil.Process]:
        """The processes that live now."""
        try:
            return [self._root, *self._root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def cpu_times(self) -> dict[int, float]:
        """CPU seconds, user and system, that each living process has used so far."""
        used = {}
        for process in self.members():
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                used[process.pid] = times.user + times.system
        return used

    def memory_mb(self) -> float:
        """Proportional set size in MiB: a page that n processes share counts for 1/n in each."""
        total = 0
        for process in self.members():
            with contextlib.suppress(psutil.Error):
                full = process.memory_full_info()
                total += getattr(full, "pss", full.uss)
        return total / 2**20

    def stop(self) -> None:
        """End every process, politely first; none of them is left when this returns."""
        family = self.members()
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_SECONDS)
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(family, timeout=5)
        self.process.wait()


class Busy:
    """CPU time of the whole machine from now on, to tell what other programs took."""

    def __init__(self) -> None:
        self._busy, self._all = _machine()
        self._ours = _children()

    def others(self, server: float) -> float:
        """Share of all CPUs that neither the server's CPU seconds nor ended children explain."""
        busy, everything = _machine()
        known = server + _children() - self._ours
        spent = everything - self._all
        return max(0.0, (busy - self._busy - known) / spent) if spent > 0 else 0.0


def _machine() -> tuple[float, float]:
    times = psutil.cpu_times()
    # Guest time is in user time already.
    total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    return total - times.idle - getattr(times, "iowait", 0.0), total


def _children() -> float:
    """CPU seconds of this process's children that have ended, the load tool above all."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def cpu_used(before: Mapping[int, float], after: Mapping[int, float]) -> float:
    """CPU seconds between two readings; a process that started meanwhile counts whole."""
    return sum(seconds - before.get(pid, 0.0) for pid, seconds in after.items())
