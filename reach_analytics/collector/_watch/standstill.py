"""Noticing a standstill: a clock that is stopped, or requests that never end."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from datetime import datetime, timedelta

logger = logging.getLogger("reach_analytics.collector")

_MOVES = timedelta(microseconds=500)  # a clock that moves less in a whole wait is stopped
_TELL_CLOCK_S = 5.0
_TELL_HANGING_S = 60.0


class Stillness:
    """For how much real time the clock of a run has been stopped.

    Parameters
    ----------
    most : timedelta, optional
        How long the run is to last by that clock; the clock may be stopped for as long.
    """

    def __init__(self, most: timedelta | None) -> None:
        self._most_s = float("inf") if most is None else max(0.0, most.total_seconds())
        self._stood_s = 0.0
        self._stands_at: datetime | None = None

    def waited(self, real_s: float, before: datetime, after: datetime) -> str | None:
        """Take in a wait, by both clocks; return a message when the clock is found stopped."""
        if abs(after - before) >= _MOVES:
            self._stood_s, self._stands_at = 0.0, None
            return None
        self._stood_s += real_s
        if self._stands_at is not None or self._stood_s < min(_TELL_CLOCK_S, self._most_s):
            return None
        self._stands_at = after
        return (
            f"the clock is stopped at {after:%Y-%m-%d %H:%M:%S}, so nothing becomes due, and "
            "`until` is counted in real time: start it, as with sandbox.run(), or turn it in wait="
        )

    @property
    def is_over(self) -> bool:
        """Whether the clock has been stopped for as long as the run was to last."""
        return self._stood_s >= self._most_s

    @property
    def stands(self) -> bool:
        """Whether the clock was reported as stopped."""
        return self._stands_at is not None


class Hanging:
    """Warns when all requests in flight have taken long; once, until one ends."""

    def __init__(self) -> None:
        self._begun: dict[object, float] = {}
        self._is_told = False

    def begun(self, request: object) -> None:
        """Note that a request was sent."""
        self._begun[request] = time.monotonic()

    def ended(self, request: object) -> None:
        """Note that it ended."""
        self._begun.pop(request, None)
        self._is_told = False

    def tell(self, running: Collection[object], threads: int) -> None:
        """Log a warning if nothing comes back; requests that wait for a thread do not count."""
        begun = sorted(self._begun[one] for one in running if one in self._begun)[:threads]
        if self._is_told or not begun or time.monotonic() - begun[-1] < _TELL_HANGING_S:
            return
        self._is_told = True
        words = "all %d requests in flight have taken more than %.0f s: nothing comes back"
        fields = {"event": "hanging", "requests": len(begun)}
        logger.warning(words, len(begun), _TELL_HANGING_S, extra=fields)
