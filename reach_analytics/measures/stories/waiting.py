"""What is said of a record that waits: for what, until when, and what would free it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from reach_analytics.measures._graph.model import NEVER, moments
from reach_analytics.measures._shared.arrays import Flags, Ints
from reach_analytics.measures.stories.known import Known
from reach_analytics.measures.stories.phrases import ago, at_time, dying, listed, many
from reach_analytics.measures.stories.story import Step, plain
from reach_analytics.measures.stories.trace import Trace

__all__ = ["SOME", "of_waits", "steps", "values_of", "way_out", "wording_of_circle"]

_FIRST, _LAST = 12, 3  # steps of a long chain that are shown
SOME = 5  # names in a sentence


def of_waits(known: Known, waits: pd.DataFrame) -> list[str]:
    """Since when it waits, what for, when it dies, and how old that is."""
    told = []
    for row in waits.to_dict("records"):
        missed = known.missed_by(np.array([row["resource"]], np.int64))
        since, began = "", row["created_at"]
        if not pd.isna(began):
            since = f" since {at_time(began, known.at)} ({ago(known.at, began)})"
        what = f" for {listed(known.names(missed[:SOME]), len(missed))}"
        if not len(missed):
            what = ", though it misses nothing" if row["told"] else "; nobody says for what"
        told.append(f"A record of batch {plain(row['batch_id'])} that waits{since}{what}.")
        expires = row["expires_at"]
        if pd.isna(expires):
            told.append("Nobody said when its wait ends.")
        else:
            unless = ", unless all of that comes" if len(missed) and expires > known.at else ""
            told.append(f"It {dying(expires, known.at)}{unless}.")
        seen = row["observed_at"]
        told.append(
            f"That is as of the last list of its batch, at {at_time(seen, known.at)} "
            f"({ago(known.at, seen)})."
        )
    return told


def way_out(known: Known, trace: Trace, own: Ints) -> tuple[list[str], Ints]:
    """What to upload to free it, and what else that frees; or why nothing does. And the roots."""
    graph = known.graph
    if graph.ready[own].all():
        return ["Nothing that is known keeps it waiting: no upload is known to free it."], own[:0]
    roots = trace.enough(own)
    freed = trace.freed_by(roots)
    if freed[own].all() and len(roots):
        names = listed(known.names(roots[:SOME]), len(roots))
        still = "If it still waits" if (graph.expires[own] <= _micros(known.at)).any() else ""
        begin = f"{still}, what frees it is" if still else "To free it, upload"
        other = " There are other ways, too." if len(roots) < len(trace.roots) else ""
        return [
            f"{begin} {names}: {_freed(known, freed, own)}{other}",
            *_in_doubt(known, trace),
        ], roots
    if len(trace.circle):
        is_member = bool(np.isin(graph.brings[own], trace.circle).any())
        where = "It is in a deadlock" if is_member else "It waits on a deadlock"
        also = ""
        if len(trace.roots):
            also = f" It needs {listed(known.names(trace.roots[:SOME]), len(trace.roots))}, too."
        return [f"{where}: {wording_of_circle(known, trace.circle)}{also}"], roots
    return [], roots


def wording_of_circle(known: Known, keys: Ints) -> str:
    """What waits for itself, and the only way out."""
    names = listed(known.names(keys[:SOME]), len(keys))
    if len(keys) == 1:
        return f"{names} waits for itself. Upload it again without that reference."
    return (
        f"{names} wait for each other, and nothing new ends that. Upload one of these again "
        "without its reference."
    )


def _freed(known: Known, freed: Flags, own: Ints) -> str:
    """What else is freed, by schema."""
    others = freed.copy()
    others[own] = False
    count = int(others.sum())
    if not count:
        return "that frees it, and nothing else."
    rows = known.graph.names.resources(np.flatnonzero(others))
    kinds = rows["schema_name"].fillna("of unknown schema").value_counts()
    parts = [f"{plain(schema)}: {n:,}" for schema, n in kinds.head(3).items()]
    parts += ["…"] if len(kinds) > 3 else []
    return f"that frees it and {many(count, 'other record')} ({', '.join(parts)})."


def _in_doubt(known: Known, trace: Trace) -> list[str]:
    """What on the way should have died: it may have to be uploaded again."""
    keys = trace.keys[_last_expiry(known, trace.keys) <= _micros(known.at)]
    if not len(keys):
        return []
    names = listed(known.names(keys[:SOME]), len(keys))
    return [f"On the way {names} should have died by now, and may have to be uploaded again."]


def _last_expiry(known: Known, keys: Ints) -> Ints:
    """When the last wait for each key to be brought ends; `NEVER` for roots."""
    graph = known.graph
    last = np.full(graph.key_count, -1, np.int64)
    np.maximum.at(last, graph.brings, graph.expires)
    found: Ints = last[keys]
    return np.where(found < 0, NEVER, found)


def _micros(moment: pd.Timestamp) -> int:
    """Microseconds since 1970."""
    return int(moment.value // 1000)


def steps(known: Known, trace: Trace) -> tuple[Step, ...]:
    """What it waits for in turn, the middle of a long chain left out."""
    size = len(trace.keys)
    places = np.arange(size)
    if size > _FIRST + _LAST + 1:
        places = np.concatenate([places[:_FIRST], places[-_LAST:]])
    keys = trace.keys[places]
    is_stuck = np.isin(keys, trace.stuck).tolist()
    expiries = moments(_last_expiry(known, keys))
    rows = zip(keys.tolist(), trace.distance[places].tolist(), expiries, is_stuck, strict=True)
    found = [
        Step(distance, name, _what(known, key, expiry, stuck))
        for name, (key, distance, expiry, stuck) in zip(known.names(keys), rows, strict=True)
    ]
    if len(places) < size:
        found.insert(_FIRST, Step(None, f"… {size - len(places):,} more …", ""))
    return tuple(found)


def _what(known: Known, key: int, expiry: pd.Timestamp, stuck: bool) -> str:
    if known.graph.is_root[key]:
        return "has to be uploaded"
    if pd.isna(expiry):
        when = "waits itself"
    elif expiry <= known.at:
        when = f"should have died at {at_time(expiry, known.at)}"
    else:
        when = f"waits itself, until {at_time(expiry, known.at)}"
    return f"{when}, in a deadlock" if stuck else when


def values_of(row: dict[Any, Any], now: pd.Timestamp) -> dict[str, Any]:
    """A wait as plain values."""
    since, until = row["created_at"], row["expires_at"]
    return {
        "batch_id": row["batch_id"],
        "pending_id": None if pd.isna(row["pending_id"]) else row["pending_id"],
        "since": None if pd.isna(since) else since.isoformat(),
        "expires_at": None if pd.isna(until) else until.isoformat(),
        "time_left": None if pd.isna(until) else (until - now).total_seconds(),
        "listed_at": row["observed_at"].isoformat(),
    }
