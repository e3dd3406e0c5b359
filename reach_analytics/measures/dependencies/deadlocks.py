"""What waits for itself: deadlocks, and how deep the chains of the others are."""

from __future__ import annotations

import numpy as np
import pandas as pd

from reach_analytics.measures._graph.model import PendingGraph, named_keys, read_pending_graph
from reach_analytics.measures._graph.reachability import unlock
from reach_analytics.measures._shared.arrays import Flags, Ints, adjacency, components
from reach_analytics.measures.dependencies.bottlenecks import needed_by
from reach_analytics.tables import DEADLOCKS, DEPTH, RESOURCE_KEY, Frame

__all__ = ["deadlocks", "depth"]


def deadlocks(dependencies: Frame | PendingGraph, pending: Frame | None = None) -> pd.DataFrame:
    """Resources that wait for themselves through others, so that nothing you deliver frees them.

    A deadlock is a strong component of what no delivery of roots frees (Tarjan 1972), of more than
    one node; a resource that refers to itself is one too. A cycle that an alternative opens (two
    pending resources with one key, one of which can be freed) is none. To end one, upload one of
    its members anew without the reference: ``unlock`` is how much that frees, for each.

    Parameters
    ----------
    dependencies, pending
        As for `bottlenecks`.

    Returns
    -------
    pandas.DataFrame
        One row per member: deadlock (number, from 1, the one that taints most first), tenant_id,
        schema_definition_id, external_id, schema_name, members (of its deadlock), tainted (pending
        resources in it or behind it, which nothing you deliver frees), unlock (pending resources
        freed if this member is present), needed_by (UTC, earliest expiry among those that name it
        as missing). No rows if there is none.

    Raises
    ------
    FrameError
        If a frame lacks a documented column.

    Examples
    --------
    A and B need each other, C needs A, and D needs X, which can be delivered.

    >>> import pandas as pd
    >>> from reach_analytics import tables
    >>> from reach_analytics.measures import deadlocks
    >>> waits = tables.DEPENDENCIES.conform(pd.DataFrame([
    ...     {"tenant_id": "t", "batch_id": "b", "pending_id": one, "external_id": one,
    ...      "schema_definition_id": "s", "missing_schema_definition_id": "s",
    ...      "missing_external_id": other}
    ...     for one, other in ("AB", "BA", "CA", "DX")
    ... ]))
    >>> print(deadlocks(waits)[["deadlock", "external_id", "members", "tainted", "unlock"]]
    ...       .to_string(index=False))
     deadlock external_id  members  tainted  unlock
            1           A        2        3       3
            1           B        2        3       3
    """
    graph = read_pending_graph(dependencies, pending, "deadlocks")
    if not graph.on_cycle.any():
        return DEADLOCKS.empty()
    stuck = _stuck(graph)
    component = _circles(graph, *stuck)
    members = np.flatnonzero(component >= 0)
    if not len(members):
        return DEADLOCKS.empty()
    tainted = _tainted_by(graph, component, *stuck)
    own = component[members]
    table = graph.names.keys(members).assign(
        members=np.bincount(own)[own],
        tainted=tainted[own],
        unlock=unlock(graph)[members],
        needed_by=needed_by(graph).reindex(members),
        own=own,
    )
    names = RESOURCE_KEY
    first = table.sort_values(names).drop_duplicates("own")
    ranked = first.sort_values(["tainted", *names], ascending=[False, True, True, True])
    number = pd.Series(np.arange(1, len(ranked) + 1), index=ranked["own"].to_numpy())
    table = table.assign(deadlock=number.reindex(own).to_numpy())
    return DEADLOCKS.conform(DEADLOCKS.in_order(table))


def _stuck(graph: PendingGraph) -> tuple[Ints, Ints]:
    """The edges, (sources, targets), between what is missing even if every root arrives."""
    arrives = graph.is_root.copy()
    arrives[graph.brings[~graph.tainted]] = True
    lost = np.concatenate([~arrives, graph.tainted])
    source, target = graph.edges
    inside = lost[source] & lost[target]
    return source[inside], target[inside]


def _circles(graph: PendingGraph, source: Ints, target: Ints) -> Ints:
    """For each key the number of the deadlock that it is in, or -1."""
    size = graph.key_count + graph.resource_count
    component = components(source, target, size)
    found = np.where(np.bincount(component)[component] > 1, component, -1)[: graph.key_count]
    _, number = np.unique(found, return_inverse=True)
    return np.asarray(number - 1 if (found == -1).any() else number, np.int64)


