"""What is known of each batch: read from the store, and carried on with each new look.

Both roads lead to the same: whoever starts anew reads what the looks so far would have taught.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, TypeGuard

import ibis

from reach_analytics.client import BatchDocument
from reach_analytics.collector.observe import DETAIL, LIST, Observed
from reach_analytics.collector.schedule import Known
from reach_analytics.columns import ENDED
from reach_analytics.frames import Tables
from reach_analytics.polls import unfolded

Key = tuple[str, str]
MOST_EXPIRIES = 16  # of a batch; those after them are learned from the looks around these
NEAR = timedelta(days=10_000)
_NEAR = ibis.interval(days=10_000)

_BATCH = ["tenant_id", "batch_id"]
_COUNTS = ("total", "processed", "successful", "pending", "failed")
_CORE = ("status", *(f"{name}_records" for name in _COUNTS))


@dataclass
class Knowledge:
    """Everything known.

    Attributes
    ----------
    batches : dict
        By (tenant_id, batch_id).
    newest : dict
        By tenant, when its newest batch was made.
    of_tenant : dict
        By tenant, the ids of its batches that are known.
    """

    batches: dict[Key, Known] = field(default_factory=dict)
    newest: dict[str, datetime] = field(default_factory=dict)
    of_tenant: dict[str, list[str]] = field(default_factory=dict)

    def learn(self, look: Observed) -> bool:
        """Take in a look, in the order they were sent; whether it saw something new."""
        key = look.tenant_id, look.batch_id
        known = self.batches.get(key)
        if known is None:
            known = Known(*key, looked_at=look.sent_at)
            self.of_tenant.setdefault(look.tenant_id, []).append(look.batch_id)
        learned = _learned(known, look)
        self.batches[key] = learned
        if look.document is not None and is_near(look.document.created_at, look.sent_at):
            self._date(look.tenant_id, look.document.created_at)
        return learned.changed_at == look.sent_at and look.document is not None

    def is_news(self, look: Observed) -> bool:
        """Whether a row of a listing tells what is not known yet, or clears up a doubt."""
        known = self.batches.get((look.tenant_id, look.batch_id))
        if known is None or look.document is None or known.unread:
            return True
        return known.list_state != look.state_hash

    def _date(self, tenant_id: str, created_at: datetime | None) -> None:
        if created_at is not None:
            newest = self.newest.get(tenant_id)
            self.newest[tenant_id] = max(created_at, newest or created_at)


def is_near(moment: datetime | None, now: datetime) -> TypeGuard[datetime]:
    """Whether a date from the API can be meant: not from a year of which nobody knows anything."""
    return moment is not None and abs(moment - now) < NEAR


def core(document: BatchDocument) -> str:
    """What every kind of look shows of a batch's state, in one text."""
    told = [getattr(document, name) for name in _CORE]
    ended = "" if document.completed_at is None else "ended"
    return "|".join(["" if value is None else str(value) for value in told] + [ended])


def _learned(known: Known, look: Observed) -> Known:
    detail, document = look.scope == DETAIL, look.document
    asked_at = look.sent_at if detail else known.asked_at
    known = replace(known, looked_at=look.sent_at, asked_at=asked_at)
    if document is None:
        if detail:
            return replace(known, refused=known.refused + 1, told=False)
        return replace(known, unread=known.unread + 1)
    # A listing that contradicts the batch, as one that lags behind it does, does so in every row:
    # only a row that differs from the one before tells something.
    is_new = look.state_hash != (known.detail_state if detail else known.list_state)
    changed = is_new and (detail or known.core != core(document))
    waits, expiries = _waits(known, look, document, is_new)
    ended_at = document.completed_at
    hints = changed and (waits or document.pending_records is None)
    return replace(
        known,
        seen_at=look.sent_at,
        changed_at=look.sent_at if changed else known.changed_at,
        ended=_ended(document),
        ended_at=ended_at if is_near(ended_at, look.sent_at) else known.ended_at,
        waits=waits,
        expiries=expiries,
        refused=0 if detail else known.refused,
        unread=0,
        told=not detail and (known.told or hints),
        core=core(document),
        detail_state=look.state_hash if detail else known.detail_state,
        list_state=known.list_state if detail else look.state_hash,
    )


def _waits(
    known: Known, look: Observed, document: BatchDocument, is_new: bool
) -> tuple[bool, tuple[datetime, ...]]:
    if look.scope == DETAIL and look.lists_pending:
        listed = document.pending_resources or []
        ends = sorted({r.expires_at for r in listed if _is_ahead(r.expires_at, look.sent_at)})
        return bool(listed), tuple(ends[:MOST_EXPIRIES])
    claims = (document.pending_records or 0) > 0 and (is_new or look.scope == DETAIL)
    return known.waits or claims, known.expiries


def _is_ahead(moment: datetime | None, now: datetime) -> TypeGuard[datetime]:
    return is_near(moment, now) and moment > now


def _ended(document: BatchDocument) -> bool:
    return document.status in ENDED or document.completed_at is not None


def remembered(tables: Tables) -> Knowledge:
    """What the looks in a store teach."""
    found = Knowledge()
    for batch in tables.read(_facts(tables)).to_batches(max_chunksize=10_000):
        for row in batch.to_pylist():
            found.batches[row["tenant_id"], row["batch_id"]] = _known(row)
            found.of_tenant.setdefault(row["tenant_id"], []).append(row["batch_id"])
            found._date(row["tenant_id"], row["created_at"])
    return found


