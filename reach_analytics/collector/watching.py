"""The loop of a watch: takes out what is due, asks, learns, writes, and rests until more is due."""

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
from reach_analytics.collector.agenda import Agenda
from reach_analytics.collector.interrupting import Interrupts
from reach_analytics.collector.knowledge import Knowledge
from reach_analytics.collector.limits import Budget, Outage, TokenGuard
from reach_analytics.collector.listing import Walk
from reach_analytics.collector.observe import Observed
from reach_analytics.collector.rounds import Rounds, Tenant
from reach_analytics.collector.running import Run
from reach_analytics.collector.schedule import Due, Kind, Policy, brought_back, next_look
from reach_analytics.collector.standstill import Hanging, Stillness
from reach_analytics.collector.summary import Problem
from reach_analytics.collector.tidying import Tidying
from reach_analytics.errors import AuthError, ForeignStoreError, ReachError, StoreError

logger = logging.getLogger("reach_analytics.collector")

Page = tuple[list[Observed], list[Problem]]

_PICKED = 256  # looks taken out of the agenda at once
_FRESH = timedelta(seconds=1)  # for so long they stay the most pressing
_SLOW = timedelta(minutes=15)  # between attempts where only a person can help
_LATE = timedelta(minutes=1)  # so late, and by its own distance, a look counts as neglected
_BACK = timedelta(minutes=1)
_MIND_EACH = timedelta(seconds=10)
_TIDY_AFTER = 100  # writes
_LONGEST_REST = timedelta(hours=1)


@dataclass
class Settings:
    """What a watch is told."""

    policy: Policy
    every: timedelta
    until: datetime | None
    wait: Callable[[float], object]
    is_turned: bool
    keep_retrying: bool
    compact: bool


class _Probe:
    """A request that only asks whether the API, or the token, works."""


