"""The relational steps from the two stored tables to the frames a user gets: Ibis in, Ibis out.

Everything here is lazy, and runs on whatever engine holds the tables. The one rule that matters:
the latest observation of a batch is taken *before* its pending list is flattened, since a batch
whose last observation has nothing pending must not keep the rows of an earlier one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from datetime import time as time_of_day
from functools import cached_property
from typing import TypeAlias

import ibis
import pyarrow as pa

from reach_analytics._plausible import LONGEST
from reach_analytics.queries.backlog_counts import BacklogCounts
from reach_analytics.queries.current import Current
from reach_analytics.queries.departed import Conventions
from reach_analytics.queries.endings import ending_counts
from reach_analytics.queries.engine import PLAIN, Runner, in_order
from reach_analytics.queries.evidence import evidence_of
from reach_analytics.queries.numbered import Numbered
from reach_analytics.queries.observation_log import observation_log
from reach_analytics.queries.plausible import meant_states, meant_time
from reach_analytics.queries.releases import release_counts
from reach_analytics.queries.verdicts import (
    Evidence,
    judged,
    numbered_outcomes,
    outcomes,
    with_clusters,
    with_names,
)
from reach_analytics.queries.wait_intervals import departures, missing_intervals, wait_intervals
from reach_analytics.tables import (
    BATCH_KEY,
    BATCHES,
    DEPENDENCIES,
    OBSERVATION_LOG,
    OBSERVATIONS,
    PENDING,
    Table,
)

__all__ = [
    "LazyTable",
    "Tables",
    "dependencies",
    "latest",
    "observations",
    "pending",
    "states",
    "until",
]

LazyTable: TypeAlias = ibis.Table
"""A table of which nothing has been computed yet."""

_OF_RESOURCE = [
    "resource_external_id",
    "schema_definition_id",
    "schema_name",
    "created_at",
    "expires_at",
]


@dataclass(frozen=True)
class Tables:
    """The frames as lazy Ibis tables, all of one moment.

    Attributes
    ----------
    stored_snapshots, stored_observations : ibis.Table
        The stored tables.
    as_of : datetime, optional
        Observations received later do not count.
    run : Runner
        Runs queries, plainly by default. `Store.reader` explains a failure by what is wrong with
        the store.
    conventions : Conventions, optional
        What the verdicts on the waits rest on; a `History` states its own.
    """

    stored_snapshots: ibis.Table
    stored_observations: ibis.Table
    as_of: datetime | None = None
    run: Runner = field(default=PLAIN, compare=False)
    conventions: Conventions | None = None
    _verdicts: dict[Conventions, ibis.Table] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def read(self, table: ibis.Table) -> pa.Table:
        """The rows of a lazy table."""
        return self.run.read(table)

    def stream(self, table: ibis.Table, kind: Table) -> Iterator[pa.Table]:
        """The rows of a lazy table in the shape and order of ``kind``, some at a time."""
        for rows in self.run.stream(in_order(table, kind)):
            yield rows.select(kind.names).cast(kind.schema)

    @cached_property
    def observations(self) -> ibis.Table:
        """One row per observation of a batch, failed ones included."""
        return observations(self._states).select(OBSERVATIONS.names)

    @cached_property
    def last_observations(self) -> ibis.Table:
        """Of `observations`, the last successful one of each batch and kind."""
        kind = [*BATCH_KEY, "scope", "has_pending_details"]
        return (
            latest(self._states.filter(ibis._.ok), kind)
            .mutate(changed=ibis.null("boolean"))
            .select(OBSERVATIONS.names)
        )

    @cached_property
    def batches(self) -> ibis.Table:
        """One row per batch: its last successful observation."""
        good = until(self.stored_observations, self.as_of).filter(ibis._.ok)
        return states(latest(_at_last(good)), self._meant).select(BATCHES.names)

    @cached_property
    def pending(self) -> ibis.Table:
        """One row per (batch, pending resource), from its batch's last observation with a list."""
        return pending(self._listed).select(PENDING.names)

    @cached_property
    def dependencies(self) -> ibis.Table:
        """One row per (batch, pending resource, missing dependency), from the same observations."""
        return dependencies(self._listed).select(DEPENDENCIES.names)

    @cached_property
    def current(self) -> Current:
        """What waits at the moment, by number."""
        rows = _resources(self._with_lists(self.run.keep(self._newest_lists)))
        missing = rows.resource["missing_dependencies"]
        return Current(rows.mutate(missing_dependencies=missing), self.run)

    @cached_property
    def wait_intervals(self) -> ibis.Table:
        """One row per (batch, pending resource) ever seen: when it was pending and when gone."""
        return wait_intervals(self.numbered)

    @cached_property
    def missing_intervals(self) -> ibis.Table:
        """One row per (batch, pending resource, dependency that it was ever seen to miss)."""
        return missing_intervals(self.numbered)

    @cached_property
    def departures(self) -> ibis.Table:
        """One row per observation without waits that earlier ones list, with its batch's counts."""
        return departures(self.numbered)

    @cached_property
    def numbered(self) -> Numbered:
        """What was seen to wait, by number."""
        return Numbered(until(self.stored_observations, self.as_of), self._meant, self.run)

    @cached_property
    def beginnings(self) -> ibis.Table:
        """When each wait began, as ``began``."""
        waits = self.numbered.waits
        return waits.select(began=ibis.coalesce(waits.created_at, waits.first_seen))

    @cached_property
    def wait_outcomes(self) -> ibis.Table:
        """One row per wait ever seen, with what became of it; judged when this is first asked for.

        Raises
        ------
        ValueError
            If no ``conventions`` were given.
        """
        if self.conventions is None:
            raise ValueError("waits are judged by conventions: open these tables as a history")
        return self.wait_outcomes_under(self.conventions)

    def wait_outcomes_under(self, conventions: Conventions) -> ibis.Table:
        """The same by other conventions."""
        return outcomes(self._evidence, self._judged(conventions))

    def release_counts(
        self, conventions: Conventions, names: Sequence[str], now: datetime
    ) -> ibis.Table:
        """What `measures.release_rates` rests on; see `queries.releases`."""
        return release_counts(self.judged_waits(conventions, names), names, now, self.run)

    def backlog_counts(
        self, conventions: Conventions, names: Sequence[str], now: datetime, fresh: timedelta
    ) -> BacklogCounts:
        """What `measures.backlog` rests on."""
        rows = self.judged_waits(conventions, names)
        return BacklogCounts(rows, names, now, fresh, self.run)

    def ending_counts(self, conventions: Conventions) -> dict[str, ibis.Table]:
        """What `measures.reconciliation` rests on; see `queries.endings`."""
        batches = self.numbered.batches
        last = self.batches.inner_join(batches, BATCH_KEY).select("batch", "observed_at")
        waits = numbered_outcomes(self._judged(conventions))
        return {
            name: with_names(counts, self._evidence, BATCH_KEY).drop("batch")
            for name, counts in ending_counts(waits, ["batch"], self.run.keep(last)).items()
        }

    def judged_waits(self, conventions: Conventions, names: Sequence[str]) -> ibis.Table:
        """The waits as `numbered_outcomes`, with those ``names`` that are asked for."""
        rows = numbered_outcomes(self._judged(conventions))
        return with_names(rows, self._evidence, names)

    def lifetimes(self, conventions: Conventions, names: Sequence[str]) -> ibis.Table:
        """What `measures.survival` rests on: the times and verdict of each wait, ``names``, and
        what it ends with, as a number (``ends_with``)."""
        own = ["created_at", "first_seen", "ended_after", "ended_by", "verdict", "ends_with"]
        rows = self.judged_waits(conventions, names)
        columns = [*dict.fromkeys([*names, *own[:-1], "tenant", "batch", "root"])]
        rows = with_clusters(rows.select(columns), self._evidence, self.run)
        return rows.select([*dict.fromkeys([*names, *own])])

    @cached_property
    def _evidence(self) -> Evidence:
        return evidence_of(self.numbered, self.batches)

    def _judged(self, conventions: Conventions) -> ibis.Table:
        if conventions not in self._verdicts:
            self._verdicts[conventions] = judged(self._evidence, conventions, self.run)
        return self._verdicts[conventions]

    @cached_property
    def observation_log(self) -> ibis.Table:
        """One slim row per observation of a batch, folded ones included.

        When the answer to a folded one was received is not kept: it counts from when it was sent.
        """
        every = observation_log(until(self.stored_observations, self.as_of), self._meant)
        return until(every, self.as_of, "sent_at").select(OBSERVATION_LOG.names)

    @cached_property
    def last_received(self) -> ibis.Table:
        """When the last answer that counts had been received, as one row."""
        return until(self.stored_observations, self.as_of).received_at.max().as_table()

    @cached_property
    def longest_wait(self) -> ibis.Table:
        """The longest time that a pending resource was given, in microseconds, as one row.

        One that expires before it begins, or practically never, does not count.
        """
        states = until(self.stored_snapshots, self.as_of, "first_received_at")
        one = states.select(resource=states.pending_resources.unnest())
        began, ends = (meant_time(one.resource[name]) for name in ("created_at", "expires_at"))
        given = ends.delta(began, unit="microsecond")
        most = LONGEST // timedelta(microseconds=1)
        return given.max(where=given.between(0, most)).as_table()

    def coming_expiries(self, within: ibis.Value) -> ibis.Table:
        """(tenant_id, batch_id, expires_at): the expiries in each batch's last list that lay ahead
        of the observation, by no more than the interval ``within``."""
        listed = self._listed
        one = listed.select(*BATCH_KEY, "sent_at", resource=listed.pending_resources.unnest())
        times = one.select(*BATCH_KEY, "sent_at", expires_at=meant_time(one.resource["expires_at"]))
        ahead = (times.expires_at > times.sent_at) & (times.expires_at < times.sent_at + within)
        return times.filter(ahead).drop("sent_at").distinct()

    @cached_property
    def waiting(self) -> ibis.Table:
        """(tenant_id, batch_id) of the batches that have something pending."""
        return self._listed.filter(ibis._.pending_resources.length() > 0).select(*BATCH_KEY)

    @cached_property
    def _states(self) -> ibis.Table:
        seen = until(self.stored_observations, self.as_of)
        return states(seen, self._meant)

    @cached_property
    def _meant(self) -> ibis.Table:
        return meant_states(self.stored_snapshots)

    @cached_property
    def _listed(self) -> ibis.Table:
        """The newest observation of each batch that listed its pending resources, with the list."""
        return self._with_lists(self._newest_lists)

    @cached_property
    def _newest_lists(self) -> ibis.Table:
        """The newest observation of each batch that listed its pending resources.

        A listing does not count here: it does not show what waits, so it ends no wait.
        """
        seen = until(self.stored_observations, self.as_of)
        own = self.stored_snapshots.select(*BATCH_KEY, "state_hash", "has_pending_details")
        listed = seen.filter(ibis._.ok).inner_join(own, [*BATCH_KEY, "state_hash"])
        own_lists = listed.filter(ibis._.has_pending_details & (ibis._.scope == "detail"))
        newest = latest(_at_last(own_lists))
        return newest.select(*BATCH_KEY, "state_hash", "sent_at", observed_at=newest.received_at)

    def _with_lists(self, newest: ibis.Table) -> ibis.Table:
        # On the left stand the lists, of which then none are held in memory.
        lists = self.stored_snapshots.select(*BATCH_KEY, "state_hash", "pending_resources")
        return lists.inner_join(newest, [*BATCH_KEY, "state_hash"]).select(
            *BATCH_KEY, "observed_at", "sent_at", "pending_resources"
        )


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


def _at_last(observations: ibis.Table) -> ibis.Table:
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


def pending(listed: ibis.Table) -> ibis.Table:
    """The pending lists, flattened: one row per pending resource."""
    one = _resources(listed)
    count = one.resource["missing_dependencies"].length().fill_null(0).cast("int64")
    return one.mutate(missing_count=count)


def dependencies(listed: ibis.Table) -> ibis.Table:
    """The pending lists, flattened twice: one row per missing dependency of each resource."""
    one = _resources(listed)
    each = one.mutate(missing=one.resource["missing_dependencies"].unnest()).drop("resource")
    return each.mutate(
        missing_schema_definition_id=each.missing["schema_definition_id"],
        missing_external_id=each.missing["external_id"],
        missing_schema_name=each.missing["schema_name"],
    )


def _resources(listed: ibis.Table) -> ibis.Table:
    one = listed.select(*BATCH_KEY, "observed_at", resource=listed.pending_resources.unnest())
    rows = one.mutate(
        pending_id=one.resource["id"], **{name: one.resource[name] for name in _OF_RESOURCE}
    )
    return rows.mutate(
        created_at=meant_time(rows.created_at), expires_at=meant_time(rows.expires_at)
    )
