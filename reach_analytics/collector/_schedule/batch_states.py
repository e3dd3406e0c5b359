"""The state of each batch: read from the store, and updated with each new observation.

Both ways give the same result: a restarted watch reads what it would have learned by running on.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, TypeGuard

from reach_analytics.client import BatchDocument
from reach_analytics.collector._observe.rows import RecordedObservation
from reach_analytics.collector._schedule.policy import BatchState
from reach_analytics.queries.batch_states import STATE_COLUMNS, batch_states
from reach_analytics.queries.tables import Tables
from reach_analytics.tables import DETAIL, ENDED

Key = tuple[str, str]
MOST_EXPIRIES = 16  # of a batch; later ones are learned from the observations around these
NEAR = timedelta(days=10_000)


@dataclass
class BatchStates:
    """The states of all known batches.

    Attributes
    ----------
    batches : dict
        By (tenant_id, batch_id).
    newest : dict
        By tenant, when its newest batch was created.
    of_tenant : dict
        By tenant, the ids of its known batches.
    """

    batches: dict[Key, BatchState] = field(default_factory=dict)
    newest: dict[str, datetime] = field(default_factory=dict)
    of_tenant: dict[str, list[str]] = field(default_factory=dict)

    def learn(self, observation: RecordedObservation) -> bool:
        """Take in an observation, in the order sent; return whether it saw something new."""
        key = observation.tenant_id, observation.batch_id
        known = self.batches.get(key)
        if known is None:
            known = BatchState(*key, last_sent_at=observation.sent_at)
            self.of_tenant.setdefault(observation.tenant_id, []).append(observation.batch_id)
        learned = _learned(known, observation)
        self.batches[key] = learned
        if observation.document is not None and is_near(
            observation.document.created_at, observation.sent_at
        ):
            self._date(observation.tenant_id, observation.document.created_at)
        return learned.changed_at == observation.sent_at and observation.document is not None

    def is_news(self, observation: RecordedObservation) -> bool:
        """Whether a row of a listing tells something new, or follows an unreadable one."""
        known = self.batches.get((observation.tenant_id, observation.batch_id))
        if known is None or observation.document is None or known.unread:
            return True
        return known.list_state != observation.state_hash

    def _date(self, tenant_id: str, created_at: datetime | None) -> None:
        if created_at is not None:
            newest = self.newest.get(tenant_id)
            self.newest[tenant_id] = max(created_at, newest or created_at)


def is_near(moment: datetime | None, now: datetime) -> TypeGuard[datetime]:
    """Whether a date from the API is plausible: within `NEAR` of ``now``."""
    return moment is not None and abs(moment - now) < NEAR


def core(document: BatchDocument) -> str:
    """What every kind of observation shows of a batch's state, in one text."""
    told = [getattr(document, name) for name in STATE_COLUMNS]
    ended = "" if document.completed_at is None else "ended"
    return "|".join(["" if value is None else str(value) for value in told] + [ended])


def _learned(known: BatchState, observation: RecordedObservation) -> BatchState:
    detail, document = observation.scope == DETAIL, observation.document
    asked_at = observation.sent_at if detail else known.asked_at
    known = replace(known, last_sent_at=observation.sent_at, asked_at=asked_at)
    if document is None:
        if detail:
            return replace(known, refused=known.refused + 1, told=False)
        return replace(known, unread=known.unread + 1)
    # A listing that lags behind the batch contradicts it in every row: only a row that differs
    # from the previous one tells something.
    is_new = observation.state_hash != (known.detail_state if detail else known.list_state)
    changed = is_new and (detail or known.core != core(document))
    waits, expiries = _waits(known, observation, document, is_new)
    ended_at = document.completed_at
    hints = changed and (waits or document.pending_records is None)
    return replace(
        known,
        seen_at=observation.sent_at,
        changed_at=observation.sent_at if changed else known.changed_at,
        ended=_ended(document),
        ended_at=ended_at if is_near(ended_at, observation.sent_at) else known.ended_at,
        waits=waits,
        expiries=expiries,
        refused=0 if detail else known.refused,
        unread=0,
        told=not detail and (known.told or hints),
        core=core(document),
        detail_state=observation.state_hash if detail else known.detail_state,
        list_state=known.list_state if detail else observation.state_hash,
    )


def _waits(
    known: BatchState, observation: RecordedObservation, document: BatchDocument, is_new: bool
) -> tuple[bool, tuple[datetime, ...]]:
    if observation.scope == DETAIL and observation.lists_pending:
        listed = document.pending_resources or []
        ends = sorted(
            {r.expires_at for r in listed if _is_ahead(r.expires_at, observation.sent_at)}
        )
        return bool(listed), tuple(ends[:MOST_EXPIRIES])
    claims = (document.pending_records or 0) > 0 and (is_new or observation.scope == DETAIL)
    return known.waits or claims, known.expiries


def _is_ahead(moment: datetime | None, now: datetime) -> TypeGuard[datetime]:
    return is_near(moment, now) and moment > now


def _ended(document: BatchDocument) -> bool:
    return document.status in ENDED or document.completed_at is not None


def remembered(tables: Tables) -> BatchStates:
    """The batch states that the observations in a store give."""
    found = BatchStates()
    for batch in tables.read(
        batch_states(tables, near=NEAR, most_expiries=MOST_EXPIRIES)
    ).to_batches(max_chunksize=10_000):
        for row in batch.to_pylist():
            found.batches[row["tenant_id"], row["batch_id"]] = _known(row)
            found.of_tenant.setdefault(row["tenant_id"], []).append(row["batch_id"])
            found._date(row["tenant_id"], row["created_at"])
    return found


def _known(row: dict[str, Any]) -> BatchState:
    plain = ("last_sent_at", "asked_at", "seen_at", "changed_at", "ended_at", "core", "told")
    counts = ("refused", "unread")
    return BatchState(
        row["tenant_id"],
        row["batch_id"],
        **{name: row[name] for name in (*plain, *counts)},
        ended=bool(row["ended"]),
        waits=bool(row["waits"]),
        expiries=tuple(sorted(row["expiries"] or ())),
        detail_state=row["detail_state"],
        list_state=row["list_state"],
    )
