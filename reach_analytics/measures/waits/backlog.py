"""How many resources wait, over time."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import numpy as np
import pandas as pd

from reach_analytics._time import parse_duration, parse_timestamp
from reach_analytics.measures._shared.arrays import Ints
from reach_analytics.measures._shared.grouping import (
    By,
    Freq,
    bucket_starts,
    each_group,
    gathered,
    group_names,
)
from reach_analytics.tables import BACKLOG, WAIT_OUTCOMES, Frame

__all__ = ["backlog"]

_TICK = pd.Timedelta(microseconds=1)
_REACH = pd.Timedelta(days=31)  # before the first observation; earlier starts are outliers


def backlog(
    wait_outcomes: Frame,
    *,
    by: By = None,
    freq: Freq,
    as_of: datetime,
    fresh: str | pd.Timedelta = "15min",
) -> pd.DataFrame:
    """How many resources waited at the end of each time bucket, and what came and went in it.

    Between the last observation that lists a resource and the first that does not, its state is
    unknown, so the number is a range: ``waiting_low`` surely waited, ``waiting_high`` may have. A
    wait counts from its ``created_at``, also before it was first seen; waits that were never seen
    are missing. What the last observation lists counts as sure for as long as it is ``fresh``.

    The first bucket is that of the earliest wait, but begins no more than 31 days before the first
    observation that lists one: a wait "since 1970" must not make half a million buckets. Waits that
    began before the first bucket are counted apart, as ``earlier``.

    Parameters
    ----------
    wait_outcomes : pandas.DataFrame
        As from ``history.wait_outcomes()``.
    freq : str or Timedelta
        Width of the buckets, as ``"15min"`` or ``"1h"``.
    as_of : datetime
        Reference time, where the last bucket ends; without an offset it counts as UTC.
    by : str or list of str, optional
        Columns to group by, as ``"schema_name"``.
    fresh : str or Timedelta
        How long after the last observation what it lists surely waits, up to its expiry.

    Returns
    -------
    pandas.DataFrame
        The ``by`` columns; bucket (start, UTC); waiting_low, waiting_high (resources at its end);
        began, released, expired, unknown (waits in it; released and unknown ones count where they
        were found gone); earlier (waits that began before the first bucket; they are in
        waiting_low and waiting_high while they last, and not in began). Every group has every
        bucket. No rows without waits.

    Raises
    ------
    FrameError
        If the frame lacks a needed column.
    ValueError
        If ``freq`` is no width of time, or gives more than a hundred thousand buckets.

    Examples
    --------
    >>> from reach_analytics import tables
    >>> from reach_analytics.measures import backlog
    >>> backlog(tables.WAIT_OUTCOMES.empty(), freq="1h", as_of="2026-01-01").shape
    (0, 8)
    """
    names = group_names(by, BACKLOG.names, "the waits")
    wait_outcomes = WAIT_OUTCOMES.normalize(
        wait_outcomes, [*WAIT_OUTCOMES.names, *names], "backlog"
    )
    now = parse_timestamp(as_of)
    sure_for = parse_duration(fresh, "fresh", minimum=pd.Timedelta(0))
    rows = wait_outcomes.assign(**_spans(wait_outcomes, now, sure_for))
    rows = rows[rows["_began"] <= now]
    edges = bucket_starts(_first(rows, now), now, freq)  # an odd width is an error without rows too
    parts = each_group(rows, names, lambda own: _counted(own, edges, now))
    return gathered(parts, names, wait_outcomes, BACKLOG.empty())


def _first(rows: pd.DataFrame, now: pd.Timestamp) -> pd.Timestamp:
    """The moment whose bucket is the first."""
    if rows.empty:
        return now
    seen = min(rows["first_seen"].min(), now)
    shown = rows.loc[rows["_began"] >= seen - _REACH, "_began"]
    first: pd.Timestamp = shown.min() if len(shown) else seen
    return first


def _spans(
    wait_outcomes: pd.DataFrame, now: pd.Timestamp, fresh: pd.Timedelta
) -> dict[str, pd.Series]:
    """When each wait began, until when it surely lasted, and when it is over at the latest."""
    after, expires = wait_outcomes["ended_after"], wait_outcomes["expires_at"]
    verdict = wait_outcomes["verdict"]
    until = (after + fresh).where(after + fresh < now, now)
    until = until.where(~(expires < until), expires)
    lists = after.where(after > until, until)  # the last observation lists it
    surely = after.mask(verdict == "pending", lists)
    over = wait_outcomes["ended_by"].fillna(expires)
    overdue = verdict.isin(["pending", "censored"]) & (expires <= after)
    over = over.mask(overdue)  # listed after its expiry, for an unknown time
    surely = surely.mask(over <= surely, over - _TICK)  # at its very end nothing waits any more
    began = wait_outcomes["created_at"].fillna(wait_outcomes["first_seen"])
    return {"_began": began.where(began <= surely, surely), "_surely": surely, "_over": over}


def _counted(rows: pd.DataFrame, edges: pd.DatetimeIndex, now: pd.Timestamp) -> pd.DataFrame:
    """The counts of one group in every bucket."""
    ends = edges[1:].where(edges[1:] <= now, now).as_unit("us")
    began = _so_far(rows["_began"], ends, "right")
    times = {"began": rows["_began"]} | {
        name: rows.loc[rows["verdict"] == name, "ended_by"]
        for name in ("released", "expired", "unknown")
    }
    # What lies before the first bucket is in none.
    steps = {
        name: np.diff(_so_far(own, ends, "right"), prepend=int((own < edges[0]).sum()))
        for name, own in times.items()
    }
    return pd.DataFrame(
        {
            "bucket": edges[:-1],
            "waiting_low": began - _so_far(rows["_surely"], ends, "left"),
            "waiting_high": began - _so_far(rows["_over"], ends, "right"),
            **steps,
            "earlier": int((rows["_began"] < edges[0]).sum()),
        }
    )


def _so_far(times: pd.Series, ends: pd.DatetimeIndex, side: Literal["left", "right"]) -> Ints:
    """How many of the times lie before (``left``) or not after (``right``) each end."""
    known = np.sort(times.dropna().dt.as_unit("us").astype("int64").to_numpy())
    return np.asarray(np.searchsorted(known, ends.astype("int64").to_numpy(), side=side), np.int64)