class Watching:
    """A watch under way. One thread runs it; requests go out from a pool."""

    def __init__(
        self,
        run: Run,
        knowledge: Knowledge,
        budget: Budget,
        settings: Settings,
        ids: list[str] | None,
        targets: list[Client] | None,
    ) -> None:
        client, policy = run.client, settings.policy
        self.rounds = Rounds(client, knowledge, policy, settings.every, ids=ids, targets=targets)
        self.hand, self.outage, self.budget = run.hand, Outage(), budget
        self.changes = self.neglected = 0
        self.show: Callable[[], object] = lambda: None
        self._client, self._looker, self._knowledge = client, run.looker, knowledge
        self._settings, self._policy = settings, policy
        self._guard = TokenGuard(client.without_retries())
        self._hanging = Hanging()
        until, now = settings.until, client.now()
        self._stillness = Stillness(None if until is None else until - now)
        self._agenda: Agenda = self.rounds.agenda
        self._queue: deque[Due] = deque()
        self._pages: deque[Tenant] = deque()
        self._running: dict[Future[Any], Due | Tenant | _Probe] = {}
        self._sent = client.requests_sent
        self._last = self._picked_at = self._caught_up_at = now
        self._minded_at = self._last
        self._turn = True
        self._stood = False
        self._blocked_until: datetime | None = None
        self._is_doubted = False
        self._tidying = Tidying(run.hand.store)
        self._writes_tidied = 0

    def run(self) -> None:
        """Watch until told to stop; what is in hand is written however it ends."""
        words, known = "watching, with %d batches known", len(self._knowledge.batches)
        fields = {"event": "started", "run_id": self._looker.run_id, "store": str(self.hand.store)}
        logger.info(words, known, extra=fields)
        with Interrupts() as interrupts:
            try:
                self._go_on(interrupts)
            finally:
                self._tidying.end()

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
                self._come_in()

    @property
    def next_at(self) -> datetime | None:
        """When the next look is due."""
        return self._agenda.next_at()

    def _is_over(self, now: datetime) -> bool:
        until = self._settings.until
        is_late = until is not None and (now >= until or self._stillness.is_over)
        return self.rounds.is_done or is_late

    def _step(self, pool: Executor) -> None:
        now = self._now()
        self._mind_the_clock(now)
        self._pick(now)
        while len(self._running) < 2 * self._client.threads and self._may_ask(now):
            if not self._start_one(pool):
                break
        if self._running:
            self._gather()
        else:
            self._rest(now, pool)
        if self.hand.is_due(self._now()):
            self._write()
        self._tidy()

    def _gather(self) -> None:
        """Wait a little for answers, and take in those that came."""
        begun, before = time.monotonic(), self._now()
        done, _ = wait_for(self._running, timeout=1, return_when=FIRST_COMPLETED)
        for future in done:
            self._finish(future)
        if not done and not self._settings.is_turned:
            self._mind_standstill(begun, before)
        self._hanging.tell(self._running, self._client.threads)

    def _mind_standstill(self, begun: float, before: datetime) -> None:
        told = self._stillness.waited(time.monotonic() - begun, before, self._now())
        if told is not None:
            self.rounds.note_problem(Problem("", told))
        elif not self._stillness.stands and self._stood:
            self.rounds.problems.pop("", None)
        self._stood = self._stillness.stands

    # -- what to ask ------------------------------------------------------------------------------

    def _mind_the_clock(self, now: datetime) -> None:
        if now < self._last - _BACK:
            logger.warning("the clock was set back by %s", self._last - now)
            self._return_queue()
            self.rounds.set_back(now)
            self.outage.set_back(now)
            self._write()  # what is in hand counts its age from moments that now lie ahead
            if self._blocked_until is not None:
                self._blocked_until = min(self._blocked_until, now + _SLOW)
            self._picked_at = self._caught_up_at = self._minded_at = now
        self._last = now

    def _pick(self, now: datetime) -> None:
        """Take out what is most pressing, if what was taken out before is done or stale."""
        if self._queue and now - self._picked_at < _FRESH:
            return
        self._return_queue()
        self._picked_at = now
        self._note_neglect(now)
        self.show()
        most = int(min(_PICKED, self.budget.left(now)))
        if most > 0 and self._blocked_until is None and self.outage.probe_at is None:
            self._queue.extend(self.rounds.plan(self._agenda.take(now, most), now, self._pages))

    def _return_queue(self) -> None:
        while self._queue:
            self._agenda.put_back(self._queue.popleft())

    def _may_ask(self, now: datetime) -> bool:
        if self._blocked_until is not None:
            return False
        running = len(self._running)
        return self.outage.allows(now, running) and self.budget.left(now) >= running + 1

    def _start_one(self, pool: Executor) -> bool:
        """Send the next request: deadlines first; then pages of listings and looks by turns."""
        if self._is_doubted:
            self._is_doubted = False
            if any(isinstance(what, _Probe) for what in self._running.values()):
                return True
            self._send(_Probe(), pool, self._guard.probe)
            return True
        while self._queue and self._queue[0] in self._agenda:
            self._queue.popleft()  # a listing has shown it meanwhile
        pressing = bool(self._queue) and self._queue[0].kind == Kind.DEADLINE
        if self._pages and not pressing and (self._turn or not self._queue):
            self._turn = False
            tenant = self._pages.popleft()
            assert tenant.walk is not None
            self._send(tenant, pool, self._page, tenant.walk)
        elif self._queue:
            self._turn = True
            self._start_look(pool, self._queue.popleft())
        else:
            return False
        return True

    def _start_look(self, pool: Executor, due: Due) -> None:
        if due.kind == Kind.TENANTS:
            self._send(due, pool, self.rounds.list_tenants)
        elif (tenant := self.rounds.tenants.get(due.tenant_id)) is not None:  # it may be gone
            self._send(due, pool, self._looker.look, tenant.client, due.batch_id)

    def _send(
        self, what: Due | Tenant | _Probe, pool: Executor, ask: Callable[..., Any], *given: Any
    ) -> None:
        future = pool.submit(ask, *given)
        self._running[future] = what
        self._hanging.begun(future)

    def _page(self, walk: Walk) -> Page | None:
        """In a thread of the pool: the next page of a listing, as looks."""
        page = walk.next_page()
        return None if page is None else self._looker.rows(walk.client.tenant_key, page)

    # -- what came of it --------------------------------------------------------------------------

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
            self.rounds.take_tenants(None if error else future.result(), error, self._now())
        else:
            look, error = future.result()
            self._learn(look)
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
            self.rounds.listing_failed(tenant, error, now)
            return
        page = future.result()
        if page is not None:
            looks, problems = page
            for problem in problems:
                self.rounds.note_problem(problem)
            for look in self.rounds.worth_keeping(tenant, looks):
                self._learn(look)
        if page is not None and self.rounds.goes_on(tenant, looks, now):
            self._pages.append(tenant)
        else:
            self.rounds.listing_done(tenant, now)

    def _learn(self, look: Observed) -> None:
        key = look.tenant_id, look.batch_id
        known = self._knowledge.batches.get(key)
        old = known is not None and look.state_hash in (known.detail_state, known.list_state)
        self.changes += self._knowledge.learn(look)
        self.hand.take(look, old_state=old)
        due = next_look(self._knowledge.batches[key], self._policy)
        self.rounds.enter(brought_back(due, self._last))
        if self.hand.is_full:
            self._write()

    def _note(self, error: ReachError | None) -> None:
        now = self._now()
        if self.outage.note(error, now):
            self._tell_of_outage(error, now)
        self._is_doubted = self._is_doubted or self._guard.doubts(error)

    def _tell_of_outage(self, error: ReachError | None, now: datetime) -> None:
        down = self.outage.since is not None
        words = f"the API is down: {error}" if down else "the API is back"
        logger.warning(words, extra={"event": "outage", "down": down})
        self._caught_up_at = now
        if not down:
            self.rounds.hurry(now)

    def _finish_probe(self, future: Future[ReachError | None]) -> None:
        """Take in whether the API, or the token, works."""
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
            self.rounds.hurry(now)
        elif self._blocked_until is not None:
            self._blocked_until = now + _SLOW
        if self.outage.since is not None:
            self.outage.probed(error, now)

    def _note_neglect(self, now: datetime) -> None:
        idle = self.outage.since is not None or self._blocked_until is not None
        if idle or now - self._minded_at < _MIND_EACH:
            return
        self._minded_at = now
        late = self._agenda.overdue(now, self._caught_up_at, _LATE)
        if late >= 2 * max(self.neglected, 1):  # not each time that there is one more
            words = "more is due than is allowed for: %d looks are late; raise the budget"
            logger.warning(words, late, extra={"event": "neglect", "looks": late})
        self.neglected = max(self.neglected, late)

    # -- writing and resting ----------------------------------------------------------------------

    def _write(self) -> None:
        now = self._now()
        if self._blocked_until is not None and now < self._blocked_until:
            return
        before = self.hand.looks
        try:
            self.hand.write()
        except ForeignStoreError:
            raise
        except StoreError as error:
            if not self._settings.keep_retrying:
                raise
            self._block(str(error), now)
        fields = {"event": "written", "looks": self.hand.looks - before, "changes": self.changes}
        logger.info("wrote %d looks", self.hand.looks - before, extra=fields)

    def _block(self, why: str, now: datetime) -> None:
        """Stop asking for a while: somebody has to mend something."""
        logger.error("%s; next try in %s", why, _SLOW, extra={"event": "blocked"})
        self._blocked_until = now + _SLOW

    def _tidy(self) -> None:
        due = self.hand.writes - self._writes_tidied >= _TIDY_AFTER
        if self._settings.compact and due and self._tidying.begin(self._now()):
            self._writes_tidied = self.hand.writes

    def _rest(self, now: datetime, pool: Executor) -> None:
        """Wait until something is due, or may be asked again, or has to be written."""
        if self._blocked_until is not None:
            until = self._blocked_until
            if now >= until:
                self._unblock(now, pool)
                return
        elif self.outage.probe_at is not None:
            until = max(self.outage.probe_at, self.budget.next_at(now))
            if now >= until:
                self._send(_Probe(), pool, self._guard.probe)
                return
        else:
            work = now if self._queue or self._pages else self._agenda.next_at()
            until = max(work or now + _LONGEST_REST, self.budget.next_at(now))
        due_at = self.hand.due_at()
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
        self._mind_standstill(begun, before)

    def _unblock(self, now: datetime, pool: Executor) -> None:
        """Somebody may have mended what only a person could."""
        try:
            self.hand.write()
        except ForeignStoreError:
            raise
        except StoreError as error:
            self._block(str(error), now)
        else:
            self._send(_Probe(), pool, self._guard.probe)

    def _come_in(self) -> None:
        """Send nothing more, and write all that was seen, the answers on their way too.

        Whoever interrupts a second time does not want to wait for those.
        """
        self._client.halt()
        try:
            self.hand.write()
            # They end by themselves, or are broken off; a look-up of a name cannot be.
            begun = [future for future in self._running if not future.cancelled()]
            done, left = wait_for(begun, timeout=GRACE_S + 1)
            for future in done:
                if future.exception() is None:
                    self._take_in(self._running[future], future)
            if left:
                logger.warning("%d requests are left behind", len(left))
        except KeyboardInterrupt:
            self._client.halt(grace_s=0.0)
            logger.info("interrupted again", extra={"event": "interrupted"})
        finally:
            self._resume_later()
        self.hand.write()

    def _resume_later(self) -> None:
        """The client may send again once nothing of this watch is under way."""
        left = [future for future in self._running if not future.done()]

        def resume() -> None:
            wait_for(left)
            self._client.resume()

        if left:
            threading.Thread(target=resume, daemon=True).start()
        else:
            resume()

    def _take_in(self, what: Due | Tenant | _Probe, future: Future[Any]) -> None:
        """An answer that came after all."""
        if isinstance(what, Tenant):
            self._finish_page(what, None, future)
        elif isinstance(what, Due) and what.batch_id:
            self._learn(future.result()[0])

    def _now(self) -> datetime:
        return self._client.now()
