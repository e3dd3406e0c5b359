"""Deliveries, played in order against what is pending: with expiries at their times, or without."""

from __future__ import annotations

import heapq

import numpy as np

from reach_analytics.measures._graph.model import NEVER, PendingGraph
from reach_analytics.measures._planning.root_sets import inner_dependents
from reach_analytics.measures._shared.arrays import Ints, distinct, offsets_of, ranges

_EXPIRY, _DELIVERY = 0, 1  # at one moment, expiry goes first


def played(
    graph: PendingGraph, arrivals: list[tuple[int, int]], forced: list[int]
) -> tuple[list[str], list[int | None]]:
    """Outcome and time of each resource; events in order of time, expiries first."""
    offsets, rows = graph.dependents
    unmet = graph.needs.copy()
    outcome = ["waiting"] * graph.resource_count
    moments: list[int | None] = [None] * graph.resource_count
    events = [(t, _DELIVERY, key) for t, key in arrivals]
    ends = graph.expires.tolist()
    events += [(ends[i], _EXPIRY, i) for i in np.flatnonzero(graph.expires < NEVER).tolist()]
    heapq.heapify(events)
    start = min((t for t, _, _ in events), default=0)
    for resource in {*forced, *np.flatnonzero(unmet == 0).tolist()}:
        # Forced ones, and those that miss nothing, are released before anything else happens.
        outcome[resource] = "released"
        heapq.heappush(events, (start - 1, _DELIVERY, int(graph.brings[resource])))
    present = np.zeros(graph.key_count, bool)
    while events:
        time, kind, what = heapq.heappop(events)
        if kind == _EXPIRY:
            if outcome[what] == "waiting":
                outcome[what], moments[what] = "expired", time
            continue
        if present[what]:
            continue
        present[what] = True
        for resource in rows[offsets[what] : offsets[what + 1]]:
            unmet[resource] -= 1
            if unmet[resource] == 0 and outcome[resource] == "waiting":
                outcome[resource] = "released"
                moments[resource] = time if time >= start else None
                heapq.heappush(events, (time, _DELIVERY, int(graph.brings[resource])))
    return outcome, moments


def freed_one_by_one(graph: PendingGraph, order: list[int]) -> list[int]:
    """How many resources each delivery frees, after those before it; nothing expires."""
    never = len(order)
    when = np.full(graph.key_count, never)
    when[order] = np.arange(never)
    when[graph.brings[graph.needs == 0]] = -1
    offsets, rows = inner_dependents(graph, np.arange(graph.resource_count))
    changed = np.flatnonzero(when < never)
    while len(changed):
        waiting = distinct(rows[ranges(offsets[changed], offsets[changed + 1])])
        moments = _moments(graph, when, waiting)
        brought = graph.brings[waiting[moments < never]]
        before = when[brought]
        np.minimum.at(when, brought, moments[moments < never])
        changed = distinct(brought[when[brought] < before])
    moments = _moments(graph, when, np.flatnonzero(graph.needs))
    in_time = moments[(moments >= 0) & (moments < never)]
    return [int(count) for count in np.bincount(in_time, minlength=never)]


def _moments(graph: PendingGraph, when: Ints, resources: Ints) -> Ints:
    """When the last key that each of these resources misses arrives."""
    if not len(resources):
        return np.zeros(0, np.int64)
    edges = offsets_of(graph.needs)
    starts, ends = edges[resources], edges[resources + 1]
    arrivals = when[graph.edge_key[ranges(starts, ends)]]
    return np.maximum.reduceat(arrivals, offsets_of(ends - starts)[:-1])
