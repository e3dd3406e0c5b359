"""Which uploads to make, in which order, where they come at a pace and waits run out.

A pending resource is saved if each of its roots is delivered before it, and all that it hangs on
in turn, expire. Roots that are delivered one after the other are unit jobs on one machine, and a
set of them can meet its deadlines if and only if it does so by earliest deadline (Jackson 1955).
So a choice of what to save can be tested at once; the best choice is NP-hard to find, since what
needs several roots is saved by all of them only. Several choices are made and filled up, and what
the best of them leaves out comes last.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from reach_analytics.measures._graph.model import PendingGraph
from reach_analytics.measures._planning.deliveries import played
from reach_analytics.measures._shared.arrays import Flags, Ints, offsets_of

_WORK = 20_000  # goals that exchanges may try in all
Needs = dict[int, int]  # root → how many uploads there may be up to its own


class Goal(NamedTuple):
    """Resources that are saved by the same roots before the same deadlines, and how many."""

    needs: Needs
    weight: int


@dataclass(frozen=True)
class Paced:
    """An order of roots, how many resources each frees in time, and which free none at all, not
    even together with others."""

    order: list[int]
    frees: Ints
    in_vain: Flags

    @property
    def merit(self) -> tuple[int, int]:
        """More in time is better; then the sooner."""
        return int(self.frees.sum()), -int(self.frees @ np.arange(len(self.frees)))


def paced(graph: PendingGraph, order: list[int], moments: Ints, max_roots: int) -> Paced:
    """The best order found for uploads at these moments, as many as there are roots.

    ``order`` is that of the plan without a pace; all else being equal, it is kept to. What frees
    nothing in time comes last.
    """
    goals = _goals(graph, moments, max_roots)
    place = {root: i for i, root in enumerate(order)}
    return max(
        (_useless_last(graph, [*tried, *order], moments) for tried in _orders(goals, place)),
        key=lambda found: found.merit,
    )


def _orders(goals: list[Goal], place: dict[int, int]) -> Iterator[list[int]]:
    """Orders worth a try, the plan's own first."""
    yield []
    by_deadline = sorted(goals, key=lambda goal: (max(goal.needs.values()), -goal.weight))
    by_weight = sorted(goals, key=lambda goal: -goal.weight)
    by_place = sorted(goals, key=lambda goal: max(place[root] for root in goal.needs))
    for goals_in_turn in (_by_density(goals), by_deadline, by_weight, by_place):
        chosen = _Choice(len(place))
        for goal in goals_in_turn:
            chosen.take(goal)
        chosen.exchange(goals)
        yield sorted(chosen.needs, key=lambda root: (chosen.needs[root], place[root]))


def _useless_last(graph: PendingGraph, order: Iterable[int], moments: Ints) -> Paced:
    """The order played repeatedly, what frees nothing in time moved to the end each time.

    What is freed then comes sooner, so that the number freed never falls.
    """
    order = list(dict.fromkeys(order))
    while True:
        found = _played(graph, order, moments)
        last_useful = int(np.flatnonzero(~found.in_vain)[-1]) if (~found.in_vain).any() else -1
        if not found.in_vain[: last_useful + 1].any():
            return found
        flagged = list(zip(order, found.in_vain.tolist(), strict=True))
        order = [root for root, vain in flagged if not vain] + [r for r, vain in flagged if vain]


def _played(graph: PendingGraph, order: list[int], moments: Ints) -> Paced:
    outcome, when = played(graph, list(zip(moments.tolist(), order, strict=True)), [])
    released = np.array([what == "released" for what in outcome], bool)
    times = np.array([-1 if moment is None else moment for moment in when], np.int64)
    at = np.searchsorted(moments, times[released & np.isin(times, moments)])
    # Of what is freed in time, each root that it names was of use.
    used = np.zeros(graph.key_count, bool)
    used[graph.edge_key[released[graph.edge_resource]]] = True
    return Paced(order, np.bincount(at, minlength=len(order)), ~used[order])


