"""Ports of this machine that a server can still have when it starts a moment later."""

import random
import socket

LOOPBACK = "127.0.0.1"
# Below the ports that Linux gives to outgoing connections, of which Ray makes hundreds while it
# starts, and above those that its replicas take.
RANGE = range(30_100, 32_700)


def free_ports(count: int) -> list[int]:
    """Different ports of the loopback interface that nobody listens on, in random order.

    Raises OSError when there are not so many.
    """
    found: list[int] = []
    for port in random.SystemRandom().sample(RANGE, len(RANGE)):
        if len(found) == count:
            return found
        if is_free(port):
            found.append(port)
    raise OSError(f"fewer than {count} free ports between {RANGE.start} and {RANGE.stop}")


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
