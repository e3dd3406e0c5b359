"""What expires when: pending resources by their time left."""

from __future__ import annotations

from datetime import datetime

import pandas as pd

from reach_analytics._time import parse_duration, parse_timestamp
from reach_analytics.tables import EXPIRING, PENDING, Frame, as_utc

__all__ = ["expiring"]


def expiring(
    pending: Frame, *, as_of: datetime, within: str | pd.Timedelta | None = None
) -> pd.DataFrame:
    """Pending resources, the first to expire on top.

    Parameters
    ----------
    pending : pandas.DataFrame
        As from ``history.pending()``.
    as_of : datetime
        The moment from which time is counted; without an offset it counts as UTC.
    within : str or Timedelta, optional
        Only what expires in this time, as ``"2h"``; everything by default. What is overdue (at or
        past its expiry, but still listed by the last observation) is always included.

    Returns
    -------
    pandas.DataFrame
        One row per pending resource: tenant_id, batch_id, pending_id, external_id,
        schema_definition_id, schema_name, created_at, expires_at (UTC), time_left (negative or
        zero when overdue), overdue, missing_count. By expires_at; those without one come last,
        and only without ``within``.

    Raises
    ------
    FrameError
        If the frame lacks a documented column.
    ValueError
        If ``within`` is no length of time, or not above zero.

    Examples
    --------
    >>> import pandas as pd
    >>> from reach_analytics import tables
    >>> from reach_analytics.measures import expiring
    >>> noon = pd.Timestamp("2026-01-01 12:00", tz="UTC")
    >>> waits = tables.PENDING.conform(pd.DataFrame({
    ...     "tenant_id": "t", "batch_id": "b", "pending_id": ["1", "2", "3"], "missing_count": 1,
    ...     "expires_at": [noon + pd.Timedelta(minutes=m) for m in (90, -5, 30)],
    ... }))
    >>> print(expiring(waits, as_of=noon, within="1h")[["pending_id", "time_left", "overdue"]]
    ...       .to_string(index=False))
    pending_id         time_left  overdue
             2 -1 days +23:55:00     True
             3   0 days 00:30:00    False
    """
    shown = [name for name in EXPIRING.names if name not in ("time_left", "overdue")]
    pending = PENDING.normalize(pending, shown, "expiring")
    now = parse_timestamp(as_of)
    left = as_utc(pending["expires_at"]) - now
    table = pending.assign(time_left=left, overdue=left <= pd.Timedelta(0))
    if within is not None:
        table = table[(left <= parse_duration(within, "within")).to_numpy()]
    return EXPIRING.conform(EXPIRING.in_order(table))
