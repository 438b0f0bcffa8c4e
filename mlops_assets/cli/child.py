"""One process that a supervisor has started, and its log."""

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from mlops_assets.cli.processes import MARK
from mlops_assets.cli.services import Service
from mlops_assets.settings import Settings

LOG_TAIL_LINES = 15


@dataclass
class Child:
    """A started service. `started` is in seconds since the epoch."""

    service: Service
    process: subprocess.Popen[bytes]
    log: Path
    started: float
    restarts: int = 0
    # When to start it again, on the monotonic clock; 0 while it runs.
    restart_at: float = 0.0

    def ask_to_end(self) -> None:
        """SIGTERM to its group, or to itself alone if it ends its children in its own order."""
        with contextlib.suppress(ProcessLookupError):
            if self.service.signals_group:
                os.killpg(self.process.pid, signal.SIGTERM)
            else:
                self.process.terminate()

    def tail(self) -> str:
        """The end of its log, for an error message."""
        lines = self.log.read_text(errors="replace").rstrip().splitlines()[-LOG_TAIL_LINES:]
        return f"Its log, {self.log}, ends with:\n" + "\n".join(f"  {line}" for line in lines)


def start_child(service: Service, settings: Settings, token: str, restarts: int) -> Child:
    """Start a service in a session of its own; its output goes to `<logs>/<name>.log`.

    The log of the last time is kept beside it; a restart appends to the log.
    """
    log = settings.logs / f"{service.name}.log"
    if restarts == 0 and log.exists():
        log.replace(log.with_suffix(".log.1"))
    with log.open("ab") as output:
        process = subprocess.Popen(
            service.command,
            env={**settings.environment(), **service.environment, MARK: token},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # A Ctrl-C in the terminal must reach the supervisor only, which ends the others.
            start_new_session=True,
        )
    return Child(service, process, log, time.time(), restarts)
