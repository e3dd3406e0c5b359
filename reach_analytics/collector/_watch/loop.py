"""The loop of a watch: send what is due, take in answers, write, and rest until more is due."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from reach_analytics.client import Client
from reach_analytics.client.transport import GRACE_S
from reach_analytics.collector._compact_if_due import Tidying
from reach_analytics.collector._observe.limits import Budget, CircuitBreaker, TokenGuard
from reach_analytics.collector._observe.rows import RecordedObservation
from reach_analytics.collector._run import Run
from reach_analytics.collector._schedule.batch_states import BatchStates
from reach_analytics.collector._schedule.due_queue import DueQueue
from reach_analytics.collector._schedule.listing_scan import ListingScan
from reach_analytics.collector._schedule.policy import (
    Due,
    Kind,
    PollingPolicy,
    brought_back,
    next_observation,
)
from reach_analytics.collector._schedule.tenant_schedule import Tenant, TenantSchedule
from reach_analytics.collector._watch.interrupts import Interrupts
from reach_analytics.collector._watch.standstill import Hanging, Stillness
from reach_analytics.collector.summary import Problem
from reach_analytics.errors import AuthError, ForeignStoreError, ReachError, StoreError

logger = logging.getLogger("reach_analytics.collector")

Page = tuple[list[RecordedObservation], list[Problem]]

_PICKED = 256  # entries taken out of the due queue at once
_FRESH = timedelta(seconds=1)  # for this long they count as the most urgent
_SLOW = timedelta(minutes=15)  # between attempts where only a person can help
_LATE = timedelta(minutes=1)  # this late, and by its own interval, a request counts as neglected
_BACK = timedelta(minutes=1)
_CHECK_NEGLECT_EACH = timedelta(seconds=10)
_COMPACT_AFTER = 100  # writes
_LONGEST_REST = timedelta(hours=1)


@dataclass
class Settings:
    """The arguments of a watch."""

    policy: PollingPolicy
    every: timedelta
    until: datetime | None
    wait: Callable[[float], object]
    is_turned: bool
    keep_retrying: bool
    compact: bool


class _Probe:
    """A request that only asks whether the API, or the token, works."""


class WatchLoop:
    """A running watch. One thread runs the loop; requests are sent from a pool."""

    def __init__(
        self,
        run: Run,
        states: BatchStates,
        budget: Budget,
        settings: Settings,
        ids: list[str] | None,
        targets: list[Client] | None,
    ) -> None:
        client, policy = run.client, settings.policy
        self.schedule = TenantSchedule(
            client, states, policy, settings.every, ids=ids, targets=targets
        )
        self.buffer, self.breaker, self.budget = run.buffer, CircuitBreaker(), budget
        self.changes = self.neglected = 0
        self.show: Callable[[], object] = lambda: None
        self._client, self._observer, self._states = client, run.observer, states
        self._settings, self._policy = settings, policy
        self._guard = TokenGuard(client.without_retries())
        self._hanging = Hanging()
        until, now = settings.until, client.now()
        self._stillness = Stillness(None if until is None else until - now)
        self._due: DueQueue = self.schedule.queue
        self._queue: deque[Due] = deque()
        self._pages: deque[Tenant] = deque()
        self._running: dict[Future[Any], Due | Tenant | _Probe] = {}
        self._sent = client.requests_sent
        self._last = self._picked_at = self._caught_up_at = now
        self._checked_at = self._last
        self._turn = True
        self._stood = False
        self._blocked_until: datetime | None = None
        self._is_doubted = False
        self._compaction = Tidying(run.buffer.store)
        self._writes_compacted = 0

    def run(self) -> None:
        """Watch until told to stop; the buffer is written however it ends."""
        words, known = "watching, with %d batches known", len(self._states.batches)
        fields = {
            "event": "started",
            "run_id": self._observer.run_id,
            "store": str(self.buffer.store),
        }
        logger.info(words, known, extra=fields)
        with Interrupts() as interrupts:
            try:
                self._go_on(interrupts)
            finally:
                self._compaction.end()

    def _go_on(self, interrupts: Interrupts) -> None:
        pool = ThreadPoolExecutor(self._client.threads)
        try:
            while not interrupts.asked and not self._is_over(self._now()):
                self._step(pool)
            if interrupts.asked:
                logger.info("interrupted", extra={"event": "interrupted"})
        except KeyboardInterrupt:
            logger.info("interrupted", extra={"event": "interrupted"})
        except StoreError:
            self._running.clear()  # what cannot be written need not be waited for
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            if not isinstance(sys.exc_info()[1], StoreError):
                self._drain()

    @property
    def next_at(self) -> datetime | None:
        """When the next request is due."""
        return self._due.next_at()

    def _is_over(self, now: datetime) -> bool:
        until = self._settings.until
        is_late = until is not None and (now >= until or self._stillness.is_over)
        return self.schedule.is_done or is_late

    def _step(self, pool: Executor) -> None:
        now = self._now()
        self._check_clock(now)
        self._pick(now)
        while len(self._running) < 2 * self._client.threads and self._may_ask(now):
            if not self._start_one(pool):
                break
        if self._running:
            self._gather()
        else:
            self._rest(now, pool)
        if self.buffer.is_due(self._now()):
            self._write()
        self._compact_if_due()

    def _gather(self) -> None:
        """Wait a little for answers, and take in those that came."""
        begun, before = time.monotonic(), self._now()
        done, _ = wait_for(self._running, timeout=1, return_when=FIRST_COMPLETED)
        for future in done:
            self._finish(future)
        if not done and not self._settings.is_turned:
            self._check_standstill(begun, before)
        self._hanging.tell(self._running, self._client.threads)

    def _check_standstill(self, begun: float, before: datetime) -> None:
        told = self._stillness.waited(time.monotonic() - begun, before, self._now())
        if told is not None:
            self.schedule.note_problem(Problem("", told))
        elif not self._stillness.stands and self._stood:
            self.schedule.problems.pop("", None)
        self._stood = self._stillness.stands

    # -- what to send -----------------------------------------------------------------------------

    def _check_clock(self, now: datetime) -> None:
        if now < self._last - _BACK:
            logger.warning("the clock was set back by %s", self._last - now)
            self._return_queue()
            self.schedule.set_back(now)
            self.breaker.set_back(now)
            self._write()  # buffered observations now have times that lie ahead
            if self._blocked_until is not None:
                self._blocked_until = min(self._blocked_until, now + _SLOW)
            self._picked_at = self._caught_up_at = self._checked_at = now
        self._last = now

    def _pick(self, now: datetime) -> None:
        """Take out what is most urgent, if what was taken out before is done or stale."""
        if self._queue and now - self._picked_at < _FRESH:
            return
        self._return_queue()
        self._picked_at = now
        self._check_neglect(now)
        self.show()
        most = int(min(_PICKED, self.budget.left(now)))
        if most > 0 and self._blocked_until is None and self.breaker.probe_at is None:
            self._queue.extend(self.schedule.plan(self._due.take(now, most), now, self._pages))

    def _return_queue(self) -> None:
        while self._queue:
            self._due.put_back(self._queue.popleft())

    def _may_ask(self, now: datetime) -> bool:
        if self._blocked_until is not None:
            return False
        running = len(self._running)
        return self.breaker.allows(now, running) and self.budget.left(now) >= running + 1

    def _start_one(self, pool: Executor) -> bool:
        """Send the next request: deadlines first; then listing pages and batches in turn."""
        if self._is_doubted:
            self._is_doubted = False
            if any(isinstance(what, _Probe) for what in self._running.values()):
                return True
            self._send(_Probe(), pool, self._guard.probe)
            return True
        while self._queue and self._queue[0] in self._due:
            self._queue.popleft()  # a listing has shown it in the meantime
        is_urgent = bool(self._queue) and self._queue[0].kind == Kind.DEADLINE
        if self._pages and not is_urgent and (self._turn or not self._queue):
            self._turn = False
            tenant = self._pages.popleft()
            assert tenant.scan is not None
            self._send(tenant, pool, self._page, tenant.scan)
        elif self._queue:
            self._turn = True
            self._start_observing(pool, self._queue.popleft())
        else:
            return False
        return True

    def _start_observing(self, pool: Executor, due: Due) -> None:
        if due.kind == Kind.TENANTS:
            self._send(due, pool, self.schedule.list_tenants)
        elif (tenant := self.schedule.tenants.get(due.tenant_id)) is not None:  # it may be gone
            self._send(due, pool, self._observer.observation, tenant.client, due.batch_id)

    def _send(
        self, what: Due | Tenant | _Probe, pool: Executor, ask: Callable[..., Any], *given: Any
    ) -> None:
        future = pool.submit(ask, *given)
        self._running[future] = what
        self._hanging.begun(future)

    def _page(self, scan: ListingScan) -> Page | None:
        """In a pool thread: the next page of a listing, as observations."""
        page = scan.next_page()
        return None if page is None else self._observer.rows(scan.client.tenant_key, page)

    # -- results ----------------------------------------------------------------------------------

    def _finish(self, future: Future[Any]) -> None:
        what = self._running.pop(future)
        self._hanging.ended(future)
        self._spend()
        error = future.exception()
        if isinstance(what, _Probe):
            self._finish_probe(future)
            return
        if error is not None and not isinstance(error, ReachError):
            raise error
        if isinstance(what, Tenant):
            self._finish_page(what, error, future)
        elif what.kind == Kind.TENANTS:
            self.schedule.take_tenants(None if error else future.result(), error, self._now())
        else:
            observation, error = future.result()
            self._learn(observation)
        self._note(error)

    def _spend(self) -> None:
        sent = self._client.requests_sent
        self.budget.spend(sent - self._sent)
        self._sent = sent

    def _finish_page(
        self, tenant: Tenant, error: ReachError | None, future: Future[Page | None]
    ) -> None:
        now = self._now()
        if error is not None:
            self.schedule.listing_failed(tenant, error, now)
            return
        page = future.result()
        if page is not None:
            observations, problems = page
            for problem in problems:
                self.schedule.note_problem(problem)
            for observation in self.schedule.worth_keeping(tenant, observations):
                self._learn(observation)
        if page is not None and self.schedule.goes_on(tenant, observations, now):
            self._pages.append(tenant)
        else:
            self.schedule.listing_done(tenant, now)

    def _learn(self, observation: RecordedObservation) -> None:
        key = observation.tenant_id, observation.batch_id
        known = self._states.batches.get(key)
        old = known is not None and observation.state_hash in (known.detail_state, known.list_state)
        self.changes += self._states.learn(observation)
        self.buffer.take(observation, old_state=old)
        due = next_observation(self._states.batches[key], self._policy)
        self.schedule.enter(brought_back(due, self._last))
        if self.buffer.is_full:
            self._write()

    def _note(self, error: ReachError | None) -> None:
        now = self._now()
        if self.breaker.note(error, now):
            self._tell_of_outage(error, now)
        self._is_doubted = self._is_doubted or self._guard.doubts(error)

    def _tell_of_outage(self, error: ReachError | None, now: datetime) -> None:
        down = self.breaker.since is not None
        words = f"the API is down: {error}" if down else "the API is back"
        logger.warning(words, extra={"event": "outage", "down": down})
        self._caught_up_at = now
        if not down:
            self.schedule.expedite(now)

    def _finish_probe(self, future: Future[ReachError | None]) -> None:
        """Take in the answer to a probe."""
        now = self._now()
        try:
            error = future.result()
        except AuthError as refused:
            if not self._settings.keep_retrying:
                raise
            self._block(str(refused), now)
            return
        if self._blocked_until is not None and error is None:
            self._blocked_until, self._caught_up_at = None, now
            self.schedule.expedite(now)
        elif self._blocked_until is not None:
            self._blocked_until = now + _SLOW
        if self.breaker.since is not None:
            self.breaker.probed(error, now)

    def _check_neglect(self, now: datetime) -> None:
        idle = self.breaker.since is not None or self._blocked_until is not None
        if idle or now - self._checked_at < _CHECK_NEGLECT_EACH:
            return
        self._checked_at = now
        late = self._due.overdue(now, self._caught_up_at, _LATE)
        if late >= 2 * max(self.neglected, 1):  # not for each additional one
            words = (
                "more is due than the API, its rate limit or this machine allows: "
                "%d requests are late"
                if self.budget.per_day is None
                else "more is due than the budget allows: %d requests are late; raise the budget"
            )
            logger.warning(words, late, extra={"event": "neglect", "observations": late})
        self.neglected = max(self.neglected, late)

    # -- writing and resting ----------------------------------------------------------------------

    def _write(self) -> None:
        now = self._now()
        if self._blocked_until is not None and now < self._blocked_until:
            return
        before = self.buffer.observations
        try:
            self.buffer.write()
        except ForeignStoreError:
            raise
        except StoreError as error:
            if not self._settings.keep_retrying:
                raise
            self._block(str(error), now)
        fields = {
            "event": "written",
            "observations": self.buffer.observations - before,
            "changes": self.changes,
        }
        logger.info("wrote %d observations", self.buffer.observations - before, extra=fields)

    def _block(self, why: str, now: datetime) -> None:
        """Send nothing for a while: a person has to fix something."""
        logger.error("%s; next try in %s", why, _SLOW, extra={"event": "blocked"})
        self._blocked_until = now + _SLOW

    def _compact_if_due(self) -> None:
        due = self.buffer.writes - self._writes_compacted >= _COMPACT_AFTER
        if self._settings.compact and due and self._compaction.begin(self._now()):
            self._writes_compacted = self.buffer.writes

    def _rest(self, now: datetime, pool: Executor) -> None:
        """Wait until something is due, may be sent again, or has to be written."""
        if self._blocked_until is not None:
            until = self._blocked_until
            if now >= until:
                self._unblock(now, pool)
                return
        elif self.breaker.probe_at is not None:
            until = max(self.breaker.probe_at, self.budget.next_at(now))
            if now >= until:
                self._send(_Probe(), pool, self._guard.probe)
                return
        else:
            work = now if self._queue or self._pages else self._due.next_at()
            until = max(work or now + _LONGEST_REST, self.budget.next_at(now))
        due_at = self.buffer.due_at()
        if due_at is not None and self._blocked_until is None:
            if due_at <= now:
                self._write()  # now that there is nothing else to do
                return
            until = min(until, due_at)
        if self._settings.until is not None:
            until = min(until, self._settings.until)
        rest = min(until - now, _LONGEST_REST)
        begun, before = time.monotonic(), self._now()
        self._settings.wait(max(0.001, rest.total_seconds()))
        self._check_standstill(begun, before)

    def _unblock(self, now: datetime, pool: Executor) -> None:
        """Try again: a person may have fixed the cause."""
        try:
            self.buffer.write()
        except ForeignStoreError:
            raise
        except StoreError as error:
            self._block(str(error), now)
        else:
            self._send(_Probe(), pool, self._guard.probe)

    def _drain(self) -> None:
        """Send nothing more, and write all observations, including answers in flight.

        A second interrupt means not to wait for those.
        """
        self._client.halt()
        try:
            self.buffer.write()
            # They end by themselves or are cut off; only a DNS lookup cannot be.
            begun = [future for future in self._running if not future.cancelled()]
            done, left = wait_for(begun, timeout=GRACE_S + 1)
            for future in done:
                if future.exception() is None:
                    self._take_in(self._running[future], future)
            if left:
                logger.warning("%d requests are abandoned", len(left))
        except KeyboardInterrupt:
            self._client.halt(grace_s=0.0)
            logger.info("interrupted again", extra={"event": "interrupted"})
        finally:
            self._resume_later()
        self.buffer.write()

    def _resume_later(self) -> None:
        """Let the client send again once nothing of this watch is in flight."""
        left = [future for future in self._running if not future.done()]

        def resume() -> None:
            wait_for(left)
            self._client.resume()

        if left:
            threading.Thread(target=resume, daemon=True).start()
        else:
            resume()

    def _take_in(self, what: Due | Tenant | _Probe, future: Future[Any]) -> None:
        """Take in an answer that arrived while stopping."""
        if isinstance(what, Tenant):
            self._finish_page(what, None, future)
        elif isinstance(what, Due) and what.batch_id:
            self._learn(future.result()[0])

    def _now(self) -> datetime:
        return self._client.now()
