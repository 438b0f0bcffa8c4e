"""Fixtures that more than one folder of tests uses."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

# Threads of OpenMP wait for each other in a loop: on cores that others keep busy, as a second
# worker does, a fit of milliseconds takes seconds. Read when numpy is imported, here and in all
# processes that tests start.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
# All servers of tests are of this machine, whatever proxy the environment has.
os.environ["no_proxy"] = "*"

pytest_plugins = ["mlops_assets_tests.loop_fixtures"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take minutes begin first, so that no worker is left with one at the end.

    They are those that ask for a timeout of their own, the longest first.
    """

    def asked_for(item: pytest.Item) -> float:
        marker = item.get_closest_marker("timeout")
        return float(marker.args[0]) if marker else 0.0

    items.sort(key=asked_for, reverse=True)


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """The system's Chromium; tests that need a browser are skipped without one."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("needs Chromium on the PATH (Debian: apt-get install chromium)")
    return path


@pytest.fixture
def browser_page(chromium_path: str) -> Iterator[Any]:
    """An empty page of a headless browser of its own."""
    from playwright.sync_api import sync_playwright

    quiet = ("background-networking", "component-update", "sync")
    arguments = ["--no-sandbox", "--disable-gpu", "--no-first-run"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium_path,
            args=[*arguments, *(f"--disable-{name}" for name in quiet)],
        )
        try:
            yield browser.new_page(viewport={"width": 1280, "height": 1600})
        finally:
            browser.close()


POSTGRES_PASSWORD = "not/a secret:1"


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """URL of an empty PostgreSQL of its own, on a free port of the loopback interface."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("needs PostgreSQL's binaries (Debian: apt-get install postgresql)")
    # Short, because a socket's path may have no more than 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="mlops-pg-"))
    try:
        with _postgres(found[-1].parent, folder) as port:
            secret = quote(POSTGRES_PASSWORD, safe="")
            yield f"postgresql+psycopg2://tester:{secret}@127.0.0.1:{port}/postgres"
    finally:
        shutil.rmtree(folder)


@contextmanager
def _postgres(binaries: Path, folder: Path) -> Iterator[int]:
    # PostgreSQL refuses to run as root.
    user: dict[str, Any] = {}
    if os.geteuid() == 0:
        import pwd

        account = pwd.getpwnam("postgres")
        user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        os.chown(folder, account.pw_uid, account.pw_gid)
    secret = folder / "password"
    secret.write_text(POSTGRES_PASSWORD)
    secret.chmod(0o644)
    data = folder / "data"
    access = ["-U", "tester", "-A", "scram-sha-256", "--pwfile", secret]
    subprocess.run(
        [binaries / "initdb", "-D", data, *access, "-E", "UTF8", "--locale", "C", "-N"],
        check=True,
        capture_output=True,
        cwd=folder,
        **user,
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": ""}
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [binaries / "postgres", "-D", data, *options, "-c", "fsync=off"],
            stdout=log,
            stderr=log,
            cwd=folder,
            **user,
        )
    try:
        _wait_until_ready(server, binaries, port, folder / "log")
        yield port
    finally:
        server.send_signal(signal.SIGINT)  # a fast shutdown
        server.wait(timeout=30)


def _wait_until_ready(server: Any, binaries: Path, port: int, log: Path) -> None:
    question = [binaries / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
    for _ in range(300):
        if server.poll() is not None:
            raise RuntimeError(f"PostgreSQL ended by itself: {log.read_text()[-2000:]}")
        if subprocess.run(question, check=False).returncode == 0:
            return
        time.sleep(0.1)
    raise RuntimeError(f"PostgreSQL is not ready after 30 s: {log.read_text()[-2000:]}")
