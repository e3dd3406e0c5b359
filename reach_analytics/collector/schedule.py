"""What is due when: pure functions of what is known and the time.

Nothing here asks, sleeps, or reads a clock. A batch is looked at in proportion to how long it has
been quiet, as caches judge freshness (RFC 9111, 4.2.2): what changed a minute ago is looked at in
seconds, what has been still for hours is left for minutes. Around each expiry there are two looks
more, since a wait that ends unseen leaves nobody the wiser.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum

_NEVER_DAYS = 36_500
_BACK = timedelta(minutes=1)  # by so much clocks may differ without having been set back


@dataclass(frozen=True)
class Policy:
    """How often to look.

    Attributes
    ----------
    quiet_share : float
        A batch is looked at again after this part of the time since it last changed,
    floor, ceiling : timedelta
        but no sooner and no later than these.
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
    seed : int
        The same seed gives the same jitter and audits.
    """

    quiet_share: float = 0.1
    floor: timedelta = timedelta(seconds=15)
    ceiling: timedelta = timedelta(minutes=15)
    jitter: float = 0.1
    margin: timedelta = timedelta(seconds=15)
    tolerance: timedelta = timedelta(seconds=5)
    together: timedelta = timedelta(seconds=30)
    confirm_after: timedelta = timedelta(seconds=60)
    audit_share: float = 0.01
    retry_ceiling: timedelta = timedelta(hours=6)
    seed: int = 0

    def __post_init__(self) -> None:
        if not timedelta(0) < self.floor <= self.ceiling:
            raise ValueError(
                f"floor and ceiling must rise from 0, found {self.floor}, {self.ceiling}"
            )
        if not self.quiet_share > 0:
            raise ValueError(f"quiet_share must be above 0, found {self.quiet_share}")
        for name in ("jitter", "audit_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1, found {getattr(self, name)}")


@dataclass(frozen=True)
class Known:
    """What is known of a batch.

    Attributes
    ----------
    tenant_id, batch_id : str
    looked_at : datetime
        When the last look was sent, whether it saw anything or not.
    seen_at, changed_at : datetime, optional
        When the last good look was sent, and the first that saw the present state.
    settled : bool
        Whether it has ended, with nothing pending.
    waits : bool
        Whether something is pending, so that only a look at the batch itself tells how it stands.
    expiries : tuple of datetime
        When what the last list shows as pending expires.
    failures : int
        Looks since the last good one.
    """

    tenant_id: str
    batch_id: str
    looked_at: datetime
    seen_at: datetime | None = None
    changed_at: datetime | None = None
    settled: bool = False
    waits: bool = False
    expiries: tuple[datetime, ...] = ()
    failures: int = 0


class Kind(IntEnum):
    """Why a look is due, the most pressing first."""

    DEADLINE = 0
    POLL = 1
    CONFIRM = 2
    RETRY = 3
    AUDIT = 4


@dataclass(frozen=True)
class Due:
    """A look that is due.

    Attributes
    ----------
    at : datetime
        Since when, or from when on.
    kind : Kind
    distance : timedelta
        The distance from the look before at which it is due; by it is judged how overdue it is.
    """

    tenant_id: str
    batch_id: str
    at: datetime
    kind: Kind
    distance: timedelta

    def overdue(self, now: datetime) -> float:
        """How late it is, in units of its own distance."""
        return (now - self.at) / max(self.distance, timedelta(seconds=1))


def next_look(known: Known, policy: Policy) -> Due:
    """When to look at a batch next, and why."""
    regular = _regular(known, policy)
    deadline = _deadline(known, policy)
    if deadline is not None and deadline <= regular.at:
        apart = deadline - known.looked_at
        return Due(known.tenant_id, known.batch_id, deadline, Kind.DEADLINE, apart)
    return regular


def _regular(known: Known, policy: Policy) -> Due:
    """The look that is due without any expiry."""
    if known.failures or known.seen_at is None or known.changed_at is None:
        kind = Kind.RETRY
        distance = min(policy.floor * 2 ** min(known.failures, 20), policy.retry_ceiling)
    elif known.settled:
        if known.seen_at - known.changed_at >= policy.confirm_after:
            at = _next_audit(known, policy)
            return Due(known.tenant_id, known.batch_id, at, Kind.AUDIT, timedelta(days=1))
        kind, distance = Kind.CONFIRM, policy.confirm_after
    else:
        kind = Kind.POLL
        quiet = policy.quiet_share * (known.looked_at - known.changed_at)
        distance = min(max(quiet, policy.floor), policy.ceiling)
    if kind != Kind.CONFIRM:
        distance *= 1 + policy.jitter * (
            2 * _chance(known, known.looked_at.isoformat(), policy) - 1
        )
    return Due(known.tenant_id, known.batch_id, known.looked_at + distance, kind, distance)


def _deadline(known: Known, policy: Policy) -> datetime | None:
    """The first look around an expiry that is later than the last look."""
    if not known.waits:
        return None
    return next((m for m in moments(known.expiries, policy) if m > known.looked_at), None)


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
    ahead, share = 1, policy.audit_share
    if share < 1:
        # Days until the lot falls on it, drawn at once: geometric.
        left = 1 - _chance(known, f"audit after {day:%Y-%m-%d}", policy)
        days = math.log(left) / math.log1p(-share) if share else math.inf
        ahead = 1 + int(min(days, _NEVER_DAYS))
    return day + timedelta(days=ahead + _chance(known, f"hour after {day:%Y-%m-%d}", policy))


def _chance(known: Known, occasion: str, policy: Policy) -> float:
    """A number from 0 to 1 that depends on the batch, the occasion and the seed alone."""
    told = f"{policy.seed}\n{known.tenant_id}\n{known.batch_id}\n{occasion}"
    digest = hashlib.blake2b(told.encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


def order(due: Iterable[Due], now: datetime) -> list[Due]:
    """What is due by now: deadlines first, then the most overdue.

    A look that would be due after one that lies in the future (the clock was set back) is due now.
    """
    ready = [one for one in due if one.at <= now or one.at - one.distance > now + _BACK]
    return sorted(
        ready,
        key=lambda one: (
            one.kind != Kind.DEADLINE,
            -one.overdue(now),
            one.at,
            one.tenant_id,
            one.batch_id,
        ),
    )
