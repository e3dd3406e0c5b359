"""The closure problem, by a minimum cut (Picard 1976)."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from reach_analytics.measures._shared.arrays import Flags, Ints

_LARGEST = 2**30  # scipy adds a capacity and a flow in 32 bits
_ENDLESS = 2**62


def best_closure(weights: Ints, lengths: Ints, members: Ints, price: Fraction) -> Flags:
    """The smallest set of roots with the largest (freed - price * roots), as a flag for each root.

    The i-th signature frees ``weights[i]`` once its next ``lengths[i]`` of ``members`` are chosen;
    these number the roots from 0, each of which occurs. What is left after a maximum flow of
    source → signatures → roots → sink leads from the source to just this set.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import breadth_first_order

    count, size = len(weights), int(members.max()) + 1
    signatures, roots = 2 + np.arange(count), 2 + count + np.arange(size)
    source = [np.zeros(count, np.int64), np.repeat(signatures, lengths), roots]
    target = [signatures, roots[members], np.ones(size, np.int64)]
    capacity = [
        weights * price.denominator,
        np.full(len(members), _ENDLESS),
        np.full(size, price.numerator),
    ]
    # scipy's flows take indices of 32 bits only.
    ends = tuple(np.concatenate(nodes).astype(np.int32) for nodes in (source, target))
    shape = (2 + count + size, 2 + count + size)
    network = csr_array((np.concatenate(capacity), ends), shape=shape)
    residual = _residual(network, int(weights.sum()) * price.denominator)
    residual.data = (residual.data > 0).astype(np.int8)
    residual.eliminate_zeros()
    reached = np.zeros(shape[0], bool)
    reached[breadth_first_order(residual, 0, return_predecessors=False)] = True
    return reached[2 + count :]


def _residual(network: Any, most: int) -> Any:
    """What a maximum flow from node 0 to node 1, of at most ``most``, leaves of the capacities.

    Where 32 bits do not suffice, a flow in coarse units goes first. Some cut is then left with
    less than one unit on each of its edges, so what can still flow is far less.
    """
    from scipy.sparse.csgraph import maximum_flow

    while True:
        unit = 1 + most // _LARGEST
        coarse = network.copy()
        coarse.data = np.minimum(network.data // unit, _LARGEST).astype(np.int32)
        network = network - unit * maximum_flow(coarse, 0, 1).flow.astype(np.int64)
        if unit == 1:
            return network
        most = unit * network.nnz
