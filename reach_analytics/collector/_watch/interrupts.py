"""Ctrl-C while a watch runs: noted, and acted on where nothing is half done."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

_NUMBERS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Inside the block, a signal that would raise ``KeyboardInterrupt`` is only noted.

    Raised at any moment, it could hit the middle of a write, a log line or a lock, and some
    libraries turn it into other errors. A second signal raises: its sender does not want to wait.
    Outside the main thread, and where other code handles the signals, nothing is changed.

    Attributes
    ----------
    asked : bool
        Whether there was one.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number in _NUMBERS:
                if _is_plain(signal.getsignal(number)):
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


def _is_plain(handler: Any) -> bool:
    """Whether a handler is Python's own for Ctrl-C, or this package's for its commands."""
    module = getattr(handler, "__module__", None) or ""
    return handler is signal.default_int_handler or module.startswith("reach_analytics.")
