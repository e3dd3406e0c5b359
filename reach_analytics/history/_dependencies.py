"""What is missing, and what waits for it: the measures of dependencies."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd

from reach_analytics import measures
from reach_analytics.history._filters import with_ids_of
from reach_analytics.history._named import in_zone
from reach_analytics.measures.dependencies.what_if import Deliveries
from reach_analytics.tables import (
    ARRIVALS,
)

if TYPE_CHECKING:
    from reach_analytics.client import SchemaDefinition
    from reach_analytics.measures import DependencyGraph
from reach_analytics.history._state import State, tenants_of


class DependencyMeasures(State):
    """The measures of dependencies."""

    def bottlenecks(self) -> pd.DataFrame:
        """Missing dependencies, the one that would free the most first.

        ``query("is_root")`` leaves those that have to be delivered; the others are pending
        themselves. ``unlock`` counts what is freed if that one alone arrives, ``blocked`` what
        waits for it at all; see `measures.bottlenecks` for every column.
        """
        return self._bottlenecks.copy(deep=False)

    def upload_plan(
        self,
        *,
        top: int | None = 100,
        uploads_per_hour: float | None = None,
        max_roots: int = 64,
        effort: int = 100,
    ) -> pd.DataFrame:
        """What to upload next, in the order in which it frees the most the soonest.

        With ``uploads_per_hour`` the uploads begin at `moment`, and expiries count; see
        `measures.upload_plan`.
        """
        return measures.upload_plan(
            self._cache.pending_graph,
            top=top,
            uploads_per_hour=uploads_per_hour,
            as_of=None if uploads_per_hour is None else self.moment,
            max_roots=max_roots,
            effort=effort,
        )

    def what_if(self, deliveries: Deliveries = (), *, force: Iterable[str] = ()) -> pd.DataFrame:
        """What becomes of each pending resource if these keys are delivered.

        A list arrives at once and nothing expires; a dict gives each key its time, and waits run
        out. Rows of `bottlenecks`, `upload_plan` or `dependencies` will do too, and so will a
        tenant's name for its id; see `measures.what_if`.
        """
        meant = with_ids_of(deliveries, tenants_of(self.tables, self._catalog), self.timezone)
        return measures.what_if(self._cache.pending_graph, deliveries=meant, force=force)

    def choke_points(self) -> pd.DataFrame:
        """Resources that wait and hold up others; see `measures.choke_points`."""
        return measures.choke_points(self._cache.pending_graph)

    def dependency_graph(self, *, top: int | None = None) -> DependencyGraph:
        """What waits for what; see `measures.dependency_graph`."""
        graph = measures.dependency_graph(self._cache.pending_graph, top=top)
        return replace(graph, nodes=in_zone(self._catalog.named(graph.nodes), self.timezone))

    def schema_graph(self, definitions: Iterable[SchemaDefinition] | None = None) -> pd.DataFrame:
        """Which schemas wait for which, beside what they declare; see `measures.schema_graph`.

        Parameters
        ----------
        definitions : iterable of SchemaDefinition, optional
            As from ``client.schema_definitions()``; by default those of `schemas`, if any.
        """
        from reach_analytics.client._references import declared_references

        declared = self._declared if definitions is None else declared_references(definitions)
        return measures.schema_graph(self._cache.dependencies, declared)

    def deadlocks(self) -> pd.DataFrame:
        """Resources that wait for themselves through others; see `measures.deadlocks`."""
        return measures.deadlocks(self._cache.pending_graph)

    def depth(self) -> pd.DataFrame:
        """How long a chain each pending resource hangs on; see `measures.depth`."""
        return measures.depth(self._cache.pending_graph)

    def still_missing(self) -> pd.DataFrame:
        """`dependencies` without those that later observations prove to have arrived; see
        `measures.still_missing`."""
        whole = self.tables.whole or self.tables  # whatever shows that something came
        arrivals = self._arrivals
        if whole is not self.tables:
            arrivals = self._cache.read(whole.arrivals(self._conventions()), ARRIVALS)
        return measures.still_missing(self._cache.dependencies, arrivals)
