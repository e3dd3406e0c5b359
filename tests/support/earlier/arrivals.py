"""When what was missing came, as pandas once told: a second opinion on `queries.arrivals`."""

from __future__ import annotations

import pandas as pd

from reach_analytics.tables import ARRIVALS, MISSING_INTERVALS, RESOURCE_KEY, WAIT_OUTCOMES, Frame
from tests.support.earlier import presence

__all__ = ["arrivals"]


def arrivals(wait_outcomes: Frame, missing_intervals: pd.DataFrame) -> pd.DataFrame:
    """When each dependency came; see `measures.arrivals`."""
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
