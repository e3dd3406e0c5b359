"""How far a missing key reaches: what it blocks, and what its arrival alone would unlock.

``blocked`` counts what is reachable. It is exact for graphs where few keys have chains behind them,
by spreading sets of keys along the graph as bits, and for the keys that block most; for the others
of a large graph it is an estimate from sketches, since no near-linear exact method is known.

``unlock`` is always exact. It counts subtrees of the dominator tree: with every dependency
required, a resource is released by one key's arrival just when every path to it leads through that
key. Where that does not hold (keys on a cycle, and keys upstream of one that two pending resources
bring) the closure is followed key by key.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from reach_analytics.measures.clauses import (
    Clauses,
    Flags,
    Ints,
    Propagation,
    adjacency,
    components,
)

_WORDS = 8  # of 64 bits, spread at once
_AT_ONCE = 64 * _WORDS
_EXACT_KEYS = 4 * _AT_ONCE  # up to so many keys with chains are all counted exactly
_REGISTERS = 128

BLOCKED_ERROR = 1.04 / _REGISTERS**0.5
"""Standard error of an estimated ``blocked``, as a fraction of it (Flajolet et al. 2007)."""


def blocked(clauses: Clauses) -> tuple[Ints, Flags]:
    """For each key, how many resources wait for it, directly or in a chain; and whether exactly.

    Parts of the graph that do not touch each other do not influence each other's exactness.
    """
    counts, exact = clauses.direct.copy(), np.ones(clauses.key_count, bool)
    deep = np.flatnonzero(_has_grandchildren(clauses))
    if not len(deep):
        return counts, exact
    graph = _Condensed(clauses)
    part = graph.part_of[graph.node_of[deep]]
    crowded = np.bincount(part)[part] > _EXACT_KEYS
    if crowded.any():
        some = deep[crowded]
        rough = np.maximum(graph.estimate(some), clauses.direct[some])
        counts[some], exact[some] = np.minimum(rough, clauses.resource_count), False
    place = _place_within(part, -counts[deep])
    wanted = ~crowded | (place < _AT_ONCE)
    for turn in range(int(place[wanted].max()) // _AT_ONCE + 1):
        now = wanted & (place // _AT_ONCE == turn)
        some = deep[now]
        counts[some], exact[some] = graph.count(some, place[now] % _AT_ONCE), True
    return counts, exact


def _place_within(part: Ints, size: Ints) -> Ints:
    """The place of each member within its part, by ``size``, from 0."""
    order = np.lexsort((size, part))
    starts = np.flatnonzero(np.diff(part[order], prepend=-1))
    place = np.empty(len(part), np.int64)
    place[order] = _ranges(np.zeros_like(starts), np.diff(starts, append=len(part)))
    return place


class _Condensed:
    """The graph with each cycle as one node."""

    def __init__(self, clauses: Clauses) -> None:
        self.node_of = clauses.cycle_of
        self.size = int(self.node_of.max()) + 1
        source, target = (self.node_of[ends] for ends in clauses.edges)
        between = source != target
        self.source, self.target = source[between], target[between]
        self.of_resource = self.node_of[clauses.key_count :]
        self.resources = clauses.resources

    def count(self, keys: Ints, bit: Ints) -> Ints:
        """How many resources each key reaches. Each key is given a bit that it shares with no
        other key of its part of the graph."""
        bits = self._spread(self.node_of[keys], bit)
        reached = np.flatnonzero((self._weight > 0) & bits.any(axis=1))
        reached = reached[np.argsort(self.part_of[reached], kind="stable")]
        parts, row = np.unique(self.part_of[reached], return_inverse=True)
        totals = np.zeros((len(parts), 64 * bits.shape[1]), np.int64)
        for start in range(0, len(reached), 16_384):
            some, into = reached[start : start + 16_384], row[start : start + 16_384]
            flags = np.unpackbits(_little(bits[some]), axis=1, bitorder="little")
            starts = np.flatnonzero(np.diff(into, prepend=-1))
            counted = flags * self._weight[some, None]
            totals[into[starts]] += np.add.reduceat(counted, starts, axis=0)
        own = np.searchsorted(parts, self.part_of[self.node_of[keys]])
        return totals[own, bit]

    def _spread(self, nodes: Ints, bit: Ints) -> npt.NDArray[np.uint64]:
        """For each node, the bits of the given nodes from which it can be reached."""
        bits = np.zeros((self.size, int(bit.max()) // 64 + 1), np.uint64)
        np.bitwise_or.at(bits, (nodes, bit // 64), np.uint64(1) << (bit % 64).astype(np.uint64))
        for sources, starts, targets in self._forward:
            bits[targets] |= np.bitwise_or.reduceat(bits[sources], starts, axis=0)
        return bits

    def estimate(self, keys: Ints) -> Ints:
        """About how many resources each key reaches: HyperLogLog sketches, merged up the graph."""
        bucket, rank = _sketched(_hashes(self.resources))
        sketch = np.zeros((self.size, _REGISTERS), np.uint8)
        np.maximum.at(sketch, (self.of_resource, bucket), rank)
        for heads, starts, tails in _by_level(self.size, self.target, self.source):
            below = np.maximum.reduceat(sketch[heads], starts, axis=0)
            sketch[tails] = np.maximum(sketch[tails], below)
        return _cardinality(sketch[self.node_of[keys]])

    @cached_property
    def part_of(self) -> Ints:
        """For each node, its weakly connected part of the graph."""
        return components(self.source, self.target, self.size, strong=False)

    @cached_property
    def _weight(self) -> Ints:
        """Resources in each node."""
        return np.bincount(self.of_resource, minlength=self.size)

    @cached_property
    def _forward(self) -> list[tuple[Ints, Ints, Ints]]:
        return list(_by_level(self.size, self.source, self.target))


def _hashes(resources: pd.DataFrame) -> npt.NDArray[np.uint64]:
    """A stable hash of each resource's identity, so that row order and run do not matter."""
    identity = resources[["tenant_id", "batch_id", "pending_id", "resource_external_id"]]
    mixed = np.asarray(pd.util.hash_pandas_object(identity, index=False), np.uint64)
    # pandas' combined hash has uneven low bits; the finisher of splitmix64 evens them.
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = np.bitwise_xor(mixed, mixed >> np.uint64(shift)) * np.uint64(factor)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)))


