"""From the stored looks to polls: every look, slim enough to go through ten million of them.

A store keeps looks that saw nothing new folded into the row before them; here each is a row again.
What was seen is told by numbers that mean something within one batch alone.
"""

from __future__ import annotations

import ibis

from reach_analytics.columns import ENDED, POLLS

_BATCH = ["tenant_id", "batch_id"]
_LOOK = [*_BATCH, "run_id", "sent_at", "scope", "ok", "state_hash"]
# What a listing and a look at the batch itself both tell.
_CORE = [
    "status",
    "total_records",
    "processed_records",
    "successful_records",
    "pending_records",
    "failed_records",
    "completed_at",
    "error_message",
]


def polls(observations: ibis.Table, snapshots: ibis.Table) -> ibis.Table:
    """One row per look, folded ones included; these have the run of the row that holds them."""
    looks = unfolded(observations)
    told = looks.left_join(_numbered(snapshots), [*_BATCH, "state_hash"])
    return told.select(POLLS.names)


def unfolded(observations: ibis.Table) -> ibis.Table:
    """The looks, each a row of its own."""
    own = _nullable(observations.select(_LOOK))
    if "repeats" not in observations.columns:
        return own
    holding = observations.filter(observations.repeats.notnull())
    folded = _nullable(holding.mutate(sent_at=holding.repeats.unnest()).select(_LOOK))
    # A look that was written again after it had been folded is there twice. No two are sent to one
    # batch in the same microsecond.
    return own.union(folded.anti_join(own, [*_BATCH, "sent_at", "scope"]))


def _nullable(looks: ibis.Table) -> ibis.Table:
    """The same looks with columns that may be null: Ibis unites no others with those."""
    return looks.cast({name: looks[name].type().copy(nullable=True) for name in looks.columns})


def _numbered(snapshots: ibis.Table) -> ibis.Table:
    """The states of each batch as numbers: `state` one each, `core` one for all alike in that."""
    pending = snapshots.pending_resources.length()
    waits = (snapshots.pending_records > 0).fill_null(False) | (pending > 0).fill_null(False)
    ended = snapshots.status.isin(ENDED).fill_null(False) | snapshots.completed_at.notnull()
    by_hash = ibis.window(group_by=_BATCH, order_by=snapshots.state_hash)
    states = snapshots.select(
        *_BATCH,
        "state_hash",
        "created_at",
        *_CORE,
        state=ibis.row_number().over(by_hash).cast("int64"),
        waits=waits,
        settled=ended & ~waits,
    )
    alike = ibis.window(group_by=[*_BATCH, *_CORE])  # where nulls are equal
    return states.mutate(core=states.state.min().over(alike)).drop(_CORE)
