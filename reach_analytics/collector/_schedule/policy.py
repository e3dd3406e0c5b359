"""What is due when: pure functions of batch states and the time.

Nothing here sends requests, sleeps, or reads a clock. The interval between two observations of a
batch is in proportion to how long it has been quiet, as caches judge freshness (RFC 9111, 4.2.2):
seconds for what changed a minute ago, minutes for what has been quiet for hours. Around each expiry
there are two more observations, since how a wait ended cannot be told later.
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
_BACK = timedelta(minutes=1)  # clocks may differ by this much without having been set back


@dataclass(frozen=True)
class PollingPolicy:
    """How often to observe batches.

    Attributes
    ----------
    backoff_fraction : float
        A batch is observed again after this fraction of the time since it last changed.
    min_interval, max_interval : timedelta
        Bounds of the interval between two observations of a batch.
    waiting_min_interval : timedelta
        Minimum interval for a batch that has ended and only waits.
    jitter : float
        Each interval varies by up to this fraction, so that batches do not fall into step.
    margin : timedelta
        Observations are made this long before and after each expiry.
    tolerance : timedelta
        How far this clock and the API's may be apart; added to the margin after an expiry.
    merge_within : timedelta
        Expiries no farther apart than this share their observations.
    confirm_after : timedelta
        A batch that has ended is observed once more, this much later, and then left alone.
    audit_fraction : float
        Fraction of the batches left alone that is observed again each day.
    retry_max_interval : timedelta
        A batch that cannot be fetched is retried at doubling intervals up to this.
    overlap : timedelta
        A listing is read back to batches this much older than the newest known one.
    sweep_every : timedelta
        How often a listing is read to its end.
    tenants_every : timedelta
        How often the tenants are listed.
    seed : int
        The same seed gives the same jitter and audits.

    Raises
    ------
    ValueError
        If a duration or a fraction is out of range.

    Examples
    --------
    >>> from datetime import timedelta
    >>> import reach_analytics as reach
    >>> reach.PollingPolicy(max_interval=timedelta(minutes=5), audit_fraction=0).max_interval
    datetime.timedelta(seconds=300)
    """

    backoff_fraction: float = 0.1
    min_interval: timedelta = timedelta(seconds=15)
    max_interval: timedelta = timedelta(minutes=15)
    waiting_min_interval: timedelta = timedelta(seconds=60)
    jitter: float = 0.1
    margin: timedelta = timedelta(seconds=15)
    tolerance: timedelta = timedelta(seconds=5)
    merge_within: timedelta = timedelta(seconds=30)
    confirm_after: timedelta = timedelta(seconds=60)
    audit_fraction: float = 0.01
    retry_max_interval: timedelta = timedelta(hours=6)
    overlap: timedelta = timedelta(minutes=15)
    sweep_every: timedelta = timedelta(days=1)
    tenants_every: timedelta = timedelta(hours=1)
    seed: int = 0

    def __post_init__(self) -> None:
        if not timedelta(0) < self.min_interval <= self.max_interval:
            raise ValueError(
                "min_interval must be above 0 and at most max_interval, "
                f"found {self.min_interval}, {self.max_interval}"
            )
        if not self.backoff_fraction > 0:
            raise ValueError(f"backoff_fraction must be above 0, found {self.backoff_fraction}")
        for name in ("sweep_every", "tenants_every"):
            if getattr(self, name) <= timedelta(0):
                raise ValueError(f"{name} must be above 0, found {getattr(self, name)}")
        for name in ("jitter", "audit_fraction"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1, found {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class BatchState:
    """The state of a batch, as last observed.

    Attributes
    ----------
    tenant_id, batch_id : str
    last_sent_at : datetime
        When the last observation was sent, failed or not.
    asked_at : datetime, optional
        The same for the last request for the batch itself, not a listing.
    seen_at, changed_at : datetime, optional
        When the last good observation was sent, and the first that saw the current state.
    ended : bool
        Whether all its records have been processed.
    ended_at : datetime, optional
        When it ended, as the batch reports it.
    waits : bool
        Whether something is pending, so that only a request for the batch itself shows its state.
        A listing can set this, but never clear it.
    expiries : tuple of datetime
        When the pending resources of the last list expire; the first ones, if there are many.
    refused, unread : int
        Failed requests for the batch since the last good one, and failed rows of listings since
        the last good observation of any kind.
    told : bool
        Whether a listing, since the last request for the batch itself, has hinted at a change that
        only such a request can show.
    core, detail_state, list_state : str, optional
        The counts and status last seen, and the fingerprints of the last state in each scope.
    """

    tenant_id: str
    batch_id: str
    last_sent_at: datetime
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
    def finished(self) -> bool:
        """Whether it has ended, with nothing pending."""
        return self.ended and not self.waits

    @property
    def failures(self) -> int:
        """Failed observations since the last good one."""
        return self.refused + self.unread

    @property
    def listable(self) -> bool:
        """Whether a row of a listing tells as much as a request for the batch itself."""
        return not self.waits and not self.told and not self.failures


class Kind(IntEnum):
    """Why something is due, the most urgent first."""

    DEADLINE = 0
    POLL = 1
    CONFIRM = 2
    RETRY = 3
    AUDIT = 4
    LISTING = 5
    TENANTS = 6


@dataclass(frozen=True, slots=True)
class Due:
    """A request that is due: for a batch, or, without a batch, for a listing.

    Attributes
    ----------
    at : datetime
        When it is due.
    kind : Kind
    since : datetime
        When the previous one was sent; the interval from it scales how overdue this one is.
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
        """The batch, or the tenant with an empty batch id."""
        return self.tenant_id, self.batch_id

    def overdue(self, now: datetime) -> float:
        """How late it is, in units of its own interval.

        Batches that have ended are not urgent: a thousand to be confirmed do not come before one
        that waits.
        """
        least = _HOUR if self.kind in (Kind.CONFIRM, Kind.AUDIT) else _SECOND
        return (now - self.at) / max(self.at - self.since, least)


