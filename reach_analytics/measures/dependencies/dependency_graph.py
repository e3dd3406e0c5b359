"""The graph of who waits for whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from reach_analytics.errors import MissingExtraError
from reach_analytics.measures._graph.model import (
    NEVER,
    PendingGraph,
    moments,
    read_pending_graph,
)
from reach_analytics.measures._graph.reachability import blocked, unlock
from reach_analytics.measures._graph.topological_levels import levels
from reach_analytics.measures._shared.arrays import (
    Flags,
    Ints,
    alike,
    components,
    distinct,
    mixed,
    offsets_of,
)
from reach_analytics.tables import GRAPH_EDGES, GRAPH_NODES, RESOURCE_KEY, Frame

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["DependencyGraph", "dependency_graph"]


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
    dependencies: Frame | PendingGraph,
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
    drawn = np.concatenate([waited_for, leaf & (graph.needs > 0)])
    is_kept = _any(node_of[drawn & keep], len(nodes))
    hidden = nodes[_any(node_of[drawn], len(nodes)) & ~is_kept]
    shown = _with_names(graph, nodes[is_kept], heads)
    edges = _edge_table(source, target)
    edges = edges[is_kept[edges["source"]] & is_kept[edges["target"]]]
    order = _in_order(shown, edges)
    number = np.empty(len(nodes), np.int64)
    number[order] = np.arange(len(order))
    edges = edges.assign(source=number[edges["source"]], target=number[edges["target"]])
    return DependencyGraph(
        nodes=GRAPH_NODES.conform(shown.loc[order].assign(node=np.arange(len(order)))),
        edges=GRAPH_EDGES.conform(GRAPH_EDGES.in_order(edges)),
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
    best = roots[np.lexsort((graph.place[roots], -reach[roots], -frees[roots]))][:top]
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
    roots = roots[np.argsort(graph.place[roots])]
    tenant, _ = pd.factorize(graph.names.keys(roots)["tenant_id"], use_na_sentinel=False)
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
    leaves = np.flatnonzero(leaf)
    group = graph.kind * max(1, graph.resource_count) + _signatures(graph, fold)
    _, first, back = np.unique(group[leaves], return_index=True, return_inverse=True)
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
    """The nodes by number, without names; ``heads`` holds a key or resource of each."""
    keys = graph.key_count
    members = node_of[keys:]
    count = np.bincount(members, minlength=len(heads))
    is_key = heads < keys
    expires = np.full(len(heads), NEVER)
    np.minimum.at(expires, members, graph.expires)
    folded = np.bincount(node_of[:keys], minlength=len(heads))
    return pd.DataFrame(
        {
            "kind": np.select([is_key & (count == 0), is_key], ["missing", "waiting"], "group"),
            "keys": np.where(is_key, folded, 0),
            "count": count,
            "depth": _depth(len(heads), source, target),
            "unlock": _at_keys(frees, heads).where(folded == 1),
            "in_cycle": graph.on_cycle[heads] & is_key,
            "expires_at": moments(expires),
        }
    )


def _with_names(graph: PendingGraph, nodes: pd.DataFrame, heads: Ints) -> pd.DataFrame:
    """Nodes with the names of the key or resource that each stands for; several have no id."""
    number = nodes.index.to_numpy()
    head = heads[number]
    is_key = head < graph.key_count
    own = graph.names.resources(head[~is_key] - graph.key_count)
    names = [*RESOURCE_KEY, "schema_name"]
    parts = [graph.names.keys(head[is_key])[names].set_axis(number[is_key])]
    parts.append(own[names].set_axis(number[~is_key]))
    named = nodes.join(pd.concat(parts))
    single = np.where(is_key, named["keys"] == 1, named["count"] == 1)
    return named.assign(external_id=named["external_id"].where(single))


def _in_order(nodes: pd.DataFrame, edges: pd.DataFrame) -> Ints:
    """The numbers of the nodes by name, keys first, so that the order of rows decides nothing.

    Groups of one schema without an id differ in what they miss.
    """
    names = [*RESOURCE_KEY, "keys"]
    keys = nodes[nodes["kind"] != "group"].sort_values(names)
    rank = pd.Series(np.arange(len(keys)), index=keys.index)
    into = edges[edges["source"].isin(keys.index)]
    marks = mixed(rank.loc[into["source"]].to_numpy(np.int64).astype(np.uint64))
    missed = into.assign(missed=marks).groupby("target")["missed"].sum()
    groups = nodes[nodes["kind"] == "group"]
    groups = groups.assign(missed=missed.reindex(groups.index, fill_value=0))
    groups = groups.sort_values([*RESOURCE_KEY, "missed"])
    return np.concatenate([keys.index.to_numpy(), groups.index.to_numpy()]).astype(np.int64)


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
