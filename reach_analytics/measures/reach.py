"""How far a missing key reaches: what it blocks, and what its arrival alone would unlock.

Both are exact. ``blocked`` counts what is reachable, by spreading sets of keys along the graph as
bits, 512 keys at a time. ``unlock`` counts subtrees of the dominator tree: with every dependency
required, a resource is released by one key's arrival just when every path to it leads through that
key. Where that does not hold (keys on a cycle, and keys upstream of one that two pending resources
bring) the closure is followed key by key.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from reach_analytics.measures.clauses import Clauses, Flags, Ints

_WORDS = 8  # of 64 bits, spread at once


def blocked(clauses: Clauses) -> Ints:
    """For each key, how many resources wait for it, directly or in a chain."""
    counts = clauses.direct.copy()
    deep = np.flatnonzero(_has_grandchildren(clauses))
    if not len(deep):
        return counts
    size = clauses.key_count + clauses.resource_count
    component = clauses.cycle_of
    source, target = (component[ends] for ends in clauses.edges)
    between = source != target
    steps = list(_by_level(int(component.max()) + 1, source[between], target[between]))
    of_resource = component[clauses.key_count : size]
    for start in range(0, len(deep), 64 * _WORDS):
        some = deep[start : start + 64 * _WORDS]
        counts[some] = _reached(component[some], steps, int(component.max()) + 1, of_resource)
    return counts


def _has_grandchildren(clauses: Clauses) -> Flags:
    """Keys whose dependents bring a key that something else waits for; others block just those."""
    brings_needed = clauses.direct[clauses.brings] > 0
    deep = np.zeros(clauses.key_count, bool)
    deep[clauses.edge_key[brings_needed[clauses.edge_resource]]] = True
    return deep


def _by_level(size: int, source: Ints, target: Ints) -> Iterator[tuple[Ints, Ints, Ints]]:
    """An acyclic graph's edges, level by level of their targets: (sources, starts, targets), where
    the sources of the i-th target begin at ``starts[i]``."""
    level = levels(size, source, target)
    order = np.lexsort((target, level[target]))
    source, target = source[order], target[order]
    cuts = np.flatnonzero(np.diff(level[target])) + 1
    for sources, targets in zip(np.split(source, cuts), np.split(target, cuts), strict=True):
        if len(targets):
            starts = np.flatnonzero(np.diff(targets, prepend=-1))
            yield sources, starts, targets[starts]


def levels(size: int, source: Ints, target: Ints) -> Ints:
    """Length of the longest path to each node of an acyclic graph."""
    degree = np.bincount(target, minlength=size)
    order = np.argsort(source, kind="stable")
    heads = target[order]
    offsets = np.concatenate([[0], np.cumsum(np.bincount(source, minlength=size))])
    level = np.zeros(size, np.int64)
    front, depth = np.flatnonzero(degree == 0), 0
    while len(front):
        level[front] = depth
        reached = heads[_ranges(offsets[front], offsets[front + 1])]
        touched, times = np.unique(reached, return_counts=True)
        degree[touched] -= times
        front, depth = touched[degree[touched] == 0], depth + 1
    return level


def _ranges(starts: Ints, ends: Ints) -> Ints:
    """The whole numbers of all ranges, one range after the other."""
    lengths = ends - starts
    shift = np.repeat(starts - np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths)
    return np.arange(int(lengths.sum())) + shift


def _reached(
    seeds: Ints, steps: list[tuple[Ints, Ints, Ints]], size: int, of_resource: Ints
) -> Ints:
    """For each seed node, how many resources lie in the nodes that can be reached from it."""
    bits = np.zeros((size, _WORDS), np.uint64)
    place = np.arange(len(seeds))
    np.bitwise_or.at(bits, (seeds, place // 64), np.uint64(1) << (place % 64).astype(np.uint64))
    for sources, starts, targets in steps:
        bits[targets] |= np.bitwise_or.reduceat(bits[sources], starts, axis=0)
    weight = np.bincount(of_resource, minlength=size)
    held = np.flatnonzero(weight)
    counts = np.zeros(64 * _WORDS, np.int64)
    for some in np.array_split(held, max(1, len(held) // 65_536)):
        flags = np.unpackbits(_little(bits[some]), axis=1, bitorder="little")
        counts += weight[some] @ flags
    return counts[: len(seeds)]


def _little(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint8]:
    return words.astype("<u8", copy=False).view(np.uint8).reshape(len(words), -1)


def unlock(clauses: Clauses) -> Ints:
    """For each key, how many resources its arrival alone would release, chains included.

    What is released without any delivery does not count.
    """
    counts = _dominated(clauses)
    special = _upstream_of_alternatives(clauses) | clauses.on_cycle[: clauses.key_count]
    already = int(clauses.ready.sum())
    for key in np.flatnonzero(special & (clauses.direct > 0)):
        counts[key] = int(clauses.closure([key]).sum()) - already
    return counts


def _upstream_of_alternatives(clauses: Clauses) -> Flags:
    """Keys from which a key can be reached that more than one pending resource would bring."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import breadth_first_order

    several = np.flatnonzero(clauses.producers > 1)
    upstream = np.zeros(clauses.key_count, bool)
    if not len(several):
        return upstream
    source, target = clauses.edges
    size = clauses.key_count + clauses.resource_count
    # One extra node leads to the producers of every such key, against the direction of the edges.
    bringing = clauses.key_count + np.flatnonzero(np.isin(clauses.brings, several))
    tails = np.concatenate([target, np.full(len(bringing), size)])
    heads = np.concatenate([source, bringing])
    graph = coo_array((np.ones(len(tails), np.int8), (tails, heads)), shape=(size + 1, size + 1))
    found = breadth_first_order(graph.tocsr(), size, return_predecessors=False)
    upstream[found[found < clauses.key_count]] = True
    return upstream


def _dominated(clauses: Clauses) -> Ints:
    """Resources in each key's subtree of the dominator tree.

    The tree hangs from an extra node above all roots, all members of cycles, and all keys that
    several resources bring. A key hangs from the resource that brings it, a resource from the
    lowest common ancestor of the keys it misses; keys that arrive by themselves are no condition.
    """
    keys, size = clauses.key_count, clauses.key_count + clauses.resource_count
    source, target = clauses.edges
    settled = np.zeros(size, bool)
    settled[keys:] = clauses.ready
    settled[clauses.brings[clauses.ready]] = True
    on_top = clauses.on_cycle | settled
    on_top[:keys] |= clauses.producers != 1
    condition = ~on_top[target] & ~settled[source]
    tree = _Tree(size)
    for sources, starts, targets in _by_level(size, source[condition], target[condition]):
        tree.hang(targets, tree.common(sources, starts))
    counted = np.concatenate([np.zeros(keys, np.int64), (~clauses.ready).astype(np.int64)])
    return tree.totals(counted)[:keys]


class _Tree:
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
        """Sum of the weights in each node's subtree, the node itself included."""
        totals = np.append(weights, 0)
        order = np.argsort(-self.depth[: self.size], kind="stable")
        cuts = np.flatnonzero(np.diff(self.depth[order])) + 1
        for nodes in np.split(order, cuts):
            np.add.at(totals, self.up[0][nodes], totals[nodes])
        return totals[: self.size]
