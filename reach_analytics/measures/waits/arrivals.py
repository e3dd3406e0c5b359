"""When what was missing came: one row per dependency."""

from __future__ import annotations

import pandas as pd

from reach_analytics.measures._verdicts import presence
from reach_analytics.tables import ARRIVALS, MISSING_INTERVALS, RESOURCE_KEY, WAIT_OUTCOMES, Frame

__all__ = ["arrivals"]


def arrivals(wait_outcomes: Frame, missing_intervals: pd.DataFrame) -> pd.DataFrame:
    """Every dependency ever seen missing, and when it came: which are slow to arrive.

    One delivery may free a thousand resources, so each dependency counts once here. It came after
    the last observation that lists it as missing, and by the first proof after that: a resource
    released that missed it, or seen with it struck from its list. One that nothing waits for any
    more without such a proof (its resources expired, say) is ``censored``, not arrived. One without
    a whole key cannot be followed, and has no row.

    Parameters
    ----------
    wait_outcomes, missing_intervals : pandas.DataFrame
        As from ``history.wait_outcomes()`` and ``history.missing_intervals()``.

    Returns
    -------
    pandas.DataFrame
        tenant_id, schema_definition_id, external_id, schema_name; resources (ever seen to miss
        it); created_at (when the first of them began to wait), first_seen, last_seen (UTC);
        verdict (``arrived``, ``missing`` or ``censored``); ended_after, ended_by (UTC: it came in
        this interval, half open). The longest missing first. `survival` and `wait_times` take it.

    Raises
    ------
    FrameError
        If a frame lacks a documented column.

    Examples
    --------
    >>> from reach_analytics import tables
    >>> from reach_analytics.measures import arrivals
    >>> len(arrivals(tables.WAIT_OUTCOMES.empty(), tables.MISSING_INTERVALS.empty()))
    0
    """
    wait_outcomes = WAIT_OUTCOMES.normalize(wait_outcomes, WAIT_OUTCOMES.names, "arrivals")
    missing_intervals = MISSING_INTERVALS.normalize(
        missing_intervals, MISSING_INTERVALS.names, "arrivals"
    )
    wait_intervals = wait_outcomes.reset_index(drop=True)
    links = presence.links(wait_intervals, missing_intervals)
    links = links[links["named"]].reset_index(drop=True)
    key = links["key"]
    last = links["last_missing_by"].groupby(key).transform("max")
    proof = presence.proof_times(links, wait_intervals)
    came = proof.where(proof > last).groupby(key).min()
    pending = (wait_intervals["verdict"] == "pending").to_numpy(bool)[links["interval"]]
    missed = pd.Series(pending & links["at_last"].to_numpy(bool), index=links.index)
    began = pd.Series(wait_intervals["created_at"].array[links["interval"]], index=links.index)
    table = links.groupby(key)[RESOURCE_KEY].head(1)
    table = table.set_index(key.loc[table.index]).sort_index()
    table = table.assign(
        schema_name=links.groupby(key)["schema_name"].first(),
        resources=links.groupby(key).size(),
        created_at=began.groupby(key).min(),
        first_seen=links["first_missing"].groupby(key).min(),
        last_seen=links["last_missing"].groupby(key).max(),
        ended_by=came,
        verdict="censored",
    )
    still = missed.groupby(key).any()
    table.loc[still[still].index, "verdict"] = "missing"
    table.loc[came[came.notna()].index, "verdict"] = "arrived"
    return ARRIVALS.conform(ARRIVALS.in_order(table.assign(ended_after=table["last_seen"])))
