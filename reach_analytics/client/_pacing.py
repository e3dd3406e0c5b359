"""When a request may be sent: retry delays, the rate limit, and ``Retry-After``."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class RetryPolicy:
    """How often to try, and how long to wait in between.

    The delay after attempt *n* is uniform from 0 to ``min(cap_s, base_s * 2**(n - 1))`` ("full
    jitter"). A ``Retry-After`` above zero takes its place, up to ``max_retry_after_s``; a server
    that asks for more is not waited for, and the error says so.

    Parameters
    ----------
    attempts : int
        Requests sent at most, the first included.
    base_s, cap_s, max_retry_after_s : float
        Seconds.
    """

    attempts: int = 5
    base_s: float = 0.5
    cap_s: float = 30.0
    max_retry_after_s: float = 120.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"attempts must be at least 1, found {self.attempts}")

    def heeds(self, retry_after: float | None) -> bool:
        """Whether it waits as long as a server asks."""
        return retry_after is not None and 0 < retry_after <= self.max_retry_after_s

    def wait(
        self, attempt: int, retry_after: float | None, uniform: Callable[[float, float], float]
    ) -> float | None:
        """Seconds to wait after the failed ``attempt`` (from 1); None to give up."""
        if attempt >= self.attempts:
            return None
        if retry_after is not None and retry_after > 0:
            return retry_after if retry_after <= self.max_retry_after_s else None
        # The exponent is bounded so that many attempts cannot overflow a float.
        return uniform(0.0, min(self.cap_s, self.base_s * 2.0 ** min(attempt - 1, 60)))


class RateLimiter:
    """Spaces calls evenly across all threads: at most ``per_second`` start in a second."""

    def __init__(
        self,
        per_second: float | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        if per_second is not None and not per_second > 0:
            raise ValueError(f"requests_per_second must be above 0 or None, found {per_second}")
        self._gap = 0.0 if per_second is None else 1.0 / per_second
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._next = float("-inf")

    def wait(self) -> None:
        """Return when the next call may start."""
        if not self._gap:
            return
        with self._lock:
            start = max(self._clock(), self._next)
            self._next = start + self._gap
        delay = start - self._clock()
        if delay > 0:
            self._sleep(delay)


class Gate:
    """Holds all threads back for as long as a server has asked one of them to wait."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._opens_at = float("-inf")

    def close(self, seconds: float) -> None:
        """Hold threads back for this long; a gate that is closed for longer stays so."""
        with self._lock:
            self._opens_at = max(self._opens_at, self._clock() + seconds)

    def wait(self, passed: float = float("-inf")) -> float:
        """Return when a request may be sent; the result identifies the closing that was ``passed``.

        Each closing is slept through once, whatever the clock says afterwards: the user's own
        ``sleep`` may be faster than the clock.
        """
        while (opens_at := self._opens_at) != passed:
            passed = opens_at
            if (delay := opens_at - self._clock()) > 0:
                self._sleep(delay)
        return passed
