"""What is said of a key that is missing, or was."""

from __future__ import annotations

import numpy as np

from reach_analytics.measures._graph.model import NEVER, moments
from reach_analytics.measures.stories.known import Key, Known, missing, rows_of
from reach_analytics.measures.stories.phrases import at_time, dying, listed, many
from reach_analytics.measures.stories.trace import Trace, waiting_for
from reach_analytics.measures.stories.waiting import SOME, wording_of_circle

__all__ = ["of_missing", "of_others"]


def of_missing(known: Known, key: Key, number: int) -> list[str]:
    """What waits for a missing key that nothing pending would bring, and what it frees."""
    told = ["It is missing, and nothing that waits would bring it: it has to be uploaded."]
    if _may_have_come(known, key):
        came = rows_of(known.arrivals(), key)
        came = came[came["verdict"] == "arrived"]
        if len(came):
            at = at_time(came["ended_by"].max(), known.at)
            told = [f"It has arrived, by {at}; what is listed as missing it was not seen since."]
    return [*told, _behind(known, number), *_frees(known, number)]


def _may_have_come(known: Known, key: Key) -> bool:
    """Whether fewer missed it in a later list of some batch than in an earlier one."""
    most: dict[str, int] = {}
    for look in known.looks:
        if look["tenant_id"] != key[0] or not look["listed"] or look["scope"] != "detail":
            continue
        now, batch = len(missing(look, key)), look["batch_id"]
        if now < most.get(batch, 0):
            return True
        most[batch] = max(now, most.get(batch, 0))
    return False


def _behind(known: Known, number: int) -> str:
    """What waits for it, and which of that dies first."""
    graph = known.graph
    behind = waiting_for(graph, number)
    direct = int(graph.direct[number])
    names = many(direct, "record") + (" names it" if direct == 1 else " name it")
    chain = len(behind) - direct
    further = f", and {chain:,} more {'waits' if chain == 1 else 'wait'} in a chain"
    soonest = graph.expires[behind].min(initial=NEVER)
    dies = ""
    if soonest != NEVER:
        at = moments(np.array([soonest])).iloc[0]
        dies = f"; the first of them {dying(at, known.at)}"
    return f"{names} as missing{further if chain > 0 else ''}{dies}."


def _frees(known: Known, number: int) -> list[str]:
    """How many its upload alone frees, and what the others need besides."""
    graph = known.graph
    behind = waiting_for(graph, number)
    alone = int((graph.closure([number]) & ~graph.ready).sum())
    told = [f"Uploading it frees {many(alone, 'record')}."] if alone else []
    if alone >= len(behind):
        return told
    trace = Trace.of(graph, known.missed_by(behind))
    others = trace.roots[trace.roots != number]
    who = "The others" if alone else "They"
    if len(others):
        told.append(f"{who} need {listed(known.names(others[:SOME]), len(others))}, too.")
    if len(trace.circle):
        stuck = "Some of them wait on a deadlock"
        told.append(f"{stuck}: {wording_of_circle(known, trace.circle)}")
    return told


def of_others(known: Known, number: int) -> str:
    """How many wait for a record that waits itself."""
    behind = len(waiting_for(known.graph, number))
    return f"{many(behind, 'record')} in turn {'waits' if behind == 1 else 'wait'} for it."
