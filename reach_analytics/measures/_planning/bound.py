"""What no plan of as many uploads can exceed: a line through the ends of the blocks.

Without alternatives it is the least concave function above what sets of roots free, and met at the
end of each block; `upload_plan` has the proof. A Lagrangian relaxation of "at most k roots" gives
the same: the closure problem that it leaves is the one that the blocks solve.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from reach_analytics.measures._graph.model import PendingGraph
from reach_analytics.measures._planning.root_sets import root_signatures
from reach_analytics.measures._planning.sidney import Block, blocks
from reach_analytics.measures._shared.arrays import Flags, Ints, distinct, offsets_of


def max_running_totals(
    graph: PendingGraph,
    roots: Ints,
    count: int,
    max_roots: int,
    known: tuple[list[Block], int],
) -> Ints:
    """How many resources 1 to ``count`` roots free at most, whichever of ``roots`` they are.

    What needs more than ``max_roots`` is in no block: so many uploads free none of it, and more
    free all of it at most. Where a key comes in several ways, a root need not add the more, the
    more others are there. The blocks are then those of a graph in which nothing waits for such
    keys: whatever a plan frees here is free there, too.

    ``known`` are the first blocks of the graph, all or as many as hold ``count`` roots, and how
    many resources are in none of the blocks since they need more than ``max_roots``.
    """
    found, left_out = known
    anyway = 0
    alternatives = _alternatives(graph)
    if alternatives.any():
        granted = _granted(graph, alternatives)
        anyway = int(granted.ready.sum() - graph.ready.sum())
        signatures, left_out = root_signatures(granted, roots, max_roots)
        found = list(blocks(signatures, count))
    totals = anyway + envelope(found, count)
    totals[max_roots:] += left_out
    return totals


def envelope(found: Sequence[Block], count: int) -> Ints:
    """The line through the ends of the blocks, rounded down, at 1 to ``count`` roots.

    ``found`` are the first blocks: all, or as many as hold ``count`` roots.
    """
    if not found:
        return np.zeros(count, np.int64)
    size = np.array([len(block.roots) for block in found], np.int64)
    weight = np.array([block.weight for block in found], np.int64)
    starts, totals = offsets_of(size), offsets_of(weight)
    uploads = np.minimum(np.arange(1, count + 1), starts[-1])
    at = np.searchsorted(starts[1:], uploads)  # the block that the last of so many uploads is in
    return np.asarray(totals[at] + (uploads - starts[at]) * weight[at] // size[at])


def _alternatives(graph: PendingGraph) -> Flags:
    """Keys that several resources would bring which miss different things."""
    several = graph.inner & ~graph.tainted & (graph.producers[graph.brings] > 1)
    rivals = np.flatnonzero(several)
    width = max(1, len(rivals))
    ways = distinct(graph.brings[rivals] * width + graph.missed_by(rivals))
    return np.asarray(np.bincount(ways // width, minlength=graph.key_count) > 1)


def _granted(graph: PendingGraph, keys: Flags) -> PendingGraph:
    """The graph in which nothing waits for these keys."""
    kept = ~keys[graph.edge_key]
    return replace(graph, edge_key=graph.edge_key[kept], edge_resource=graph.edge_resource[kept])
