"""Waiting for what other threads and processes do.

The machine that tests may stand still for seconds: a test waits for what it wants to see, and for
long, never for a moment that is usually enough.
"""

import time
from collections.abc import Callable

PATIENCE = 60.0


def eventually(
    condition: Callable[[], object], what: str = "", seconds: float = PATIENCE, every: float = 0.02
) -> None:
    """Return once the condition holds; an AssertionError says what did not happen in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what or condition}"
        time.sleep(every)
