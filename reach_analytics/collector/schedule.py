"""What is due when: pure functions of what is known and the time.

Nothing here asks, sleeps, or reads a clock. A batch is looked at in proportion to how long it has
been quiet, as caches judge freshness (RFC 9111, 4.2.2): what changed a minute ago is looked at in
seconds, what has been still for hours is left for minutes. Around each expiry there are two looks
more, since a wait that ends unseen leaves nobody the wiser.
"""

from __future__ import annotations

import hashlib
import heapq
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import IntEnum

_NEVER_DAYS = 36_500
_SECOND, _HOUR = timedelta(seconds=1), timedelta(hours=1)
_BACK = timedelta(minutes=1)  # by so much clocks may differ without having been set back


@dataclass(frozen=True)
class Policy:
    """How often to look.

    Attributes
    ----------
    quiet_share : float
        A batch is looked at again after this part of the time since it last changed,
    floor, ceiling : timedelta
        but no sooner and no later than these;
    waiting_floor : timedelta
        no sooner than this, if nothing is left to do in it but to wait.
    jitter : float
        By so much each distance varies, so that batches do not come in step.
    margin : timedelta
        Looks are taken this long before and after each expiry.
    tolerance : timedelta
        How far this clock and the API's may be apart; added to the margin after an expiry.
    together : timedelta
        Expiries no farther apart than this share their looks.
    confirm_after : timedelta
        A batch that has ended is looked at once more, this much later, and then left alone
    audit_share : float
        but for this part of such batches each day.
    retry_ceiling : timedelta
        A batch that cannot be seen is asked for at doubling distances up to this.
    overlap : timedelta
        A listing is read back to batches this much older than the newest that is known
    sweep_every : timedelta
        and once in so long to its end.
    tenants_every : timedelta
        How often the tenants are listed.
    seed : int
        The same seed gives the same jitter and audits.

    Raises
    ------
    ValueError
        If a length of time or a share is out of range.

    Examples
    --------
    >>> from datetime import timedelta
    >>> import reach_analytics as reach
    >>> reach.Policy(ceiling=timedelta(minutes=5), audit_share=0).ceiling
    datetime.timedelta(seconds=300)
    """

    quiet_share: float = 0.1
    floor: timedelta = timedelta(seconds=15)
    ceiling: timedelta = timedelta(minutes=15)
    waiting_floor: timedelta = timedelta(seconds=60)
    jitter: float = 0.1
    margin: timedelta = timedelta(seconds=15)
    tolerance: timedelta = timedelta(seconds=5)
    together: timedelta = timedelta(seconds=30)
    confirm_after: timedelta = timedelta(seconds=60)
    audit_share: float = 0.01
    retry_ceiling: timedelta = timedelta(hours=6)
    overlap: timedelta = timedelta(minutes=15)
    sweep_every: timedelta = timedelta(days=1)
    tenants_every: timedelta = timedelta(hours=1)
    seed: int = 0

    def __post_init__(self) -> None:
        if not timedelta(0) < self.floor <= self.ceiling:
            raise ValueError(
                f"floor and ceiling must rise from 0, found {self.floor}, {self.ceiling}"
            )
        if not self.quiet_share > 0:
            raise ValueError(f"quiet_share must be above 0, found {self.quiet_share}")
        for name in ("sweep_every", "tenants_every"):
            if getattr(self, name) <= timedelta(0):
                raise ValueError(f"{name} must be above 0, found {getattr(self, name)}")
        for name in ("jitter", "audit_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1, found {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a batch.

    Attributes
    ----------
    tenant_id, batch_id : str
    looked_at : datetime
        When the last look was sent, whether it saw anything or not.
    asked_at : datetime, optional
        The same of the last look at the batch itself, other than in a listing.
    seen_at, changed_at : datetime, optional
        When the last good look was sent, and the first that saw the present state.
    ended : bool
        Whether all its records have been gone through,
    ended_at : datetime, optional
        and since when, by its own account.
    waits : bool
        Whether something is pending, so that only a look at the batch itself tells how it stands.
        A listing can begin this, and never end it.
    expiries : tuple of datetime
        When what the last list shows as pending expires; the first of them, if there are many.
    refused, unread : int
        Failed looks at the batch since the last good one there, and failed rows of listings since
        the last good look of any kind.
    told : bool
        Whether a listing has told, since the last look at the batch itself, of what only that can
        show.
    core, detail_state, list_state : str, optional
        The counts and status last seen, and the fingerprints of the last state in each scope.
    """

    tenant_id: str
    batch_id: str
    looked_at: datetime
    asked_at: datetime | None = None
    seen_at: datetime | None = None
    changed_at: datetime | None = None
    ended: bool = False
    ended_at: datetime | None = None
    waits: bool = False
    expiries: tuple[datetime, ...] = ()
    refused: int = 0
    unread: int = 0
    told: bool = False
    core: str | None = None
    detail_state: str | None = None
    list_state: str | None = None

    @property
    def settled(self) -> bool:
        """Whether it has ended, with nothing pending."""
        return self.ended and not self.waits

    @property
    def failures(self) -> int:
        """Looks in vain since the last good one."""
        return self.refused + self.unread

    @property
    def listable(self) -> bool:
        """Whether a row of a listing tells as much as a look at the batch itself."""
        return not self.waits and not self.told and not self.failures


class Kind(IntEnum):
    """Why something is due, the most pressing first."""

    DEADLINE = 0
    POLL = 1
    CONFIRM = 2
    RETRY = 3
    AUDIT = 4
    LISTING = 5
    TENANTS = 6


@dataclass(frozen=True, slots=True)
class Due:
    """Something that is due: a look at a batch, or, without a batch, at a listing.

    Attributes
    ----------
    at : datetime
        From when on.
    kind : Kind
    since : datetime
        When the look before was sent; by the distance from it is judged how overdue this one is.
    listable : bool
        Whether a row of a listing would do.
    """

    tenant_id: str
    batch_id: str
    at: datetime
    kind: Kind
    since: datetime
    listable: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """Whom it is about."""
        return self.tenant_id, self.batch_id

    def overdue(self, now: datetime) -> float:
        """How late it is, in units of its own distance.

        With what has ended there is no hurry: a thousand batches that are yet to be confirmed do
        not come before one that waits.
        """
        least = _HOUR if self.kind in (Kind.CONFIRM, Kind.AUDIT) else _SECOND
        return (now - self.at) / max(self.at - self.since, least)


def next_look(known: Known, policy: Policy) -> Due:
    """When to look at a batch next, and why."""
    regular = _regular(known, policy)
    deadline = _deadline(known, policy)
    if deadline is not None and deadline <= regular.at:
        return _due(known, deadline, Kind.DEADLINE)
    return regular


def _regular(known: Known, policy: Policy) -> Due:
    """The look that is due without any expiry."""
    if known.failures or known.seen_at is None or known.changed_at is None:
        distance = doubled(policy.floor, known.failures, policy.retry_ceiling)
        return _after(known, distance, Kind.RETRY, policy)
    if known.told:
        return _due(known, known.looked_at, Kind.POLL)
    if known.settled:
        # A look long after it ended, by its own account, is as good as a second one.
        since = min(known.changed_at, known.ended_at or known.changed_at)
        if known.seen_at - since >= policy.confirm_after:
            return _due(known, _next_audit(known, policy), Kind.AUDIT)
        return _due(known, known.looked_at + policy.confirm_after, Kind.CONFIRM)
    quiet = policy.quiet_share * (_since(known) - known.changed_at)
    floor = max(policy.floor, policy.waiting_floor) if known.waits and known.ended else policy.floor
    return _after(known, min(max(quiet, floor), policy.ceiling), Kind.POLL, policy)


def doubled(distance: timedelta, failures: int, ceiling: timedelta) -> timedelta:
    """A distance that was doubled for each failure, up to a ceiling."""
    return ceiling if distance >= ceiling else min(distance * 2 ** min(failures, 20), ceiling)


def _since(known: Known) -> datetime:
    """When the look was sent from which the distance to the next is measured."""
    return known.looked_at if known.listable else known.asked_at or known.looked_at


def _due(known: Known, at: datetime, kind: Kind) -> Due:
    return Due(known.tenant_id, known.batch_id, at, kind, _since(known), known.listable)


def _after(known: Known, distance: timedelta, kind: Kind, policy: Policy) -> Due:
    """The look that is due so long after the last, more or less."""
    since = _since(known)
    spread = 2 * chance(policy, known.tenant_id, known.batch_id, since.isoformat()) - 1
    return _due(known, since + distance * (1 + policy.jitter * spread), kind)


def next_listing(
    tenant_id: str,
    listed_at: datetime,
    newest: datetime | None,
    failures: int,
    every: timedelta,
    policy: Policy,
) -> Due:
    """When to ask for a tenant's listing again.

    In proportion to the time since its ``newest`` batch was made, and no sooner than ``every``:
    where nobody has uploaded for long, looking every minute finds nothing and asks much.
    """
    quiet = policy.ceiling if newest is None else policy.quiet_share * (listed_at - newest)
    distance = min(max(quiet, every), max(policy.ceiling, every))
    if failures:
        distance = doubled(every, failures, policy.retry_ceiling)
    spread = 2 * chance(policy, tenant_id, "listing", listed_at.isoformat()) - 1
    at = listed_at + distance * (1 + policy.jitter * spread)
    return Due(tenant_id, "", at, Kind.LISTING, listed_at)


def _deadline(known: Known, policy: Policy) -> datetime | None:
    """The first look around an expiry that is later than the last look."""
    if not known.waits:
        return None
    since = _since(known)
    return next((m for m in moments(known.expiries, policy) if m > since), None)


def moments(expiries: Iterable[datetime], policy: Policy) -> list[datetime]:
    """The moments of looks around expiries, in order: before the first and after the last of each
    run of expiries that lie close together."""
    runs: list[list[datetime]] = []
    for expiry in sorted(set(expiries)):
        if runs and expiry - runs[-1][-1] <= policy.together:
            runs[-1].append(expiry)
        else:
            runs.append([expiry])
    before = [run[0] - policy.margin for run in runs]
    after = [run[-1] + policy.tolerance + policy.margin for run in runs]
    return sorted({*before, *after})


def _next_audit(known: Known, policy: Policy) -> datetime:
    """The next day on which a batch that is left alone is looked at again: by lot, each day anew,
    at a moment of its own."""
    day = known.looked_at.replace(hour=0, minute=0, second=0, microsecond=0)
    own = policy, known.tenant_id, known.batch_id
    ahead, share = 1, policy.audit_share
    if share < 1:
        # Days until the lot falls on it, drawn at once: geometric.
        left = 1 - chance(*own, f"audit after {day:%Y-%m-%d}")
        days = math.log(left) / math.log1p(-share) if share else math.inf
        ahead = 1 + int(min(days, _NEVER_DAYS))
    return day + timedelta(days=ahead + chance(*own, f"hour after {day:%Y-%m-%d}"))


def chance(policy: Policy, *occasion: str) -> float:
    """A number from 0 to 1 that depends on the occasion and the seed alone."""
    told = "\n".join([str(policy.seed), *occasion])
    digest = hashlib.blake2b(told.encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


def order(due: Iterable[Due], now: datetime, most: int | None = None) -> list[Due]:
    """What is due by now: deadlines first, then the most overdue; at most so many."""
    ready = [one for one in due if one.at <= now]
    most = len(ready) if most is None else most
    return heapq.nsmallest(most, ready, key=lambda one: _urgency(one, now))


def _urgency(due: Due, now: datetime) -> tuple[bool, float, datetime, str, str]:
    return due.kind != Kind.DEADLINE, -due.overdue(now), due.at, *due.key


def brought_back(due: Due, now: datetime) -> Due:
    """The same by a clock that was set back.

    What would be due after a look that lies in the future is due now: the clock may have been an
    hour ahead, and nobody is to wait for that hour.
    """
    ahead = due.since > now + _BACK and due.kind != Kind.AUDIT
    return replace(due, at=now, since=now) if ahead else due


def at_once(due: Due, now: datetime) -> Due:
    """The same, due now at the latest."""
    return replace(due, at=min(due.at, now))
