"""What limits a collector: the daily budget, an API that does not answer, a refused token."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timedelta

from reach_analytics.client import Client
from reach_analytics.errors import AuthError, ReachError, TransportError

_DAY = timedelta(days=1)


class Budget:
    """A token bucket: at most ``per_day`` requests in any 24 hours, and not all of them at once.

    The bucket holds about one hour's budget. Without ``per_day`` there is no limit.

    Parameters
    ----------
    per_day : int, optional
    spent : int
        Requests that earlier runs sent in the last 24 hours.
    """

    def __init__(self, per_day: int | None, now: datetime, spent: int = 0) -> None:
        if per_day is not None and per_day < 1:
            raise ValueError(f"requests_per_day must be at least 1, found {per_day}")
        self.per_day = per_day
        self._size = max(1.0, (per_day or 0) / 25)
        self._each = _DAY / max((per_day or 0) - self._size, self._size)
        self._left = min(self._size, (per_day or 0) - spent)  # an overdraft is paid back first
        self._at = now

    def left(self, now: datetime) -> float:
        """Requests that may be sent now."""
        if self.per_day is None:
            return float("inf")
        gained = max(now - self._at, timedelta(0)) / self._each
        self._left, self._at = min(self._size, self._left + gained), now
        return self._left

    def spend(self, count: int) -> None:
        """Subtract requests that were sent; an overdraft is paid back first."""
        if self.per_day is not None:
            self._left -= count

    def next_at(self, now: datetime) -> datetime:
        """When the next request may be sent."""
        lacking = 1 - self.left(now)
        return now + self._each * lacking if lacking > 0 else now


class CircuitBreaker:
    """Notices that the API is down, and says when to probe it again.

    An outage begins after `LIMIT` failures with no answer between them. Then only probes are sent,
    at growing intervals and no sooner than the API's ``Retry-After``, so that a long outage leaves
    no failed observations behind and the recovering API is not overloaded. After a good probe one
    request at a time is sent, and the first answer ends the outage.

    Parameters
    ----------
    first : timedelta
        Longest delay before the first probe; it doubles with each probe.
    """

    LIMIT = 5
    FIRST, LONGEST = timedelta(seconds=15), timedelta(minutes=5)
    ASKED = timedelta(hours=1)  # the longest ``Retry-After`` that is heeded

    def __init__(
        self,
        first: timedelta = FIRST,
        *,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.count = 0
        self.since: datetime | None = None
        self.probe_at: datetime | None = None
        self._first = first
        self._failed: set[object] = set()
        self._probes = 0
        self._uniform = uniform

    def note(self, error: BaseException | None, now: datetime, what: object = None) -> bool:
        """Record how a request went; return whether an outage began or ended with it.

        Failures of the same ``what`` count once, if it is given: the fault may be its own.
        """
        if not is_down(error):
            ended = self.since is not None
            self.since = self.probe_at = None
            self._failed.clear()
            return ended
        if self.since is not None:
            if self.probe_at is None:
                self._probes += 1
                self._put_off(error, now)
            else:  # it was sent before the outage was noticed
                self.probe_at = max(self.probe_at, now + self._asked(error))
            return False
        self._failed.add(len(self._failed) if what is None else what)
        if len(self._failed) < self.LIMIT:
            return False
        self.open(error, now)
        return True

    def open(self, error: BaseException | None, now: datetime) -> None:
        """Begin an outage."""
        self.count += 1
        self.since, self._probes = now, 0
        self._put_off(error, now)

    def probed(self, error: BaseException | None, now: datetime) -> None:
        """Record how a probe went."""
        if is_down(error):
            self._probes += 1
            self._put_off(error, now)
        else:
            self.probe_at = None

    def allows(self, now: datetime, running: int) -> bool:
        """Whether a request may be sent while ``running`` others are in flight."""
        if self.since is None:
            return True
        return self.probe_at is None and running == 0

    def set_back(self, now: datetime) -> None:
        """Adjust to a clock that was set back to ``now``."""
        if self.probe_at is not None:
            self.probe_at = min(self.probe_at, now + self.LONGEST)

    def _put_off(self, error: BaseException | None, now: datetime) -> None:
        longest = min(self.LONGEST, self._first * 2 ** min(self._probes, 20))
        delay = longest * self._uniform(0.5, 1.0)
        self.probe_at = now + max(delay, self._asked(error))

    def _asked(self, error: BaseException | None) -> timedelta:
        asked = getattr(error, "retry_after", None)
        if asked is None or not asked > 0:
            return timedelta(0)
        return timedelta(seconds=min(asked, self.ASKED.total_seconds()))


def is_down(error: BaseException | None) -> bool:
    """Whether an error says that the API, or the network path to it, is down."""
    return isinstance(error, TransportError) or (isinstance(error, ReachError) and error.retryable)


class TokenGuard:
    """Tells a tenant that this token may not access from a token that is no longer accepted."""

    TRUST = timedelta(minutes=1)

    def __init__(self, client: Client) -> None:
        self._client = client
        self._trusted_until: datetime | None = None

    def check(self, error: BaseException | None) -> None:
        """After a 401, check that the token is still accepted at all.

        Raises
        ------
        AuthError
            If it is not: further requests are pointless.
        """
        if self.doubts(error):
            self.probe()

    def doubts(self, error: BaseException | None) -> bool:
        """Whether an error is a reason to check the token."""
        if not isinstance(error, AuthError) or error.status != 401:
            return False
        now, until = self._client.now(), self._trusted_until
        return until is None or not now < until <= now + self.TRUST

    def probe(self) -> ReachError | None:
        """Send the cheapest request; return the error, if it is not about the token."""
        try:
            self._client.check_token()
        except AuthError as refused:
            if refused.status == 401:
                raise AuthError(
                    f"the token is no longer accepted, so no more requests are sent ({refused})",
                    status=401,
                    path=refused.path,
                ) from None
        except ReachError as error:
            return error  # cannot tell yet
        self._trusted_until = self._client.now() + self.TRUST
        return None
