import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import psutil
import pytest

from mlops_assets.cli.processes import is_alive
from mlops_assets.cli.running import read_running, running_url
from mlops_assets.cli.supervisor import Supervisor
from mlops_assets.domain.errors import ServiceError
from mlops_assets.settings import Settings
from mlops_assets_tests.cli.conftest import http_service, of_home, python_service
from mlops_assets_tests.waiting import eventually

SLEEP = "import time; time.sleep(60)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1); {SLEEP}"
# A child in a session of its own, whose parent ends at once: an orphan.
ORPHANS = f"""
import subprocess, sys
middle = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEP!r}]{{0}})"
for options in ("", ", start_new_session=True"):
    subprocess.run([sys.executable, "-c", middle.format(options)], check=True)
subprocess.Popen([sys.executable, "-c", {STUBBORN!r}])
{SLEEP}
"""


def marked(settings: Settings) -> list[psutil.Process]:
    return of_home(settings.home)


def test_a_service_answers_inside_the_block_and_is_gone_after_it(settings: Settings):
    with Supervisor(settings, [http_service()]) as up:
        with urllib.request.urlopen(up.urls["web"], timeout=30) as answer:
            assert answer.status == 200
        published = read_running(settings.services_file)
        assert published is not None
        assert published.ready
        assert published.pid == os.getpid()
        assert [(one.name, one.url) for one in published.services] == [("web", up.urls["web"])]
        assert running_url(settings, "web") == up.urls["web"]
        assert len(marked(settings)) == 1
    assert marked(settings) == []
    assert not settings.services_file.exists()


def test_an_error_in_the_block_stops_the_services_too(settings: Settings):
    with pytest.raises(ZeroDivisionError), Supervisor(settings, [python_service("one", SLEEP)]):
        1 / 0  # noqa: B018
    assert marked(settings) == []


def test_a_child_that_ignores_sigterm_is_killed_after_its_grace(settings: Settings):
    service = python_service("stubborn", STUBBORN, grace_seconds=0.5)
    supervisor = Supervisor(settings, [service])
    with supervisor:
        eventually(lambda: (settings.logs / "stubborn.log").exists())
        started = time.monotonic()
    assert time.monotonic() - started < 9  # the grace of others is 10 s
    assert marked(settings) == []


def test_orphaned_grandchildren_are_found_and_ended(settings: Settings):
    with Supervisor(settings, [python_service("family", ORPHANS)]):
        eventually(lambda: len(marked(settings)) == 4)
    assert marked(settings) == []


def test_a_child_that_fails_at_its_start_is_an_error_with_the_end_of_its_log(settings: Settings):
    services = [
        python_service("good", SLEEP),
        python_service("bad", "raise SystemExit('no luck')", probe=lambda started: False),
    ]
    with pytest.raises(ServiceError, match=r"bad ended with exit code 1(.|\n)*bad.log(.|\n)*luck"):
        Supervisor(settings, services).__enter__()
    assert marked(settings) == []
    assert not settings.services_file.exists()


def test_a_child_that_never_gets_ready_is_an_error_with_the_end_of_its_log(settings: Settings):
    code = f"print('still loading', flush=True); {SLEEP}"
    service = python_service("slow", code, probe=lambda started: False, ready_seconds=1.0)
    with pytest.raises(ServiceError, match=r"slow was not ready after 1 s(.|\n)*still loading"):
        Supervisor(settings, [service]).__enter__()
    assert marked(settings) == []


def test_a_service_starts_after_those_it_needs(settings: Settings):
    events: list[tuple[str, str]] = []
    services = [python_service("second", SLEEP, after=("first",)), python_service("first", SLEEP)]
    with Supervisor(settings, services, report=lambda *event: events.append(event)):
        pass
    assert events.index(("first", "ready")) < events.index(("second", "starting"))


def test_a_killed_service_comes_back_at_the_same_address(settings: Settings):
    service = http_service()
    with Supervisor(settings, [service], first_delay=0.1) as up:
        before = read_running(settings.services_file)
        assert before is not None
        os.kill(before.services[0].pid, signal.SIGKILL)
        eventually(lambda: read_running(settings.services_file) != before)
        eventually(lambda: service.probe(0))
        up.raise_if_failed()
    assert marked(settings) == []


