"""Deliveries and expiries, played in order of time against what is pending."""

from __future__ import annotations

import heapq

import numpy as np

from reach_analytics.measures._graph.model import NEVER, PendingGraph

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
