"""The story of a batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from reach_analytics.measures._graph.model import NEVER, moments
from reach_analytics.measures._graph.subgraph import upstream
from reach_analytics.measures.dependencies.upload_plan import upload_plan
from reach_analytics.measures.stories.known import Known
from reach_analytics.measures.stories.life import life_of_batch
from reach_analytics.measures.stories.phrases import ago, at_time, dying, many, named
from reach_analytics.measures.stories.story import Step, Story, plain
from reach_analytics.measures.stories.trace import Trace

__all__ = ["story_of_batch"]

_COUNTS = ("total_records", "successful_records", "pending_records", "failed_records")


def story_of_batch(known: Known, row: dict[Any, Any]) -> Story:
    """The story of a batch."""
    tenant = plain(known.tenant_name(row["tenant_id"]))
    schema = "" if pd.isna(row["schema_name"]) else f", {plain(row['schema_name'])}"
    told = [_of_status(row, known.at), _of_counts(row)]
    graph = known.graph
    every = graph.names.resources()
    mine = (every["tenant_id"] == row["tenant_id"]) & (every["batch_id"] == row["batch_id"])
    own = np.flatnonzero(mine.to_numpy(bool))
    uploads: tuple[Step, ...] = ()
    values: dict[str, Any] = {"waiting": len(own), "roots_count": 0}
    if len(own):
        trace = Trace.of(graph, known.missed_by(own))
        soonest = graph.expires[own].min()
        dies = ""
        if soonest != NEVER:
            at = moments(np.array([soonest])).iloc[0]
            dies = f"; the first of them {dying(at, known.at)}"
        told.append(f"{many(len(own), 'record')} {'waits' if len(own) == 1 else 'wait'}{dies}.")
        freed = int(trace.freed[own].sum())
        if len(trace.roots):
            told.append(
                f"Uploading {many(len(trace.roots), 'missing dependency', 'missing dependencies')}"
                f" frees {freed:,} of these."
            )
        plan = upload_plan(upstream(graph, own), top=10)
        plan = plan[plan["reason"].isna()]
        uploads = tuple(
            Step(int(one["position"]), named(one["schema_name"], one["external_id"]), _frees(one))
            for one in plan.to_dict("records")
        )
        values["roots_count"] = len(trace.roots)
    if not pd.isna(row["error_message"]):
        told.append(f"Its error: {plain(row['error_message'])}.")
    values |= {
        name: None if pd.isna(row[name]) else row[name]
        for name in ("tenant_id", "batch_id", "schema_name", "status", *_COUNTS)
    }
    life = life_of_batch(known.looks, row["tenant_id"], row["batch_id"])
    title = f"Batch {plain(row['batch_id'])}{schema} of {tenant}"
    return Story("batch", title, tuple(told), (), uploads, tuple(life), values)


def _frees(row: dict[Any, Any]) -> str:
    return f"frees {row['frees']:,}, {row['running_total']:,} in all"


def _of_status(row: dict[Any, Any], now: pd.Timestamp) -> str:
    parts = [f"Its status is {plain(row['status'])}"]
    if not pd.isna(row["created_at"]):
        parts.append(
            f"created at {at_time(row['created_at'], now)} ({ago(now, row['created_at'])} ago)"
        )
    if not pd.isna(row["completed_at"]):
        parts.append(f"all records processed at {at_time(row['completed_at'], now)}")
    parts.append(f"last observed at {at_time(row['observed_at'], now)}")
    return "; ".join(parts) + "."


def _of_counts(row: dict[Any, Any]) -> str:
    total, good, waiting, bad = (
        "?" if pd.isna(row[name]) else f"{row[name]:,}" for name in _COUNTS
    )
    return f"Of {total} records {good} landed, {bad} failed, and {waiting} wait."
