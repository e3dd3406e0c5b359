"""What a pending resource waits for in turn, down to what somebody has to deliver."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from reach_analytics.measures._graph.model import PendingGraph
from reach_analytics.measures._shared.arrays import (
    Flags,
    Ints,
    distinct,
    grouped,
    offsets_of,
    ranges,
    reachable,
)

__all__ = ["Trace", "circle", "waiting_for"]

_MOST = 64  # roots of which it is tried whether each is needed


@dataclass(frozen=True)
class Trace:
    """What some keys hang on.

    Attributes
    ----------
    graph : PendingGraph
    keys, distance : int arrays
        The keys that are waited for, each once, and how many steps away it is, from 1; the nearest
        first, those of one distance by name.
    """

    graph: PendingGraph
    keys: Ints
    distance: Ints

    @classmethod
    def of(cls, graph: PendingGraph, missed: Ints) -> Trace:
        """What these keys, and those that would bring them miss, and so on."""
        needs = offsets_of(graph.needs)
        offsets, producers = grouped(graph.brings, graph.key_count)
        seen = np.zeros(graph.key_count, bool)
        front, levels = distinct(missed), []
        while len(front):
            seen[front] = True
            levels.append(front[np.argsort(graph.place[front], kind="stable")])
            bring = producers[ranges(offsets[front], offsets[front + 1])]
            further = distinct(graph.edge_key[ranges(needs[bring], needs[bring + 1])])
            front = further[~seen[further]]
        keys = np.concatenate([np.zeros(0, np.int64), *levels])
        steps = np.repeat(np.arange(1, len(levels) + 1), [len(level) for level in levels])
        return cls(graph, keys, np.asarray(steps, np.int64))

    @cached_property
    def roots(self) -> Ints:
        """The keys that nothing pending would bring: somebody has to deliver them."""
        return self.keys[self.graph.is_root[self.keys]]

    @cached_property
    def stuck(self) -> Ints:
        """Of the keys those that wait for themselves, even if every root arrives."""
        graph = self.graph
        arrives = graph.is_root.copy()
        arrives[graph.brings[~graph.tainted]] = True
        return self.keys[graph.on_cycle[self.keys] & ~arrives[self.keys]]

    @cached_property
    def circle(self) -> Ints:
        """The keys of the first deadlock on the way, by name; empty if there is none."""
        return circle(self.graph, int(self.stuck[0])) if len(self.stuck) else self.stuck

    def enough(self, own: Ints) -> Ints:
        """Roots that free these resources together, none of them idle; all where none do.

        Only where a key may come in several ways is one of the roots ever idle.
        """
        graph, chosen = self.graph, self.roots
        free = graph.closure(chosen)[own].all()
        if not free or len(chosen) > _MOST or not (graph.producers[self.keys] > 1).any():
            return chosen
        for root in chosen[::-1].tolist():
            fewer = chosen[chosen != root]
            if graph.closure(fewer)[own].all():
                chosen = fewer
        return chosen

    def freed_by(self, roots: Ints) -> Flags:
        """Which resources are released once these are there, and not before."""
        return self.graph.closure(roots) & ~self.graph.ready


def circle(graph: PendingGraph, key: int) -> Ints:
    """The keys that wait for each other with this one."""
    own = np.flatnonzero(graph.cycle_of == graph.cycle_of[key])
    return own[np.argsort(graph.place[own], kind="stable")]


def waiting_for(graph: PendingGraph, key: int) -> Ints:
    """The resources that wait for a key, directly or in a chain."""
    source, target = graph.edges
    size = graph.key_count + graph.resource_count
    found = np.flatnonzero(reachable(source, target, size, np.array([key])))
    return found[found >= graph.key_count] - graph.key_count
