"""An acyclic graph, level by level."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from reach_analytics.measures._shared.arrays import Ints, counted, grouped, ranges


def by_level(size: int, source: Ints, target: Ints) -> Iterator[tuple[Ints, Ints, Ints]]:
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
    offsets, edges = grouped(source, size)
    heads = target[edges]
    level = np.zeros(size, np.int64)
    front, depth = np.flatnonzero(degree == 0), 0
    while len(front):
        level[front] = depth
        touched, times = counted(heads[ranges(offsets[front], offsets[front + 1])], size)
        degree[touched] -= times
        front, depth = touched[degree[touched] == 0], depth + 1
    return level