def _sketched(hashes: npt.NDArray[np.uint64]) -> tuple[Ints, npt.NDArray[np.uint8]]:
    """(register, rank) of each hash: the rank is the place of the first one-bit of the rest."""
    bucket = (hashes % np.uint64(_REGISTERS)).astype(np.int64)
    rest = hashes >> np.uint64(_REGISTERS.bit_length() - 1)
    lowest = (rest & (~rest + np.uint64(1))).astype(float)
    rank = np.where(rest == 0, 57, np.log2(np.maximum(lowest, 1)) + 1)
    return bucket, rank.astype(np.uint8)


def _cardinality(sketch: npt.NDArray[np.uint8]) -> Ints:
    """The size that each sketch stands for, with linear counting for small ones."""
    size = sketch.shape[1]
    raw = 0.7213 / (1 + 1.079 / size) * size**2 / np.exp2(-sketch.astype(float)).sum(axis=1)
    empty = (sketch == 0).sum(axis=1)
    small = (raw <= 2.5 * size) & (empty > 0)
    linear = size * np.log(size / np.maximum(empty, 1))
    return np.asarray(np.where(small, linear, raw).round(), np.int64)


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
    return np.asarray(np.arange(int(lengths.sum())) + shift)


def _little(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint8]:
    return words.astype("<u8", copy=False).view(np.uint8).reshape(len(words), -1)


def unlock(clauses: Clauses) -> Ints:
    """For each key, how many resources its arrival alone would release, chains included.

    What is released without any delivery does not count.
    """
    merged, weight = clauses.merged()
    counts = _dominated(merged, weight)
    special = _upstream_of_alternatives(merged) | merged.on_cycle[: merged.key_count]
    keys = np.flatnonzero(special & (merged.direct > 0))
    if len(keys):
        # Keys that bring each other one by one unlock the same, so one of each set is followed.
        together = _mutual(merged)[keys]
        _, first, back = np.unique(together, return_index=True, return_inverse=True)
        follow = Propagation(merged, weight)
        found = np.array([follow.released_by(int(key)) for key in keys[first]])
        counts[keys] = found[back]
    return counts


def _mutual(clauses: Clauses) -> Ints:
    """Equal numbers for keys each of which, by resources that miss nothing else, brings the
    others."""
    only = clauses.needs[clauses.edge_resource] == 1
    brought = clauses.brings[clauses.edge_resource[only]]
    return components(clauses.edge_key[only], brought, clauses.key_count, strong=True)


def _upstream_of_alternatives(clauses: Clauses) -> Flags:
    """Keys from which a key can be reached that more than one pending resource would bring."""
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
    graph = adjacency(tails, heads, size + 1)
    found = breadth_first_order(graph, size, return_predecessors=False)
    upstream[found[found < clauses.key_count]] = True
    return upstream


def _dominated(clauses: Clauses, weight: Ints) -> Ints:
    """Resources, by weight, in each key's subtree of the dominator tree.

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
    counted = np.concatenate([np.zeros(keys, np.int64), np.where(clauses.ready, 0, weight)])
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
