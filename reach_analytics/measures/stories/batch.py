"""The story of a batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from reach_analytics.measures._graph.model import NEVER, moments
from reach_analytics.measures._graph.subgraph import upstream
from reach_analytics.measures._shared.arrays import Ints
from reach_analytics.measures.dependencies.upload_plan import upload_plan
from reach_analytics.measures.stories.known import Known
from reach_analytics.measures.stories.life import life_of_batch
from reach_analytics.measures.stories.phrases import ago, at_time, dying, many, named
from reach_analytics.measures.stories.story import Step, Story, plain
from reach_analytics.measures.stories.trace import Trace
from reach_analytics.measures.stories.waiting import wording_of_circle

__all__ = ["story_of_batch"]

_MOST = 10  # uploads that are shown
_COUNTS = ("total_records", "successful_records", "pending_records", "failed_records")


def story_of_batch(known: Known, row: dict[Any, Any]) -> Story:
    """The story of a batch."""
    told = [_of_status(row, known.at), _of_counts(row)]
    every = known.graph.names.resources()
    mine = (every["tenant_id"] == row["tenant_id"]) & (every["batch_id"] == row["batch_id"])
    own = np.flatnonzero(mine.to_numpy(bool))
    trace = Trace.of(known.graph, known.missed_by(own))
    if len(own):
        told += _of_waits(known, trace, own)
    if not pd.isna(row["error_message"]):
        told.append(f"Its error: {plain(row['error_message']).rstrip('.')}.")
    names = ("tenant_id", "batch_id", "schema_name", "status", *_COUNTS)
    values = {name: None if pd.isna(row[name]) else row[name] for name in names}
    values |= {"waiting": len(own), "roots_count": len(trace.roots)}
    schema = "" if pd.isna(row["schema_name"]) else f", {plain(row['schema_name'])}"
    tenant = plain(known.tenant_name(row["tenant_id"]))
    title = f"Batch {plain(row['batch_id'])}{schema} of {tenant}"
    life = life_of_batch(known.looks, row["tenant_id"], row["batch_id"])
    return Story("batch", title, tuple(told), (), _uploads(known, own), tuple(life), values)


def _of_waits(known: Known, trace: Trace, own: Ints) -> list[str]:
    """How many wait, which dies first, and what frees how many."""
    soonest = known.graph.expires[own].min()
    dies = ""
    if soonest != NEVER:
        at = moments(np.array([soonest])).iloc[0]
        dies = f"; the first of them {dying(at, known.at)}"
    told = [f"{many(len(own), 'record')} {'waits' if len(own) == 1 else 'wait'}{dies}."]
    if len(trace.roots):
        freed = int(trace.freed_by(trace.roots)[own].sum())
        roots = many(len(trace.roots), "missing dependency", "missing dependencies")
        told.append(f"Uploading {roots} frees {freed:,} of these.")
    stuck = int(known.graph.tainted[own].sum())
    if stuck:
        who = f"{stuck:,} of them {'waits' if stuck == 1 else 'wait'} on a deadlock"
        told.append(f"{who}: {wording_of_circle(known, trace.circle)}")
    return told


def _uploads(known: Known, own: Ints) -> tuple[Step, ...]:
    """What to upload for it, in order."""
    if not len(own):
        return ()
    plan = upload_plan(upstream(known.graph, own), top=None)
    plan = plan[plan["reason"].isna()]
    found = [
        Step(int(one["position"]), named(one["schema_name"], one["external_id"]), _frees(one))
        for one in plan.head(_MOST).to_dict("records")
    ]
    if len(plan) > _MOST:
        found.append(Step(None, f"… {len(plan) - _MOST:,} more …", ""))
    return tuple(found)


def _frees(row: dict[Any, Any]) -> str:
    return f"frees {row['frees']:,}, {row['running_total']:,} in all"


def _of_status(row: dict[Any, Any], now: pd.Timestamp) -> str:
    parts = [f"Its status is {plain(row['status'])}"]
    created = row["created_at"]
    if not pd.isna(created):
        parts.append(f"created at {at_time(created, now)} ({ago(now, created)})")
    if not pd.isna(row["completed_at"]):
        parts.append(f"all records processed at {at_time(row['completed_at'], now)}")
    parts.append(f"last observed at {at_time(row['observed_at'], now)}")
    return "; ".join(parts) + "."


def _of_counts(row: dict[Any, Any]) -> str:
    known = [row[name] for name in _COUNTS]
    if all(pd.isna(count) for count in known):
        return "It counts no records."
    total, good, waiting, bad = ("an unknown number" if pd.isna(n) else f"{n:,}" for n in known)
    deletes = "delete" in str(row["batch_type"]).lower()
    done = "were deleted" if deletes else "landed"
    return f"Of {total} records {good} {done}; failed: {bad}; waiting: {waiting}."
