"""In which order to pay for roots so that what they free waits as little as possible in total.

Each signature is a set of roots and the number of resources that are free once all of them are
present. To deliver one root takes one unit of time, so the sum over resources of the time at which
each is freed is to be small: minimum-latency set cover, which is strongly NP-hard. A Sidney
decomposition (Sidney 1975) repeatedly delivers the set of roots that frees the most per root; any
order that keeps to it is within twice the optimum (Chekuri and Motwani 1999). The set is found by
Dinkelbach's method, each step a minimum cut (a closure problem, Picard 1976).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np

from reach_analytics.measures._planning.min_cut import best_closure
from reach_analytics.measures._shared.arrays import (
    Flags,
    Ints,
    alike,
    counted,
    grouped,
    offsets_of,
    parts,
    ranges,
)

Roots = frozenset[int]
WHOLE = 1000
"""Blocks of no more roots than this are always put in order as a whole."""


@dataclass(frozen=True)
class Block:
    """Roots to deliver together, in this order; and how many resources they free."""

    roots: list[int]
    weight: int

    @property
    def ratio(self) -> Fraction:
        """Resources freed per root."""
        return Fraction(self.weight, len(self.roots))


@dataclass(frozen=True)
class Signatures:
    """Different sets of roots, none empty, and how many resources each frees.

    The i-th has the roots ``members[offsets[i]:offsets[i + 1]]``, in ascending order.
    """

    offsets: Ints
    members: Ints
    weights: Ints

    @classmethod
    def of(cls, weights: Mapping[Roots, int]) -> Signatures:
        """From sets and their weights."""
        lists = [sorted(signature) for signature in weights]
        members = np.array([root for roots in lists for root in roots], np.int64)
        offsets = offsets_of(np.array([len(roots) for roots in lists], np.int64))
        return cls(offsets, members, np.array(list(weights.values()), np.int64))

    @classmethod
    def merged(cls, given: Signatures) -> Signatures:
        """From sets that may be empty, which are left out, and equal, which are added up."""
        full = given.chosen(np.flatnonzero(given.lengths))
        number = alike(full.offsets, full.members)
        _, first = np.unique(number, return_index=True)
        total = np.zeros(len(first), np.int64)
        np.add.at(total, number, full.weights)
        different = full.chosen(first)
        return cls(different.offsets, different.members, total)

    @classmethod
    def joined(cls, one: Signatures, other: Signatures) -> Signatures:
        """The signatures of both."""
        return cls(
            np.concatenate([one.offsets[:-1], one.offsets[-1] + other.offsets]),
            np.concatenate([one.members, other.members]),
            np.concatenate([one.weights, other.weights]),
        )

    def __len__(self) -> int:
        return len(self.weights)

    @property
    def lengths(self) -> Ints:
        """How many roots each has."""
        return np.diff(self.offsets)

    def chosen(self, rows: Ints) -> Signatures:
        """Only these."""
        starts, ends = self.offsets[rows], self.offsets[rows + 1]
        members = self.members[ranges(starts, ends)]
        return Signatures(offsets_of(ends - starts), members, self.weights[rows])

    def slice(self, start: int, end: int) -> Signatures:
        """Only those from ``start`` up to ``end``."""
        offsets = self.offsets[start : end + 1]
        members = self.members[offsets[0] : offsets[-1]]
        return Signatures(offsets - offsets[0], members, self.weights[start:end])

    def inside(self, flags: Flags) -> Flags:
        """Those all of whose members are flagged."""
        return np.asarray(np.logical_and.reduceat(flags, self.offsets[:-1]))

    def without(self, done: Flags) -> Signatures:
        """What is left of them when the flagged members have been delivered."""
        whole = self.inside(~done)
        closer = np.flatnonzero(~whole)
        places = ranges(self.offsets[closer], self.offsets[closer + 1])
        left = ~done[places]
        offsets = offsets_of(left.astype(np.int64))[offsets_of(self.lengths[closer])]
        rest = Signatures(offsets, self.members[places[left]], self.weights[closer])
        # What is left of one can equal another only if it has all the other's roots.
        near = np.zeros(int(self.members.max()) + 1, bool)
        near[rest.members] = True
        near_by = whole & self.inside(near[self.members])
        alike_ones = self.chosen(np.flatnonzero(near_by))
        merged = Signatures.merged(Signatures.joined(rest, alike_ones))
        return Signatures.joined(self.chosen(np.flatnonzero(whole & ~near_by)), merged)


def blocks(weights: Mapping[Roots, int] | Signatures, top: int | None = None) -> Iterator[Block]:
    """The decomposition, block after block, by falling ratio; found one by one as they are asked.

    ``weights`` has for each signature (not empty) how many resources it frees. With ``top`` no
    more blocks are found than it takes to hold so many roots, and in the last one, if it is large,
    only these are put in order.
    """
    given = weights if isinstance(weights, Signatures) else Signatures.of(weights)
    entries: list[tuple[Fraction | float, int, Signatures, Block | None]] = [
        (-bound, i, part, None) for i, (bound, part) in enumerate(_parts(given))
    ]
    heapq.heapify(entries)
    count, held = len(entries), 0
    while entries and (top is None or held < top):
        key, number, part, block = heapq.heappop(entries)
        if block is None:
            # Only a bound so far: find the block, and let it take its place among the others.
            found = _densest(part)
            heapq.heappush(entries, (-found.ratio, number, part, found))
            continue
        size = len(block.roots)
        most = size if top is None or size <= WHOLE else top - held
        held += size
        if len(part) == 1:
            yield block
            continue
        done = np.isin(part.members, block.roots)
        yield Block(_greedy(part.chosen(np.flatnonzero(part.inside(done))), most), block.weight)
        for bound, rest in _parts(part.without(done)) if top is None or held < top else ():
            # Ratios only fall within a part.
            heapq.heappush(entries, (-min(-key, bound), count, rest, None))
            count += 1


def _parts(signatures: Signatures) -> Iterator[tuple[float, Signatures]]:
    """The signatures, apart where they share no root, not even through others; and for each part a
    bound of its ratio. The part with the first root comes first.

    No set of roots frees more per root: each resource, shared out evenly among its roots, gives
    every root a load, and a set frees at most the loads of its members.
    """
    if not len(signatures):
        return
    roots, place = _compact(signatures.members)
    share = np.repeat(signatures.weights / signatures.lengths, signatures.lengths)
    load = np.bincount(place, share) * (1 + 1e-9)  # more than rounding could have lost
    follows = np.ones(len(place), bool)
    follows[signatures.offsets[:-1]] = False
    linked = np.flatnonzero(follows)
    first, part = np.unique(
        parts(place[linked - 1], place[linked], len(roots)), return_inverse=True
    )
    bound = np.zeros(len(first))
    np.maximum.at(bound, part, load)
    starts, rows = grouped(part[place[signatures.offsets[:-1]]], len(first))
    ordered = signatures.chosen(rows) if len(first) > 1 else signatures
    for most, (start, end) in zip(bound.tolist(), pairwise(starts.tolist()), strict=True):
        yield most, ordered.slice(start, end)


def _compact(members: Ints) -> tuple[Ints, Ints]:
    """The roots among these members; and for each member, the position of its root among them."""
    largest = int(members.max(initial=0))
    if len(members) < largest // 16:
        roots, place = np.unique(members, return_inverse=True)
        return roots, place
    present = np.zeros(largest + 1, bool)
    present[members] = True
    return np.flatnonzero(present), (np.cumsum(present) - 1)[members]


def _densest(part: Signatures) -> Block:
    """The roots that free the most per root, by number."""
    if len(part) == 1:
        return Block(part.members.tolist(), int(part.weights[0]))
    roots, place = _compact(part.members)
    local = Signatures(part.offsets, place, part.weights)
    everything, single = np.ones(len(roots), bool), np.zeros(len(roots), bool)
    heaviest = _heaviest(local)
    single[local.slice(heaviest, heaviest + 1).members] = True
    starts = [(everything, int(local.weights.sum())), (single, _freed(local, single))]
    chosen, weight = max(starts, key=_ratio)
    while len(local := _worthwhile(local, len(roots), price := _ratio((chosen, weight)))):
        # What is left holds every better set, and often is one itself.
        better = np.bincount(local.members, minlength=len(roots)) > 0
        freed = int(local.weights.sum())
        if _ratio((better, freed)) <= price:
            better = _closure(local, len(roots), price)
            freed = _freed(local, better)
        if not better.any() or _ratio((better, freed)) <= price:
            break
        chosen, weight = better, freed
    return Block(roots[chosen].tolist(), weight)


def _ratio(candidate: tuple[Flags, int]) -> Fraction:
    return Fraction(candidate[1], int(candidate[0].sum()))


def _freed(part: Signatures, roots: Flags) -> int:
    return int(part.weights[part.inside(roots[part.members])].sum())


def _heaviest(part: Signatures) -> int:
    """The signature that frees the most per root; of several, the last by its roots."""
    ratio = part.weights / part.lengths
    rows = np.flatnonzero(ratio == ratio.max())
    for place in range(int(part.lengths[rows].max())):
        if len(rows) == 1:
            break
        root = _members_at(part, rows, place)
        rows = rows[root == root.max()]
    return int(rows[0])


def _members_at(part: Signatures, rows: Ints, place: int) -> Ints:
    """The root at this place of each signature; -1 for those that are shorter."""
    at = part.offsets[rows] + place
    short = at >= part.offsets[rows + 1]
    return np.where(short, -1, part.members[np.where(short, 0, at)])


def _worthwhile(part: Signatures, size: int, price: Fraction) -> Signatures:
    """The signatures, without those with a root for which all together pay no more than its price,
    again and again: no set that frees the most per root, and more than the price, has such a
    root, or it would free more per root without it."""
    while len(part):
        load = np.zeros(size, np.int64)
        np.add.at(load, part.members, np.repeat(part.weights, part.lengths))
        paid = part.inside((load > price.numerator // price.denominator)[part.members])
        if paid.all():
            break
        part = part.chosen(np.flatnonzero(paid))
    return part


def _closure(part: Signatures, size: int, price: Fraction) -> Flags:
    """The roots, of ``size``, of the smallest set with the largest (freed - price * roots)."""
    roots, place = _compact(part.members)
    found = np.zeros(size, bool)
    found[roots[best_closure(part.weights, part.lengths, place, price)]] = True
    return found


def _greedy(part: Signatures, most: int) -> list[int]:
    """All roots, always next the signature that frees the most per root still missing; after the
    first ``most`` roots, the others by number."""
    roots, place = _compact(part.members)
    state = _Missing(Signatures(part.offsets, place, part.weights), len(roots))
    order: list[int] = []
    while len(order) < min(most, len(roots)):
        order += state.deliver_next()
    rest = np.flatnonzero(~state.delivered).tolist()
    return [int(root) for root in roots[order + rest]]


class _Missing:
    """What signatures still miss, and which frees the most per root that it misses.

    Ratios are floats: whole numbers as small as these give equal ones just for equal fractions.
    """

    def __init__(self, part: Signatures, size: int) -> None:
        self.delivered = np.zeros(size, bool)
        self._part, self._missing = part, part.lengths
        self._holders = grouped(part.members, size)
        self._owner = np.repeat(np.arange(len(part)), part.lengths)
        self._fresh = _by_ratio(part)
        self._next = next(self._fresh, None)
        self._queue: list[tuple[float, list[int], int]] = []

    def deliver_next(self) -> list[int]:
        """The roots to deliver next, which then are."""
        while self._next is not None and self._stale(self._next):
            self._next = next(self._fresh, None)
        while self._queue and self._stale(self._queue[0]):
            heapq.heappop(self._queue)
        if self._next is None or (self._queue and self._queue[0] < self._next):
            rest = heapq.heappop(self._queue)[1]
        else:
            rest = self._next[1]
        self.delivered[rest] = True
        offsets, places = self._holders
        rows = [self._owner[places[offsets[root] : offsets[root + 1]]] for root in rest]
        closer, times = counted(np.concatenate(rows), len(self._part))
        self._missing[closer] -= times
        closer = closer[self._missing[closer] > 0]
        left = self._part.chosen(closer)
        still = left.members[~self.delivered[left.members]].tolist()
        ratios = -left.weights / self._missing[closer]
        ends = np.cumsum(self._missing[closer])
        starts = ends - self._missing[closer]
        for entry in zip(
            ratios.tolist(), starts.tolist(), ends.tolist(), closer.tolist(), strict=True
        ):
            ratio, start, end, row = entry
            heapq.heappush(self._queue, (ratio, still[start:end], row))
        return rest

    def _stale(self, entry: tuple[float, list[int], int]) -> bool:
        """Whether the signature has come closer since, or is complete."""
        return bool(len(entry[1]) != self._missing[entry[2]])


def _by_ratio(part: Signatures) -> Iterator[tuple[float, list[int], int]]:
    """The signatures, the ones that free the most per root first, then by their roots."""
    ratio = -part.weights / part.lengths
    order = np.argsort(ratio, kind="stable")
    cuts = np.flatnonzero(np.diff(ratio[order])) + 1
    for rows in np.split(order, cuts):
        longest = int(part.lengths[rows].max())
        rows = rows[np.lexsort([_members_at(part, rows, j) for j in range(longest)][::-1])]
        for start in range(0, len(rows), 1024):
            for row in rows[start : start + 1024].tolist():
                members = part.members[part.offsets[row] : part.offsets[row + 1]]
                yield float(ratio[row]), members.tolist(), row
