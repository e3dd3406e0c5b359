"""The loop of a watch: send what is due, take in answers, write, and rest until more is due."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from reach_analytics.client import Client
from reach_analytics.collector._compact_if_due import BackgroundCompaction
from reach_analytics.collector._observe.catalog import catalog
from reach_analytics.collector._observe.limits import Budget, TokenGuard
from reach_analytics.collector._observe.rows import RecordedObservation
from reach_analytics.collector._run import Run
from reach_analytics.collector._schedule.batch_states import BatchStates
from reach_analytics.collector._schedule.listing_scan import ListingScan
from reach_analytics.collector._schedule.policy import (
    Due,
    Kind,
    PollingPolicy,
    brought_back,
    next_observation,
)
from reach_analytics.collector._schedule.tenant_schedule import Tenant, TenantSchedule
from reach_analytics.collector._targets import Partner
from reach_analytics.collector._watch.in_flight import InFlight, Probe, Request
from reach_analytics.collector._watch.interrupts import Interrupts
from reach_analytics.collector._watch.neglect import Neglect
from reach_analytics.collector._watch.next_requests import NextRequests
from reach_analytics.collector._watch.pause import Pause
from reach_analytics.collector._watch.standstill import Stillness
from reach_analytics.collector.summary import Problem
from reach_analytics.errors import ForeignStoreError, ReachError, StoreError

logger = logging.getLogger("reach_analytics.collector")

Page = tuple[list[RecordedObservation], list[Problem]]

_TAKEN = 256  # entries taken out of the due queue at once
_BACK = timedelta(minutes=1)  # a clock set back by less is none of our business
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


class WatchLoop:
    """A running watch. One thread runs the loop; requests are sent from a pool.

    What to send is chosen by `NextRequests`, whether to send by `Pause` and `Budget`; `InFlight`
    sends it. An answer becomes an observation, which is learned from and goes to the buffer.
    """

    def __init__(
        self,
        run: Run,
        states: BatchStates,
        budget: Budget,
        settings: Settings,
        ids: list[str] | None,
        targets: list[Client] | None,
    ) -> None:
        client, policy, now = run.client, settings.policy, run.client.now()
        self.schedule = TenantSchedule(
            client, states, policy, settings.every, ids=ids, targets=targets
        )
        self.buffer, self.budget, self.changes = run.buffer, budget, 0
        self.pause = Pause(
            TokenGuard(client.without_retries()),
            now,
            keep_retrying=settings.keep_retrying,
            resumed=self.schedule.expedite,
        )
        self.neglect = Neglect(self.schedule.queue, now, has_budget=budget.per_day is not None)
        self.show: Callable[[], object] = lambda: None
        self._client, self._observer, self._states = client, run.observer, states
        self._settings = settings
        self._next = NextRequests(self.schedule, now)
        self._in_flight = InFlight(client, budget)
        self._stillness = Stillness(None if settings.until is None else settings.until - now)
        self._stood = False
        self._clock_at = now
        self._compaction = BackgroundCompaction(run.buffer.store)
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
        try:
            while not interrupts.asked and not self._is_over(self._now()):
                self._step()
            if interrupts.asked:
                logger.info("interrupted", extra={"event": "interrupted"})
        except KeyboardInterrupt:
            logger.info("interrupted", extra={"event": "interrupted"})
        finally:
            self._in_flight.close()
            # Answers that cannot be written need not be waited for.
            if not isinstance(sys.exc_info()[1], StoreError):
                self._drain()

    @property
    def next_at(self) -> datetime | None:
        """When the next request is due."""
        return self.schedule.queue.next_at()

    def _is_over(self, now: datetime) -> bool:
        until = self._settings.until
        is_late = until is not None and (now >= until or self._stillness.is_over)
        return self.schedule.is_done or is_late

    def _step(self) -> None:
        now = self._now()
        self._check_clock(now)
        if self._next.is_stale(now):
            self._take_due(now)
        while self._in_flight.has_room and self._may_send(now) and self._send_next():
            pass
        if self._in_flight:
            self._gather()
        else:
            self._rest(now)
        if self.buffer.is_due(self._now()):
            self._write()
        self._compact_if_due()

    # -- time -------------------------------------------------------------------------------------

    def _now(self) -> datetime:
        return self._client.now()

    def _check_clock(self, now: datetime) -> None:
        if now < self._clock_at - _BACK:
            logger.warning("the clock was set back by %s", self._clock_at - now)
            self._next.put_back(now)
            self.schedule.set_back(now)
            self._write()  # buffered observations now have times that lie ahead
            self.pause.set_back(now)
            self.neglect.set_back(now)
        self._clock_at = now

    def _check_standstill(self, begun: float, before: datetime) -> None:
        told = self._stillness.waited(time.monotonic() - begun, before, self._now())
        if told is not None:
            self.schedule.note_problem(Problem("", told))
        elif not self._stillness.stands and self._stood:
            self.schedule.problems.pop("", None)
        self._stood = self._stillness.stands

    # -- sending ----------------------------------------------------------------------------------

    def _take_due(self, now: datetime) -> None:
        """Take the most urgent requests out of the schedule's queue."""
        self._next.put_back(now)
        if not self.pause.is_on:
            self.neglect.check(now, self.pause.since)
        self.show()
        most = int(min(_TAKEN, self.budget.left(now)))
        if most > 0 and not self.pause.only_probes:
            self._next.take(now, most)

    def _may_send(self, now: datetime) -> bool:
        running = len(self._in_flight)
        return self.pause.allows(now, running) and self.budget.left(now) >= running + 1

    def _send_next(self) -> bool:
        """Send the next request; return False if there is none."""
        if self.pause.take_doubt():
            if not self._in_flight.is_probing:
                self._probe()
            return True
        request = self._next.pop()
        if isinstance(request, Tenant):
            self._in_flight.send(request, self._page, request.scan)
        elif request is not None and request.kind == Kind.TENANTS:
            self._in_flight.send(request, self.schedule.list_tenants)
        elif request is not None and request.tenant_id in self.schedule.tenants:  # it may be gone
            client = self.schedule.tenants[request.tenant_id].client
            self._in_flight.send(request, self._observer.observation, client, request.batch_id)
        return request is not None

    def _probe(self) -> None:
        self._in_flight.send(Probe(), self.pause.probe)

    def _page(self, scan: ListingScan) -> Page | None:
        """In a pool thread: the next page of a listing, as observations."""
        page = scan.next_page()
        return None if page is None else self._observer.rows(scan.client.tenant_key, page)

    # -- answers ----------------------------------------------------------------------------------

    def _gather(self) -> None:
        """Wait a little for answers, and take in those that came."""
        begun, before, ended = time.monotonic(), self._now(), 0
        for request, future in self._in_flight.ended():
            ended += 1
            self._finish(request, future)
        if not ended and not self._settings.is_turned:
            self._check_standstill(begun, before)

    def _finish(self, request: Request, future: Future[Any]) -> None:
        error = future.exception()
        if isinstance(request, Probe):
            self.pause.probed(future, self._now())
            return
        if error is not None and not isinstance(error, ReachError):
            raise error
        if isinstance(request, Tenant):
            self._finish_page(request, error, future)
        elif request.kind == Kind.TENANTS:
            self._learn_tenants(None if error else future.result(), error)
        else:
            observation, error = future.result()
            self._learn(observation)
        self.pause.note(error, self._now())

    def _learn_tenants(self, found: Partner | None, error: ReachError | None) -> None:
        self.schedule.take_tenants(found, error, self._now())
        if found is not None:
            self.buffer.take_catalog(catalog(found.tenants, found.definitions, self._now()))

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
            if self.schedule.goes_on(tenant, observations, now):
                self._next.add_page(tenant)
                return
        self.schedule.listing_done(tenant, now)

    def _learn(self, observation: RecordedObservation) -> None:
        key = observation.tenant_id, observation.batch_id
        known = self._states.batches.get(key)
        old = known is not None and observation.state_hash in (known.detail_state, known.list_state)
        self.changes += self._states.learn(observation)
        self.buffer.take(observation, old_state=old)
        due = next_observation(self._states.batches[key], self._settings.policy)
        self.schedule.enter(brought_back(due, self._clock_at))
        if self.buffer.is_full:
            self._write()

    # -- writing and resting ----------------------------------------------------------------------

    def _write(self) -> None:
        now = self._now()
        if self.pause.is_blocked(now):
            return
        before = self.buffer.observations
        try:
            self.buffer.write()
        except ForeignStoreError:
            raise
        except StoreError as error:
            if not self._settings.keep_retrying:
                raise
            self.pause.block(str(error), now)
        fields = {
            "event": "written",
            "observations": self.buffer.observations - before,
            "changes": self.changes,
        }
        logger.info("wrote %d observations", self.buffer.observations - before, extra=fields)

    def _compact_if_due(self) -> None:
        due = self.buffer.writes - self._writes_compacted >= _COMPACT_AFTER
        if self._settings.compact and due and self._compaction.begin(self._now()):
            self._writes_compacted = self.buffer.writes

    def _rest(self, now: datetime) -> None:
        """Wait until something is due, may be sent again, or has to be written."""
        until = self._rest_until(now)
        if until is None:
            return
        begun, before = time.monotonic(), self._now()
        self._settings.wait(max(0.001, (until - now).total_seconds()))
        self._check_standstill(begun, before)

    def _rest_until(self, now: datetime) -> datetime | None:
        """Until when to rest; None if something was to be done instead, and has been."""
        if self.pause.blocked_until is not None:
            until = self.pause.blocked_until
            if now >= until:
                self._unblock(now)
                return None
        elif self.pause.breaker.probe_at is not None:
            until = max(self.pause.breaker.probe_at, self.budget.next_at(now))
            if now >= until:
                self._probe()
                return None
        else:
            work = now if self._next else self.next_at
            until = max(work or now + _LONGEST_REST, self.budget.next_at(now))
        due_at = self.buffer.due_at()
        if due_at is not None and self.pause.blocked_until is None:
            if due_at <= now:
                self._write()  # now that there is nothing else to do
                return None
            until = min(until, due_at)
        return min(until, self._settings.until or until, now + _LONGEST_REST)

    def _unblock(self, now: datetime) -> None:
        """Try again: a person may have fixed the cause."""
        try:
            self.buffer.write()
        except ForeignStoreError:
            raise
        except StoreError as error:
            self.pause.block(str(error), now)
        else:
            self._probe()

    # -- the end ----------------------------------------------------------------------------------

    def _drain(self) -> None:
        """Send nothing more, and write all observations, including answers in flight.

        A second interrupt means not to wait for those.
        """
        self._client.halt()
        try:
            self.buffer.write()
            for request, future in self._in_flight.last():
                if isinstance(request, Tenant):
                    self._finish_page(request, None, future)
                elif isinstance(request, Due) and request.batch_id:
                    self._learn(future.result()[0])
        except KeyboardInterrupt:
            self._client.halt(grace_s=0.0)
            logger.info("interrupted again", extra={"event": "interrupted"})
        finally:
            self._in_flight.resume_client()
        self.buffer.write()