def _tainted_by(graph: PendingGraph, component: Ints, source: Ints, target: Ints) -> Ints:
    """For each deadlock, how many pending resources can be reached from it."""
    from scipy.sparse.csgraph import breadth_first_order

    keys = graph.key_count
    edges = adjacency(source, target, keys + graph.resource_count)
    _, starts = np.unique(component, return_index=True)
    starts = starts[component[starts] >= 0]
    reached = (breadth_first_order(edges, i, return_predecessors=False) for i in starts)
    return np.array([int((nodes >= keys).sum()) for nodes in reached], np.int64)


def depth(dependencies: Frame | PendingGraph, pending: Frame | None = None) -> pd.DataFrame:
    """How long a chain each pending resource waits on, and what is at its deep end.

    ``depth(p) = 1 + max(depth of what brings k)`` over the keys *k* that *p* misses, where a root
    counts 0; of alternatives the shortest counts. In a deadlock or behind one it is null: no
    chain there ever ends.

    Parameters
    ----------
    dependencies, pending
        As for `bottlenecks`.

    Returns
    -------
    pandas.DataFrame
        One row per pending resource, the deepest first: tenant_id, batch_id, pending_id,
        external_id, schema_definition_id, schema_name, expires_at, depth (0 for one that
        misses nothing), and the root at the end of its longest chain, which has to be delivered
        before anything in the chain is released: root_schema_definition_id,
        root_external_id (null without a depth, and for one that needs only what is present).

    Raises
    ------
    FrameError
        If a frame lacks a documented column.

    Examples
    --------
    A waits for B, which waits for C, which waits for X.

    >>> import pandas as pd
    >>> from reach_analytics import tables
    >>> from reach_analytics.measures import depth
    >>> waits = tables.DEPENDENCIES.conform(pd.DataFrame([
    ...     {"tenant_id": "t", "batch_id": "b", "pending_id": one, "external_id": one,
    ...      "schema_definition_id": "s", "missing_schema_definition_id": "s",
    ...      "missing_external_id": other}
    ...     for one, other in ("AB", "BC", "CX")
    ... ]))
    >>> print(depth(waits)[["pending_id", "depth", "root_external_id"]].to_string(index=False))
    pending_id  depth root_external_id
             A      3                    X
             B      2                    X
             C      1                    X
    """
    graph = read_pending_graph(dependencies, pending, "depth")
    of_resource, deep_end = _depths(graph)
    known = pd.Series(of_resource, dtype="Int64").mask(graph.tainted)
    keys = named_keys(graph, np.where(graph.tainted, -1, deep_end))
    table = graph.names.resources().assign(
        depth=known,
        root_schema_definition_id=keys["schema_definition_id"],
        root_external_id=keys["external_id"],
    )
    return DEPTH.conform(DEPTH.in_order(table))


def _depths(graph: PendingGraph) -> tuple[Ints, Ints]:
    """Of each resource: its depth, and the root at the end of its longest chain (-1 for none)."""
    level = np.zeros(graph.resource_count, np.int64)
    deep_end = np.full(graph.resource_count, -1, np.int64)
    offsets, rows = graph.dependents
    unmet, present = graph.needs.copy(), graph.is_root.copy()
    # The root behind each key that is present; itself for a root.
    root = np.where(present, np.arange(graph.key_count), -1)
    front = np.flatnonzero(present)
    front = np.union1d(front, _bring(graph, np.flatnonzero(unmet == 0), present, root, deep_end))
    links = 0
    while len(front):
        # Keys arrive in the order of their depth, so the last one to arrive is the deepest.
        links += 1
        released = []
        for key in front[np.argsort(graph.place[front])[::-1]].tolist():
            waiting = rows[offsets[key] : offsets[key + 1]]
            unmet[waiting] -= 1
            deep_end[waiting], level[waiting] = root[key], links
            released.append(waiting[unmet[waiting] == 0])
        front = _bring(graph, np.concatenate(released), present, root, deep_end)
    return level, deep_end


def _bring(graph: PendingGraph, released: Ints, present: Flags, root: Ints, deep_end: Ints) -> Ints:
    """The keys that released resources bring and that were missing; now they are present, each with
    the root, the first by name, behind those that bring it."""
    behind = deep_end[released]
    by_name = np.where(behind >= 0, graph.place[behind], -1)  # -1: on nothing that is missing
    released = released[np.argsort(by_name, kind="stable")]
    brought, first = np.unique(graph.brings[released], return_index=True)
    new = ~present[brought]
    brought, first = brought[new], first[new]
    present[brought] = True
    root[brought] = deep_end[released[first]]
    return np.asarray(brought, np.int64)
