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

from reach_analytics.measures._graph.dominators import Dominators
from reach_analytics.measures._graph.model import PendingGraph
from reach_analytics.measures._graph.topological_levels import by_level
from reach_analytics.measures._shared.arrays import (
    Flags,
    Ints,
    components,
    distinct,
    grouped,
    mixed,
    offsets_of,
    parts,
    ranges,
    reachable,
)

_WORDS = 8  # of 64 bits, spread at once
_AT_ONCE = 64 * _WORDS
_EXACT_KEYS = 4 * _AT_ONCE  # up to so many keys with chains are all counted exactly
_REGISTERS = 128
_ROWS = 16_384  # unpacked at once
_EDGES = 2_000_000  # followed up the tree at once

BLOCKED_ERROR = 1.04 / _REGISTERS**0.5
"""Standard error of an estimated ``blocked``, as a fraction of it (Flajolet et al. 2007)."""


def blocked(graph: PendingGraph) -> tuple[Ints, Flags]:
    """For each key, how many resources wait for it, directly or in a chain; and whether exactly.

    Parts of the graph that do not touch each other do not influence each other's exactness.
    """
    counts, exact = graph.direct.copy(), np.ones(graph.key_count, bool)
    # Keys whose dependents bring a key that something else waits for; others block just those.
    deep = distinct(graph.key_edges[0])
    if not len(deep):
        return counts, exact
    part_of = _parts(graph)
    edges, part = _Condensed(graph), part_of[deep]
    crowded = np.bincount(part)[part] > _EXACT_KEYS
    if crowded.any():
        some = deep[crowded]
        rough = np.maximum(edges.estimate(some), graph.direct[some])
        counts[some], exact[some] = np.minimum(rough, graph.resource_count), False
    place = _place_within(part, -counts[deep])
    wanted = ~crowded | (place < _AT_ONCE)
    for turn in range(int(place[wanted].max()) // _AT_ONCE + 1):
        now = wanted & (place // _AT_ONCE == turn)
        some = deep[now]
        counts[some], exact[some] = edges.count(some, place[now] % _AT_ONCE, part_of), True
    return counts, exact


def _parts(graph: PendingGraph) -> Ints:
    """For each key, its weakly connected part of the graph."""
    key, resource = graph.edge_key, graph.edge_resource
    starts = np.diff(resource, prepend=-1) != 0
    linked = np.flatnonzero(~starts)
    # What a resource brings matters where others wait for it.
    firsts = np.flatnonzero(starts & graph.inner[resource])
    source = np.concatenate([key[linked - 1], key[firsts]])
    target = np.concatenate([key[linked], graph.brings[resource[firsts]]])
    return parts(source, target, graph.key_count)


def _place_within(part: Ints, size: Ints) -> Ints:
    """The place of each member within its part, by ``size``, from 0."""
    order = np.lexsort((size, part))
    starts = np.flatnonzero(np.diff(part[order], prepend=-1))
    place = np.empty(len(part), np.int64)
    place[order] = ranges(np.zeros_like(starts), np.diff(starts, append=len(part)))
    return place


class _Condensed:
    """The keys that others wait for, each cycle of them as one node. What a node reaches are the
    resources that miss its keys, and what the nodes reach that these resources bring."""

    def __init__(self, graph: PendingGraph) -> None:
        self.graph = graph
        waited = np.flatnonzero(graph.direct > 0)
        _, number = np.unique(graph.cycle_of[waited], return_inverse=True)
        self.node_of = np.full(graph.key_count, -1, np.int64)
        self.node_of[waited] = number
        self.size = int(number.max()) + 1
        source, target = (self.node_of[ends] for ends in graph.key_edges)
        between = source != target
        self.source, self.target = source[between], target[between]

    def count(self, keys: Ints, bit: Ints, part_of: Ints) -> Ints:
        """How many resources each key reaches. Each key is given a bit that it shares with no
        other key of its part of the graph; a part's keys have the bits from 0 on."""
        bits = self._spread(self.node_of[keys], bit)
        order = np.lexsort((bit, part_of[keys]))
        known, starts = np.unique(part_of[keys[order]], return_index=True)
        ends = np.append(starts[1:], len(keys))
        totals = np.zeros(len(keys), np.int64)
        for part, rows in self._reached(bits, part_of):
            i = int(np.searchsorted(known, part))
            flags = np.unpackbits(_little(rows), axis=1, bitorder="little")
            totals[starts[i] : ends[i]] += flags.sum(axis=0, dtype=np.int64)[: ends[i] - starts[i]]
        found = np.empty(len(keys), np.int64)
        found[order] = totals
        return found

    def _reached(
        self, bits: npt.NDArray[np.uint64], part_of: Ints
    ) -> Iterator[tuple[int, npt.NDArray[np.uint64]]]:
        """The bits of resources that have any, some of one part at a time."""
        node = self.node_of[self.graph.edge_key]
        edges = np.flatnonzero(np.asarray(bits.any(axis=1))[node])
        starts = np.flatnonzero(np.diff(self.graph.edge_resource[edges], prepend=-1))
        ends = np.append(starts[1:], len(edges))
        part = part_of[self.graph.edge_key[edges[starts]]]
        order = np.argsort(part, kind="stable")
        for first in range(0, len(order), _ROWS):
            now = order[first : first + _ROWS]
            begins = offsets_of(ends[now] - starts[now])[:-1]
            nodes = node[edges[ranges(starts[now], ends[now])]]
            rows = np.bitwise_or.reduceat(bits[nodes], begins, axis=0)
            cuts = np.flatnonzero(np.diff(part[now])) + 1
            for some, members in zip(np.split(rows, cuts), np.split(part[now], cuts), strict=True):
                yield int(members[0]), some

    def _spread(self, nodes: Ints, bit: Ints) -> npt.NDArray[np.uint64]:
        """For each node, the bits of the given nodes from which it can be reached."""
        bits = np.zeros((self.size, int(bit.max()) // 64 + 1), np.uint64)
        np.bitwise_or.at(bits, (nodes, bit // 64), np.uint64(1) << (bit % 64).astype(np.uint64))
        for sources, starts, targets in self._forward:
            bits[targets] |= np.bitwise_or.reduceat(bits[sources], starts, axis=0)
        return bits

    @cached_property
    def _forward(self) -> list[tuple[Ints, Ints, Ints]]:
        return list(by_level(self.size, self.source, self.target))

    def estimate(self, keys: Ints) -> Ints:
        """About how many resources each key reaches: HyperLogLog sketches, merged up the graph."""
        graph = self.graph
        near = reachable(*graph.key_edges, graph.key_count, keys)
        edges = np.flatnonzero(near[graph.edge_key])
        resource = graph.edge_resource[edges]
        new = np.diff(resource, prepend=-1) != 0
        bucket, rank = _sketched(_hashes(graph, resource[new]))
        row = np.cumsum(new) - 1
        sketch = np.zeros((self.size, _REGISTERS), np.uint8)
        place = self.node_of[graph.edge_key[edges]] * _REGISTERS + bucket[row]
        np.maximum.at(sketch.reshape(-1), place, rank[row])
        for heads, starts, tails in by_level(self.size, self.target, self.source):
            below = np.maximum.reduceat(sketch[heads], starts, axis=0)
            sketch[tails] = np.maximum(sketch[tails], below)
        return _cardinality(sketch[self.node_of[keys]])


def _hashes(graph: PendingGraph, rows: Ints) -> npt.NDArray[np.uint64]:
    """A stable hash of each resource's identity, so that row order and run do not matter."""
    columns = ["tenant_id", "batch_id", "pending_id", "external_id"]
    found = np.empty(len(rows), np.uint64)
    for first in range(0, len(rows), _EDGES):
        some = rows[first : first + _EDGES]
        identity = graph.names.resources(some)[columns]
        found[first : first + _EDGES] = pd.util.hash_pandas_object(identity, index=False)
    return mixed(found)  # since pandas' combined hash has uneven low bits


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


def _little(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint8]:
    return words.astype("<u8", copy=False).view(np.uint8).reshape(len(words), -1)


def unlock(graph: PendingGraph) -> Ints:
    """For each key, how many resources its arrival alone would release, chains included.

    What is released without any delivery does not count.
    """
    merged, weight = graph.merged()
    counts = Dominators.of(merged).below(weight)
    special = _upstream_of_alternatives(merged) | merged.on_cycle[: merged.key_count]
    keys = np.flatnonzero(special & (merged.direct > 0))
    if len(keys):
        # Keys that bring each other one by one unlock the same, so one of each set is followed.
        together = _mutual(merged)[keys]
        _, first, back = np.unique(together, return_index=True, return_inverse=True)
        follow = _Propagation(merged, weight, keys[first])
        found = np.array([follow.released_by(int(key)) for key in keys[first]])
        counts[keys] = found[back]
    return counts


def _mutual(graph: PendingGraph) -> Ints:
    """Equal numbers for keys each of which, by resources that miss nothing else, brings the
    others."""
    only = (graph.needs[graph.edge_resource] == 1) & graph.inner[graph.edge_resource]
    brought = graph.brings[graph.edge_resource[only]]
    return components(graph.edge_key[only], brought, graph.key_count)


def _upstream_of_alternatives(graph: PendingGraph) -> Flags:
    """Keys from which a key can be reached that others wait for and that more than one pending
    resource would bring."""
    source, target = graph.key_edges
    starts = distinct(source[graph.producers[target] > 1])
    return reachable(target, source, graph.key_count, starts)


class _Propagation:
    """Follows what one key's arrival releases, each time from the same start: the state in
    which everything that needs no delivery is released. Each key costs only what it touches.

    Only keys in ``asked`` may be followed; nothing is held that they do not reach."""

    def __init__(self, graph: PendingGraph, weight: Ints, asked: Ints) -> None:
        present = np.zeros(graph.key_count, bool)
        present[graph.brings[graph.ready]] = True
        done = np.bincount(graph.edge_resource[present[graph.edge_key]], minlength=len(weight))
        near = reachable(*graph.key_edges, graph.key_count, asked)
        edges = np.flatnonzero(near[graph.edge_key])
        key, resource = graph.edge_key[edges], graph.edge_resource[edges]
        rows = self._number = distinct(resource)
        self._key = {int(k): i for i, k in enumerate(np.flatnonzero(near))}
        offsets, order = grouped((np.cumsum(near) - 1)[key], len(self._key))
        self._offsets = offsets.tolist()
        self._rows = np.searchsorted(rows, resource)[order].tolist()
        self._unmet = (graph.needs - done)[rows].tolist()
        self._released = graph.ready[rows].tolist()
        self._present = present[near].tolist()
        # Keys that nothing waits for are none of those near, and their arrival is no event.
        self._brings = [self._key.get(k, -1) for k in graph.brings[rows].tolist()]
        self._weight = weight[rows].tolist()

    def released_by(self, key: int) -> int:
        """The weight of what is released if ``key`` arrives."""
        return sum(self._weight[resource] for resource in self._released_rows(key))

    def frees_itself(self, key: int, owners: set[int]) -> bool:
        """Whether every resource that brings ``key``, by row, is released if it arrives."""
        return owners <= {int(self._number[row]) for row in self._released_rows(key)}

    def _released_rows(self, key: int) -> list[int]:
        start = self._key[key]
        if self._present[start]:
            return []
        rows, arrived, queue = [], {start, -1}, [start]
        met: dict[int, int] = {}
        while queue:
            arriving = queue.pop()
            for resource in self._rows[self._offsets[arriving] : self._offsets[arriving + 1]]:
                met[resource] = met.get(resource, 0) + 1
                if met[resource] != self._unmet[resource] or self._released[resource]:
                    continue
                rows.append(resource)
                brought = self._brings[resource]
                if brought not in arrived and not self._present[brought]:
                    arrived.add(brought)
                    queue.append(brought)
        return rows


def frees_itself(graph: PendingGraph) -> Flags:
    """For each key, whether all that would bring it is released if it arrives: only in a cycle."""
    found = np.zeros(graph.key_count, bool)
    keys = np.flatnonzero(graph.on_cycle[: graph.key_count] & (graph.direct > 0))
    if len(keys):
        offsets, order = grouped(graph.brings, graph.key_count)
        follow = _Propagation(graph, np.ones(graph.resource_count, np.int64), keys)
        for key in keys.tolist():
            owners = set(order[offsets[key] : offsets[key + 1]].tolist())
            found[key] = follow.frees_itself(key, owners)
    return found
