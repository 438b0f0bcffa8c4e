"""Starts services, waits until they are ready, restarts what dies, and leaves nothing behind."""

import atexit
import contextlib
import os
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType

import psutil
from filelock import FileLock, Timeout

from mlops_assets.cli.child import Child, start_child
from mlops_assets.cli.interrupts import Interrupts
from mlops_assets.cli.processes import Kin, end, kill, wait_for_end
from mlops_assets.cli.running import Running, RunningService, read_running
from mlops_assets.cli.services import Service
from mlops_assets.domain.errors import ServiceError
from mlops_assets.settings import Settings

# Told of every change: the service's name and what happened to it.
Report = Callable[[str, str], None]

POLL_SECONDS = 0.1
REMEMBER_SECONDS = 2.0


@dataclass
class Supervisor:
    """Runs services for the time of a `with` block.

    A second supervisor on the same home is refused. A service that dies after it was ready is
    started again after `first_delay` seconds, doubled each time, at most `restarts` times;
    then `failure` says what happened, and `wait` raises it.
    """

    settings: Settings
    services: Sequence[Service]
    report: Report = lambda name, event: None
    restarts: int = 3
    first_delay: float = 1.0
    failure: ServiceError | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._kin = Kin(uuid.uuid4().hex)
        self._lock = FileLock(self.settings.locks / "up.lock", timeout=0)
        self._children: dict[str, Child] = {}
        self._interrupts = Interrupts()
        self._ended = threading.Event()
        self._monitor = threading.Thread(target=self._watch, name="supervisor", daemon=True)

    @property
    def urls(self) -> dict[str, str]:
        """Address by service name, for those that have one."""
        return {service.name: service.url for service in self.services if service.url}

    def __enter__(self) -> "Supervisor":
        """Start all services and return when all are ready; raises ServiceError otherwise."""
        self._take_home()
        # Should a signal fall between two lines below, the interpreter's end still cleans up.
        atexit.register(self.stop)
        try:
            self._interrupts.install()
            self._start()
        except BaseException:  # a Ctrl-C too must leave no process
            self.stop()
            raise
        self._monitor.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop everything, whatever happened."""
        self.stop()

    def wait(self) -> None:
        """Block until a service is lost for good (raises ServiceError) or a signal arrives."""
        while self.failure is None:
            time.sleep(POLL_SECONDS)
        raise self.failure

    def raise_if_failed(self) -> None:
        """For callers that do something else than wait."""
        if self.failure is not None:
            raise self.failure

    def stop(self) -> None:
        """End all services and everything that they started; safe to call again."""
        self._interrupts.defer()
        if not self._lock.is_locked:
            return
        self._ended.set()
        if self._monitor.is_alive():
            self._monitor.join()
        try:
            survivors = self._end_all()
            if survivors:
                self.report("supervisor", f"could not end {survivors}")
            self.settings.services_file.unlink(missing_ok=True)
        finally:
            self._lock.release()
            self._interrupts.restore()
            atexit.unregister(self.stop)

    def _take_home(self) -> None:
        """Become the only supervisor of this home, and clear up after one that was killed."""
        self.settings.locks.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.settings.logs.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            self._lock.acquire()
        except Timeout:
            raise ServiceError(self._refusal()) from None
        earlier = read_running(self.settings.services_file)
        if earlier is not None:
            left = Kin(earlier.token).alive()
            if left:
                self.report("supervisor", f"ending {len(left)} processes of an earlier run")
            end(left, grace=5.0)
        self.settings.services_file.unlink(missing_ok=True)

    def _refusal(self) -> str:
        running = read_running(self.settings.services_file)
        known = f" (pid {running.pid}: {', '.join(running.urls.values())})" if running else ""
        return (
            f"mlops already runs on {self.settings.home}{known}: stop it first, or set MLOPS_HOME "
            "to another folder."
        )

    def _start(self) -> None:
        ready: set[str] = set()
        self._publish(ready=False)
        while len(ready) < len(self.services):
            for service in self.services:
                child = self._children.get(service.name)
                if child is None and ready.issuperset(service.after):
                    self._spawn(service)
                elif child is not None and service.name not in ready and self._is_ready(child):
                    ready.add(service.name)
                    self.report(service.name, "ready")
            time.sleep(POLL_SECONDS)
        self._publish(ready=True)

    def _is_ready(self, child: Child) -> bool:
        name, waited = child.service.name, time.time() - child.started
        code = child.process.poll()
        if code is not None:
            raise ServiceError(f"{name} ended with exit code {code} at its start. {child.tail()}")
        try:
            if child.service.probe(child.started):
                return True
        except ServiceError as error:
            raise ServiceError(f"{error}The logs are in {self.settings.logs}.") from error
        if waited > child.service.ready_seconds:
            raise ServiceError(
                f"{name} was not ready after {child.service.ready_seconds:.0f} s. {child.tail()}"
            )
        return False

    def _spawn(self, service: Service, restarts: int = 0) -> None:
        child = start_child(service, self.settings, self._kin.token, restarts)
        self._kin.sessions.add(child.process.pid)
        self._children[service.name] = child
        self.report(service.name, "starting" if restarts == 0 else f"restart {restarts}")
        self._publish(ready=restarts > 0)

    def _publish(self, ready: bool) -> None:
        services = tuple(
            RunningService(child.service.name, child.process.pid, child.service.url)
            for child in self._children.values()
        )
        created = psutil.Process().create_time()
        running = Running(os.getpid(), created, self._kin.token, ready, services)
        running.write(self.settings.services_file)

    def _watch(self) -> None:
        """The monitor's thread: notice and restart the dead."""
        remembered = 0.0
        while not self._ended.wait(POLL_SECONDS) and self.failure is None:
            try:
                for child in list(self._children.values()):
                    if child.process.poll() is not None:
                        self._revive(child)
            except OSError as error:
                # Such as a home that was deleted meanwhile.
                self.failure = ServiceError(f"a service cannot be started again: {error}")
            if time.monotonic() - remembered > REMEMBER_SECONDS:
                self._kin.remember(child.process.pid for child in self._children.values())
                remembered = time.monotonic()

    def _revive(self, child: Child) -> None:
        name, code = child.service.name, child.process.returncode
        if child.restart_at == 0.0:
            self._kin.end_session(child.process.pid)
            if child.restarts >= self.restarts:
                self.failure = ServiceError(
                    f"{name} ended with exit code {code} after {child.restarts} restarts. "
                    f"{child.tail()}"
                )
                return
            delay = self.first_delay * 2**child.restarts
            child.restart_at = time.monotonic() + delay
            self.report(name, f"ended with exit code {code}, starts again in {delay:.0f} s")
        elif time.monotonic() >= child.restart_at:
            self._spawn(child.service, child.restarts + 1)

    def _end_all(self) -> list[psutil.Process]:
        """Ask politely, then insist; returns what survives."""
        pids = [child.process.pid for child in self._children.values()]
        self._kin.remember(pids)
        leaders = []
        for child in self._children.values():
            if child.process.poll() is None:
                with contextlib.suppress(psutil.NoSuchProcess):
                    leaders.append(psutil.Process(child.process.pid))
                child.ask_to_end()
        grace = max((service.grace_seconds for service in self.services), default=0.0)
        kill(wait_for_end(leaders, grace, self._interrupts.is_hurried))
        for child in self._children.values():
            child.process.wait()
        survivors = end(self._kin.alive(), 2.0, self._interrupts.is_hurried)
        # What was started while its parent was being ended.
        return survivors or kill(self._kin.alive())
