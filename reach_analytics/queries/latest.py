"""What was observed by a moment, with the states that were seen, and the latest of each batch."""

from __future__ import annotations

from datetime import UTC, datetime
from datetime import time as time_of_day

import ibis

from reach_analytics.tables import BATCH_KEY

__all__ = ["at_last", "latest", "observations", "states", "until"]


def until(
    observations: ibis.Table, as_of: datetime | None, time: str = "received_at"
) -> ibis.Table:
    """The observations received up to and including ``as_of``; all of them without it."""
    if as_of is None:
        return observations
    moment = ibis.literal(as_of, type=observations[time].type())
    known = observations.filter(observations[time] <= moment)
    return _with_folded(known, as_of) if "repeats" in known.columns else known


def _with_folded(known: ibis.Table, as_of: datetime) -> ibis.Table:
    """The observations with the last ones folded into them, where that day was not over yet.

    When a folded one was received is not kept: it counts from when it was sent.
    """
    day = as_of.astimezone(UTC).date() if as_of.tzinfo else as_of.date()
    begun = ibis.literal(datetime.combine(day, time_of_day.min, UTC), type=known.sent_at.type())
    moment = ibis.literal(as_of, type=known.sent_at.type())
    holding = known.filter(known.repeats.notnull() & (known.sent_at >= begun))
    last = holding.repeats.filter(lambda sent: sent <= moment).maxs()
    folded = holding.mutate(sent_at=last, received_at=last, repeats=ibis.null(known.repeats.type()))
    folded = folded.filter(folded.sent_at.notnull())
    types = {name: known[name].type().copy(nullable=True) for name in known.columns}
    return known.cast(types).union(folded.cast(types))  # Ibis unites equal types only


def states(observations: ibis.Table, snapshots: ibis.Table) -> ibis.Table:
    """Each observation with the batch state it saw; a failed one has nulls."""
    listed = snapshots.has_pending_details & snapshots.pending_resources.notnull()
    count = ibis.ifelse(listed, snapshots.pending_resources.length(), ibis.null("int64"))
    flat = snapshots.mutate(pending_resources_count=count.cast("int64")).drop(
        "pending_resources", "first_received_at"
    )
    joined = observations.left_join(flat, [*BATCH_KEY, "state_hash"])
    return joined.select(
        *[name for name in joined.columns if not name.endswith("_right")],
    ).mutate(observed_at=ibis._.received_at)


def observations(states: ibis.Table) -> ibis.Table:
    """The observations, with whether each differs from the last successful one of its scope."""
    before = ibis.window(
        group_by=[*BATCH_KEY, "scope", "ok"],
        order_by=[states.sent_at, states.received_at, states.run_id],
    )
    previous = states.state_hash.lag().over(before)
    differs = previous.isnull() | (previous != states.state_hash)
    return states.mutate(changed=ibis.ifelse(states.ok, differs, ibis.null("boolean")))


def at_last(observations: ibis.Table) -> ibis.Table:
    """The observations of each batch that were sent last: few enough to rank cheaply."""
    last = observations.group_by(BATCH_KEY).aggregate(sent_at=observations.sent_at.max())
    return observations.semi_join(last, [*BATCH_KEY, "sent_at"])


def latest(observations: ibis.Table, of: list[str] = BATCH_KEY) -> ibis.Table:
    """The newest observation of each batch; of two at one moment, the detail one."""
    newest = ibis.window(
        group_by=of,
        order_by=[
            observations.sent_at.desc(),
            observations.received_at.desc(),
            observations.scope.asc(),  # detail before list
            observations.state_hash.asc(),
        ],
    )
    ranked = observations.mutate(_rank=ibis.row_number().over(newest))
    return ranked.filter(ranked._rank == 0).drop("_rank")
