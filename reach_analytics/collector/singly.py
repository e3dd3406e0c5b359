"""Looks at single batches, from several threads, each tried as often as it pays."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Executor, Future
from concurrent.futures import wait as wait_for
from dataclasses import dataclass
from datetime import datetime

from reach_analytics.client import Client
from reach_analytics.collector.limits import TokenGuard, is_down
from reach_analytics.collector.looking import Looker
from reach_analytics.collector.observe import Observed
from reach_analytics.collector.patience import GivenUp, Patience
from reach_analytics.errors import AuthError, ReachError

_Result = tuple[Observed, Exception | None]


@dataclass
class _Try:
    """A look that was tried, or is about to be."""

    batch_id: str
    attempt: int = 1
    ready_at: datetime | None = None
    failed: Observed | None = None


class Singles:
    """The looks at some of a tenant's batches, with details.

    What fails waits its turn without keeping a thread. So when nothing answers, that is noticed
    after a few requests, whatever the policy for retries.

    Parameters
    ----------
    client : Client
        Acting as the tenant.
    take : callable
        Takes looks in hand.
    """

    def __init__(
        self,
        looker: Looker,
        client: Client,
        patience: Patience,
        guard: TokenGuard,
        pool: Executor,
        take: Callable[[list[Observed]], None],
    ) -> None:
        self._looker, self._client, self._once = looker, client, client.without_retries()
        self._patience, self._guard, self._pool, self._take = patience, guard, pool, take
        self._fresh: deque[str] = deque()
        self._again: list[_Try] = []
        self._running: dict[Future[_Result | None], _Try] = {}
        self._are_to_blame = False

    @property
    def untried(self) -> int:
        """Batches that nobody has asked for."""
        return len(self._fresh)

    def look_at(self, batch_ids: Iterable[str]) -> None:
        """Look at the batches; a few answers at most wait to be taken in hand.

        Raises
        ------
        GivenUp
            If nothing answers, and some were not even tried.
        """
        self._fresh.extend(batch_ids)
        try:
            while self._fresh or self._again or self._running:
                self._begin()
                self._gather()
        except (KeyboardInterrupt, AuthError):
            self._come_in()
            raise
        except GivenUp:
            self._come_in()
            if self._fresh:
                raise

    # -- asking -----------------------------------------------------------------------------------

    def _begin(self) -> None:
        most = 4 * self._client.threads
        while len(self._running) < most and (one := self._next()) is not None:
            if not self._patience.may_ask(len(self._running)):
                self._put_back(one)
                return
            self._running[self._pool.submit(self._look, one)] = one

    def _next(self) -> _Try | None:
        """What is to be tried next; as a probe of the API, rather what has not failed yet."""
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

    def _look(self, one: _Try) -> _Result | None:
        """In a thread of the pool: look; None if nothing is to be asked any more."""
        if self._patience.is_shut():
            return None
        look, error = self._looker.look(self._once, one.batch_id)
        if error is None or not self._are_to_blame:
            self._patience.note(error, one.batch_id, again=one.failed is not None)
        return look, error

    # -- what came of it --------------------------------------------------------------------------

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
        look, error = result
        if not (isinstance(error, ReachError) and is_down(error)):
            self._take([look])
            return error
        ready_at = self._patience.retry_at(error, one.attempt)
        is_last = ready_at is None and not self._is_excused
        if is_last:
            self._take([look])
        else:
            attempt = one.attempt + (not self._is_excused)
            self._again.append(_Try(one.batch_id, attempt, ready_at, look))
        return None

    @property
    def _is_excused(self) -> bool:
        """Whether what fails now is laid to the API, and not to the batch."""
        return self._patience.is_down and not self._are_to_blame

    def _rest(self) -> None:
        if not self._fresh and self._again and self._is_excused:
            # All were tried, so that what fails may do so by its own fault.
            self._are_to_blame = self._patience.ask_anybody(self._guard)
            return
        waiting = [one.ready_at for one in self._again if one.ready_at is not None]
        if self._fresh or len(waiting) < len(self._again) or not waiting:
            self._patience.rest()
        else:
            self._patience.rest(min(waiting))

    def _next_s(self) -> float:
        """Seconds until something that failed is to be tried again."""
        now = self._patience.now()
        waits = [(one.ready_at - now).total_seconds() for one in self._again if one.ready_at]
        return min(1.0, max(0.01, min(waits, default=1.0)))

    def _come_in(self) -> None:
        """Begin no more, and keep the answers to what was begun.

        Waiting for them costs little: nothing is tried again, and what takes long is broken off.
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
