"""Whose batches a watch goes through: tenants, their listings, and what is due there."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from reach_analytics.client import Client
from reach_analytics.collector.agenda import Agenda
from reach_analytics.collector.knowledge import Knowledge
from reach_analytics.collector.listing import Walk
from reach_analytics.collector.observe import Observed
from reach_analytics.collector.schedule import (
    Due,
    Kind,
    Known,
    Policy,
    at_once,
    brought_back,
    chance,
    doubled,
    next_listing,
    next_look,
)
from reach_analytics.collector.summary import Problem, plain
from reach_analytics.collector.targets import all_tenants
from reach_analytics.errors import AuthError, NotFoundError, ReachError

logger = logging.getLogger("reach_analytics.collector")

PAGE = 100  # rows of a listing's page
_RESWEEP_AFTER = timedelta(hours=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class Tenant:
    """A tenant that is watched.

    Attributes
    ----------
    sweep_at, resweep_at : datetime
        When its listing is read to the end again, and from when on it may be if it announces more
        than is known.
    positions : dict
        Where in its listing the batches stood that are not left alone yet.
    walk : Walk, optional
        The reading of its listing that is under way.
    refused : bool
        Whether it may not be seen; what is due there is ``held`` until it may.
    """

    client: Client
    sweep_at: datetime
    resweep_at: datetime
    failures: int = 0
    refused: bool = False
    positions: dict[str, int] = field(default_factory=dict)
    walk: Walk | None = None
    held: list[Due] = field(default_factory=list)


class Rounds:
    """The tenants of a watch, and the agenda of what is due there.

    Parameters
    ----------
    client : Client
    ids : list of str, optional
        Only these batches of the one target are watched, and no listing is read.
    targets : list of Client, optional
        The client once for each tenant; None for all tenants of a partner, listed now and then.
    """

    def __init__(
        self,
        client: Client,
        knowledge: Knowledge,
        policy: Policy,
        every: timedelta,
        *,
        ids: list[str] | None,
        targets: list[Client] | None,
    ) -> None:
        self.agenda = Agenda()
        self.tenants: dict[str, Tenant] = {}
        self.problems: dict[str, Problem] = {}
        self._client, self._knowledge, self._policy, self._every = client, knowledge, policy, every
        self._open_ids = None if ids is None else set(ids)
        self._failures = 0
        now = client.now()
        for target in targets or ():
            self._add(target, now)
        if targets is None:
            self.agenda.put(Due("", "", now, Kind.TENANTS, now))

    @property
    def is_done(self) -> bool:
        """Whether all batches that were asked for by id have ended."""
        return self._open_ids is not None and not self._open_ids

    # -- tenants ----------------------------------------------------------------------------------

    def list_tenants(self) -> list[Client | Problem]:
        """All tenants of the partner; sends requests."""
        return list(all_tenants(self._client))

    def take_tenants(
        self, found: list[Client | Problem] | None, error: ReachError | None, now: datetime
    ) -> None:
        """Take up tenants that are new, and let go of those that are gone."""
        if found is None:
            self._failures += 1
            self.note_problem(Problem("", f"the tenants could not be listed: {error}"))
            distance = doubled(self._every, self._failures, self._policy.tenants_every)
        else:
            self._failures, distance = 0, self._policy.tenants_every
            self.problems.pop("", None)
            clients = {one.tenant_key: one for one in found if isinstance(one, Client)}
            problems = [one for one in found if isinstance(one, Problem)]
            for problem in problems:
                self.note_problem(problem)
            # A listing that has gaps does not say who is gone.
            for gone in () if problems else self.tenants.keys() - clients.keys():
                words, fields = "tenant %s is gone", {"event": "tenant_gone", "tenant_id": gone}
                logger.warning(words, plain(gone), extra=fields)
                self.agenda.drop_tenant(gone)
                del self.tenants[gone]
            for tenant_id in clients.keys() - self.tenants.keys():
                self._add(clients[tenant_id], now)
        self.agenda.put(Due("", "", now + distance, Kind.TENANTS, now))

    def note_problem(self, problem: Problem) -> None:
        """Keep a tenant's last problem, and log it if it is another one."""
        tenant_id, message = problem.tenant_id, problem.message
        if self.problems.get(tenant_id) != problem:
            fields = {"event": "problem", "tenant_id": tenant_id}
            whose = f"{plain(tenant_id)}: " if tenant_id else ""
            logger.warning("%s%s", whose, plain(message), extra=fields)
        self.problems[tenant_id] = problem

    def _add(self, client: Client, now: datetime) -> None:
        tenant_id = client.tenant_key
        known = self._knowledge.of_tenant.get(tenant_id, [])
        batches = [self._knowledge.batches[tenant_id, batch_id] for batch_id in known]
        looked_at = max((batch.looked_at for batch in batches), default=None)
        idle = looked_at is None or looked_at < now - self._policy.sweep_every
        sweep_at = now if idle else self._next_sweep(tenant_id, now)
        self.tenants[tenant_id] = Tenant(client, sweep_at, resweep_at=now)
        for batch in batches:
            self.enter(brought_back(next_look(batch, self._policy), now))
        if self._open_ids is None:
            self.agenda.put(Due(tenant_id, "", now, Kind.LISTING, now))
            return
        for batch_id in self._open_ids - set(known):
            self.agenda.put(Due(tenant_id, batch_id, now, Kind.POLL, now))

    # -- what is due ------------------------------------------------------------------------------

    def enter(self, due: Due) -> None:
        """Put down when a batch is to be looked at next."""
        if due.tenant_id not in self.tenants:
            return
        if self._open_ids is not None:
            if due.kind == Kind.AUDIT:
                self._open_ids.discard(due.batch_id)
            if due.batch_id not in self._open_ids:
                return
        self.agenda.put(due)

    def plan(self, taken: list[Due], now: datetime, pages: deque[Tenant]) -> list[Due]:
        """How to see what is due: listings to read go to ``pages``, single looks are returned.

        Where as many batches of a tenant are due as pages would show them all, the pages are read:
        they show what is new, too.
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
                if tenant.walk is None and any(not due.batch_id for due in dues):
                    self._read_listing(tenant, set(), now, pages)
            else:
                single.update(self._plan_tenant(tenant, dues, now, pages))
        return [due for due in taken if due in single]

    def _plan_tenant(
        self, tenant: Tenant, dues: list[Due], now: datetime, pages: deque[Tenant]
    ) -> list[Due]:
        looks = [due for due in dues if due.batch_id]
        listed = {
            due.batch_id: tenant.positions[due.batch_id]
            for due in looks
            if due.listable and due.batch_id in tenant.positions
        }
        reach = max(listed.values(), default=0) // PAGE + 1
        is_due = len(looks) < len(dues)
        if tenant.walk is not None or not (is_due or (listed and reach <= len(listed))):
            return looks
        if tenant.failures and not is_due:
            return looks
        if reach > len(listed) + is_due:
            listed, reach = {}, 1
        self._read_listing(tenant, set(listed), now, pages, reach)
        return [due for due in looks if due.batch_id not in listed]

    def _read_listing(
        self,
        tenant: Tenant,
        wanted: set[str],
        now: datetime,
        pages: deque[Tenant],
        reach: int = 1,
    ) -> None:
        tenant.walk = Walk(
            tenant.client,
            newest=self._knowledge.newest.get(tenant.client.tenant_key),
            overlap=self._policy.overlap,
            full=now >= tenant.sweep_at,
            wanted=wanted,
            reach=reach,
            page_size=PAGE,
        )
        pages.append(tenant)

    def hurry(self, now: datetime) -> None:
        """What failed while nothing could be seen is due at once, now that it can."""
        for tenant_id, tenant in self.tenants.items():
            if tenant.failures:
                self._clear(tenant, now)
                if tenant.walk is None:
                    self.agenda.put(Due(tenant_id, "", now, Kind.LISTING, now))
        self.agenda.hurry({Kind.RETRY, Kind.TENANTS}, now)

    def set_back(self, now: datetime) -> None:
        """Go by a clock that was set back to ``now``."""
        self.agenda.set_back(now)
        for tenant in self.tenants.values():
            tenant.sweep_at = min(tenant.sweep_at, now + self._policy.sweep_every)
            tenant.resweep_at = min(tenant.resweep_at, now + _RESWEEP_AFTER)
            tenant.held = [brought_back(due, now) for due in tenant.held]

    # -- listings ---------------------------------------------------------------------------------

    def worth_keeping(self, tenant: Tenant, looks: Sequence[Observed]) -> list[Observed]:
        """The rows of a page that tell something; one at least, so that each request leaves a
        trace."""
        kept = [look for look in looks if self._tells(tenant, look)]
        return kept or list(looks[:1])

    def _tells(self, tenant: Tenant, look: Observed) -> bool:
        if self._knowledge.is_news(look):
            return True
        if tenant.walk is not None and look.batch_id in tenant.walk.wanted:
            return True
        due = next_look(self._knowledge.batches[look.tenant_id, look.batch_id], self._policy)
        is_near = look.sent_at - due.since >= (due.at - due.since) / 2
        return due.listable and due.kind in (Kind.POLL, Kind.CONFIRM) and is_near

    def goes_on(self, tenant: Tenant, looks: Sequence[Observed], now: datetime) -> bool:
        """Take in a page's rows; whether the next page is to be read too."""
        assert tenant.walk is not None
        tenant.walk.take(looks)
        count = len(self._knowledge.of_tenant.get(tenant.client.tenant_key, ()))
        return tenant.walk.goes_on(count, may_resweep=now >= tenant.resweep_at)

    def listing_done(self, tenant: Tenant, now: datetime) -> None:
        """A listing was read as far as it was to be."""
        walk, tenant.walk = tenant.walk, None
        assert walk is not None
        tenant_id = tenant.client.tenant_key
        if tenant.failures:
            logger.info("%s: listed again", tenant_id, extra={"event": "tenant_back"})
        if walk.complete:
            tenant.sweep_at = self._next_sweep(tenant_id, now)
            tenant.resweep_at = now + _RESWEEP_AFTER
        if walk.shortfall:
            self.note_problem(Problem(tenant_id, walk.shortfall))
        else:
            self.problems.pop(tenant_id, None)
        batches = self._knowledge.batches
        tenant.positions = {
            batch_id: at
            for batch_id, at in walk.positions.items()
            if self._is_open(batches.get((tenant_id, batch_id)))
        }
        self._look_singly(tenant_id, walk.wanted, now)
        self._clear(tenant, now)
        self._enter_listing(tenant, now)

    def _clear(self, tenant: Tenant, now: datetime) -> None:
        """A tenant that could not be seen may be again."""
        tenant.failures, tenant.refused = 0, False
        for due in tenant.held:
            self.enter(at_once(due, now))
        tenant.held = []

    def listing_failed(self, tenant: Tenant, error: ReachError, now: datetime) -> None:
        """A listing could not be read: the tenant is tried again, ever later."""
        walk, tenant.walk = tenant.walk, None
        tenant.failures += 1
        tenant.refused = isinstance(error, AuthError | NotFoundError)
        tenant_id = tenant.client.tenant_key
        self.note_problem(Problem(tenant_id, str(error)))
        self._look_singly(tenant_id, walk.wanted if walk else set(), now)
        self._enter_listing(tenant, now)

    def _look_singly(self, tenant_id: str, wanted: set[str], now: datetime) -> None:
        """Enter batches that a listing was to show and did not, to be looked at by themselves."""
        for batch_id in wanted:
            due = next_look(self._knowledge.batches[tenant_id, batch_id], self._policy)
            self.enter(replace(brought_back(due, now), listable=False))

    def _is_open(self, known: Known | None) -> bool:
        return known is not None and next_look(known, self._policy).kind != Kind.AUDIT

    def _enter_listing(self, tenant: Tenant, now: datetime) -> None:
        tenant_id = tenant.client.tenant_key
        newest = self._knowledge.newest.get(tenant_id)
        due = next_listing(tenant_id, now, newest, tenant.failures, self._every, self._policy)
        sweep_at = max(tenant.sweep_at, now + self._every)
        if not tenant.failures and sweep_at < due.at:
            due = replace(due, at=sweep_at)
        self.agenda.put(due)

    def _next_sweep(self, tenant_id: str, now: datetime) -> datetime:
        """The tenant's own moment of the period, the same whenever a watch was started."""
        period = self._policy.sweep_every
        own = chance(self._policy, tenant_id, "sweep")
        number = math.floor((now - _EPOCH) / period - own) + 1
        return _EPOCH + period * (number + own)
