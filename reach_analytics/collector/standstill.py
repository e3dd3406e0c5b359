"""Noticing that nothing moves: a clock that stands, or requests of which none ends."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from datetime import datetime, timedelta

logger = logging.getLogger("reach_analytics.collector")

_MOVES = timedelta(microseconds=500)  # less in a whole wait is no clock that runs
_TELL_CLOCK_S = 5.0
_TELL_HANGING_S = 60.0


class Stillness:
    """For how long, of real time, the clock that a run goes by has stood.

    Parameters
    ----------
    most : timedelta, optional
        How long the run is to last by that clock; so long it may stand, too.
    """

    def __init__(self, most: timedelta | None) -> None:
        self._most_s = float("inf") if most is None else max(0.0, most.total_seconds())
        self._stood_s = 0.0
        self._stands_at: datetime | None = None

    def waited(self, real_s: float, before: datetime, after: datetime) -> str | None:
        """Take in a wait, by both times; what to say of the clock when it is found to stand."""
        if abs(after - before) >= _MOVES:
            self._stood_s, self._stands_at = 0.0, None
            return None
        self._stood_s += real_s
        if self._stands_at is not None or self._stood_s < min(_TELL_CLOCK_S, self._most_s):
            return None
        self._stands_at = after
        return (
            f"the clock stands at {after:%Y-%m-%d %H:%M:%S}, so that nothing comes due, and "
            "`until` is counted in real time: let it run, as by sandbox.run(), or turn it by wait="
        )

    @property
    def is_over(self) -> bool:
        """Whether the clock has stood for as long as the run was to last."""
        return self._stood_s >= self._most_s

    @property
    def stands(self) -> bool:
        """Whether the clock stands still, as far as that was said."""
        return self._stands_at is not None


class Hanging:
    """Says so when all requests under way have been so for long; once, until one ends."""

    def __init__(self) -> None:
        self._begun: dict[object, float] = {}
        self._is_told = False

    def begun(self, request: object) -> None:
        """A request was sent."""
        self._begun[request] = time.monotonic()

    def ended(self, request: object) -> None:
        """It came to an end."""
        self._begun.pop(request, None)
        self._is_told = False

    def tell(self, running: Collection[object], threads: int) -> None:
        """Log a warning if nothing comes back; those that wait for a thread do not count."""
        begun = sorted(self._begun[one] for one in running if one in self._begun)[:threads]
        if self._is_told or not begun or time.monotonic() - begun[-1] < _TELL_HANGING_S:
            return
        self._is_told = True
        words = "all %d requests under way have been so for more than %.0f s: nothing comes back"
        fields = {"event": "hanging", "requests": len(begun)}
        logger.warning(words, len(begun), _TELL_HANGING_S, extra=fields)
