"""Part of a graph: some resources, and whatever they wait for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order

from reach_analytics.measures._graph.model import Names, PendingGraph
from reach_analytics.measures._shared.arrays import Flags, Ints

__all__ = ["upstream"]


def upstream(graph: PendingGraph, resources: Ints) -> PendingGraph:
    """The graph of these resources, of the keys that they miss, of the resources that would bring
    these keys, and so on."""
    kept = np.flatnonzero(_reached(graph, resources))
    inside = np.isin(graph.edge_resource, kept)
    edge_key, edge_resource = graph.edge_key[inside], graph.edge_resource[inside]
    keys = np.union1d(edge_key, graph.brings[kept])
    return PendingGraph(
        names=_SomeNames(graph.names, keys, kept),
        key_count=len(keys),
        resource_count=len(kept),
        edge_key=np.searchsorted(keys, edge_key),
        edge_resource=np.searchsorted(kept, edge_resource),
        brings=np.searchsorted(keys, graph.brings[kept]),
        kind=graph.kind[kept],
        expires=graph.expires[kept],
    )


def _reached(graph: PendingGraph, resources: Ints) -> Flags:
    """Which resources are among these, or what these wait for in turn."""
    # Steps lead from a resource to the keys that it misses, and from a key to what brings it; they
    # begin at a node of its own.
    keys, count = graph.key_count, graph.key_count + graph.resource_count
    source = np.concatenate(
        [graph.edge_resource + keys, graph.brings, np.full(len(resources), count)]
    )
    target = np.concatenate(
        [graph.edge_key, np.arange(graph.resource_count) + keys, resources + keys]
    )
    steps = csr_array((np.ones(len(source), np.int8), (source, target)), (count + 1, count + 1))
    reached = np.zeros(count + 1, bool)
    reached[breadth_first_order(steps, count, return_predecessors=False)] = True
    return reached[keys:count]


@dataclass(frozen=True)
class _SomeNames:
    """The names of some keys and resources of a graph, under numbers of their own."""

    names: Names
    key_numbers: Ints
    resource_numbers: Ints

    def keys(self, rows: Ints | None = None) -> pd.DataFrame:
        own = np.arange(len(self.key_numbers)) if rows is None else rows
        return self.names.keys(self.key_numbers[own]).set_axis(own)

    def resources(self, rows: Ints | None = None) -> pd.DataFrame:
        own = np.arange(len(self.resource_numbers)) if rows is None else rows
        return self.names.resources(self.resource_numbers[own]).set_axis(own)

    def places(self) -> Ints:
        return self.names.places()[self.key_numbers]
