"""Ports of this machine that a server can still have when it starts a moment later."""

import os
import random
import socket
import sys
import time
from collections.abc import Sequence

LOOPBACK = "127.0.0.1"
# Below the ports that Linux gives to outgoing connections, of which Ray makes hundreds while it
# starts, and above those that its replicas take.
RANGE: Sequence[int] = range(30_100, 32_700)
# From the choice of a port to the moment at which a server listens there, on a slow machine.
HELD_SECONDS = 300.0

# Since when this process holds a port that it chose, and the descriptor that holds it.
_held: dict[int, tuple[float, int]] = {}


def free_ports(count: int) -> list[int]:
    """Different ports of the loopback interface that nobody listens on, in random order.

    On Linux no other process is given them by this function for `HELD_SECONDS`: a server may take
    a minute to listen on its port, in which another one that starts beside it must not choose the
    same. Raises OSError when there are not so many.
    """
    now = time.monotonic()
    _give_back([port for port, (since, _) in _held.items() if now - since > HELD_SECONDS])
    found: list[int] = []
    if count <= len(RANGE):
        for port in random.SystemRandom().sample(RANGE, len(RANGE)):
            if len(found) < count and is_free(port) and _hold(port):
                found.append(port)
    if len(found) == count:
        return found
    _give_back(found)
    raise OSError(f"fewer than {count} free ports between {RANGE[0]} and {RANGE[-1]}")


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Whether a server could listen there now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        # A port in TIME_WAIT can be used again at once.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def _hold(port: int) -> bool:
    """Whether the port was nobody's, and is ours now.

    A name without a file (unix(7), abstract sockets) belongs to one process at a time, within the
    same network namespace as the port, and is given back by whatever ends the process.
    """
    if port in _held:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as name:
        if sys.platform == "linux":
            try:
                name.bind(f"\0mlops_assets/port/{port}")
            except OSError:
                return False
        _held[port] = time.monotonic(), name.detach()
    return True


def _give_back(ports: Sequence[int]) -> None:
    for port in ports:
        os.close(_held.pop(port)[1])
