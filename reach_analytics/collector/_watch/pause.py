"""When a watch sends nothing: the API is down, the token is refused, the store is not writable."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future
from datetime import datetime, timedelta

from reach_analytics.collector._observe.limits import CircuitBreaker, TokenGuard
from reach_analytics.errors import AuthError, ReachError

logger = logging.getLogger("reach_analytics.collector")

RETRY_AFTER = timedelta(minutes=15)  # where only a person can help


class Pause:
    """Decides whether a watch may send requests, and when to probe.

    In an outage (`CircuitBreaker`) only probes are sent. Where a person has to fix something the
    watch is *blocked*: nothing is sent until the next try, 15 minutes later.

    Parameters
    ----------
    guard : TokenGuard
    keep_retrying : bool
        Block when the token is refused, rather than raise the error.
    resumed : callable
        Called with the time when requests may be sent again.
    """

    def __init__(
        self,
        guard: TokenGuard,
        now: datetime,
        *,
        keep_retrying: bool,
        resumed: Callable[[datetime], object],
    ) -> None:
        self.breaker = CircuitBreaker()
        self.blocked_until: datetime | None = None
        self.since = now  # since when lateness counts: it is not the queue's fault in a pause
        self._guard = guard
        self._keep_retrying = keep_retrying
        self._resumed = resumed
        self._is_token_doubted = False

    @property
    def only_probes(self) -> bool:
        """Whether nothing but a probe may be sent."""
        return self.blocked_until is not None or self.breaker.probe_at is not None

    @property
    def is_on(self) -> bool:
        """Whether the watch is blocked, or an outage is not over yet."""
        return self.blocked_until is not None or self.breaker.since is not None

    def allows(self, now: datetime, running: int) -> bool:
        """Whether a request may be sent while ``running`` others are in flight."""
        return self.blocked_until is None and self.breaker.allows(now, running)

    def is_blocked(self, now: datetime) -> bool:
        """Whether it is too early for the next try."""
        return self.blocked_until is not None and now < self.blocked_until

    def block(self, why: str, now: datetime) -> None:
        """Send nothing for a while: a person has to fix something."""
        logger.error("%s; next try in %s", why, RETRY_AFTER, extra={"event": "blocked"})
        self.blocked_until = now + RETRY_AFTER

    def note(self, error: ReachError | None, now: datetime) -> None:
        """Take in how a request went."""
        if self.breaker.note(error, now):
            is_down = self.breaker.since is not None
            words = f"the API is down: {error}" if is_down else "the API is back"
            logger.warning(words, extra={"event": "outage", "down": is_down})
            self.since = now
            if not is_down:
                self._resumed(now)
        self._is_token_doubted = self._is_token_doubted or self._guard.doubts(error)

    def take_doubt(self) -> bool:
        """Whether the token should be probed; asked once for each doubt."""
        doubted, self._is_token_doubted = self._is_token_doubted, False
        return doubted

    def probe(self) -> ReachError | None:
        """In a pool thread: send the probe."""
        return self._guard.probe()

    def probed(self, future: Future[ReachError | None], now: datetime) -> None:
        """Take in the answer to a probe.

        Raises
        ------
        AuthError
            If the token is no longer accepted, unless retrying is wanted.
        """
        try:
            error = future.result()
        except AuthError as refused:
            if not self._keep_retrying:
                raise
            self.block(str(refused), now)
            return
        if self.blocked_until is not None and error is None:
            self.blocked_until, self.since = None, now
            self._resumed(now)
        elif self.blocked_until is not None:
            self.blocked_until = now + RETRY_AFTER
        if self.breaker.since is not None:
            self.breaker.probed(error, now)

    def set_back(self, now: datetime) -> None:
        """Adjust to a clock that was set back to ``now``."""
        self.breaker.set_back(now)
        self.since = now
        if self.blocked_until is not None:
            self.blocked_until = min(self.blocked_until, now + RETRY_AFTER)