def _goals(graph: PendingGraph, moments: Ints, max_roots: int) -> list[Goal]:
    """What there is to save: for each pending resource its roots, each with its deadline, as the
    number of uploads that there may be up to it; alike ones added up."""
    room = np.searchsorted(moments, graph.expires, side="left")
    offsets, rows = graph.dependents
    edges = offsets_of(graph.needs)
    unmet = graph.needs.copy()
    present: dict[int, Needs] = {}
    front: list[tuple[int, Needs]] = [
        (key, {key: len(moments)}) for key in np.flatnonzero(graph.is_root).tolist()
    ]
    front += [(int(graph.brings[r]), {}) for r in np.flatnonzero(unmet == 0)]
    weights: dict[frozenset[tuple[int, int]], int] = defaultdict(int)
    while front:
        coming: list[tuple[int, Needs]] = []
        for key, needs in front:
            if key in present:
                continue
            present[key] = needs
            for resource in rows[offsets[key] : offsets[key + 1]].tolist():
                unmet[resource] -= 1
                if unmet[resource]:
                    continue
                missed = graph.edge_key[edges[resource] : edges[resource + 1]].tolist()
                own = _united([present[one] for one in missed], int(room[resource]))
                if len(own) > max_roots or not all(own.values()):
                    continue  # too many to choose by, or lost whatever is uploaded
                if own:
                    weights[frozenset(own.items())] += 1
                coming.append((int(graph.brings[resource]), own))
        front = coming
    return [Goal(dict(needs), weight) for needs, weight in weights.items()]


def _united(parts: list[Needs], room: int) -> Needs:
    needs: Needs = {}
    for part in parts:
        for root, most in part.items():
            needs[root] = min(most, room, needs.get(root, room))
    return needs


class _Choice:
    """Goals that can all be met, and the deadline that they leave each root."""

    def __init__(self, uploads: int) -> None:
        self.uploads = uploads
        self.goals: dict[frozenset[tuple[int, int]], Goal] = {}
        self.needs: Needs = {}
        self._due = np.zeros(uploads + 1, np.int64)

    def take(self, goal: Goal) -> bool:
        """Add the goal, if it can be met besides the others."""
        new = {
            root: most
            for root, most in goal.needs.items()
            if most < self.needs.get(root, self.uploads + 1)
        }
        before = {root: self.needs[root] for root in new if root in self.needs}
        self._move(before, new)
        if (np.cumsum(self._due) > np.arange(self.uploads + 1)).any():
            self._move(new, before)
            return False
        self.needs |= new
        self.goals[frozenset(goal.needs.items())] = goal
        return True

    def _move(self, old: Needs, new: Needs) -> None:
        for most in old.values():
            self._due[most] -= 1
        for most in new.values():
            self._due[most] += 1

    def exchange(self, goals: list[Goal], tries: int = 200) -> None:
        """Take in what was left out wherever that gains more than what has to go for it."""
        if all(len(goal.needs) == 1 for goal in goals):
            return  # what needs one root each is best chosen by weight
        out = [g for g in goals if frozenset(g.needs.items()) not in self.goals]
        out.sort(key=lambda goal: -goal.weight)
        for goal in out[: min(tries, _WORK // len(goals))]:
            if self.take(goal):
                continue
            other = _Choice(self.uploads)
            other.take(goal)
            for kept in sorted(self.goals.values(), key=lambda one: -one.weight / len(one.needs)):
                other.take(kept)
            for one in out:
                other.take(one)
            if other.weight > self.weight:
                self.__dict__ = other.__dict__

    @property
    def weight(self) -> int:
        """How many resources are saved."""
        return sum(goal.weight for goal in self.goals.values())


def _by_density(goals: list[Goal]) -> Iterator[Goal]:
    """The goals by how many resources they save for each root that the ones before do not need."""
    of_root: dict[int, list[int]] = defaultdict(list)
    for number, goal in enumerate(goals):
        for root in goal.needs:
            of_root[root].append(number)
    left = [len(goal.needs) for goal in goals]
    heap = [(-goal.weight / len(goal.needs), n) for n, goal in enumerate(goals)]
    heapq.heapify(heap)
    done: set[int] = set()
    covered: set[int] = set()
    while heap:
        _, number = heapq.heappop(heap)
        if number in done:
            continue
        done.add(number)
        yield goals[number]
        for root in set(goals[number].needs) - covered:
            covered.add(root)
            for other in of_root[root]:
                left[other] -= 1
                if other not in done:
                    gain = goals[other].weight / max(left[other], 0.5)
                    heapq.heappush(heap, (-gain, other))
