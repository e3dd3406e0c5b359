"""Observing single batches from several threads, each retried as often as is worthwhile."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Executor, Future
from concurrent.futures import wait as wait_for
from dataclasses import dataclass
from datetime import datetime

from reach_analytics.client import Client
from reach_analytics.collector._observe.limits import TokenGuard, is_down
from reach_analytics.collector._observe.observer import Observer
from reach_analytics.collector._observe.patience import GivenUp, Patience
from reach_analytics.collector._observe.rows import RecordedObservation
from reach_analytics.errors import AuthError, ReachError

_Result = tuple[RecordedObservation, Exception | None]


@dataclass
class _Try:
    """An attempt to observe a batch, made or pending."""

    batch_id: str
    attempt: int = 1
    ready_at: datetime | None = None
    failed: RecordedObservation | None = None


class Singles:
    """Observes some of a tenant's batches, with details.

    A failed request waits for its retry without holding a thread, so an outage is noticed after a
    few requests, whatever the retry policy.

    Parameters
    ----------
    client : Client
        Acting as the tenant.
    take : callable
        Called with the observations made.
    """

    def __init__(
        self,
        observer: Observer,
        client: Client,
        patience: Patience,
        guard: TokenGuard,
        pool: Executor,
        take: Callable[[list[RecordedObservation]], None],
    ) -> None:
        self._observer, self._client, self._once = observer, client, client.without_retries()
        self._patience, self._guard, self._pool, self._take = patience, guard, pool, take
        self._fresh: deque[str] = deque()
        self._again: list[_Try] = []
        self._running: dict[Future[_Result | None], _Try] = {}
        self._batches_are_to_blame = False

    @property
    def untried(self) -> int:
        """How many batches no request was sent for."""
        return len(self._fresh)

    def observe_at(self, batch_ids: Iterable[str]) -> None:
        """Observe the batches, handing observations on as they arrive.

        Raises
        ------
        GivenUp
            If the API is down and some batches were not even tried.
        """
        self._fresh.extend(batch_ids)
        try:
            while self._fresh or self._again or self._running:
                self._begin()
                self._gather()
        except (KeyboardInterrupt, AuthError):
            self._drain()
            raise
        except GivenUp:
            self._drain()
            if self._fresh:
                raise

    # -- sending ----------------------------------------------------------------------------------

    def _begin(self) -> None:
        most = 4 * self._client.threads
        while len(self._running) < most and (one := self._next()) is not None:
            if not self._patience.may_ask(len(self._running)):
                self._put_back(one)
                return
            self._running[self._pool.submit(self._observe, one)] = one

    def _next(self) -> _Try | None:
        """What to try next; while the API is down, rather what has not failed yet."""
        now = self._patience.now()
        if self._fresh and self._patience.is_down:
            return _Try(self._fresh.popleft())
        for index, one in enumerate(self._again):
            if one.ready_at is None or one.ready_at <= now:
                return self._again.pop(index)
        return _Try(self._fresh.popleft()) if self._fresh else None

    def _put_back(self, one: _Try) -> None:
        if one.failed is None:
            self._fresh.appendleft(one.batch_id)
        else:
            self._again.insert(0, one)

    def _observe(self, one: _Try) -> _Result | None:
        """In a pool thread: observe a batch; None if no more requests are to be sent."""
        if self._patience.is_shut():
            return None
        observation, error = self._observer.observation(self._once, one.batch_id)
        if error is None or not self._batches_are_to_blame:
            self._patience.note(error, one.batch_id, again=one.failed is not None)
        return observation, error

    # -- results ----------------------------------------------------------------------------------

    def _gather(self) -> None:
        if not self._running:
            self._rest()
            return
        done, _ = wait_for(self._running, timeout=self._next_s(), return_when=FIRST_COMPLETED)
        for future in done:
            error = self._finish(self._running[future], future.result())
            del self._running[future]
            self._guard.check(error)

    def _finish(self, one: _Try, result: _Result | None) -> Exception | None:
        if result is None:
            self._put_back(one)
            return None
        observation, error = result
        if not (isinstance(error, ReachError) and is_down(error)):
            self._take([observation])
            return error
        ready_at = self._patience.retry_at(error, one.attempt)
        is_last = ready_at is None and not self._is_excused
        if is_last:
            self._take([observation])
        else:
            attempt = one.attempt + (not self._is_excused)
            self._again.append(_Try(one.batch_id, attempt, ready_at, observation))
        return None

    @property
    def _is_excused(self) -> bool:
        """Whether a failure now is blamed on the API, not on the batch."""
        return self._patience.is_down and not self._batches_are_to_blame

    def _rest(self) -> None:
        if not self._fresh and self._again and self._is_excused:
            # All were tried, so what still fails may do so through its own fault.
            self._batches_are_to_blame = self._patience.ask_anything(self._guard)
            return
        waiting = [one.ready_at for one in self._again if one.ready_at is not None]
        if self._fresh or len(waiting) < len(self._again) or not waiting:
            self._patience.rest()
        else:
            self._patience.rest(min(waiting))

    def _next_s(self) -> float:
        """Seconds until the next retry is due, from 0.01 to 1."""
        now = self._patience.now()
        waits = [(one.ready_at - now).total_seconds() for one in self._again if one.ready_at]
        return min(1.0, max(0.01, min(waits, default=1.0)))

    def _drain(self) -> None:
        """Start nothing more, and keep the answers to requests in flight.

        Waiting for them costs little: nothing is retried, and what takes long is cut off.
        """
        self._client.halt()
        try:
            running = [future for future in self._running if not future.cancel()]
            wait_for(running)
            found = [f.result() for f in running if f.exception() is None]
            self._take([result[0] for result in found if result is not None])
            self._take([one.failed for one in self._again if one.failed is not None])
        except KeyboardInterrupt:
            self._client.halt(grace_s=0.0)
            raise
        finally:
            self._client.resume()