def next_observation(known: BatchState, policy: PollingPolicy) -> Due:
    """When to observe a batch next, and why."""
    regular = _regular(known, policy)
    deadline = _deadline(known, policy)
    if deadline is not None and deadline <= regular.at:
        return _due(known, deadline, Kind.DEADLINE)
    return regular


def _regular(known: BatchState, policy: PollingPolicy) -> Due:
    """The observation that is due apart from any expiry."""
    if known.failures or known.seen_at is None or known.changed_at is None:
        interval = doubled(policy.min_interval, known.failures, policy.retry_max_interval)
        return _after(known, interval, Kind.RETRY, policy)
    if known.told:
        return _due(known, known.last_sent_at, Kind.POLL)
    if known.finished:
        # An observation long after the batch says it ended is as good as a second one.
        since = min(known.changed_at, known.ended_at or known.changed_at)
        if known.seen_at - since >= policy.confirm_after:
            return _due(known, _next_audit(known, policy), Kind.AUDIT)
        return _due(known, known.last_sent_at + policy.confirm_after, Kind.CONFIRM)
    quiet = policy.backoff_fraction * (_since(known) - known.changed_at)
    min_interval = (
        max(policy.min_interval, policy.waiting_min_interval)
        if known.waits and known.ended
        else policy.min_interval
    )
    return _after(known, min(max(quiet, min_interval), policy.max_interval), Kind.POLL, policy)


def doubled(interval: timedelta, failures: int, max_interval: timedelta) -> timedelta:
    """The interval doubled for each failure, up to a maximum."""
    return (
        max_interval
        if interval >= max_interval
        else min(interval * 2 ** min(failures, 20), max_interval)
    )


def _since(known: BatchState) -> datetime:
    """When the observation was sent that the next interval is measured from."""
    return known.last_sent_at if known.listable else known.asked_at or known.last_sent_at


def _due(known: BatchState, at: datetime, kind: Kind) -> Due:
    return Due(known.tenant_id, known.batch_id, at, kind, _since(known), known.listable)


