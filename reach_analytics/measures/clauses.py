"""Pending resources and what they miss, as a graph of numbers that the measures share.

Each pending resource is a Horn clause: once all its missing dependencies are there, it is released,
and its own key is there for others. Two pending resources with one key make that key an OR: either
brings it. The graph has a node for each key and each resource, and edges key → resource ("waits
for") and resource → key ("brings"). Nothing crosses tenants, since a key holds its tenant.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from reach_analytics.columns import DEPENDENCIES, PENDING, as_utc

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_KEY = ["tenant_id", "schema_definition_id", "external_id"]
_RESOURCE_KEY = ["tenant_id", "schema_definition_id", "resource_external_id"]
_MISSING_KEY = ["tenant_id", "missing_schema_definition_id", "missing_external_id"]
_RESOURCE = ["tenant_id", "batch_id", "pending_id", *_RESOURCE_KEY[1:]]
_SHOWN = [*_RESOURCE, "schema_name", "expires_at"]
# The column that tells most rows apart goes first: then the others need no numbers of their own.
_APART = ["pending_id", "resource_external_id", "batch_id", "tenant_id", "schema_definition_id"]
_KEY_APART = _KEY[::-1]


@dataclass(frozen=True)
class Clauses:
    """The graph of one moment.

    Attributes
    ----------
    keys : pandas.DataFrame
        One row per key: tenant_id, schema_definition_id, external_id, schema_name.
    resources : pandas.DataFrame
        One row per pending resource, with the identifying columns, schema_name and expires_at.
    edge_key, edge_resource : int arrays
        The distinct (missing key, waiting resource) pairs, as row numbers of the above; ordered
        by resource, then key.
    brings : int array
        For each resource, its own key.
    """

    keys: pd.DataFrame
    resources: pd.DataFrame
    edge_key: Ints
    edge_resource: Ints
    brings: Ints

    @property
    def key_count(self) -> int:
        return len(self.keys)

    @property
    def resource_count(self) -> int:
        return len(self.resources)

    @cached_property
    def needs(self) -> Ints:
        """How many keys each resource misses."""
        return np.bincount(self.edge_resource, minlength=self.resource_count)

    @cached_property
    def producers(self) -> Ints:
        """How many pending resources would bring each key."""
        return np.bincount(self.brings, minlength=self.key_count)

    @cached_property
    def direct(self) -> Ints:
        """How many pending resources name each key as missing."""
        return np.bincount(self.edge_key, minlength=self.key_count)

    @cached_property
    def is_root(self) -> Flags:
        """Keys that something misses and nothing pending would bring."""
        return np.asarray((self.producers == 0) & (self.direct > 0))

    @cached_property
    def dependents(self) -> tuple[Ints, Ints]:
        """Resources that miss each key, as (offsets, rows): those of key k are
        ``rows[offsets[k]:offsets[k + 1]]``."""
        offsets, edges = grouped(self.edge_key, self.key_count)
        return offsets, self.edge_resource[edges]

    @cached_property
    def inner(self) -> Flags:
        """Resources that bring a key which others wait for."""
        return np.asarray(self.direct[self.brings] > 0)

    @cached_property
    def key_edges(self) -> tuple[Ints, Ints]:
        """The keys that inner resources miss and the ones that they bring, as (sources, targets):
        chains of more than one link lead along these only."""
        inner = self.inner[self.edge_resource]
        return self.edge_key[inner], self.brings[self.edge_resource[inner]]

    def closure(self, delivered: Iterable[int], done: Iterable[int] = ()) -> Flags:
        """Which resources are released once these keys are there and these resources are done.

        Unit propagation: each edge is touched at most once (Dowling and Gallier 1984). Resources
        that miss nothing are released in any case.
        """
        unmet, there = self.needs.copy(), np.zeros(self.key_count, bool)
        released: Flags = np.asarray(unmet == 0)
        released[_ints(done)] = True
        there[self.brings[released]] = True
        there[_ints(delivered)] = True
        arriving = np.flatnonzero(there)
        while len(arriving):
            offsets, rows = self.dependents
            waiting = rows[ranges(offsets[arriving], offsets[arriving + 1])]
            touched, times = counted(waiting, self.resource_count)
            unmet[touched] -= times
            new = touched[(unmet[touched] == 0) & ~released[touched]]
            released[new] = True
            arriving = distinct(self.brings[new])
            arriving = arriving[~there[arriving]]
            there[arriving] = True
        return released

    def merged(self) -> tuple[Clauses, Ints]:
        """The graph with resources of one key that miss the same as one, and how many each was.

        An upload sent twice is then no alternative to itself. Where nothing waits for the key it
        makes no difference, and all are kept. Nothing is told of the resources but their edges.
        """
        stands_for = np.arange(self.resource_count)
        several = np.flatnonzero((self.producers[self.brings] > 1) & self.inner)
        if len(several):
            same = self.brings[several] * len(several) + self.missed_by(several)
            _, first, back = np.unique(same, return_index=True, return_inverse=True)
            stands_for[several] = several[first][back]
        weight = np.bincount(stands_for, minlength=self.resource_count)
        if weight.all():
            return self, weight
        row = np.cumsum(weight > 0) - 1
        kept = weight[self.edge_resource] > 0
        graph = Clauses(
            keys=self.keys,
            resources=pd.DataFrame(index=range(int(row[-1]) + 1)),
            edge_key=self.edge_key[kept],
            edge_resource=row[self.edge_resource[kept]],
            brings=self.brings[weight > 0],
        )
        return graph, weight[weight > 0]

    def missed_by(self, resources: Ints) -> Ints:
        """Equal numbers for those of these resources that miss the same keys."""
        offsets = offsets_of(self.needs)
        edges = ranges(offsets[resources], offsets[resources + 1])
        return alike(offsets_of(self.needs[resources]), self.edge_key[edges])

    @cached_property
    def place(self) -> Ints:
        """The place of each key by name, so that the order of rows decides no tie."""
        return np.argsort(np.asarray(self.keys.sort_values(_KEY).index, np.int64))

    @cached_property
    def ready(self) -> Flags:
        """Resources that are released without anything being delivered."""
        return self.closure([])

    @cached_property
    def tainted(self) -> Flags:
        """Resources that no delivery of roots releases: deadlocks, and what waits for them."""
        return ~self.closure(np.flatnonzero(self.is_root))

    @cached_property
    def cycle_of(self) -> Ints:
        """For each key, its strong component among those that wait for each other."""
        return components(*self.key_edges, self.key_count)

    @cached_property
    def on_cycle(self) -> Flags:
        """Nodes (keys, then resources) that wait for themselves through others."""
        source, target = self.cycle_of[self.edge_key], self.cycle_of[self.brings]
        back = np.flatnonzero(source == target[self.edge_resource])
        flags = np.zeros(self.key_count + self.resource_count, bool)
        flags[self.edge_key[back]] = True
        flags[self.key_count + self.edge_resource[back]] = True
        return flags

    @cached_property
    def edges(self) -> tuple[Ints, Ints]:
        """All edges, key → resource → key, as (sources, targets) among keys, then resources."""
        resources = np.arange(self.resource_count) + self.key_count
        source = np.concatenate([self.edge_key, resources])
        target = np.concatenate([self.edge_resource + self.key_count, self.brings])
        return source, target


def alike(offsets: Ints, members: Ints) -> Ints:
    """Equal numbers for equal lists; the i-th is ``members[offsets[i]:offsets[i + 1]]``, sorted.

    Lists are told apart by sums of hashes. Each is then compared with the first of its number, and
    should two different ones ever meet, all is done again with other hashes.
    """
    lengths = np.diff(offsets)
    for salt in count(1):
        hashes = mixed(members.astype(np.uint64) + np.uint64(salt << 40))
        sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(hashes, dtype=np.uint64)])
        order = np.argsort(marks := np.diff(sums[offsets]), kind="stable")
        new = np.diff(marks[order], prepend=~marks[order[:1]]) != 0
        number = np.empty(len(lengths), np.int64)
        number[order] = np.cumsum(new) - 1
        first = order[new][number]
        later = np.flatnonzero(first != np.arange(len(first)))
        first = first[later]
        if np.array_equal(lengths[later], lengths[first]) and np.array_equal(
            members[ranges(offsets[later], offsets[later + 1])],
            members[ranges(offsets[first], offsets[first + 1])],
        ):
            return number
    raise AssertionError("unreachable")


def mixed(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Whole numbers, each scattered over all 64 bits: the finisher of splitmix64."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        words = np.bitwise_xor(words, words >> np.uint64(shift)) * np.uint64(factor)
    return np.asarray(words ^ (words >> np.uint64(31)))


def read_clauses(dependencies: pd.DataFrame, pending: pd.DataFrame | None, caller: str) -> Clauses:
    """The graph of a `dependencies` frame.

    ``pending`` adds resources that miss nothing; without it they are unknown. Rows that say the
    same thing twice count once.
    """
    DEPENDENCIES.require(dependencies, [*_SHOWN, *_MISSING_KEY, "missing_schema_name"], caller)
    frames = [dependencies[_SHOWN]]
    if pending is not None:
        PENDING.require(pending, _SHOWN, caller)
        frames.append(pending[_SHOWN])
    rows = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]
    resource, first = _number(rows, _APART)
    resources = rows.iloc[first].reset_index(drop=True)
    resources = resources.assign(expires_at=as_utc(resources["expires_at"]))
    key, keys = _keys(dependencies, resources)
    size, width = len(dependencies), max(1, len(keys))
    pair = distinct(resource[:size] * width + key[:size])
    return Clauses(
        keys=keys,
        resources=resources,
        edge_key=pair % width,
        edge_resource=pair // width,
        brings=key[size:].copy(),
    )


def _keys(dependencies: pd.DataFrame, resources: pd.DataFrame) -> tuple[Ints, pd.DataFrame]:
    """Key numbers of the missing dependencies, then of the resources; and the keys."""
    missing = dependencies[[*_MISSING_KEY, "missing_schema_name"]]
    own = resources[[*_RESOURCE_KEY, "schema_name"]]
    names = [*_KEY, "schema_name"]
    both = [missing.set_axis(names, axis=1), own.set_axis(names, axis=1)]
    rows = pd.concat(both, ignore_index=True)
    number, first = _number(rows, _KEY_APART)
    # The name of a key is the first one that is not null.
    unnamed = rows["schema_name"].isna().to_numpy()
    named = first.copy()
    other = np.flatnonzero(unnamed[first][number] & ~unnamed)[::-1]
    named[number[other]] = other
    keys = rows[_KEY].iloc[first].reset_index(drop=True)
    return number, keys.assign(schema_name=rows["schema_name"].array.take(named))


def _number(rows: pd.DataFrame, columns: list[str]) -> tuple[Ints, Ints]:
    """A number for each distinct combination of columns (nulls are equal), and its first row.

    Numbers are given in the order of first appearance."""
    number = np.asarray(pd.factorize(rows[columns[0]], use_na_sentinel=False)[0], np.int64)
    first = _first_rows(number)
    for name in columns[1:]:
        values = rows[name].reset_index(drop=True)
        usual = pd.Series(values.array.take(first[number]))
        same = (values == usual).to_numpy(bool, na_value=False) | (values.isna() & usual.isna())
        if same.all():
            continue  # the column tells no rows apart that have one number
        codes, known = pd.factorize(values, use_na_sentinel=False)
        number = _by_appearance(number * len(known) + codes)
        first = _first_rows(number)
    return number, first


def _first_rows(number: Ints) -> Ints:
    """The first row of each number, where they are given in the order of first appearance."""
    return np.flatnonzero(np.diff(np.maximum.accumulate(number), prepend=-1))


def _by_appearance(values: Ints) -> Ints:
    """Numbers for the values, in the order of first appearance; by sorting, which for as many
    different ones as there may be here is faster than hashing."""
    order = np.argsort(values, kind="stable")
    new = np.diff(values[order], prepend=-1) != 0
    rank = np.empty(int(new.sum()), np.int64)
    rank[np.argsort(order[new])] = np.arange(len(rank))
    number = np.empty(len(values), np.int64)
    number[order] = rank[np.cumsum(new) - 1]
    return number


def parts(one: Ints, other: Ints, size: int) -> Ints:
    """For each node, the first one of its connected part of an undirected graph.

    Every part hangs itself below the first of those that it is linked with, again and again; far
    fewer links are left after each round (Shiloach and Vishkin 1982).
    """
    first = np.arange(size)
    while len(one):
        left, right = first[one], first[other]
        nearer = np.minimum(left, right)
        np.minimum.at(first, left, nearer)
        np.minimum.at(first, right, nearer)
        while not np.array_equal(above := np.asarray(first[first]), first):
            first = above
        apart = first[one] != first[other]
        one, other = one[apart], other[apart]
    return first


def components(source: Ints, target: Ints, size: int) -> Ints:
    """For each node of a graph, the number of its strongly connected component."""
    from scipy.sparse.csgraph import connected_components

    nodes = np.ones(size, bool)
    for _ in range(4):
        # A node without an edge in or without one out is a component of its own.
        leads, led = np.zeros(size, bool), np.zeros(size, bool)
        leads[source], led[target] = True, True
        nodes = leads & led
        kept = nodes[source] & nodes[target]
        if kept.all():
            break
        source, target = source[kept], target[kept]
    row, inside = np.cumsum(nodes) - 1, int(nodes.sum())
    graph = adjacency(row[source], row[target], inside)
    found, part = connected_components(graph, connection="strong")
    number = np.arange(found, found + size) - np.cumsum(nodes)
    number[nodes] = part
    return np.asarray(number, np.int64)


def reachable(source: Ints, target: Ints, size: int, starts: Ints) -> Flags:
    """The nodes to which a path leads from one of ``starts``, these included."""
    from scipy.sparse.csgraph import breadth_first_order

    # One extra node leads to all starts.
    tails = np.concatenate([source, np.full(len(starts), size)])
    graph = adjacency(tails, np.concatenate([target, starts]), size + 1)
    found = np.zeros(size + 1, bool)
    found[breadth_first_order(graph, size, return_predecessors=False)] = True
    return found[:size]


def adjacency(source: Ints, target: Ints, size: int) -> Any:
    """The graph as a sparse matrix. Of booleans, so that repeated edges cannot add up to zero."""
    from scipy.sparse import coo_array

    return coo_array((np.ones(len(source), bool), (source, target)), shape=(size, size)).tocsr()


def grouped(labels: Ints, size: int) -> tuple[Ints, Ints]:
    """Places by label, as (offsets, places): those of label i are, in ascending order,
    ``places[offsets[i]:offsets[i + 1]]``."""
    from scipy.sparse import csr_array

    # One entry a row, turned by columns: a counting sort, some times faster than argsort.
    ones, rows = np.ones(len(labels), bool), np.arange(len(labels) + 1)
    turned = csr_array((ones, labels, rows), shape=(len(labels), size)).tocsc()
    return turned.indptr.astype(np.int64), turned.indices.astype(np.int64)


def distinct(values: Ints) -> Ints:
    """The distinct values, sorted; for whole numbers faster than numpy's own, which hashes."""
    ordered = np.sort(values)
    return np.asarray(ordered[np.diff(ordered, prepend=ordered[:1] - 1) != 0])


def counted(values: Ints, size: int) -> tuple[Ints, Ints]:
    """The distinct values, all below ``size``, and how often each occurs."""
    if len(values) > size // 16:
        times = np.bincount(values, minlength=size)
        found = np.flatnonzero(times)
        return found, times[found]
    ordered = np.sort(values)
    starts = np.flatnonzero(np.diff(ordered, prepend=ordered[:1] - 1))
    return ordered[starts], np.diff(starts, append=len(ordered))


def ranges(starts: Ints, ends: Ints) -> Ints:
    """The whole numbers of all ranges, one range after the other."""
    lengths = ends - starts
    shift = np.repeat(starts - offsets_of(lengths)[:-1], lengths)
    return np.asarray(np.arange(len(shift)) + shift)


def offsets_of(counts: Ints) -> Ints:
    """Where each of several runs of these lengths begins, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(counts)])


def _ints(numbers: Iterable[int]) -> Ints:
    return np.fromiter(numbers, np.int64)
