"""The graph of what waits in a store: numbers from the engine, names where they are asked for."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa

from reach_analytics.measures._graph.model import NEVER, PendingGraph, distinct_edges
from reach_analytics.measures._graph.subgraph import upstream
from reach_analytics.measures._shared.arrays import Ints
from reach_analytics.tables import BOTTLENECKS, PENDING, RESOURCE_KEY, Table

if TYPE_CHECKING:
    from reach_analytics.queries.current import Current

_FEW = 4  # up to one in so many are asked for singly


def stored_graph(current: Current) -> PendingGraph:
    """The graph of the resources that wait and the keys that they miss.

    Keys that something misses come first, in the order of their names; each of the others is that
    of one resource. Of a part of what waits, it is the graph of these resources and of what they
    wait for in turn.
    """
    whole = _whole(current)
    if current.inside is None:
        return whole
    shown = current.run.read(current.shown.select("resource"))
    return upstream(whole, _ints(shown["resource"]))


def _whole(current: Current) -> PendingGraph:
    own = current.run.read(current.own).sort_by("resource")
    missing_count = current.run.read(current.keys.count().as_table())[0][0].as_py()
    brings = _ints(own["key"].fill_null(-1))
    alone = np.flatnonzero(brings < 0)
    brings[alone] = missing_count + np.arange(len(alone))
    found = current.run.read(current.edges)
    size = missing_count + len(alone)
    return PendingGraph(
        names=_StoredNames(current, missing_count, len(own), alone),
        key_count=size,
        resource_count=len(own),
        **distinct_edges(_ints(found["resource"]), _ints(found["key"]), size),
        brings=brings,
        kind=_ints(own["kind"]),
        expires=_ints(own["expires_at"].cast(pa.int64()).fill_null(NEVER)),
    )


def _ints(column: pa.ChunkedArray) -> Ints:
    return np.array(column.to_numpy(), np.int64)


class _StoredNames:
    """Names that are read when they are asked for: some of them, or all at once, which are kept.

    Parameters
    ----------
    current
        What waits.
    missing_count, resource_count
        How many keys something misses, and how many resources there are.
    alone
        The resources whose keys are the others, in their order.
    """

    def __init__(
        self, current: Current, missing_count: int, resource_count: int, alone: Ints
    ) -> None:
        self._current = current
        self._missing_count, self._resource_count = missing_count, resource_count
        self._alone = alone

    def keys(self, rows: Ints | None = None) -> pd.DataFrame:
        if rows is None:
            rows = np.arange(self._missing_count + len(self._alone))
        missed = np.asarray(rows < self._missing_count)
        if missed.all():
            return self._missing.iloc[rows]
        own = self.resources(self._alone[rows[~missed] - self._missing_count])
        both = pd.concat([self._missing.iloc[rows[missed]], own[[*RESOURCE_KEY, "schema_name"]]])
        place = np.concatenate([np.flatnonzero(missed), np.flatnonzero(~missed)])
        return both.iloc[np.argsort(place)].set_axis(rows)

    def resources(self, rows: Ints | None = None) -> pd.DataFrame:
        if rows is None:
            return self._every
        if "_every" in vars(self) or len(rows) * _FEW > self._resource_count:
            return self._every.iloc[rows]
        return _frame(self._current.texts_of_resources(pa.array(rows))).set_axis(rows)

    def places(self) -> Ints:
        return np.arange(self._missing_count + len(self._alone))

    @cached_property
    def _missing(self) -> pd.DataFrame:
        return _frame(self._current.texts_of_keys(), BOTTLENECKS)

    @cached_property
    def _every(self) -> pd.DataFrame:
        return _frame(self._current.texts_of_resources())


def _frame(texts: pa.Table, like: Table = PENDING) -> pd.DataFrame:
    return like.only(texts.column_names).to_pandas(texts)
