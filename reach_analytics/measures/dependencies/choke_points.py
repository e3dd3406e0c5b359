"""Resources that wait themselves while much depends on them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from reach_analytics.measures._graph.dominators import Dominators
from reach_analytics.measures._graph.model import (
    NEVER,
    PendingGraph,
    moments,
    named_keys,
    read_pending_graph,
)
from reach_analytics.measures._graph.reachability import frees_itself, unlock
from reach_analytics.measures._shared.arrays import Ints
from reach_analytics.tables import CHOKE_POINTS, Frame

__all__ = ["choke_points"]


def choke_points(dependencies: Frame | PendingGraph, pending: Frame | None = None) -> pd.DataFrame:
    """Keys in the middle of a chain, ordered by how much is freed if one of them is freed.

    ``forced_unlock`` = pending resources released if one of the key's own is released by hand
    (uploaded anew without what it misses), itself included, beyond what is released anyway. For a
    key that one resource brings, and that is in no cycle, that is its subtree of the dominator
    tree; directly above it is the nearest key that all paths to it lead through (its immediate
    dominator): without that nothing frees it.

    Parameters
    ----------
    dependencies, pending
        As for `bottlenecks`.

    Returns
    -------
    pandas.DataFrame
        One row per key that something waits for and something pending would bring: tenant_id,
        schema_definition_id, external_id, schema_name; waits (pending resources with this key),
        direct (that name it as missing), forced_unlock, missing_count (dependencies that the
        easiest of its waits misses), above_schema_definition_id and above_external_id (null if
        there are several paths, or it is in a cycle), in_cycle, expires_at (UTC, when the last of
        its waits is over). By forced_unlock, then direct, descending. No rows if nothing waits in a
        chain.

    Raises
    ------
    FrameError
        If a frame lacks a documented column.

    Examples
    --------
    B and C need A, which needs X: freeing A frees all three.

    >>> import pandas as pd
    >>> from reach_analytics import tables
    >>> from reach_analytics.measures import choke_points
    >>> waits = tables.DEPENDENCIES.conform(pd.DataFrame([
    ...     {"tenant_id": "t", "batch_id": "b", "pending_id": one, "external_id": one,
    ...      "schema_definition_id": "s", "missing_schema_definition_id": "s",
    ...      "missing_external_id": other}
    ...     for one, other in ("BA", "CA", "AX")
    ... ]))
    >>> print(choke_points(waits)[["external_id", "direct", "forced_unlock", "above_external_id"]]
    ...       .to_string(index=False))
    external_id  direct  forced_unlock above_external_id
              A       2              3                 X
    """
    graph = read_pending_graph(dependencies, pending, "choke_points")
    chosen = np.flatnonzero((graph.producers > 0) & (graph.direct > 0))
    if not len(chosen):
        return CHOKE_POINTS.empty()
    above = Dominators.of(graph.merged()[0]).above()
    top = named_keys(graph, above[chosen])
    needs = np.full(graph.key_count, NEVER)
    np.minimum.at(needs, graph.brings, graph.needs)
    last, ends = np.full(graph.key_count, -NEVER), graph.expires < NEVER
    np.maximum.at(last, graph.brings[ends], graph.expires[ends])
    table = graph.names.keys(chosen).assign(
        waits=graph.producers[chosen],
        direct=graph.direct[chosen],
        forced_unlock=_forced_unlock(graph)[chosen],
        missing_count=needs[chosen],
        above_schema_definition_id=top["schema_definition_id"].array,
        above_external_id=top["external_id"].array,
        in_cycle=graph.on_cycle[chosen],
        expires_at=moments(np.where(last > -NEVER, last, NEVER)[chosen]).array,
    )
    return CHOKE_POINTS.conform(CHOKE_POINTS.in_order(table))


def _forced_unlock(graph: PendingGraph) -> Ints:
    """What is released if one resource of each key is; 0 where that happens anyway."""
    by_key = unlock(graph)
    ready = np.zeros(graph.key_count, bool)
    ready[graph.brings[graph.ready]] = True
    # Its arrival releases what waits for it, and it is released itself besides, unless, in a
    # cycle, that is among what its own arrival releases.
    itself = ~frees_itself(graph)
    return np.where(ready, 0, by_key + itself)
