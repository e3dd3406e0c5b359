"""How long a pass tolerates an API that does not answer, and when it gives up."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NoReturn, TypeVar

from reach_analytics.client import Client
from reach_analytics.collector._observe.limits import CircuitBreaker, TokenGuard, is_down
from reach_analytics.errors import ReachError

logger = logging.getLogger("reach_analytics.collector")

T = TypeVar("T")

_FIRST = timedelta(seconds=2)  # a pass is not as patient as a watch
_BEGIN = datetime(1970, 1, 1, tzinfo=UTC)  # its own time counts from here, not by the user's clock


class GivenUp(Exception):
    """The API has been down for so long that no more requests are sent."""


class Patience:
    """Whether a pass may send requests, and how long it goes on without an answer.

    Safe to use from several threads; only one may rest. Time is real time plus what the client's
    own ``sleep`` was asked to sleep, since the client's clock may be stopped.

    Parameters
    ----------
    give_up_after : timedelta
        Give up after this long without an answer, or when, over the whole pass, the API was down
        for this much longer than it was up.
    """

    def __init__(self, client: Client, give_up_after: timedelta) -> None:
        self.breaker = CircuitBreaker(_FIRST)
        self.error: ReachError | None = None
        self._client = client
        self._give_up_after = give_up_after
        self._lock = threading.Lock()
        self._begun, self._slept = time.monotonic(), timedelta(0)
        self._silent_since: datetime | None = None
        self._held_until = _BEGIN
        self._down = timedelta(0)

    def now(self) -> datetime:
        """The time of the pass."""
        return _BEGIN + timedelta(seconds=time.monotonic() - self._begun) + self._slept

    @property
    def is_down(self) -> bool:
        """Whether the API is down."""
        return self.breaker.since is not None

    def note(self, error: Exception | None, what: object, *, again: bool = False) -> None:
        """Record how a request went.

        What fails ``again`` may do so through its own fault: no outage begins with it.
        """
        if error is not None and not is_down(error) and getattr(error, "status", None) is None:
            return  # no request was sent
        with self._lock:
            now, since = self.now(), self.breaker.since
            self._record(error, now)
            if again and since is None and is_down(error):
                return
            if not self.breaker.note(error, now, what):
                return
            if since is not None:
                self._down += now - since
        if since is None:
            self._warn(error)
        else:
            logger.info("the API is back", extra={"event": "outage", "down": False})

    def may_ask(self, running: int) -> bool:
        """Whether another request may be sent while ``running`` others are in flight."""
        with self._lock:
            now = self.now()
            if now < self._held_until:
                return False
            if self.breaker.probe_at is not None and now >= self.breaker.probe_at:
                self.breaker.probe_at = None  # the request itself is the probe
            return self.breaker.allows(now, running)

    def is_shut(self) -> bool:
        """Whether requests that are queued should no longer be sent."""
        with self._lock:
            return self.now() < self._held_until or self.breaker.probe_at is not None

    def retry_at(self, error: ReachError, attempt: int) -> datetime | None:
        """When to retry after the n-th failed attempt; None where a retry is not worth it."""
        asked = getattr(error, "retry_after", None)
        delay = self._client.retry.wait(attempt, asked, random.uniform) if error.retryable else None
        if delay is None:
            return None
        at = self.now() + timedelta(seconds=delay)
        return None if self._is_too_late(at) else at

    def rest(self, ready_at: datetime = _BEGIN) -> None:
        """Return when a request may be sent, and not before ``ready_at``.

        Raises
        ------
        GivenUp
            If that would be too late.
        """
        while True:
            with self._lock:
                at = max(ready_at, self._held_until, self.breaker.probe_at or _BEGIN)
                is_held = self.is_down or self._held_until > self.now()
            if is_held and self._is_too_late(at):
                self._give_up()
            if not self._sleep_until(at):
                return

    def _give_up(self) -> NoReturn:
        """Stop, and call it an outage, also where too few batches had failed for that so far."""
        with self._lock:
            is_new = not self.is_down
            if is_new:
                self.breaker.open(self.error, self.now())
        if is_new:
            self._warn(self.error)
        raise GivenUp

    def _warn(self, error: Exception | None) -> None:
        fields = {"event": "outage", "down": True}
        words = "the API is down: %s; it is probed for %s at most"
        logger.warning(words, error, self._give_up_after, extra=fields)

    def ask(self, send: Callable[[], T], what: object) -> T:
        """Send a request as often as the policy says; in an outage, once when it is allowed."""
        attempt = 1
        while True:
            self.rest()
            self.may_ask(0)
            try:
                answer = send()
            except ReachError as error:
                self.note(error, what)
                at = self.retry_at(error, attempt)
                if at is None or self.is_down:
                    raise
                self.rest(at)
                attempt += 1
            else:
                self.note(None, what)
                return answer

    def ask_anything(self, guard: TokenGuard) -> bool:
        """Whether the API answers the simplest request, once one may be sent."""
        self.rest()
        self.may_ask(0)
        error = guard.probe()
        self.note(error, "anything")
        return error is None

    def _record(self, error: Exception | None, now: datetime) -> None:
        if not is_down(error):
            self._silent_since = None
            return
        assert isinstance(error, ReachError)
        self.error = error
        self._silent_since = self._silent_since or now
        asked = getattr(error, "retry_after", None)
        if asked is not None and self._client.retry.heeds(asked):
            self._held_until = max(self._held_until, now + timedelta(seconds=asked))

    def _is_too_late(self, at: datetime) -> bool:
        if self._silent_since is not None and at - self._silent_since > self._give_up_after:
            return True
        since = self.breaker.since
        down = self._down + (at - since if since is not None else timedelta(0))
        return down - (at - _BEGIN - down) > self._give_up_after

    def _sleep_until(self, at: datetime) -> bool:
        """Sleep until ``at``; what the client's own sleep cuts short counts as slept."""
        before = self.now()
        if at <= before:
            return False
        self._client.sleep((at - before).total_seconds())
        self._slept += max(timedelta(0), at - self.now())
        return True
