"""Bottlenecks: which missing dependencies hold up how much, and the graph of who waits for whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from reach_analytics.errors import MissingExtraError
from reach_analytics.measures._graph.model import PendingGraph, read_pending_graph
from reach_analytics.measures._graph.reachability import blocked, unlock
from reach_analytics.measures._graph.topological_levels import levels
from reach_analytics.measures._shared.arrays import (
    Flags,
    Ints,
    alike,
    components,
    distinct,
    offsets_of,
)
from reach_analytics.tables import BOTTLENECKS, GRAPH_EDGES, GRAPH_NODES, RESOURCE_KEY, Frame

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["DependencyGraph", "bottlenecks", "dependency_graph", "needed_by"]


def bottlenecks(dependencies: Frame, pending: pd.DataFrame | None = None) -> pd.DataFrame:
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
    ...     "resource_external_id": [b for _, b, _ in rows], "expires_at": pd.NaT,
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
    table = graph.keys.iloc[waited].assign(
        is_root=graph.is_root[waited],
        direct=graph.direct[waited],
        direct_sole=np.bincount(sole, minlength=graph.key_count)[waited],
        # An estimate may fall short of what it must reach.
        blocked=np.maximum(reach, frees)[waited],
        blocked_exact=exact[waited],
        unlock=frees[waited],
        needed_by=needed_by(graph).iloc[waited],
    )
    missing = BOTTLENECKS.conform(table)
    order = ["unlock", "blocked", "direct", *RESOURCE_KEY]
    ascending = [False] * 3 + [True] * 3
    return missing.sort_values(order, ascending=ascending, ignore_index=True)


def needed_by(graph: PendingGraph) -> pd.Series:
    """For each key, the earliest expiry among the resources that name it as missing."""
    never = np.iinfo(np.int64).max
    expires = graph.resources["expires_at"]
    moments = expires.astype("int64").mask(expires.isna(), never).to_numpy()
    earliest = np.full(graph.key_count, never)
    np.minimum.at(earliest, graph.edge_key, moments[graph.edge_resource])
    times = pd.Series(earliest).mask(earliest == never, pd.NaT.value)
    return times.astype("datetime64[us]").dt.tz_localize("UTC")


@dataclass(frozen=True)
class DependencyGraph:
    """Who waits for whom: ``nodes`` and ``edges``, tables as in ``tables.GRAPH_NODES`` and
    ``tables.GRAPH_EDGES``; and how much of it is left out.

    Attributes
    ----------
    nodes, edges : pandas.DataFrame
        Edges point from the dependency to the dependent.
    hidden_missing, hidden_resources : int
        Missing dependencies and pending resources that ``top`` left out.
    """

    nodes: pd.DataFrame
    edges: pd.DataFrame
    hidden_missing: int = 0
    hidden_resources: int = 0

    def to_networkx(self) -> nx.DiGraph:
        """The same as a networkx graph, columns as attributes.

        Raises
        ------
        MissingExtraError
            If networkx is not installed.
        """
        try:
            import networkx as nx
        except ModuleNotFoundError:
            raise MissingExtraError("a networkx graph", "networkx", "graph") from None

        graph = nx.DiGraph()
        for row in self.nodes.to_dict("records"):
            graph.add_node(row["node"], **{str(k): v for k, v in row.items() if k != "node"})
        for row in self.edges.to_dict("records"):
            graph.add_edge(row["source"], row["target"], count=row["count"])
        return graph


def dependency_graph(
    dependencies: Frame,
    pending: Frame | None = None,
    *,
    top: int | None = None,
) -> DependencyGraph:
    """The graph of missing dependencies and what waits for them, alike resources drawn together.

    A node stands for a key: missing and to be delivered (``missing``), or that of a pending
    resource others wait for (``waiting``). Pending resources that nothing else waits for, that are
    of one schema and miss the same keys, share one node (``group``).

    Parameters
    ----------
    dependencies, pending
        As for `bottlenecks`.
    top : int, optional
        Keep what these many roots with the largest ``unlock``, then ``blocked``, reach, and all
        deadlocks. What their dependents miss besides is drawn too, the roots among it as one node
        for each tenant, or they would look easier to free than they are. Everything by default.

    Returns
    -------
    DependencyGraph
        ``depth`` is the longest chain of dependencies below a node, deadlocks counted as one step.

    Raises
    ------
    FrameError
        If a frame lacks a documented column.

    Examples
    --------
    >>> from reach_analytics import tables
    >>> from reach_analytics.measures import dependency_graph
    >>> dependency_graph(tables.DEPENDENCIES.empty()).nodes.shape
    (0, 12)
    """
    if top is not None and top < 1:
        raise ValueError(f"top must be at least 1, found {top}")
    graph = read_pending_graph(dependencies, pending, "dependency_graph")
    frees, (reach, _) = unlock(graph), blocked(graph)
    keep, fold = _kept(graph, frees, reach, top)
    waited_for = graph.direct > 0
    leaf = ~waited_for[graph.brings]
    node_of, heads = _merged(graph, leaf, fold)
    source, target = node_of[graph.edge_key], node_of[graph.key_count + graph.edge_resource]
    nodes = _node_table(graph, heads, node_of, frees, source, target)
    edges = _edge_table(source, target)
    drawn = np.concatenate([waited_for, leaf & (graph.needs > 0)])
    nodes["drawn"] = _any(node_of[drawn], len(nodes))
    nodes["kept"] = _any(node_of[drawn & keep], len(nodes))
    shown, hidden = nodes[nodes["kept"]], nodes[nodes["drawn"] & ~nodes["kept"]]
    inside = edges["source"].isin(shown["node"]) & edges["target"].isin(shown["node"])
    return DependencyGraph(
        nodes=GRAPH_NODES.conform(shown),
        edges=GRAPH_EDGES.conform(edges[inside]),
        hidden_missing=int((hidden["kind"] == "missing").sum()),
        hidden_resources=int(hidden["count"].sum()),
    )


def _any(numbers: Ints, size: int) -> Flags:
    return np.bincount(numbers, minlength=size) > 0


def _kept(graph: PendingGraph, frees: Ints, reach: Ints, top: int | None) -> tuple[Flags, Ints]:
    """Which nodes (keys, then resources) to draw, and for each key the one that stands for it.

    Kept is what is reached from the top roots or part of a deadlock, and what that misses besides.
    """
    size = graph.key_count + graph.resource_count
    fold = np.arange(graph.key_count)
    if top is None:
        return np.ones(size, bool), fold
    roots = np.flatnonzero(graph.is_root)
    best = roots[np.lexsort((roots, -reach[roots], -frees[roots]))][:top]
    kept = np.zeros(size, bool)
    kept[best] = True
    kept |= graph.on_cycle
    source, target = graph.edges
    while True:
        new = target[kept[source] & ~kept[target]]
        if not len(new):
            break
        kept[new] = True
    besides = np.unique(graph.edge_key[kept[graph.key_count + graph.edge_resource]])
    besides = besides[~kept[besides]]
    kept[besides] = True
    roots = besides[graph.is_root[besides]]
    tenant, _ = pd.factorize(graph.keys["tenant_id"].iloc[roots], use_na_sentinel=False)
    fold[roots] = roots[np.unique(tenant, return_index=True)[1][tenant]]
    return kept, fold


def _merged(graph: PendingGraph, leaf: Flags, fold: Ints) -> tuple[Ints, Ints]:
    """A drawn node for every key and resource: (number, a row of each).

    A resource that others wait for is drawn as its key; leaves of one tenant and schema that miss
    the same keys are drawn as one.
    """
    keys, size = graph.key_count, graph.key_count + graph.resource_count
    same = np.concatenate([fold, np.arange(keys, size)])
    same[keys:][~leaf] = fold[graph.brings[~leaf]]
    leaves_by = pd.DataFrame(
        {
            "tenant": graph.resources["tenant_id"],
            "schema": graph.resources["schema_definition_id"],
            "missed": _signatures(graph, fold),
        }
    )
    group = leaves_by.groupby(["tenant", "schema", "missed"], dropna=False, sort=False).ngroup()
    leaves = np.flatnonzero(leaf)
    _, first, back = np.unique(group.to_numpy()[leaves], return_index=True, return_inverse=True)
    same[keys + leaves] = keys + leaves[first][back]
    heads, number = np.unique(same, return_inverse=True)
    return number, heads


def _signatures(graph: PendingGraph, fold: Ints) -> Ints:
    """Equal numbers for resources that miss the same keys, where ``fold`` says which key stands
    for each."""
    width = max(1, graph.key_count)
    pairs = distinct(graph.edge_resource * width + fold[graph.edge_key])
    counts = np.bincount(pairs // width, minlength=graph.resource_count)
    return alike(offsets_of(counts), pairs % width)


def _node_table(
    graph: PendingGraph, heads: Ints, node_of: Ints, frees: Ints, source: Ints, target: Ints
) -> pd.DataFrame:
    """The drawn nodes; ``heads`` holds a key or resource of each."""
    keys = graph.key_count
    members = node_of[keys:]
    count = np.bincount(members, minlength=len(heads))
    is_key = pd.Series(heads < keys)
    expires = graph.resources["expires_at"].groupby(members).min()
    named = _named(graph, heads)
    folded = np.bincount(node_of[:keys], minlength=len(heads))
    return named.assign(
        node=np.arange(len(heads)),
        kind=np.select([is_key & (count == 0), is_key], ["missing", "waiting"], "group"),
        external_id=named["external_id"].where(np.where(is_key, folded == 1, count == 1)),
        keys=np.where(is_key, folded, 0),
        count=count,
        depth=_depth(len(heads), source, target),
        unlock=_at_keys(frees, heads).where(folded == 1),
        in_cycle=graph.on_cycle[heads] & is_key,
        expires_at=expires.reindex(range(len(heads))),
    )


def _named(graph: PendingGraph, heads: Ints) -> pd.DataFrame:
    """tenant_id, schema_definition_id, external_id and schema_name of keys, then resources."""
    names = [*RESOURCE_KEY, "schema_name"]
    own = graph.resources.rename(columns={"resource_external_id": "external_id"})
    return pd.concat([graph.keys[names], own[names]]).iloc[heads].reset_index(drop=True)


def _at_keys(values: Ints, heads: Ints) -> pd.Series:
    """The values of the heads that are keys; null for resources."""
    return pd.Series(values, dtype="Int64").reindex(heads).reset_index(drop=True)


def _depth(size: int, source: Ints, target: Ints) -> Ints:
    part = components(source, target, size)
    tail, head = part[source], part[target]
    between = tail != head
    return np.take(levels(int(part.max(initial=-1)) + 1, tail[between], head[between]), part)


def _edge_table(source: Ints, target: Ints) -> pd.DataFrame:
    pairs = pd.DataFrame({"source": source, "target": target})
    return (
        pairs.groupby(["source", "target"], as_index=False).size().rename(columns={"size": "count"})
    )
