import socket
from pathlib import Path

import pytest

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
