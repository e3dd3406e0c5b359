"""Bottlenecks: which missing dependencies hold up how much."""

from __future__ import annotations

import numpy as np
import pandas as pd

from reach_analytics.measures._graph.model import (
    NEVER,
    PendingGraph,
    moments,
    read_pending_graph,
)
from reach_analytics.measures._graph.reachability import blocked, unlock
from reach_analytics.tables import BOTTLENECKS, Frame

__all__ = ["bottlenecks", "needed_by"]


def bottlenecks(dependencies: Frame | PendingGraph, pending: Frame | None = None) -> pd.DataFrame:
    """Missing dependencies, ordered by how many pending resources each would free.

    A pending resource is released when everything it misses has arrived; its own key then counts as
    arrived for others (a Horn clause). For a missing key *k*, with ``D(p)`` what *p* misses:

    - ``direct`` = number of *p* with *k* in ``D(p)``;
    - ``direct_sole`` = number of *p* with ``D(p) = {k}``;
    - ``blocked`` = number of *p* that can be reached from *k*, deadlocked ones too; in a connected
      part of the graph where more than 2048 keys have chains behind them, the 512 largest are
      exact, and the others are HyperLogLog estimates with a standard error of 9 %
      (``blocked_exact`` is False);
    - ``unlock`` = number of *p* released if *k* alone arrives, by unit propagation (Dowling and
      Gallier 1984), beyond what is released anyway;
    - ``is_root``: nothing pending would bring *k*, so it has to be delivered;
    - ``needed_by`` = earliest ``expires_at`` of the *p* with *k* in ``D(p)``.

    ``unlock <= blocked`` always holds; with one pending resource per key, ``direct_sole <= unlock``
    holds for roots too.
    Delivering several keys may free more than the sum of their ``unlock``.

    Parameters
    ----------
    dependencies : pandas.DataFrame
        As from ``history.dependencies()``. Rows repeated count once, and row order does not matter.
    pending : pandas.DataFrame, optional
        As from ``history.pending()``: adds resources that wait although they miss nothing.

    Returns
    -------
    pandas.DataFrame
        One row per missing dependency: tenant_id, schema_definition_id, external_id, schema_name,
        is_root, direct, direct_sole, blocked, blocked_exact, unlock (counts of pending resources),
        needed_by (UTC); by unlock, then blocked, descending. No rows if nothing is missing.

    Raises
    ------
    FrameError
        If a frame lacks a documented column.

    Examples
    --------
    Sales 1 and 2 wait for shop S, which waits for its owner O; sale 2 also waits for customer C.

    >>> import pandas as pd
    >>> from reach_analytics.measures import bottlenecks
    >>> rows = [("shop", "S", "O"), ("sale", "1", "S"), ("sale", "2", "S"), ("sale", "2", "C")]
    >>> kind = {"O": "contact", "C": "contact", "S": "shop"}
    >>> waits = pd.DataFrame({
    ...     "tenant_id": "t", "batch_id": "b", "observed_at": pd.NaT,
    ...     "pending_id": [a + b for a, b, _ in rows],
    ...     "schema_definition_id": [a for a, _, _ in rows], "schema_name": None,
    ...     "external_id": [b for _, b, _ in rows], "expires_at": pd.NaT,
    ...     "missing_schema_definition_id": [kind[c] for _, _, c in rows],
    ...     "missing_external_id": [c for _, _, c in rows], "missing_schema_name": None,
    ... })
    >>> print(bottlenecks(waits)[["external_id", "is_root", "direct", "blocked", "unlock"]]
    ...       .to_string(index=False))
    external_id  is_root  direct  blocked  unlock
              O     True       1        3       2
              S    False       2        2       1
              C     True       1        1       0
    """
    graph = read_pending_graph(dependencies, pending, "bottlenecks")
    frees, (reach, exact) = unlock(graph), blocked(graph)
    sole = graph.edge_key[graph.needs[graph.edge_resource] == 1]
    waited = np.flatnonzero(graph.direct > 0)
    table = graph.names.keys(waited).assign(
        is_root=graph.is_root[waited],
        direct=graph.direct[waited],
        direct_sole=np.bincount(sole, minlength=graph.key_count)[waited],
        # An estimate may fall short of what it must reach.
        blocked=np.maximum(reach, frees)[waited],
        blocked_exact=exact[waited],
        unlock=frees[waited],
        needed_by=needed_by(graph).iloc[waited],
    )
    return BOTTLENECKS.conform(BOTTLENECKS.in_order(table))


def needed_by(graph: PendingGraph) -> pd.Series:
    """For each key, the earliest expiry among the resources that name it as missing."""
    earliest = np.full(graph.key_count, NEVER)
    np.minimum.at(earliest, graph.edge_key, graph.expires[graph.edge_resource])
    return moments(earliest)
