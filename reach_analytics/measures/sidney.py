"""In which order to pay for roots so that what they free waits as little as possible in total.

Each signature is a set of roots and the number of resources that are free once all of them are
there. To deliver one root takes one unit of time, so the sum over resources of the time at which
each is freed is to be small: minimum-latency set cover, which is strongly NP-hard. A Sidney
decomposition (Sidney 1975) delivers, again and again, the set of roots that frees the most per
root; any order that keeps to it is within twice the optimum (Chekuri and Motwani 1999). The set
is found by Dinkelbach's method, each step a minimum cut (a closure problem, Picard 1976).
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

Roots = frozenset[int]
_LARGEST = 2**31 - 1  # scipy's flows are of 32-bit integers


@dataclass(frozen=True)
class Block:
    """Roots to deliver together, in this order; and how many resources they free."""

    roots: list[int]
    weight: int

    @property
    def ratio(self) -> Fraction:
        """Resources freed per root."""
        return Fraction(self.weight, len(self.roots))


def blocks(weights: Mapping[Roots, int]) -> Iterator[Block]:
    """The decomposition, block after block, by falling ratio; found one by one as they are asked.

    ``weights`` has for each signature (not empty) how many resources it frees.
    """
    entries: list[tuple[Fraction, int, dict[Roots, int], Block | None]] = [
        (-_bound(part), i, part, None) for i, part in enumerate(_parts(weights))
    ]
    heapq.heapify(entries)
    count = len(entries)
    while entries:
        key, number, part, block = heapq.heappop(entries)
        if block is None:
            # Only a bound so far: find the block, and let it take its place among the others.
            found = _densest(part)
            heapq.heappush(entries, (-found.ratio, number, part, found))
            continue
        yield block
        done = frozenset(block.roots)
        left: dict[Roots, int] = defaultdict(int)
        for signature, weight in part.items():
            if rest := signature - done:
                left[rest] += weight
        for rest_part in _parts(left):
            bound = min(-key, _bound(rest_part))  # ratios only fall within a part
            heapq.heappush(entries, (-bound, count, rest_part, None))
            count += 1


def _bound(part: Mapping[Roots, int]) -> Fraction:
    """No set of roots frees more per root: each resource, shared out evenly among its roots, gives
    every root a load, and a set frees at most the loads of its members."""
    load: dict[int, float] = defaultdict(float)
    for signature, weight in part.items():
        share = weight / len(signature)
        for root in signature:
            load[root] += share
    return Fraction(max(load.values()) * (1 + 1e-9))  # more than rounding could have lost


def _parts(weights: Mapping[Roots, int]) -> list[dict[Roots, int]]:
    """The signatures, apart where they share no root, not even through others."""
    above: dict[int, int] = {}

    def find(root: int) -> int:
        while above.setdefault(root, root) != root:
            above[root] = above[above[root]]
            root = above[root]
        return root

    for signature in weights:
        first, *others = signature
        for other in others:
            above[find(other)] = find(first)
    parts: dict[int, dict[Roots, int]] = defaultdict(dict)
    for signature, weight in weights.items():
        parts[find(next(iter(signature)))][signature] = weight
    return [
        parts[name] for name in sorted(parts, key=lambda name: min(min(s) for s in parts[name]))
    ]


def _densest(part: Mapping[Roots, int]) -> Block:
    """The roots that free the most per root, in an order of their own."""
    everything = frozenset().union(*part)
    single = max(part, key=lambda s: (part[s] / len(s), sorted(s)))
    starts = [Block(sorted(roots), _freed(part, roots)) for roots in (everything, single)]
    best = max(starts, key=lambda block: block.ratio)
    network = _Network(part) if len(everything) > 1 else None
    while network is not None:
        chosen = network.closure(best.ratio)
        better = Block(sorted(chosen), _freed(part, chosen))
        if not chosen or better.ratio <= best.ratio:
            break
        best = better
    roots = frozenset(best.roots)
    inside = part if roots == everything else {s: w for s, w in part.items() if s <= roots}
    return Block(_greedy(inside), best.weight)


def _freed(part: Mapping[Roots, int], roots: Roots) -> int:
    return sum(weight for signature, weight in part.items() if signature <= roots)


class _Network:
    """Source → signatures → roots → sink, whose minimum cuts are the best sets of roots."""

    def __init__(self, part: Mapping[Roots, int]) -> None:
        count = len(part)
        lengths = np.fromiter(map(len, part), np.int64, count)
        members = np.fromiter((root for signature in part for root in signature), np.int64)
        self.roots, place = np.unique(members, return_inverse=True)
        signatures = 2 + np.arange(count)
        self.root_nodes = 2 + count + np.arange(len(self.roots))
        # scipy's flows take indices of 32 bits only.
        self.source = np.concatenate(
            [np.zeros(count, np.int64), np.repeat(signatures, lengths), self.root_nodes]
        ).astype(np.int32)
        self.target = np.concatenate(
            [signatures, self.root_nodes[place], np.ones(len(self.roots), np.int64)]
        ).astype(np.int32)
        self.weights = list(part.values())
        self.members = len(members)

    def closure(self, price: Fraction) -> Roots:
        """The roots of the set with the largest (freed - price * roots)."""
        from scipy.sparse import csr_array
        from scipy.sparse.csgraph import breadth_first_order, maximum_flow

        gains = [weight * price.denominator for weight in self.weights]
        scale = max(1, -(-sum(gains) // _LARGEST))  # coarser where 32 bits do not suffice
        toll = min(-(-price.numerator // scale), _LARGEST)
        capacity = np.array(
            [gain // scale for gain in gains]
            + [_LARGEST] * self.members
            + [toll] * len(self.root_nodes),
            np.int32,
        )
        size = int(self.root_nodes[-1]) + 1
        network = csr_array((capacity, (self.source, self.target)), shape=(size, size))
        flow = maximum_flow(network, 0, 1).flow
        residual = network.astype(np.int64) - flow.astype(np.int64)
        residual.data = (residual.data > 0).astype(np.int8)
        residual.eliminate_zeros()
        reached = np.zeros(size, bool)
        reached[breadth_first_order(residual, 0, return_predecessors=False)] = True
        return frozenset(self.roots[reached[self.root_nodes]].tolist())


def _greedy(weights: Mapping[Roots, int]) -> list[int]:
    """All roots, the signature that frees the most per root still missing always next."""
    missing = {signature: set(signature) for signature in weights}
    holders: dict[int, list[Roots]] = defaultdict(list)
    for signature in weights:
        for root in signature:
            holders[root].append(signature)

    def entry(signature: Roots) -> tuple[Fraction, list[int], Roots]:
        rest = missing[signature]
        return Fraction(-weights[signature], len(rest)), sorted(rest), signature

    queue = [entry(signature) for signature in weights]
    heapq.heapify(queue)
    order: list[int] = []
    while queue:
        _, rest, signature = heapq.heappop(queue)
        if not rest or len(rest) != len(missing[signature]):
            continue  # an earlier state of a signature that has come closer since
        order += rest
        closer = dict.fromkeys(holder for root in rest for holder in holders[root])
        for holder in closer:
            missing[holder].difference_update(rest)
            if missing[holder]:
                heapq.heappush(queue, entry(holder))
    return order