def _after(known: BatchState, interval: timedelta, kind: Kind, policy: PollingPolicy) -> Due:
    """The observation that is due one interval, with jitter, after the last."""
    since = _since(known)
    spread = 2 * chance(policy, known.tenant_id, known.batch_id, since.isoformat()) - 1
    return _due(known, since + interval * (1 + policy.jitter * spread), kind)


def next_listing(
    tenant_id: str,
    listed_at: datetime,
    newest: datetime | None,
    failures: int,
    every: timedelta,
    policy: PollingPolicy,
) -> Due:
    """When to ask for a tenant's listing again.

    In proportion to the time since its ``newest`` batch was created, and no sooner than ``every``:
    where nothing was uploaded for long, asking every minute wastes requests.
    """
    quiet = (
        policy.max_interval if newest is None else policy.backoff_fraction * (listed_at - newest)
    )
    interval = min(max(quiet, every), max(policy.max_interval, every))
    if failures:
        interval = doubled(every, failures, policy.retry_max_interval)
    spread = 2 * chance(policy, tenant_id, "listing", listed_at.isoformat()) - 1
    at = listed_at + interval * (1 + policy.jitter * spread)
    return Due(tenant_id, "", at, Kind.LISTING, listed_at)


def _deadline(known: BatchState, policy: PollingPolicy) -> datetime | None:
    """The first observation around an expiry that is later than the last observation."""
    if not known.waits:
        return None
    since = _since(known)
    return next((m for m in moments(known.expiries, policy) if m > since), None)


def moments(expiries: Iterable[datetime], policy: PollingPolicy) -> list[datetime]:
    """When to observe around expiries, in order: before the first and after the last of each run of
    expiries that lie close together."""
    runs: list[list[datetime]] = []
    for expiry in sorted(set(expiries)):
        if runs and expiry - runs[-1][-1] <= policy.merge_within:
            runs[-1].append(expiry)
        else:
            runs.append([expiry])
    before = [run[0] - policy.margin for run in runs]
    after = [run[-1] + policy.tolerance + policy.margin for run in runs]
    return sorted({*before, *after})


def _next_audit(known: BatchState, policy: PollingPolicy) -> datetime:
    """When a batch that is left alone is observed again: on a random day, at a random time."""
    day = known.last_sent_at.replace(hour=0, minute=0, second=0, microsecond=0)
    own = policy, known.tenant_id, known.batch_id
    ahead, fraction = 1, policy.audit_fraction
    if fraction < 1:
        # Days until it is drawn, in one draw: geometric.
        left = 1 - chance(*own, f"audit after {day:%Y-%m-%d}")
        days = math.log(left) / math.log1p(-fraction) if fraction else math.inf
        ahead = 1 + int(min(days, _NEVER_DAYS))
    return day + timedelta(days=ahead + chance(*own, f"hour after {day:%Y-%m-%d}"))


def chance(policy: PollingPolicy, *occasion: str) -> float:
    """A number from 0 to 1 that depends on the occasion and the seed alone."""
    told = "\n".join([str(policy.seed), *occasion])
    digest = hashlib.blake2b(told.encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


def order(due: Iterable[Due], now: datetime, most: int | None = None) -> list[Due]:
    """What is due by now: deadlines first, then the most overdue; at most ``most``."""
    ready = [one for one in due if one.at <= now]
    most = len(ready) if most is None else most
    return heapq.nsmallest(most, ready, key=lambda one: _urgency(one, now))


def _urgency(due: Due, now: datetime) -> tuple[bool, float, datetime, str, str]:
    return due.kind != Kind.DEADLINE, -due.overdue(now), due.at, *due.key


def brought_back(due: Due, now: datetime) -> Due:
    """The same by a clock that was set back.

    What follows an observation that lies in the future is due now: the clock may have been an hour
    ahead, and that hour must not be waited for.
    """
    ahead = due.since > now + _BACK and due.kind != Kind.AUDIT
    return replace(due, at=now, since=now) if ahead else due


def at_once(due: Due, now: datetime) -> Due:
    """The same, due now at the latest."""
    return replace(due, at=min(due.at, now))
