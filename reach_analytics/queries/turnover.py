"""What came to wait after a moment, and what waited no longer."""

from __future__ import annotations

from datetime import datetime

import ibis

from reach_analytics.queries.numbered import Numbered

__all__ = ["turnover"]

_ENDS = ("released", "expired", "unknown")


def turnover(waits: ibis.Table, seen: Numbered, since: datetime) -> ibis.Table:
    """(tenant_id, change, waits): how many waits of each tenant are first listed by an observation
    received after ``since`` (``waiting``), and how many were found gone by one, and how these
    ended.

    Parameters
    ----------
    waits : ibis.Table
        As `verdicts.numbered_outcomes`, with gone_by.
    """
    moment = ibis.literal(since, type=waits.gone_by.type())
    gone = waits.filter((waits.gone_by > moment) & waits.verdict.isin(_ENDS))
    gone = gone.select("tenant", change="verdict")
    began = seen.waits.select("wait", "batch", number="first")
    first = began.inner_join(waits.select("wait", "tenant"), "wait")
    first = first.select("batch", "number", "tenant")
    received = seen.observations.select("batch", "number", "received_at")
    dated = first.inner_join(received, ["batch", "number"]).select("tenant", "received_at")
    new = dated.filter(dated.received_at > moment)
    new = new.select("tenant", change=ibis.literal("waiting", "string"))
    both = gone.union(new)
    counts = both.group_by(["tenant", "change"]).aggregate(waits=both.count())
    tenants = seen.batches.select("tenant", "tenant_id").distinct()
    return counts.inner_join(tenants, "tenant").select("tenant_id", "change", "waits")
