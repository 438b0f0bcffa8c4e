"""Ctrl-C and SIGTERM as one exception, that never interrupts the cleaning up."""

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Handler = Callable[[int, FrameType | None], Any] | int | None


class Interrupts:
    """The first signal raises KeyboardInterrupt in the main thread; a later one only hurries.

    A process that a non-interactive shell starts with `&` ignores SIGINT, and so would all its
    children; installing a handler undoes that for them too.
    """

    def __init__(self) -> None:
        self._earlier: dict[signal.Signals, Handler] = {}
        self._deferred = False
        self._hurried = False

    def install(self) -> None:
        """Take over the signals; does nothing outside the main thread, which gets none."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._earlier[number] = signal.signal(number, self._handle)

    def defer(self) -> None:
        """From here on a signal raises nothing."""
        self._deferred = True

    def is_hurried(self) -> bool:
        """Whether someone asked a second time."""
        return self._hurried

    def restore(self) -> None:
        """Give the signals back, where `install` took them."""
        if threading.current_thread() is threading.main_thread():
            while self._earlier:
                number, handler = self._earlier.popitem()
                signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._deferred:
            self._hurried = True
            return
        self._deferred = True
        raise KeyboardInterrupt(signal.Signals(number).name)
