"""The relational steps from the two stored tables to the frames a user gets: Ibis in, Ibis out.

Everything here is lazy, and runs on whatever engine holds the tables. The one rule that matters:
the latest observation of a batch is taken *before* its pending list is flattened, since a batch
whose last observation has nothing pending must not keep the rows of an earlier one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import TypeAlias

import ibis
import pyarrow as pa

from reach_analytics._plausible import LONGEST
from reach_analytics.queries.arrivals import arrivals
from reach_analytics.queries.backlog_counts import BacklogCounts
from reach_analytics.queries.current import Current, pending_counts
from reach_analytics.queries.departed import Conventions
from reach_analytics.queries.endings import ending_counts
from reach_analytics.queries.engine import PLAIN, Runner, in_order
from reach_analytics.queries.evidence import evidence_of
from reach_analytics.queries.flatten import dependencies, pending, resources
from reach_analytics.queries.latest import at_last, latest, observations, states, until
from reach_analytics.queries.lost_waits import lost_waits
from reach_analytics.queries.mentions import looks_at, mentioning
from reach_analytics.queries.numbered import Numbered
from reach_analytics.queries.observation_log import observation_log
from reach_analytics.queries.part import WHOLE, Part
from reach_analytics.queries.plausible import meant_states, meant_time
from reach_analytics.queries.releases import release_counts
from reach_analytics.queries.turnover import turnover
from reach_analytics.queries.verdicts import (
    Evidence,
    judged,
    numbered_outcomes,
    outcomes,
    with_clusters,
    with_names,
)
from reach_analytics.queries.wait_intervals import (
    dated_links,
    departures,
    missing_intervals,
    wait_intervals,
)
from reach_analytics.tables import (
    ARRIVALS,
    BATCH_KEY,
    BATCHES,
    DEPARTURES,
    DEPENDENCIES,
    MISSING_INTERVALS,
    OBSERVATION_LOG,
    OBSERVATIONS,
    PENDING,
    WAIT_INTERVALS,
    WAIT_OUTCOMES,
    Table,
)

__all__ = ["LazyTable", "Tables"]

LazyTable: TypeAlias = ibis.Table
"""A table of which nothing has been computed yet."""


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
    part : Part
        What is left of the frames.
    whole : Tables, optional
        The tables that this is a part of: by them the waits are judged.
    """

    stored_snapshots: ibis.Table
    stored_observations: ibis.Table
    as_of: datetime | None = None
    run: Runner = field(default=PLAIN, compare=False)
    conventions: Conventions | None = None
    part: Part = WHOLE
    whole: Tables | None = None
    _verdicts: dict[Conventions, ibis.Table] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def part_of(self, part: Part) -> Tables:
        """A part of the tables, judged by all that was observed."""
        whole = self.whole or self
        return replace(
            self,
            stored_snapshots=part.of_tenants(whole.stored_snapshots),
            stored_observations=part.of_tenants(whole.stored_observations),
            part=part,
            whole=whole,
        )

    def at(self, as_of: datetime) -> Tables:
        """The same at another moment."""
        whole = None if self.whole is None else self.whole.at(as_of)
        return replace(self, as_of=as_of, whole=whole)

    def observed_since(self, moment: datetime) -> Tables:
        """The same of the batches alone that were observed after a moment, as if no other were in
        the store; but for those that delete, which bear on others."""
        whole = self.whole or self
        seen = until(whole.stored_observations, self.as_of)
        recent = seen.filter(seen.received_at > ibis.literal(moment, seen.received_at.type()))
        known = whole.stored_snapshots
        deleting = known.filter(known.batch_type.lower().contains("delete").fill_null(False))
        both = recent.select(BATCH_KEY).union(deleting.select(BATCH_KEY), distinct=True)
        batches = self.run.keep(both)
        found = replace(
            whole,
            stored_snapshots=whole.stored_snapshots.semi_join(batches, BATCH_KEY),
            stored_observations=whole.stored_observations.semi_join(batches, BATCH_KEY),
        )
        return found if self.whole is None else found.part_of(self.part)

    def of_tenants(self, tenants: Sequence[str]) -> Tables:
        """The same of these tenants alone, as if no other were in the store."""
        only = Part(tenants=tuple(tenants))
        return replace(
            self,
            stored_snapshots=only.of_tenants(self.stored_snapshots),
            stored_observations=only.of_tenants(self.stored_observations),
            part=WHOLE,
            whole=None,
        )

    def mentioning(self, name: str) -> ibis.Table:
        """The batches in which a name occurs; see `queries.mentions`."""
        known = until(self.stored_snapshots, self.as_of, "first_received_at")
        return mentioning(known, name)

    def looks_at(self, batches: pa.Table, name: str) -> ibis.Table:
        """The observations of these batches, and what each says of a name."""
        seen = until(self.stored_observations, self.as_of)
        joined = seen.left_join(self._meant, [*BATCH_KEY, "state_hash"])
        own = [name for name in self._meant.columns if name not in (*BATCH_KEY, "state_hash")]
        return looks_at(joined.select(*seen.columns, *own), ibis.memtable(batches), name)

    def batches_among(self, batches: pa.Table) -> ibis.Table:
        """Of `batches` those whose tenant_id and batch_id are among these."""
        return self.batches.semi_join(ibis.memtable(batches), BATCH_KEY)

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
        rows = observations(self._states).select(OBSERVATIONS.names)
        return self.part.in_time(self._of_batches(rows), "sent_at")

    @cached_property
    def last_observations(self) -> ibis.Table:
        """Of `observations`, the last successful one of each batch and kind."""
        seen = until(self.stored_observations, self.as_of)
        seen = self.part.in_time(self._of_batches(seen), "sent_at")
        own = self.stored_snapshots.select(*BATCH_KEY, "state_hash", "has_pending_details")
        told = seen.filter(ibis._.ok).left_join(own, [*BATCH_KEY, "state_hash"])
        told = told.select(*seen.columns, "has_pending_details")
        newest = latest(told, [*BATCH_KEY, "scope", "has_pending_details"]).select(seen.columns)
        rows = states(newest, self._meant).mutate(changed=ibis.null("boolean"))
        return rows.select(OBSERVATIONS.names)

    @cached_property
    def batches(self) -> ibis.Table:
        """One row per batch: its last successful observation."""
        return self.part.in_time(self._fitting_batches, "created_at")

    @cached_property
    def _every_batch(self) -> ibis.Table:
        good = until(self.stored_observations, self.as_of).filter(ibis._.ok)
        return states(latest(at_last(good)), self._meant).select(BATCHES.names)

    @cached_property
    def _fitting_batches(self) -> ibis.Table:
        """The batches of the part's schemas, types and statuses, of any time."""
        return self.part.of_schemas(self.part.of_kinds(self._every_batch))

    def _of_batches(self, rows: ibis.Table) -> ibis.Table:
        """The rows of these batches."""
        if self.part.schemas is None and not self.part.names_kinds:
            return rows
        return rows.semi_join(self._fitting_batches, BATCH_KEY)

    def _of_kinds(self, rows: ibis.Table) -> ibis.Table:
        """The rows of batches of the part's types and statuses."""
        if not self.part.names_kinds:
            return rows
        return rows.semi_join(self.part.of_kinds(self._every_batch), BATCH_KEY)

    @cached_property
    def pending(self) -> ibis.Table:
        """One row per (batch, pending resource), from its batch's last observation with a list."""
        return self._waiting_in_part(pending(self._listed).select(PENDING.names))

    @cached_property
    def dependencies(self) -> ibis.Table:
        """One row per (batch, pending resource, missing dependency), from the same observations."""
        return self._waiting_in_part(dependencies(self._listed).select(DEPENDENCIES.names))

    def _waiting_in_part(self, rows: ibis.Table) -> ibis.Table:
        """What waits at the moment, so that it overlaps whatever begins before that."""
        return self.part.begun(self.part.of_schemas(self._of_kinds(rows)))

    @cached_property
    def current(self) -> Current:
        """What waits at the moment, by number."""
        rows = resources(self._with_lists(self.run.keep(self._newest_lists)))
        missing = rows.resource["missing_dependencies"]
        rows = rows.mutate(missing_dependencies=missing)
        inside = self._waiting_in_part if self.part.splits_tenants else None
        return Current(rows, self.run, inside)

    @cached_property
    def wait_intervals(self) -> ibis.Table:
        """One row per (batch, pending resource) ever seen: when it was pending and when gone."""
        return wait_intervals(self.numbered, self._waits_in_part)

    @cached_property
    def missing_intervals(self) -> ibis.Table:
        """One row per (batch, pending resource, dependency that it was ever seen to miss)."""
        return missing_intervals(self.numbered, self._waits_in_part)

    @cached_property
    def departures(self) -> ibis.Table:
        """One row per observation without waits that earlier ones list, with its batch's counts."""
        rows = departures(self.numbered)
        return rows if self.whole is None else rows.semi_join(self.batches, BATCH_KEY)

    @cached_property
    def numbered(self) -> Numbered:
        """What was seen to wait, by number."""
        if self.whole is not None:
            return self.whole.numbered
        return Numbered(until(self.stored_observations, self.as_of), self._meant, self.run)

    @cached_property
    def beginnings(self) -> ibis.Table:
        """When each wait began, as ``began``."""
        waits = self._in_part(self.numbered.waits)
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
        return outcomes(self._evidence, self._in_part(self._judged(conventions)))

    def lost_waits(self, conventions: Conventions, named: pa.Table) -> ibis.Table:
        """Of `wait_outcomes` those that expired or whose end is unknown, and those of the ``named``
        records: rows with a tenant_id, batch_id and external_id."""
        found = lost_waits(self._judged(conventions), self._evidence, named, self.run)
        return outcomes(self._evidence, self._in_part(found))

    def turnover(self, conventions: Conventions, since: datetime) -> ibis.Table:
        """What came to wait after a moment, and what waited no longer; see `queries.turnover`."""
        rows = numbered_outcomes(self._in_part(self._judged(conventions)))
        return turnover(rows, self.numbered, since)

    def errors_said(self, batches: pa.Table) -> ibis.Table:
        """(tenant_id, batch_id, error_details, sent_at, received_at): each text that good
        observations of these batches had, with when one first did."""
        seen = until(self.stored_observations, self.as_of).filter(ibis._.ok)
        own = self.stored_snapshots.select(*BATCH_KEY, "state_hash", "error_details")
        joined = seen.inner_join(own, [*BATCH_KEY, "state_hash"])
        rows = joined.select(*BATCH_KEY, "sent_at", "received_at", "error_details")
        rows = rows.filter(rows.error_details.notnull())
        rows = rows.semi_join(ibis.memtable(batches), BATCH_KEY)
        return rows.group_by([*BATCH_KEY, "error_details"]).aggregate(
            sent_at=rows.sent_at.min(), received_at=rows.received_at.min()
        )

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

    def arrivals(self, conventions: Conventions) -> ibis.Table:
        """One row per key that was ever missing, with when it came."""
        seen = self.numbered
        rows = dated_links(seen)
        began = seen.observations.select("batch", first="number", first_missing="sent_at")
        dated = rows.inner_join(began, ["batch", "first"]).select(*rows.columns, "first_missing")
        names = seen.names.select("name", "missing_schema_name")
        named = dated.inner_join(names, "name").select(*dated.columns, "missing_schema_name")
        waits = numbered_outcomes(self._in_part(self._judged(conventions)))
        own = waits.select("wait", "created_at", "last_seen", "verdict", "ended_by")
        links = named.inner_join(own, "wait").select(*named.columns, *own.columns[1:])
        found = arrivals(links, ["key"], self.run)
        keys = seen.keys.select(
            "key",
            "tenant_id",
            schema_definition_id="missing_schema_definition_id",
            external_id="missing_external_id",
        )
        whole = keys.filter(keys.schema_definition_id.notnull() & keys.external_id.notnull())
        return found.inner_join(whole, "key").select(ARRIVALS.names)

    def ending_counts(self, conventions: Conventions) -> dict[str, ibis.Table]:
        """What `measures.reconciliation` rests on; see `queries.endings`."""
        batches = self.numbered.batches
        last = self.batches.inner_join(batches, BATCH_KEY).select("batch", "observed_at")
        last = self.run.keep(last)
        waits = numbered_outcomes(self._judged(conventions))
        if self.whole is not None:  # all waits of these batches, so that the accounts add up
            waits = waits.semi_join(last, "batch")
        return {
            name: with_names(counts, self._evidence, BATCH_KEY).drop("batch")
            for name, counts in ending_counts(waits, ["batch"], last).items()
        }

    def judged_waits(self, conventions: Conventions, names: Sequence[str]) -> ibis.Table:
        """The waits as `numbered_outcomes`, with those ``names`` that are asked for."""
        rows = numbered_outcomes(self._in_part(self._judged(conventions)))
        return with_names(rows, self._evidence, names)

    def lifetimes(self, conventions: Conventions, names: Sequence[str]) -> ibis.Table:
        """What `measures.survival` rests on: the times and verdict of each wait, ``names``, and
        what it ends with, as a number (``ends_with``)."""
        own = ["created_at", "first_seen", "ended_after", "ended_by", "verdict", "ends_with"]
        rows = self.judged_waits(conventions, names)
        columns = [*dict.fromkeys([*names, *own[:-1], "tenant", "batch", "root"])]
        rows = with_clusters(rows.select(columns), self._evidence, self.run)
        return rows.select([*dict.fromkeys([*names, *own])])

    def documented(self, conventions: Conventions) -> dict[Table, Callable[[], ibis.Table]]:
        """The tables that users know, and how to get each; waits are judged by ``conventions``."""
        return {
            BATCHES: lambda: self.batches,
            OBSERVATIONS: lambda: self.observations,
            OBSERVATION_LOG: lambda: self.observation_log,
            PENDING: lambda: self.pending,
            DEPENDENCIES: lambda: self.dependencies,
            WAIT_INTERVALS: lambda: self.wait_intervals,
            MISSING_INTERVALS: lambda: self.missing_intervals,
            DEPARTURES: lambda: self.departures,
            WAIT_OUTCOMES: lambda: self.wait_outcomes_under(conventions),
            ARRIVALS: lambda: self.arrivals(conventions),
        }

    @cached_property
    def _waits_in_part(self) -> ibis.Table | None:
        """(wait): the numbers of those that count; None where all do."""
        if self.whole is None:
            return None
        seen = self.numbered
        rows = self.part.overlapping(self.part.of_schemas(seen.waits))
        batches = self._of_kinds(self.part.of_tenants(seen.batches))
        return self.run.keep(rows.semi_join(batches, "batch").select("wait"))

    def _in_part(self, waits: ibis.Table) -> ibis.Table:
        """Numbered waits, those that count."""
        only = self._waits_in_part
        return waits if only is None else waits.semi_join(only, "wait")

    @cached_property
    def _evidence(self) -> Evidence:
        if self.whole is not None:
            return self.whole._evidence
        return evidence_of(self.numbered, self._every_batch)

    def _judged(self, conventions: Conventions) -> ibis.Table:
        if self.whole is not None:
            return self.whole._judged(conventions)
        if conventions not in self._verdicts:
            self._verdicts[conventions] = judged(self._evidence, conventions, self.run)
        return self._verdicts[conventions]

    @cached_property
    def observation_log(self) -> ibis.Table:
        """One slim row per observation of a batch, folded ones included.

        When the answer to a folded one was received is not kept: it counts from when it was sent.
        """
        every = observation_log(until(self.stored_observations, self.as_of), self._meant)
        known = until(every, self.as_of, "sent_at").select(OBSERVATION_LOG.names)
        return self.part.in_time(self._of_batches(known), "sent_at")

    @cached_property
    def last_received(self) -> ibis.Table:
        """When the last answer that counts had been received, as one row."""
        return until(self.stored_observations, self.as_of).received_at.max().as_table()

    @cached_property
    def tenant_ids(self) -> ibis.Table:
        """(tenant_id) of the tenants of which a batch was observed, in no order."""
        if self.part.splits_tenants:
            return self.batches.select("tenant_id").distinct()
        return until(self.stored_observations, self.as_of).select("tenant_id").distinct()

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

    def pending_counts(self, now: datetime) -> ibis.Table:
        """How many resources of each tenant wait, and expire when; see `queries.current`."""
        return pending_counts(self.current.shown, now)

    @cached_property
    def kinds(self) -> ibis.Table:
        """(schema_definition_id, schema_name, batch_type, status): what batches were ever seen to
        be, each combination once."""
        names = ["schema_definition_id", "schema_name", "batch_type", "status"]
        return (
            until(self.stored_snapshots, self.as_of, "first_received_at").select(names).distinct()
        )

    @cached_property
    def schema_names(self) -> tuple[ibis.Table, ibis.Table]:
        """(schema_definition_id, schema_name) of batches, and of what was ever missing."""
        missing = self.numbered.names.select(
            schema_definition_id="missing_schema_definition_id", schema_name="missing_schema_name"
        )
        return self.kinds, missing.distinct()

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
        newest = latest(at_last(own_lists))
        return newest.select(*BATCH_KEY, "state_hash", "sent_at", observed_at=newest.received_at)

    def _with_lists(self, newest: ibis.Table) -> ibis.Table:
        # On the left stand the lists, of which then none are held in memory.
        lists = self.stored_snapshots.select(*BATCH_KEY, "state_hash", "pending_resources")
        return lists.inner_join(newest, [*BATCH_KEY, "state_hash"]).select(
            *BATCH_KEY, "observed_at", "sent_at", "pending_resources"
        )
