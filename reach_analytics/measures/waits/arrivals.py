"""When what was missing came: one row per dependency."""

from __future__ import annotations

import pandas as pd

from reach_analytics.queries.evidence import arrivals_of_rows
from reach_analytics.tables import ARRIVALS, MISSING_INTERVALS, WAIT_KEY, WAIT_OUTCOMES, Frame

__all__ = ["arrivals"]

_OF_WAITS = [*WAIT_KEY, "created_at", "last_seen", "verdict", "ended_by"]


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
    waits = WAIT_OUTCOMES.normalize(wait_outcomes, _OF_WAITS, "arrivals")
    missing = MISSING_INTERVALS.normalize(missing_intervals, MISSING_INTERVALS.names, "arrivals")
    rows = arrivals_of_rows(
        WAIT_OUTCOMES.to_arrow(waits[_OF_WAITS]), MISSING_INTERVALS.to_arrow(missing)
    )
    return ARRIVALS.to_pandas(rows)
