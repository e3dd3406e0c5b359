"""Which roots have to arrive before each pending resource is free."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from reach_analytics.measures._graph.model import PendingGraph
from reach_analytics.measures._planning.sidney import Signatures
from reach_analytics.measures._shared.arrays import Ints, counted, distinct, offsets_of, ranges

_PAIRS = 8_000_000  # of resources and roots, brought together at once


def root_signatures(graph: PendingGraph, named: Ints, max_roots: int) -> tuple[Signatures, int]:
    """For the pending resources, the roots whose arrival frees each, as places in ``named``; alike
    ones counted together. And how many were left out since they need too many.

    Keys arrive in rounds, in each round in the order of a queue: of several resources that bring
    one key, the one that is freed first decides its roots.
    """
    rank, roots = _ranked(graph, named)
    sets = _RootSets(graph, named, max_roots)
    offsets, rows = inner_dependents(graph, rank)
    unmet, present = graph.needs.copy(), np.zeros(graph.key_count, bool)
    last = np.zeros(graph.resource_count, np.int64)
    ready = np.flatnonzero(unmet == 0)
    brought = graph.brings[ready[np.argsort(rank[ready])]]
    front = np.concatenate([brought[_firsts(brought)], roots])
    found = []
    while len(front):
        present[front] = True
        waiting = rows[ranges(offsets[front], offsets[front + 1])]
        last[waiting] = np.arange(len(waiting))
        touched, times = counted(waiting, graph.resource_count)
        unmet[touched] -= times
        freed = touched[unmet[touched] == 0]
        freed = freed[np.argsort(last[freed])]
        found.append(sets.united(freed))
        brought = graph.brings[freed]
        first = _firsts(brought)
        first = first[~present[brought[first]]]
        front = brought[first]
        sets.put(front, first, *found[-1])
    lost = np.bincount(graph.edge_resource[~present[graph.edge_key]], minlength=len(unmet)) > 0
    found.append(sets.united(np.flatnonzero(~graph.inner & ~lost & (graph.needs > 0))))
    lengths = np.concatenate([part[0] for part in found])
    members = np.concatenate([part[1] for part in found])
    kept = lengths[lengths >= 0]
    each = Signatures(offsets_of(kept), members, np.ones_like(kept))
    return Signatures.merged(each), len(lengths) - len(kept)


def _ranked(graph: PendingGraph, named: Ints) -> tuple[Ints, Ints]:
    """The place of each resource, and the roots in order, that do not depend on the order of rows:
    where alternatives are, it would decide between them."""
    if not (graph.producers[graph.brings[graph.inner]] > 1).any():
        return np.arange(graph.resource_count), named
    identity = graph.names.resources()[["tenant_id", "batch_id", "pending_id"]]
    table = identity.assign(ready=graph.needs == 0)
    order = table.sort_values(["ready", "tenant_id", "batch_id", "pending_id"]).index
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    first = np.full(graph.key_count, len(order))
    np.minimum.at(first, graph.edge_key, rank[graph.edge_resource])
    return rank, named[np.argsort(first[named], kind="stable")]


def inner_dependents(graph: PendingGraph, rank: Ints) -> tuple[Ints, Ints]:
    """As ``PendingGraph.dependents``, only those that bring what others wait for, by rank."""
    edges = np.flatnonzero(graph.inner[graph.edge_resource])
    key, resource = graph.edge_key[edges], graph.edge_resource[edges]
    order = np.lexsort((rank[resource], key))
    return offsets_of(np.bincount(key, minlength=graph.key_count)), resource[order]


def _firsts(values: Ints) -> Ints:
    """Where each distinct value appears first, in order."""
    return np.sort(np.unique(values, return_index=True)[1])


class _RootSets:
    """Of the keys that have arrived, the roots that each takes: for key k the ``length[k]`` members
    from ``start[k]`` on, or -1 where these are more than ``most``."""

    def __init__(self, graph: PendingGraph, named: Ints, most: int) -> None:
        self.graph, self.most, self.width = graph, most, max(1, len(named))
        self.start = np.zeros(graph.key_count, np.int64)
        self.length = np.zeros(graph.key_count, np.int64)
        self.start[named], self.length[named] = np.arange(len(named)), 1
        self.members, self.used = np.arange(len(named)), len(named)
        self._edges = offsets_of(graph.needs)

    def united(self, resources: Ints) -> tuple[Ints, Ints]:
        """The roots of all keys that each resource misses: how many (-1 for too many), and which,
        one resource after the other."""
        starts, ends = self._edges[resources], self._edges[resources + 1]
        key = self.graph.edge_key[ranges(starts, ends)]
        bounds = offsets_of(ends - starts)
        cost = offsets_of(np.maximum(self.length[key], 0))[bounds]
        cuts = np.searchsorted(cost, np.arange(_PAIRS, cost[-1], _PAIRS))
        counts, members = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for first, end in pairwise(distinct(np.array([0, *cuts, len(resources)])).tolist()):
            found = self._united(key[bounds[first] : bounds[end]], np.diff(bounds[first : end + 1]))
            counts.append(found[0])
            members.append(found[1])
        return np.concatenate(counts), np.concatenate(members)

    def _united(self, key: Ints, missed: Ints) -> tuple[Ints, Ints]:
        """The same for resources that miss so many keys each, these being the keys."""
        owner, length = np.repeat(np.arange(len(missed)), missed), self.length[key]
        too_many = np.bincount(owner[length < 0], minlength=len(missed)) > 0
        length = np.maximum(length, 0)
        root = self.members[ranges(self.start[key], self.start[key] + length)]
        pairs = distinct(np.repeat(owner, length) * self.width + root)
        owner = pairs // self.width
        counts = np.bincount(owner, minlength=len(missed))
        too_many |= counts > self.most
        return np.where(too_many, -1, counts), (pairs % self.width)[~too_many[owner]]

    def put(self, keys: Ints, rows: Ints, counts: Ints, members: Ints) -> None:
        """The keys arrive, with the roots of these rows of what `united` has found."""
        self.length[keys] = counts[rows]
        starts = offsets_of(np.maximum(counts, 0))
        added = members[ranges(starts[rows], starts[rows + 1])]
        self.start[keys] = self.used + offsets_of(np.maximum(counts[rows], 0))[:-1]
        if self.used + len(added) > len(self.members):
            self.members = np.resize(self.members, 2 * (self.used + len(added)))
        self.members[self.used : self.used + len(added)] = added
        self.used += len(added)
