"""The observation log: every stored observation, in rows slim enough for ten million of them.

A store folds observations that saw nothing new into the row before them; here each is a row again.
What was seen is given as numbers that only mean something within one batch.
"""

from __future__ import annotations

import ibis

from reach_analytics.tables import BATCH_KEY, ENDED, OBSERVATION_LOG

__all__ = ["observation_log", "unfolded"]

_OBSERVATION = [*BATCH_KEY, "run_id", "sent_at", "scope", "ok", "state_hash"]
# What a listing and a detail observation both show.
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


def observation_log(stored: ibis.Table, snapshots: ibis.Table) -> ibis.Table:
    """One row per observation; folded ones have the run of the row that holds them."""
    observations = unfolded(stored)
    told = observations.left_join(_numbered(snapshots), [*BATCH_KEY, "state_hash"])
    return told.select(OBSERVATION_LOG.names)


def unfolded(observations: ibis.Table) -> ibis.Table:
    """The observations, each in a row of its own."""
    own = _nullable(observations.select(_OBSERVATION))
    if "repeats" not in observations.columns:
        return own
    holding = observations.filter(observations.repeats.notnull())
    folded = _nullable(holding.mutate(sent_at=holding.repeats.unnest()).select(_OBSERVATION))
    # An observation written again after it was folded occurs twice. No two requests are sent for
    # one batch in the same microsecond.
    folded = folded.cast(dict(own.schema()))  # Spark's list of times has another type of time
    return own.union(folded.anti_join(own, [*BATCH_KEY, "sent_at", "scope"]))


def _nullable(observations: ibis.Table) -> ibis.Table:
    """The same with nullable columns, since Ibis unites only equal types."""
    return observations.cast(
        {name: observations[name].type().copy(nullable=True) for name in observations.columns}
    )


def _numbered(snapshots: ibis.Table) -> ibis.Table:
    """The states of each batch as numbers: `state` one each, `core` one for those alike in it."""
    pending = snapshots.pending_resources.length()
    waits = (snapshots.pending_records > 0).fill_null(False) | (pending > 0).fill_null(False)
    ended = snapshots.status.isin(ENDED).fill_null(False) | snapshots.completed_at.notnull()
    by_hash = ibis.window(group_by=BATCH_KEY, order_by=snapshots.state_hash)
    states = snapshots.select(
        *BATCH_KEY,
        "state_hash",
        "created_at",
        *_CORE,
        state=ibis.row_number().over(by_hash).cast("int64"),
        waits=waits,
        finished=ended & ~waits,
    )
    alike = ibis.window(group_by=[*BATCH_KEY, *_CORE])  # where nulls are equal
    return states.mutate(core=states.state.min().over(alike)).drop(_CORE)
