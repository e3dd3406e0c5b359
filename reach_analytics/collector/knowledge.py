"""What is known of each batch: read from the store, and carried on with each new look.

Both roads lead to the same: whoever starts anew reads what the looks so far would have taught.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import ibis

from reach_analytics.collector.observe import DETAIL, LIST, Observed
from reach_analytics.collector.schedule import Known
from reach_analytics.frames import Tables

Key = tuple[str, str]
_BATCH = ["tenant_id", "batch_id"]
_ENDED = ("success", "partial_success", "failure")


@dataclass
class Knowledge:
    """Everything known, by (tenant_id, batch_id); and the last state seen in each scope."""

    batches: dict[Key, Known] = field(default_factory=dict)
    states: dict[tuple[str, str, str], str] = field(default_factory=dict)

    def learn(self, looks: Iterable[Observed]) -> int:
        """Take in looks, in the order they were sent; how many saw something new."""
        return sum(self._learn(look) for look in looks)

    def _learn(self, look: Observed) -> bool:
        key = look.tenant_id, look.batch_id
        known = self.batches.get(key) or Known(*key, looked_at=look.sent_at)
        document = look.document
        if document is None:
            failed = replace(known, looked_at=look.sent_at, failures=known.failures + 1)
            self.batches[key] = failed
            return False
        state = look.state_hash or ""
        changed = self.states.get((*key, look.scope)) != state
        self.states[*key, look.scope] = state
        pending = document.pending_records
        known = replace(
            known,
            looked_at=look.sent_at,
            seen_at=look.sent_at,
            changed_at=look.sent_at if changed else known.changed_at,
            failures=0,
        )
        waits, expiries = known.waits, known.expiries
        if look.scope == DETAIL and look.lists_pending:
            listed = document.pending_resources or []
            waits = bool(listed)
            expiries = tuple(sorted({r.expires_at for r in listed if r.expires_at}))
        elif pending is not None:
            waits = pending > 0
        ended = document.status in _ENDED or document.completed_at is not None
        settled = ended and not waits
        self.batches[key] = replace(known, waits=waits, expiries=expiries, settled=settled)
        return changed


def remembered(tables: Tables) -> Knowledge:
    """What the looks in a store teach."""
    found = Knowledge()
    for row in _facts(tables).to_pyarrow().to_pylist():
        key = row["tenant_id"], row["batch_id"]
        waits = bool(row["waits"])
        found.batches[key] = Known(
            *key,
            looked_at=row["looked_at"],
            seen_at=row["seen_at"],
            changed_at=row["changed_at"],
            settled=bool(row["ended"]) and not waits,
            waits=waits,
            expiries=tuple(sorted(row["expiries"] or ())),
            failures=row["failures"],
        )
        for scope in (DETAIL, LIST):
            if row[f"{scope}_state"] is not None:
                found.states[*key, scope] = row[f"{scope}_state"]
    return found


def _facts(tables: Tables) -> ibis.Table:
    """One row per batch with what `remembered` needs."""
    looks = tables.looks
    looks = looks.mutate(
        _waits=ibis.ifelse(
            (looks.scope == DETAIL) & looks.pending_resources_count.notnull(),
            looks.pending_resources_count > 0,
            looks.pending_records > 0,
        ),
        _ended=looks.status.isin(_ENDED) | looks.completed_at.notnull(),
        _seen_at=ibis.ifelse(looks.ok, looks.sent_at, ibis.null(looks.sent_at.type())),
    )
    seen = looks.mutate(
        _last_seen=looks._seen_at.max().over(ibis.window(group_by=_BATCH)),
    )
    failed = ~seen.ok & (seen._last_seen.isnull() | (seen.sent_at > seen._last_seen))
    facts = seen.group_by(_BATCH).aggregate(
        looked_at=seen.sent_at.max(),
        seen_at=seen._seen_at.max(),
        changed_at=seen.sent_at.max(where=seen.changed.fill_null(False)),
        # The last look that tells counts. (Engines differ in what argmax does with nulls.)
        waits=seen._waits.argmax(seen.sent_at, where=seen.ok & seen._waits.notnull()),
        ended=seen._ended.argmax(seen.sent_at, where=seen.ok),
        failures=failed.sum().cast("int64"),
        **{
            f"{scope}_state": seen.state_hash.argmax(
                seen.sent_at, where=seen.ok & (seen.scope == scope)
            )
            for scope in (DETAIL, LIST)
        },
    )
    return facts.left_join(tables.expiries, _BATCH).select(*facts.columns, "expiries")
