"""Arrays of whole numbers, and graphs of them: grouping, counting, reaching.

Whole numbers are sorted here rather than hashed: for as many as occur that is faster.
"""

from __future__ import annotations

from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


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


def parts(one: Ints, other: Ints, size: int) -> Ints:
    """For each node, the first one of its connected part of an undirected graph.

    Every part is repeatedly attached to the first of those that it is linked with; far
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
