"""The frames of a history, each read once."""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property, partial
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa

from reach_analytics.measures._graph.model import PendingGraph
from reach_analytics.measures._graph.stored import stored_graph
from reach_analytics.measures._shared.grouping import Buckets
from reach_analytics.measures._verdicts.endings import Endings, endings
from reach_analytics.measures.waits.backlog import backlog_of_counts
from reach_analytics.queries.engine import in_order
from reach_analytics.tables import (
    BATCH_KEY,
    BATCHES,
    BOOL,
    DEPARTURES,
    DEPENDENCIES,
    INT,
    MISSING_INTERVALS,
    OBSERVATION_LOG,
    OBSERVATIONS,
    PENDING,
    STRING,
    WAIT_INTERVALS,
    WAIT_OUTCOMES,
    Table,
)

if TYPE_CHECKING:
    from reach_analytics.queries.departed import Conventions
    from reach_analytics.queries.tables import LazyTable, Tables


_RECORD = [*BATCH_KEY, "external_id"]
_SAID = [*BATCH_KEY, "error_details", "sent_at", "received_at"]


class FrameCache:
    """Frames of ``tables``, read when first asked for and then kept. Whoever hands one on copies
    it: a shallow copy is enough with copy-on-write."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    @cached_property
    def batches(self) -> pd.DataFrame:
        return self.read(self._tables.batches, BATCHES)

    @cached_property
    def observations(self) -> pd.DataFrame:
        return self.read(self._tables.observations, OBSERVATIONS)

    def observations_of(self, batch_id: str) -> pd.DataFrame:
        """Those of one batch, read anew."""
        table = self._tables.observations
        own = table.filter(table.batch_id == batch_id)
        return self.read(own, OBSERVATIONS)

    @cached_property
    def last_observations(self) -> pd.DataFrame:
        """The last good one of each batch and kind."""
        return self.read(self._tables.last_observations, OBSERVATIONS)

    @cached_property
    def observation_log(self) -> pd.DataFrame:
        """Unsorted, with texts as categories: of millions, few texts differ."""
        rows = self._tables.read(self._tables.observation_log)
        rows = rows.select(OBSERVATION_LOG.names).cast(OBSERVATION_LOG.schema)
        for position, column in enumerate(OBSERVATION_LOG.columns):
            if column.type == STRING:
                rows = rows.set_column(position, column.name, rows[position].dictionary_encode())
        nullable = {INT: pd.Int64Dtype(), BOOL: pd.BooleanDtype()}
        frame: pd.DataFrame = rows.to_pandas(
            types_mapper=nullable.get, split_blocks=True, self_destruct=True
        )
        return frame.astype({"ok": "bool"})

    @cached_property
    def pending(self) -> pd.DataFrame:
        return self.read(self._tables.pending, PENDING)

    @cached_property
    def dependencies(self) -> pd.DataFrame:
        return self.read(self._tables.dependencies, DEPENDENCIES)

    @cached_property
    def pending_graph(self) -> PendingGraph:
        """What waits for what, by number."""
        return stored_graph(self._tables.current)

    @cached_property
    def wait_intervals(self) -> pd.DataFrame:
        return self.read(self._tables.wait_intervals, WAIT_INTERVALS)

    @cached_property
    def missing_intervals(self) -> pd.DataFrame:
        return self.read(self._tables.missing_intervals, MISSING_INTERVALS)

    @cached_property
    def departures(self) -> pd.DataFrame:
        return self.read(self._tables.departures, DEPARTURES)

    def release_counts(
        self, conventions: Conventions, names: list[str], now: pd.Timestamp
    ) -> pd.DataFrame:
        """What release rates rest on; see `queries.releases`."""
        return self._of_groups(self._tables.release_counts(conventions, names, now), names)

    def backlog(
        self,
        conventions: Conventions,
        names: list[str],
        *,
        buckets: Buckets,
        as_of: pd.Timestamp,
        fresh: str | pd.Timedelta,
    ) -> pd.DataFrame:
        """How many resources waited; see `measures.backlog`."""
        return backlog_of_counts(
            partial(self._tables.backlog_counts, conventions, names),
            lambda counts: self._of_groups(counts, names),
            names,
            buckets=buckets,
            as_of=as_of,
            fresh=fresh,
        )

    def lost_waits(self, conventions: Conventions, named: pd.DataFrame) -> pd.DataFrame:
        """The waits that expired or whose end is unknown, and those of the ``named`` records."""
        rows = self._tables.lost_waits(conventions, pa.Table.from_pandas(named[_RECORD]))
        return self.read(rows, WAIT_OUTCOMES)

    def errors_said(self, named: pd.DataFrame) -> pd.DataFrame:
        """When each text of error details of the ``named`` records' batches was first observed."""
        batches = named[BATCH_KEY].drop_duplicates()
        rows = self._tables.errors_said(pa.Table.from_pandas(batches, preserve_index=False))
        return OBSERVATIONS.only(_SAID).to_pandas(self._tables.read(rows))

    def wait_times(self, conventions: Conventions, names: list[str]) -> pd.DataFrame:
        """When each wait was seen, gone and over, and how it ended, with those ``names`` of its
        batch: of millions, few texts differ."""
        names = [name for name in BATCH_KEY if name in names]
        columns = [*names, "last_seen", "gone_by", "ended_by", "verdict"]
        rows = self._tables.read(self._tables.judged_waits(conventions, names).select(columns))
        return _with_categories(rows)

    def pending_counts(self, now: pd.Timestamp) -> pd.DataFrame:
        """How many resources of each tenant wait, and expire when."""
        frame: pd.DataFrame = self._tables.read(self._tables.pending_counts(now)).to_pandas()
        return frame

    def endings(self, conventions: Conventions) -> Endings:
        """How many waits of each departure and batch ended how."""
        counts = self._tables.ending_counts(conventions)
        return endings({name: self._tables.read(rows) for name, rows in counts.items()})

    def lifetimes(self, conventions: Conventions, names: list[str]) -> pd.DataFrame:
        """What survival rests on; see `queries.tables`."""
        rows = self._tables.read(self._tables.lifetimes(conventions, names))
        dtypes = {c.name: c.dtype for c in WAIT_OUTCOMES.columns if c.name in names}
        return _with_categories(rows, but=names).astype(dtypes)

    def _of_groups(self, counts: LazyTable, names: list[str]) -> pd.DataFrame:
        """Counts by columns of waits, in the dtypes of these."""
        dtypes = {c.name: c.dtype for c in WAIT_OUTCOMES.columns if c.name in names}
        frame: pd.DataFrame = self._tables.read(counts).to_pandas()
        return frame.astype(dtypes)

    @cached_property
    def longest_wait(self) -> pd.Timedelta:
        """The longest time from a wait's beginning to its expiry; 0 if none ever waited."""
        [found] = self._tables.read(self._tables.longest_wait)[0].to_pylist()
        return pd.Timedelta(found or 0, unit="us")

    def read(self, table: LazyTable, kind: Table) -> pd.DataFrame:
        """The rows of a lazy table, in the shape and order of ``kind``."""
        return kind.to_pandas(self._tables.read(in_order(table, kind)))


def _with_categories(rows: pa.Table, but: Collection[str] = ()) -> pd.DataFrame:
    """The rows, with texts as categories: of millions, few texts differ."""
    for place, name in enumerate(rows.column_names):
        if pa.types.is_string(rows.schema.field(name).type) and name not in but:
            rows = rows.set_column(place, name, rows[name].dictionary_encode())
    frame: pd.DataFrame = rows.to_pandas(split_blocks=True, self_destruct=True)
    return frame