def test_a_service_that_keeps_dying_is_given_up_with_a_reason(settings: Settings):
    code = "import time; time.sleep(0.5); raise SystemExit('out of cheese')"
    supervisor = Supervisor(settings, [python_service("weak", code)], restarts=2, first_delay=0.05)
    gives_up = pytest.raises(ServiceError, match=r"weak ended .* after 2 restarts(.|\n)*cheese")
    with gives_up, supervisor as up:
        up.wait()
    assert marked(settings) == []


def test_what_a_dead_service_left_is_ended_before_it_starts_again(settings: Settings):
    start = f"subprocess.Popen([sys.executable, '-c', {SLEEP!r}])"
    code = f"import subprocess, sys, time; {start}; time.sleep(1)"
    with Supervisor(settings, [python_service("parent", code)], restarts=0) as up:
        eventually(lambda: len(marked(settings)) == 2)
        eventually(lambda: up.failure is not None)
        assert marked(settings) == []


def test_a_second_supervisor_of_the_same_home_is_refused(settings: Settings):
    with Supervisor(settings, [http_service()]) as up:
        with pytest.raises(
            ServiceError, match=rf"already runs .*pid {os.getpid()}.*{up.urls['web']}"
        ):
            Supervisor(settings, [http_service()]).__enter__()
        # The refused one must not take the first one's file away.
        assert running_url(settings, "web") == up.urls["web"]


def test_another_home_is_no_obstacle(settings: Settings, tmp_path: Path):
    another = Supervisor(Settings(home=tmp_path / "other"), [http_service()])
    with Supervisor(settings, [http_service()]), another as up:
        up.raise_if_failed()


def test_a_home_without_supervisor_has_no_address(settings: Settings):
    with pytest.raises(ServiceError, match="start it with `mlops up`"):
        running_url(settings, "serve")


def test_an_unreadable_services_file_is_no_obstacle(settings: Settings):
    settings.home.mkdir()
    settings.services_file.write_text("{")
    with Supervisor(settings, [http_service()]) as up:
        assert running_url(settings, "web") == up.urls["web"]


PROGRAM = """
import sys
from mlops_assets.cli.supervisor import Supervisor
from mlops_assets.settings import Settings
from mlops_assets_tests.cli.conftest import http_service, python_service
from mlops_assets_tests.cli.test_supervisor import ORPHANS, STUBBORN
services = [http_service(), python_service("family", ORPHANS)]
if sys.argv[1] == "stubborn":
    services.append(python_service("stubborn", STUBBORN, grace_seconds=60.0))
with Supervisor(Settings.load(), services) as up:
    print("ready", flush=True)
    up.wait()
"""


def run_program(settings: Settings, *arguments: str, script: str = "") -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, *(arguments or ("",))]
    process = subprocess.Popen(
        ["sh", "-c", script, "sh", *command] if script else command,
        env={**os.environ, "MLOPS_HOME": str(settings.home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    eventually(lambda: len(marked(settings)) >= 6)
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_everything(settings: Settings, number: signal.Signals):
    process = run_program(settings)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert f"KeyboardInterrupt: {number.name}" in errors
    assert marked(settings) == []
    assert not settings.services_file.exists()


def test_ctrl_c_works_in_a_shell_that_started_it_with_an_ampersand(settings: Settings):
    # Such a process is started with SIGINT ignored, and so would be its children.
    process = run_program(settings, script='"$@" & wait $!')
    published = read_running(settings.services_file)
    assert published is not None
    os.kill(published.pid, signal.SIGINT)
    process.communicate(timeout=60)
    eventually(lambda: marked(settings) == [])


def test_a_second_signal_does_not_wait_for_the_stubborn(settings: Settings):
    process = run_program(settings, "stubborn")
    process.send_signal(signal.SIGINT)
    time.sleep(1)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert marked(settings) == []


def test_a_new_supervisor_ends_what_a_killed_one_left(settings: Settings):
    process = run_program(settings)
    process.kill()
    process.communicate()
    left = marked(settings)
    assert len(left) >= 5
    stale = json.loads(settings.services_file.read_text())
    with pytest.raises(ServiceError, match="nothing runs"):
        running_url(settings, "web")
    with Supervisor(settings, [http_service()]):
        assert not any(is_alive(process) for process in left)
        assert json.loads(settings.services_file.read_text())["pid"] != stale["pid"]
    assert marked(settings) == []


def test_it_works_in_a_thread_that_gets_no_signals(settings: Settings):
    service = http_service()
    answered: list[bool] = []

    def work() -> None:
        with Supervisor(settings, [service]):
            answered.append(service.probe(0))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(20)
    assert answered == [True]
    assert marked(settings) == []
