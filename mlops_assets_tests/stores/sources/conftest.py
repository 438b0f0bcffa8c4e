"""Real servers: S3-compatible, as a process of its own that can be stopped, and of the web."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mlops_assets.stores.sources import copies
from mlops_assets_tests.site import Site, serving

START = (
    "import logging, sys; logging.disable(); from moto.server import main; "
    "main(['-H', '127.0.0.1', '-p', sys.argv[1]])"
)


@dataclass(frozen=True)
class S3Server:
    process: Any
    address: str

    @property
    def files(self) -> Any:
        """The server as a file system that may write."""
        from pyarrow.fs import S3FileSystem

        return S3FileSystem(endpoint_override=self.address, allow_bucket_creation=True)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)


@pytest.fixture(scope="session")
def _s3_process() -> Iterator[S3Server]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([sys.executable, "-c", START, str(port)], **quiet)
    try:
        _wait(port, process)
        yield S3Server(process, f"http://127.0.0.1:{port}")
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait(timeout=30)


def _wait(port: int, process: Any) -> None:
    for _ in range(600):
        if process.poll() is not None:
            raise RuntimeError("the S3 server ended by itself")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise RuntimeError("the S3 server is not ready after 60 s")


@pytest.fixture
def s3_server(_s3_process: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """The server, named by the environment; the bucket `shop` is there."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", _s3_process.address)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tester")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not a secret")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    _s3_process.files.create_dir("shop")
    yield _s3_process
    _s3_process.signal(signal.SIGCONT)
    _s3_process.files.delete_dir_contents("shop")


@pytest.fixture
def stopped_s3(s3_server: S3Server) -> Iterator[S3Server]:
    """A server that takes connections and answers nothing; start it again with SIGCONT."""
    s3_server.signal(signal.SIGSTOP)
    yield s3_server
    s3_server.signal(signal.SIGCONT)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A server, a home of its own for the copies, and short pauses between attempts."""
    monkeypatch.setenv("MLOPS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(copies, "FIRST_PAUSE", 0.01)
    (tmp_path / "www").mkdir()
    with serving(tmp_path / "www") as found:
        yield found
