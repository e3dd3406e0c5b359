"""The tenant schedule of a watch: tenants, their listings, and what is due there."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from reach_analytics._plausible import EPOCH
from reach_analytics.client import Client
from reach_analytics.collector._observe.rows import RecordedObservation
from reach_analytics.collector._schedule.batch_states import BatchStates
from reach_analytics.collector._schedule.due_queue import DueQueue
from reach_analytics.collector._schedule.listing_scan import ListingScan
from reach_analytics.collector._schedule.policy import (
    BatchState,
    Due,
    Kind,
    PollingPolicy,
    at_once,
    brought_back,
    chance,
    doubled,
    next_listing,
    next_observation,
)
from reach_analytics.collector._targets import Partner, partner
from reach_analytics.collector.summary import Problem, plain
from reach_analytics.errors import AuthError, NotFoundError, ReachError

logger = logging.getLogger("reach_analytics.collector")

PAGE = 100  # rows of a listing's page
_RESWEEP_AFTER = timedelta(hours=1)


@dataclass
class Tenant:
    """A tenant that is watched.

    Attributes
    ----------
    sweep_at, resweep_at : datetime
        When its listing is next read to the end, and from when it may be if it announces more
        batches than are known.
    positions : dict
        Where in its listing the batches were that are not left alone yet.
    scan : ListingScan, optional
        The scan of its listing that is running.
    refused : bool
        Whether access to it is refused; what is due there is ``held`` until it is granted.
    """

    client: Client
    sweep_at: datetime
    resweep_at: datetime
    failures: int = 0
    refused: bool = False
    positions: dict[str, int] = field(default_factory=dict)
    scan: ListingScan | None = None
    held: list[Due] = field(default_factory=list)


class TenantSchedule:
    """The tenants of a watch, and the queue of what is due there.

    Parameters
    ----------
    client : Client
    ids : list of str, optional
        Watch only these batches of the one target, and read no listing.
    targets : list of Client, optional
        The client once for each tenant; None for all tenants of a partner, listed regularly.
    """

    def __init__(
        self,
        client: Client,
        states: BatchStates,
        policy: PollingPolicy,
        every: timedelta,
        *,
        ids: list[str] | None,
        targets: list[Client] | None,
    ) -> None:
        self.queue = DueQueue()
        self.tenants: dict[str, Tenant] = {}
        self.problems: dict[str, Problem] = {}
        self._client, self._states, self._policy, self._every = client, states, policy, every
        self._open_ids = None if ids is None else set(ids)
        self._failures = 0
        now = client.now()
        for target in targets or ():
            self._add(target, now)
        if targets is None:
            self.queue.put(Due("", "", now, Kind.TENANTS, now))

    @property
    def is_done(self) -> bool:
        """Whether all batches given by id have ended."""
        return self._open_ids is not None and not self._open_ids

    # -- tenants ----------------------------------------------------------------------------------

    def list_tenants(self) -> Partner:
        """All tenants of the partner; sends requests."""
        return partner(self._client)

    def take_tenants(self, found: Partner | None, error: ReachError | None, now: datetime) -> None:
        """Add tenants that are new, and drop those that are gone."""
        if found is None:
            self._failures += 1
            self.note_problem(Problem("", f"the tenants could not be listed: {error}"))
            interval = doubled(self._every, self._failures, self._policy.tenants_every)
        else:
            self._failures, interval = 0, self._policy.tenants_every
            self.problems.pop("", None)
            clients = {one.tenant_key: one for one in found.clients}
            for problem in found.problems:
                self.note_problem(problem)
            # A listing with gaps does not show which tenants are gone.
            for gone in () if found.problems else self.tenants.keys() - clients.keys():
                words, fields = "tenant %s is gone", {"event": "tenant_gone", "tenant_id": gone}
                logger.warning(words, plain(gone), extra=fields)
                self.queue.drop_tenant(gone)
                del self.tenants[gone]
            for tenant_id in clients.keys() - self.tenants.keys():
                self._add(clients[tenant_id], now)
        self.queue.put(Due("", "", now + interval, Kind.TENANTS, now))

    def note_problem(self, problem: Problem) -> None:
        """Keep a tenant's last problem, and log it if it has changed."""
        tenant_id, message = problem.tenant_id, problem.message
        if self.problems.get(tenant_id) != problem:
            fields = {"event": "problem", "tenant_id": tenant_id}
            whose = f"{plain(tenant_id)}: " if tenant_id else ""
            logger.warning("%s%s", whose, plain(message), extra=fields)
        self.problems[tenant_id] = problem

    def _add(self, client: Client, now: datetime) -> None:
        tenant_id = client.tenant_key
        known = self._states.of_tenant.get(tenant_id, [])
        batches = [self._states.batches[tenant_id, batch_id] for batch_id in known]
        last_sent_at = max((batch.last_sent_at for batch in batches), default=None)
        idle = last_sent_at is None or last_sent_at < now - self._policy.sweep_every
        sweep_at = now if idle else self._next_sweep(tenant_id, now)
        self.tenants[tenant_id] = Tenant(client, sweep_at, resweep_at=now)
        for batch in batches:
            self.enter(brought_back(next_observation(batch, self._policy), now))
        if self._open_ids is None:
            self.queue.put(Due(tenant_id, "", now, Kind.LISTING, now))
            return
        for batch_id in self._open_ids - set(known):
            self.queue.put(Due(tenant_id, batch_id, now, Kind.POLL, now))

    # -- what is due ------------------------------------------------------------------------------

    def enter(self, due: Due) -> None:
        """Queue the next observation of a batch."""
        if due.tenant_id not in self.tenants:
            return
        if self._open_ids is not None:
            if due.kind == Kind.AUDIT:
                self._open_ids.discard(due.batch_id)
            if due.batch_id not in self._open_ids:
                return
        self.queue.put(due)

    def plan(self, taken: list[Due], now: datetime, pages: deque[Tenant]) -> list[Due]:
        """How to fetch what is due: listings go to ``pages``, single requests are returned.

        Where reading pages shows the due batches of a tenant in no more requests than asking for
        each, the pages are read: they also show what is new.
        """
        by_tenant: dict[str, list[Due]] = {}
        for due in taken:
            by_tenant.setdefault(due.tenant_id, []).append(due)
        single: set[Due] = set()
        for tenant_id, dues in by_tenant.items():
            tenant = self.tenants.get(tenant_id)
            if tenant is None:
                single.update(due for due in dues if due.kind == Kind.TENANTS)
            elif tenant.refused:
                tenant.held += [due for due in dues if due.batch_id]
                if tenant.scan is None and any(not due.batch_id for due in dues):
                    self._read_listing(tenant, set(), now, pages)
            else:
                single.update(self._plan_tenant(tenant, dues, now, pages))
        return [due for due in taken if due in single]

    def _plan_tenant(
        self, tenant: Tenant, dues: list[Due], now: datetime, pages: deque[Tenant]
    ) -> list[Due]:
        observations = [due for due in dues if due.batch_id]
        listed = {
            due.batch_id: tenant.positions[due.batch_id]
            for due in observations
            if due.listable and due.batch_id in tenant.positions
        }
        reach = max(listed.values(), default=0) // PAGE + 1
        is_due = len(observations) < len(dues)
        if tenant.scan is not None or not (is_due or (listed and reach <= len(listed))):
            return observations
        if tenant.failures and not is_due:
            return observations
        if reach > len(listed) + is_due:
            listed, reach = {}, 1
        self._read_listing(tenant, set(listed), now, pages, reach)
        return [due for due in observations if due.batch_id not in listed]

    def _read_listing(
        self,
        tenant: Tenant,
        wanted: set[str],
        now: datetime,
        pages: deque[Tenant],
        reach: int = 1,
    ) -> None:
        tenant.scan = ListingScan(
            tenant.client,
            newest=self._states.newest.get(tenant.client.tenant_key),
            overlap=self._policy.overlap,
            full=now >= tenant.sweep_at,
            wanted=wanted,
            reach=reach,
            page_size=PAGE,
        )
        pages.append(tenant)

    def expedite(self, now: datetime) -> None:
        """Make what failed during an outage due at once."""
        for tenant_id, tenant in self.tenants.items():
            if tenant.failures:
                self._clear(tenant, now)
                if tenant.scan is None:
                    self.queue.put(Due(tenant_id, "", now, Kind.LISTING, now))
        self.queue.expedite({Kind.RETRY, Kind.TENANTS}, now)

    def set_back(self, now: datetime) -> None:
        """Adjust to a clock that was set back to ``now``."""
        self.queue.set_back(now)
        for tenant in self.tenants.values():
            tenant.sweep_at = min(tenant.sweep_at, now + self._policy.sweep_every)
            tenant.resweep_at = min(tenant.resweep_at, now + _RESWEEP_AFTER)
            tenant.held = [brought_back(due, now) for due in tenant.held]

    # -- listings ---------------------------------------------------------------------------------

    def worth_keeping(
        self, tenant: Tenant, observations: Sequence[RecordedObservation]
    ) -> list[RecordedObservation]:
        """The rows of a page that tell something new; at least one, so that each request leaves a
        trace."""
        kept = [observation for observation in observations if self._tells(tenant, observation)]
        return kept or list(observations[:1])

    def _tells(self, tenant: Tenant, observation: RecordedObservation) -> bool:
        if self._states.is_news(observation):
            return True
        if tenant.scan is not None and observation.batch_id in tenant.scan.wanted:
            return True
        due = next_observation(
            self._states.batches[observation.tenant_id, observation.batch_id], self._policy
        )
        is_near = observation.sent_at - due.since >= (due.at - due.since) / 2
        return due.listable and due.kind in (Kind.POLL, Kind.CONFIRM) and is_near

    def goes_on(
        self, tenant: Tenant, observations: Sequence[RecordedObservation], now: datetime
    ) -> bool:
        """Take in a page's rows; return whether to read the next page too."""
        assert tenant.scan is not None
        tenant.scan.take(observations)
        count = len(self._states.of_tenant.get(tenant.client.tenant_key, ()))
        return tenant.scan.goes_on(count, may_resweep=now >= tenant.resweep_at)

    def listing_done(self, tenant: Tenant, now: datetime) -> None:
        """Finish a scan that was read as far as needed."""
        scan, tenant.scan = tenant.scan, None
        assert scan is not None
        tenant_id = tenant.client.tenant_key
        if tenant.failures:
            logger.info("%s: listed again", tenant_id, extra={"event": "tenant_back"})
        if scan.complete:
            tenant.sweep_at = self._next_sweep(tenant_id, now)
            tenant.resweep_at = now + _RESWEEP_AFTER
        if scan.shortfall:
            self.note_problem(Problem(tenant_id, scan.shortfall))
        else:
            self.problems.pop(tenant_id, None)
        batches = self._states.batches
        tenant.positions = {
            batch_id: at
            for batch_id, at in scan.positions.items()
            if self._is_open(batches.get((tenant_id, batch_id)))
        }
        self._observe_singly(tenant_id, scan.wanted, now)
        self._clear(tenant, now)
        self._enter_listing(tenant, now)

    def _clear(self, tenant: Tenant, now: datetime) -> None:
        """Forget a tenant's failures, and queue what was held."""
        tenant.failures, tenant.refused = 0, False
        for due in tenant.held:
            self.enter(at_once(due, now))
        tenant.held = []

    def listing_failed(self, tenant: Tenant, error: ReachError, now: datetime) -> None:
        """Abandon a scan whose listing could not be read; retry at growing intervals."""
        scan, tenant.scan = tenant.scan, None
        tenant.failures += 1
        tenant.refused = isinstance(error, AuthError | NotFoundError)
        tenant_id = tenant.client.tenant_key
        self.note_problem(Problem(tenant_id, str(error)))
        self._observe_singly(tenant_id, scan.wanted if scan else set(), now)
        self._enter_listing(tenant, now)

    def _observe_singly(self, tenant_id: str, wanted: set[str], now: datetime) -> None:
        """Queue single requests for batches that a listing should have shown and did not."""
        for batch_id in wanted:
            due = next_observation(self._states.batches[tenant_id, batch_id], self._policy)
            self.enter(replace(brought_back(due, now), listable=False))

    def _is_open(self, known: BatchState | None) -> bool:
        return known is not None and next_observation(known, self._policy).kind != Kind.AUDIT

    def _enter_listing(self, tenant: Tenant, now: datetime) -> None:
        tenant_id = tenant.client.tenant_key
        newest = self._states.newest.get(tenant_id)
        due = next_listing(tenant_id, now, newest, tenant.failures, self._every, self._policy)
        sweep_at = max(tenant.sweep_at, now + self._every)
        if not tenant.failures and sweep_at < due.at:
            due = replace(due, at=sweep_at)
        self.queue.put(due)

    def _next_sweep(self, tenant_id: str, now: datetime) -> datetime:
        """The tenant's own time within the period, the same whenever the watch was started."""
        period = self._policy.sweep_every
        own = chance(self._policy, tenant_id, "sweep")
        number = math.floor((now - EPOCH) / period - own) + 1
        return EPOCH + period * (number + own)
