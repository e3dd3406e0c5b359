"""Stored times and counts that are implausible, read as absent."""

from __future__ import annotations

import ibis

from reach_analytics._plausible import EARLIEST, LATEST, MOST

__all__ = ["meant_states", "meant_time"]

_TIMES = ("created_at", "started_at", "completed_at")
_COUNTS = (
    *("total_records", "processed_records", "successful_records"),
    *("pending_records", "failed_records"),
)


def meant_states(snapshots: ibis.Table) -> ibis.Table:
    """The stored states with their own times and counts null where these are implausible.

    The collector sets such values apart before it stores them; this is for what was stored earlier,
    or by others. The times of pending resources are handled where they are unnested: `meant_time`.
    """
    times = {name: meant_time(snapshots[name]) for name in _TIMES}
    counts = {
        name: ibis.ifelse(
            snapshots[name].between(0, MOST), snapshots[name], ibis.null(snapshots[name].type())
        )
        for name in _COUNTS
    }
    return snapshots.mutate(**times, **counts)


def meant_time(moment: ibis.Value) -> ibis.Value:
    """A stored time; null if it is implausible."""
    earliest, latest = (ibis.literal(end, type=moment.type()) for end in (EARLIEST, LATEST))
    meant = (moment > earliest) & (moment < latest)
    return ibis.ifelse(meant, moment, ibis.null(moment.type()))