def _known(row: dict[str, Any]) -> Known:
    plain = ("looked_at", "asked_at", "seen_at", "changed_at", "ended_at", "core", "told")
    counts = ("refused", "unread")
    return Known(
        row["tenant_id"],
        row["batch_id"],
        **{name: row[name] for name in (*plain, *counts)},
        ended=bool(row["ended"]),
        waits=bool(row["waits"]),
        expiries=tuple(sorted(row["expiries"] or ())),
        detail_state=row["detail_state"],
        list_state=row["list_state"],
    )


def _facts(tables: Tables) -> ibis.Table:
    """One row per batch with what `remembered` needs."""
    looks = _marked(_judged(tables.looks))
    states = {
        f"{scope}_state": looks.state_hash.argmax(
            looks.sent_at, where=looks.ok & (looks.scope == scope)
        )
        for scope in (DETAIL, LIST)
    }
    facts = looks.group_by(_BATCH).aggregate(
        looked_at=looks.sent_at.max(),
        asked_at=looks.asked_at.max(),
        seen_at=looks.good_at.max(),
        changed_at=looks.sent_at.max(where=looks._changed),
        created_at=looks.created_at.max(where=_is_near(looks, looks.created_at)),
        # The last look that tells counts. (Engines differ in what argmax does with nulls.)
        ended_at=looks.completed_at.argmax(
            looks.sent_at, where=_is_near(looks, looks.completed_at)
        ),
        ended=looks._ended.argmax(looks.sent_at, where=looks.ok),
        core=looks._core.argmax(looks.sent_at, where=looks.ok),
        waits=looks.claims.any(),
        changed_since=looks.news.any(),
        uncounted=(looks.news & looks.pending_records.isnull()).any(),
        refused=looks.refused.sum().cast("int64"),
        unread=looks.unread.sum().cast("int64"),
        **states,
    )
    told = facts.uncounted | (facts.changed_since & facts.waits)
    facts = facts.mutate(told=told.fill_null(False)).drop("changed_since", "uncounted")
    return facts.left_join(_coming(tables), _BATCH).select(*facts.columns, "expiries")


def _marked(looks: ibis.Table) -> ibis.Table:
    """The looks with what each one means beside the others at its batch."""
    own = ibis.window(group_by=_BATCH)
    detail = looks.scope == DETAIL
    looks = looks.mutate(
        good_at=looks._good_at.max().over(own),
        good_detail_at=looks._good_detail_at.max().over(own),
        told_at=looks._told_at.max().over(own),
        asked_at=looks.sent_at.max(where=detail).over(own),
    )
    detail = looks.scope == DETAIL
    last = (looks.sent_at == looks.told_at) & looks._told_at.notnull()
    later = _after(looks.sent_at, looks.told_at) & looks.ok & (detail | looks.changed)
    return looks.mutate(
        # The last list that was told holds something, or a count has risen since.
        claims=((last & looks._lists) | (later & (looks.pending_records > 0))).fill_null(False),
        news=~detail & _after(looks.sent_at, looks.asked_at) & looks._changed,
        refused=~looks.ok & detail & _after(looks.sent_at, looks.good_detail_at),
        unread=~looks.ok & ~detail & _after(looks.sent_at, looks.good_at),
    )


def _is_near(looks: ibis.Table, moment: ibis.Value) -> ibis.Value:
    """`is_near`, of good looks."""
    near = moment.between(looks.sent_at - _NEAR, looks.sent_at + _NEAR)
    return (looks.ok & near).fill_null(False)


def _judged(looks: ibis.Table) -> ibis.Table:
    """The looks with what each one shows."""
    never = ibis.null(looks.sent_at.type())
    tells = looks.ok & (looks.scope == DETAIL) & looks.pending_resources_count.notnull()
    told = [looks[name].cast("string").fill_null("") for name in _CORE]
    told.append(ibis.ifelse(looks.completed_at.isnull(), "", "ended"))
    looks = looks.mutate(
        _core=ibis.literal("|").join(told),
        _ended=looks.status.isin(ENDED) | looks.completed_at.notnull(),
        _good_at=ibis.ifelse(looks.ok, looks.sent_at, never),
        _good_detail_at=ibis.ifelse(looks.ok & (looks.scope == DETAIL), looks.sent_at, never),
        _told_at=ibis.ifelse(tells, looks.sent_at, never),
        _lists=(looks.pending_resources_count > 0).fill_null(False),
    )
    before = ibis.window(group_by=[*_BATCH, "ok"], order_by=[looks.sent_at, looks.received_at])
    last = looks._core.lag().over(before)
    other = last.isnull() | (last != looks._core) | (looks.scope == DETAIL)
    return looks.mutate(_changed=(looks.ok & looks.changed & other).fill_null(False))


def _after(moment: ibis.Value, other: ibis.Value) -> ibis.Value:
    return other.isnull() | (moment > other)


def _coming(tables: Tables) -> ibis.Table:
    """(tenant_id, batch_id, expiries): the first that were ahead when the last list was seen."""
    times = tables.coming_expiries(_NEAR)
    ranked = times.mutate(
        _rank=ibis.row_number().over(ibis.window(group_by=_BATCH, order_by=times.expires_at))
    )
    first = ranked.filter(ranked._rank < MOST_EXPIRIES)
    return first.group_by(_BATCH).aggregate(expiries=first.expires_at.collect())


def requests_since(tables: Tables, moment: datetime) -> int:
    """Requests sent after ``moment`` that left a trace: single looks, and pages of listings.

    Looks that the store has folded into others count, too.
    """
    looks = unfolded(tables.observations)
    lately = looks.filter(looks.sent_at > ibis.literal(moment, type=looks.sent_at.type()))
    single = lately.filter(lately.scope == DETAIL).count().as_table()
    pages = lately.filter(lately.scope == LIST).select("tenant_id", "sent_at").distinct()
    counts = (tables.read(one)[0][0].as_py() for one in (single, pages.count().as_table()))
    return int(sum(counts))
