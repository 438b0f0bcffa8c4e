import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mlops_assets.stores import ports as module
from mlops_assets.stores.ports import RANGE, free_ports, is_free


def test_free_ports_are_different_and_free():
    ports = free_ports(50)
    assert len(set(ports)) == 50
    assert all(is_free(port) for port in ports)


def test_a_port_that_somebody_listens_on_is_not_offered():
    with socket.socket() as taken:
        (port,) = free_ports(1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        assert not is_free(port)
        assert port not in free_ports(500)


CHOOSING = """
from mlops_assets.stores.ports import free_ports
print(*free_ports(100), flush=True)
input()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs names without a file, as Linux has")
def test_processes_that_choose_at_once_never_choose_the_same():
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    command = [sys.executable, "-c", CHOOSING]
    processes = [subprocess.Popen(command, **pipes) for _ in range(4)]  # type: ignore[call-overload]
    chosen = [port for one in processes for port in one.stdout.readline().split()]
    for one in processes:
        one.communicate("\n")
    assert len(set(chosen)) == len(chosen) == 400


def test_a_port_is_chosen_once_until_its_server_has_had_time_to_start(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(module, "RANGE", free_ports(3))
    with pytest.raises(OSError, match="fewer than 1 free"):
        free_ports(1)
    monkeypatch.setattr(module, "HELD_SECONDS", -1.0)
    ports = [*free_ports(2), *free_ports(3)]
    assert set(ports) == set(module.RANGE)
    with pytest.raises(OSError, match="fewer than 4 free"):
        free_ports(4)
    assert len(free_ports(3)) == 3, "what could not be used is given back"


def test_more_ports_than_there_are_is_an_error():
    with pytest.raises(OSError, match="fewer than"):
        free_ports(len(RANGE) + 1)


def test_the_kernel_gives_none_of_them_to_outgoing_connections():
    limits = Path("/proc/sys/net/ipv4/ip_local_port_range")
    if not limits.exists():
        pytest.skip("needs Linux, to ask the kernel")
    first, last = map(int, limits.read_text().split())
    if first >= 32_768:
        assert not set(RANGE) & set(range(first, last + 1))
