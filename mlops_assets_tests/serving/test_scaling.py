"""Replicas by requests under way, as the RayService asks for, on a Ray of its own."""

import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

from mlops_assets.settings import Settings
from mlops_assets_tests.serving.conftest import Built, publish
from mlops_assets_tests.waiting import eventually

REQUESTS = 16
HEAD = (
    b"POST /v1/models/flight_delay/predict HTTP/1.1\r\nhost: x\r\n"
    b"content-type: application/json\r\ncontent-length: 1000\r\n\r\n{"
)


def test_requests_under_way_bring_a_second_replica(tmp_path: Path, bundles: dict[str, Built]):
    settings = Settings(home=tmp_path, serve_port=0)
    publish(settings.serving_state, flight_delay=("1", bundles["1"].folder))
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlops_assets_tests.serving.scaling_application"],
            env=settings.environment(),
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    told: list[str] = []
    assert process.stdout is not None
    output = process.stdout
    reader = threading.Thread(target=lambda: told.extend(map(str.strip, output)), daemon=True)
    reader.start()
    clients: list[socket.socket] = []
    try:
        wait_for(told, 2, tmp_path / "log")
        assert told[1] == "1"
        # Less than the target of a replica: it stays at one.
        clients += [asking(told[0]) for _ in range(3)]
        time.sleep(4)
        assert told[1:] == ["1"]
        clients += [asking(told[0]) for _ in range(REQUESTS)]
        wait_for(told, 3, tmp_path / "log")
        assert told[2] == "2"
    finally:
        for client in clients:
            client.close()
        process.terminate()
        process.wait(30)
        reader.join()
        output.close()


def asking(url: str) -> socket.socket:
    """A request whose body does not come to its end: it takes no time of anybody."""
    address = urlsplit(url)
    client = socket.create_connection((address.hostname, address.port or 80))
    client.sendall(HEAD)
    return client


def wait_for(told: list[str], lines: int, log: Path) -> None:
    try:
        eventually(lambda: len(told) >= lines, every=0.1)
    except AssertionError as error:
        raise AssertionError(f"{told}: {log.read_text()[-2000:]}") from error
