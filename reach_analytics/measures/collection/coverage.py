"""How far the picture of what waits can be trusted."""

from __future__ import annotations

from datetime import datetime

import pandas as pd

from reach_analytics._time import parse_duration, parse_timestamp
from reach_analytics.tables import (
    ARRIVALS,
    BATCH_KEY,
    COVERAGE,
    DEPENDENCIES,
    OBSERVATIONS,
    RESOURCE_KEY,
    Frame,
    as_utc,
)

__all__ = ["coverage", "still_missing"]


def coverage(
    observations: Frame, *, as_of: datetime, fresh: str | pd.Timedelta = "1h"
) -> pd.DataFrame:
    """How many of the batches with something pending have a full and fresh list of it.

    What the bottlenecks and the plan say rests on these lists. A dependency that seems to be yours
    to deliver may be in a batch whose list is cut short, too old, or was never fetched.

    Parameters
    ----------
    observations : pandas.DataFrame
        As from ``history.observations()``.
    as_of : datetime
        The moment that ages are measured from; without an offset it counts as UTC.
    fresh : str or Timedelta
        The age up to which a list counts as fresh.

    Returns
    -------
    pandas.DataFrame
        Per tenant: tenant_id; batches_waiting (whose last observation counts pending records),
        batches_covered (of these, with a full list no older than ``fresh``), coverage_fraction
        (0–1, null if none waits); resources_counted (pending by the counts), resources_listed (in
        the last lists); oldest_list (a length of time); batches_stale and batches_partial (why
        some are not covered; a list may be both). No rows without successful observations.

    Raises
    ------
    FrameError
        If the frame lacks a needed column.
    ValueError
        If ``fresh`` is no length of time above zero.

    Examples
    --------
    >>> from reach_analytics import tables
    >>> from reach_analytics.measures import coverage
    >>> len(coverage(tables.OBSERVATIONS.empty(), as_of="2026-01-01"))
    0
    """
    needed = [*BATCH_KEY, "sent_at", "received_at", "scope", "ok", "complete", "state_hash"]
    needed += ["pending_records", "pending_resources_count", "has_pending_details"]
    observations = OBSERVATIONS.normalize(observations, needed, "coverage")
    limit = parse_duration(fresh, "fresh")
    now = parse_timestamp(as_of)
    ok = observations["ok"].astype("boolean").fillna(False).astype(bool)
    good = observations[ok & (observations["received_at"] <= now)]
    order = [*BATCH_KEY, "sent_at", "received_at", "scope", "state_hash"]
    # Of two at one moment, the detail one comes last and counts.
    good = good.sort_values(order, ascending=[True, True, True, True, False, True])
    last = good.drop_duplicates(BATCH_KEY, keep="last").set_index(BATCH_KEY)
    listing = (good["scope"] == "detail") & good["has_pending_details"].fillna(False).astype(bool)
    lists = good[listing].drop_duplicates(BATCH_KEY, keep="last").set_index(BATCH_KEY)
    own = lists.reindex(last.index)
    age = now - as_utc(own["received_at"])
    full = own["complete"].astype("boolean").fillna(False).astype(bool)
    waits = (last["pending_records"].fillna(own["pending_resources_count"]) > 0).fillna(False)
    waits = waits.astype(bool)
    old = age > limit
    parts = pd.DataFrame(
        {
            "batches_waiting": waits,
            "batches_covered": waits & full & ~old,
            "resources_counted": last["pending_records"].where(waits).fillna(0).astype("int64"),
            "resources_listed": own["pending_resources_count"]
            .where(waits)
            .fillna(0)
            .astype("int64"),
            "batches_stale": waits & old,
            "batches_partial": waits & ~full,
        }
    )
    table = parts.groupby("tenant_id").sum()
    some = table["batches_waiting"].where(table["batches_waiting"] > 0)
    table["coverage_fraction"] = table["batches_covered"] / some
    table["oldest_list"] = age.where(waits).groupby("tenant_id").max()
    return COVERAGE.conform(table.reset_index())


def still_missing(dependencies: Frame, arrivals: pd.DataFrame) -> pd.DataFrame:
    """The dependencies without those that a later observation of another batch proves to have come.

    Batches are observed one after the other, so an older list may name what has arrived since.

    Parameters
    ----------
    dependencies, arrivals : pandas.DataFrame
        As from ``history.dependencies()`` and ``history.arrivals()``.

    Returns
    -------
    pandas.DataFrame
        Rows of ``dependencies``, in their order, for `bottlenecks` and all that take them.

    Raises
    ------
    FrameError
        If a frame lacks a needed column.

    Examples
    --------
    >>> from reach_analytics import tables
    >>> from reach_analytics.measures import still_missing
    >>> len(still_missing(tables.DEPENDENCIES.empty(), tables.ARRIVALS.empty()))
    0
    """
    key = ["tenant_id", "missing_schema_definition_id", "missing_external_id"]
    own = RESOURCE_KEY
    dependencies = DEPENDENCIES.normalize(dependencies, key, "still_missing")
    arrivals = ARRIVALS.normalize(arrivals, [*own, "verdict"], "still_missing")
    come = arrivals.loc[arrivals["verdict"] == "arrived", own].set_axis(key, axis=1)
    rows = dependencies[key].merge(come.drop_duplicates(), on=key, how="left", indicator=True)
    return dependencies[(rows["_merge"] == "left_only").to_numpy()].reset_index(drop=True)
