"""Choke points: what all paths from the roots to a key lead through (its dominators).

With every dependency required, a resource is released by one key's arrival just when every path to
it leads through that key, so what an arrival unlocks is a subtree of the dominator tree. The graph
without its cycles has no need of a general algorithm: what a resource hangs from is the lowest
common ancestor of what it misses.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from reach_analytics.measures._graph.model import PendingGraph
from reach_analytics.measures._graph.topological_levels import by_level
from reach_analytics.measures._shared.arrays import Flags, Ints, distinct

_EDGES = 2_000_000  # followed up the tree at once


@dataclass(frozen=True)
class Dominators:
    """The dominator tree of the keys that something waits for.

    It hangs from an extra node above all roots, all members of cycles, and all keys that several
    resources bring. A resource hangs from the lowest common ancestor of the keys it misses, and
    with it the key it brings; keys that arrive by themselves are no condition. Only keys that
    something waits for are nodes of their own: a resource counts where it hangs.

    Attributes
    ----------
    graph : PendingGraph
    tree : Tree
        Of nodes, which are numbered in the order of their keys.
    waited : flags
        The keys that are nodes.
    hangs, outside : flags
        Resources that bring a node which hangs from another; other resources that a delivery
        frees.
    arrived : flags
        The keys that arrive by themselves.
    """

    graph: PendingGraph
    tree: Tree
    waited: Flags
    hangs: Flags
    outside: Flags
    arrived: Flags

    @classmethod
    def of(cls, graph: PendingGraph) -> Dominators:
        """The tree of a graph."""
        keys, ready = graph.key_count, graph.ready
        arrived = np.zeros(keys, bool)
        arrived[graph.brings[ready]] = True
        on_top = graph.on_cycle[:keys] | arrived | (graph.producers != 1)
        below = ~graph.on_cycle[keys:] & ~ready
        hangs = below & graph.inner & ~on_top[graph.brings]
        waited = graph.direct > 0
        tree = Tree(int(waited.sum()))
        found = cls(graph, tree, waited, hangs, below & ~hangs, arrived)
        edges = found.edges_of(hangs)
        source, target = graph.edge_key[edges], graph.brings[graph.edge_resource[edges]]
        node = found.node
        for sources, starts, targets in by_level(tree.size, node[source], node[target]):
            tree.hang(targets, tree.common(sources, starts))
        return found

    @property
    def node(self) -> Ints:
        """The node of each key that is one."""
        return np.asarray(np.cumsum(self.waited) - 1, np.int64)

    def edges_of(self, resources: Flags) -> Ints:
        """The edges that are a condition for these resources."""
        graph = self.graph
        condition = ~self.arrived[graph.edge_key]
        return np.flatnonzero(condition & resources[graph.edge_resource])

    def above(self) -> Ints:
        """For each key the nearest that all paths to it lead through; -1 if there is none."""
        keys = np.append(np.flatnonzero(self.waited), -1)
        above = np.full(self.graph.key_count, -1, np.int64)
        above[self.waited] = keys[self.tree.up[0][: self.tree.size]]
        return above

    def below(self, weight: Ints) -> Ints:
        """For each key, the weight of the resources in its subtree."""
        graph, node, tree = self.graph, self.node, self.tree
        own = np.zeros(tree.size + 1, np.int64)
        own[node[graph.brings[self.hangs]]] = weight[self.hangs]
        counted_at = own.copy()
        edges = self.edges_of(self.outside)
        for some in _by_resource(graph.edge_resource[edges]):
            resource = graph.edge_resource[edges[some]]
            starts = np.flatnonzero(np.diff(resource, prepend=-1))
            top = tree.common(node[graph.edge_key[edges[some]]], starts)
            np.add.at(counted_at, top, weight[resource[starts]])
        counts = np.zeros(graph.key_count, np.int64)
        counts[self.waited] = tree.totals(counted_at) - own[: tree.size]
        return counts


def _by_resource(resource: Ints) -> Iterator[slice]:
    """Slices of edges, none of which parts a resource's."""
    starts = np.flatnonzero(np.diff(resource, prepend=-1))
    cuts = starts[np.searchsorted(starts, np.arange(0, len(resource), _EDGES))[1:] - 1]
    ends = distinct(np.append(cuts, len(resource)))
    for begin, end in zip(np.append(0, ends[:-1]), ends, strict=True):
        yield slice(int(begin), int(end))


class Tree:
    """A tree that grows downwards from node ``size``; lowest common ancestors by binary lifting."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.depth = np.ones(size + 1, np.int64)
        self.depth[size] = 0
        self.up = [np.full(size + 1, size, np.int64)]  # up[j][v]: the ancestor 2**j above v

    def hang(self, nodes: Ints, parents: Ints) -> None:
        """Put nodes below parents that hang already."""
        self.depth[nodes] = self.depth[parents] + 1
        while 2 ** len(self.up) <= self.depth[nodes].max(initial=0):
            self.up.append(self.up[-1][self.up[-1]])
        above = parents
        for ancestors in self.up:
            ancestors[nodes] = above
            above = ancestors[above]

    def common(self, nodes: Ints, starts: Ints) -> Ints:
        """The lowest common ancestor of each run of nodes; runs begin at ``starts``."""
        lengths = np.diff(starts, append=len(nodes))
        while lengths.max(initial=1) > 1:
            # Pair the members of each run, first with second and so on; an odd last one stays.
            place = np.arange(len(nodes)) - np.repeat(starts, lengths)
            left = np.flatnonzero(place % 2 == 0)
            paired = (place[left] + 1) < np.repeat(lengths, lengths)[left]
            merged = nodes[left]
            merged[paired] = self._ancestor(nodes[left[paired]], nodes[left[paired] + 1])
            nodes, lengths = merged, (lengths + 1) // 2
            starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        return nodes

    def _ancestor(self, one: Ints, other: Ints) -> Ints:
        deeper = self.depth[one] >= self.depth[other]
        low, high = np.where(deeper, one, other), np.where(deeper, other, one)
        gap = self.depth[low] - self.depth[high]
        for j, ancestors in enumerate(self.up):
            low = np.where((gap >> j) & 1, ancestors[low], low)
        for ancestors in reversed(self.up):
            apart = ancestors[low] != ancestors[high]
            low = np.where(apart, ancestors[low], low)
            high = np.where(apart, ancestors[high], high)
        return np.where(low == high, low, self.up[0][low])

    def totals(self, weights: Ints) -> Ints:
        """Sum of the weights in the subtree of each node but the topmost, itself included."""
        totals = weights.copy()
        order = np.argsort(-self.depth[: self.size], kind="stable")
        cuts = np.flatnonzero(np.diff(self.depth[order])) + 1
        for nodes in np.split(order, cuts):
            np.add.at(totals, self.up[0][nodes], totals[nodes])
        return totals[: self.size]
