"""Better orders inside the blocks of a plan: neighbours change places wherever it helps.

Ten neighbouring roots at a time are put in the best of all their orders, while the others stay
where they are. That is exact: the best order of a set of roots is one of them last, after the best
order of the others (Held and Karp 1962). A block of no more roots is then in its best order; in a
larger one such windows are tried along it, again and again, until none helps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from reach_analytics.measures._planning.bound import envelope
from reach_analytics.measures._planning.sidney import WHOLE, Block, Signatures
from reach_analytics.measures._shared.arrays import Ints, offsets_of

_WINDOW = 10  # roots, which have a thousand subsets


def improved(found: Sequence[Block], signatures: Signatures, effort: int) -> list[Block]:
    """The blocks, each in an order in which what it frees comes no later in total.

    Those are tried, the first ones first, in which the plan is anywhere more than 5 % below the
    line through the ends of the blocks; at most ``effort`` windows of them in all.
    """
    better = list(found)
    if not effort or not better or not len(signatures):
        return better
    starts = offsets_of(np.array([len(block.roots) for block in better], np.int64))
    order = np.concatenate([np.array(block.roots, np.int64) for block in better])
    place = np.full(max(order.max(), signatures.members.max()) + 1, -1)
    place[order] = np.arange(len(order))
    complete = signatures.chosen(np.flatnonzero(signatures.inside(place[signatures.members] >= 0)))
    last = np.maximum.reduceat(place[complete.members], complete.offsets[:-1])
    running = np.cumsum(np.bincount(last, complete.weights, len(order)))
    behind = np.flatnonzero(running < 0.95 * envelope(better, len(order)))
    for number in np.unique(np.searchsorted(starts, behind, side="right") - 1).tolist():
        start, end = int(starts[number]), int(starts[number + 1])
        if end - start > WHOLE or not effort:
            continue
        rows = np.flatnonzero((last >= start) & (last < end))
        local = _inside(complete.chosen(rows), place, start)
        if len(local) > 1:
            places, tried = _best_by_windows(local, end - start, effort)
            better[number] = replace(better[number], roots=order[start + places].tolist())
            effort -= tried
    return better


def _inside(signatures: Signatures, place: Ints, start: int) -> Signatures:
    """What the signatures need from this place on, as places from there."""
    at = place[signatures.members] - start
    kept = at >= 0
    owner = np.repeat(np.arange(len(signatures)), signatures.lengths)[kept]
    lengths = np.bincount(owner, minlength=len(signatures))
    return Signatures(offsets_of(lengths), at[kept], signatures.weights)


def _best_by_windows(local: Signatures, size: int, steps: int) -> tuple[Ints, int]:
    """An order of the roots 0 to ``size`` - 1 that no window improves, or the one after so many
    steps; and how many windows were tried."""
    order, place = np.arange(size), np.arange(size)
    last = np.maximum.reduceat(place[local.members], local.offsets[:-1])
    half, tried, changed = _WINDOW // 2, 0, True
    while changed:
        changed = False
        for start in range(0, max(1, size - half), half):
            if tried == steps:
                return order, tried
            tried += 1
            window = order[start : start + _WINDOW]
            rows = np.flatnonzero((last >= start) & (last < start + len(window)))
            if not len(rows):
                continue
            part = local.chosen(rows)
            at = place[part.members] - start
            sets = np.bitwise_or.reduceat(
                np.where(at < 0, 0, 1 << np.maximum(at, 0)), part.offsets[:-1]
            )
            waiting = part.weights @ (last[rows] - start)
            best, least = _best_order(sets, part.weights, len(window))
            if least < waiting:
                order[start : start + len(window)] = window = window[best]
                place[window] = np.arange(start, start + len(window))
                last[rows] = np.maximum.reduceat(place[part.members], part.offsets[:-1])
                changed = size > _WINDOW
    return order, tried


def _best_order(sets: Ints, weights: Ints, size: int) -> tuple[Ints, int]:
    """The order of so many roots in which what these sets free waits the least, and how long that
    is; a set has the bits of its roots, and what comes with the first root does not wait."""
    freed = np.zeros(2**size, np.int64)
    np.add.at(freed, sets, weights)
    for root in range(size):  # what each set of roots frees: its own, and that of all its subsets
        halves = freed.reshape(-1, 2, 2**root)
        halves[:, 1] += halves[:, 0]
    # Of each set, the sum of what is free after its first root, after its second and so on.
    total, final = np.full(2**size + 1, -1), np.zeros(2**size, np.int64)
    total[0] = 0
    for these, others in _layers(size):
        final[these] = np.argmax(total[others], axis=1)
        total[these] = freed[these] + total[others].max(axis=1)
    order, left = [], 2**size - 1
    while left:
        order.append(int(final[left]))
        left ^= 1 << order[-1]
    return np.array(order[::-1]), int(size * weights.sum() - total[2**size - 1])


@cache
def _layers(size: int) -> list[tuple[Ints, Ints]]:
    """The sets of 1, 2, ... of so many roots; and each without its first root, its second and so
    on, which is 2**size where it does not have that root."""
    sets, bits = np.arange(2**size), 1 << np.arange(size)
    without = np.where(sets[:, None] & bits, sets[:, None] ^ bits, 2**size)
    count = (without < 2**size).sum(axis=1)
    return [(these := np.flatnonzero(count == n), without[these]) for n in range(1, size + 1)]
