"""Who waits for whom, and what to upload next."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING

import pandas as pd

from reach_analytics import measures
from reach_analytics.history.reading import Frames
from reach_analytics.measures.plan import Deliveries

if TYPE_CHECKING:
    from reach_analytics.client import SchemaDefinition
    from reach_analytics.measures import DependencyGraph


class Graph(Frames):
    """The measures of missing dependencies."""

    def bottlenecks(self) -> pd.DataFrame:
        """Missing dependencies, the one that would free the most first.

        ``query("is_root")`` leaves those that have to be delivered; the others are pending
        themselves. ``unlock`` counts what is freed if that one alone arrives, ``blocked`` what
        waits for it at all; see `measures.bottlenecks` for every column.
        """
        return self._bottlenecks.copy(deep=False)

    def deadlocks(self) -> pd.DataFrame:
        """Resources that wait for themselves through others; see `measures.deadlocks`."""
        return measures.deadlocks(self._dependencies, self._pending)

    def depth(self) -> pd.DataFrame:
        """How long a chain each pending resource hangs on; see `measures.depth`."""
        return measures.depth(self._dependencies, self._pending)

    def dependency_graph(self, top: int | None = None) -> DependencyGraph:
        """Who waits for whom; see `measures.dependency_graph`."""
        return measures.dependency_graph(self._dependencies, self._pending, top=top)

    def what_if(
        self,
        deliveries: Deliveries = (),
        force: Iterable[str] = (),
    ) -> pd.DataFrame:
        """What becomes of each pending resource if these keys are delivered.

        Parameters
        ----------
        deliveries : list, dict or DataFrame
            Keys as ``(schema, external_id)`` or ``(tenant_id, schema, external_id)``. A list
            arrives at once and nothing expires; a dict gives each key its time, and waits run out.
            Or rows of `bottlenecks` or `upload_plan`; those of a plan at a pace have their times.
        force : list of str
            Pending ids that are uploaded anew without what they miss.

        Returns
        -------
        pandas.DataFrame
            One row per pending resource, with ``outcome`` and ``at``; see `measures.what_if`.
        """
        return measures.what_if(
            self._dependencies, self._pending, deliveries=deliveries, force=force
        )

    def upload_plan(
        self,
        *,
        top: int | None = 100,
        uploads_per_hour: float | None = None,
    ) -> pd.DataFrame:
        """What to upload next, in the order in which it frees the most the soonest.

        Parameters
        ----------
        top : int, optional
            How many dependencies to list at most; all with None.
        uploads_per_hour : float, optional
            How many can be delivered an hour, from this history's moment on: then expiries count.

        Returns
        -------
        pandas.DataFrame
            One row per dependency, in order; see `measures.upload_plan`.
        """
        return measures.upload_plan(
            self._dependencies,
            self._pending,
            top=top,
            uploads_per_hour=uploads_per_hour,
            as_of=None if uploads_per_hour is None else self.moment,
        )

    def choke_points(self) -> pd.DataFrame:
        """Resources that wait and hold up others; see `measures.choke_points`."""
        return measures.choke_points(self._dependencies, self._pending)

    def schema_graph(self, definitions: Iterable[SchemaDefinition] | None = None) -> pd.DataFrame:
        """Which schemas wait for which; see `measures.schema_graph`.

        Parameters
        ----------
        definitions : iterable of SchemaDefinition, optional
            As from ``client.schema_definitions()``, to set beside what they declare.
        """
        from reach_analytics.client.references import declared_references

        declared = None if definitions is None else declared_references(definitions)
        return measures.schema_graph(self._dependencies, declared)

    @cached_property
    def _bottlenecks(self) -> pd.DataFrame:
        return measures.bottlenecks(self._dependencies, self._pending)
