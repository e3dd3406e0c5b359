"""How uploads fare: success fractions and status counts, per group and time bucket."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from reach_analytics._plausible import LONGEST
from reach_analytics._time import parse_duration, parse_timestamp
from reach_analytics.measures._shared.grouping import (
    Buckets,
    By,
    Freq,
    finished,
    group_names,
    time_column,
)
from reach_analytics.measures._shared.intervals import clustered_interval
from reach_analytics.tables import BATCHES, STATUS, SUCCESS, Frame, as_utc

__all__ = ["pooled", "status", "success"]

_COUNTS = [
    "total_records",
    "processed_records",
    "successful_records",
    "pending_records",
    "failed_records",
]


def success(
    batches: Frame,
    *,
    by: By = None,
    freq: Freq | None = None,
    time: str = "created_at",
    as_of: datetime | None = None,
    longest_wait: str | pd.Timedelta = "24h",
    timezone: str = "UTC",
) -> pd.DataFrame:
    """Fraction of records that succeeded, pooled over batches, per group and time bucket.

    ``settled_fraction`` = Σ successful / Σ (successful + failed): of what is decided, how much
    succeeded. ``strict_fraction`` = Σ successful / Σ total: of all that was sent, how much is
    stored now. ``batch_mean_fraction`` = mean of successful / total over batches, whatever their
    size. A batch that lacks a needed count is left out of that fraction; without any data a
    fraction is null, never 0.

    The interval around ``settled_fraction`` allows for the records of a batch succeeding or failing
    together (beta-binomial, averaged over how much they do; see docs/coverage.md for what it
    covers). With *s* of *n* settled records succeeded in each of *k* batches, and *p* pooled,
    ``design_effect = k / (k - 1) · Σ(s - p n)² / (Σn · p (1 - p))`` says how much more batches
    differ than by chance. With fewer than ten batches, or where all or none succeeded, the
    interval is called ``descriptive``: it need not cover as often as it says.

    A bucket of ``created_at`` is a cohort, and ``immature`` while some of its records may still
    wait: until ``longest_wait``, and the time in which 99 % of the batches are completed, have
    passed since its end. Its fractions may move.

    Parameters
    ----------
    batches : pandas.DataFrame
        As from ``history.batches()``: one row per batch.
    by : str or list of str, optional
        Columns to group by, as ``"schema_name"``. Batches without a value form a group of their
        own.
    freq : str or Timedelta, optional
        Width of the time buckets, as ``"1h"`` or ``"D"``; no buckets by default.
    time : str
        The time a batch counts at: ``created_at`` follows cohorts, ``completed_at`` throughput,
        ``observed_at`` when its state was seen.
    as_of : datetime, optional
        Reference time; without it nothing is known to be immature.
    longest_wait : str or Timedelta
        How long a record may wait; the API allows a day.
    timezone : str
        Whose clocks and calendar the buckets follow, as ``"Europe/Berlin"``.

    Returns
    -------
    pandas.DataFrame
        The ``by`` columns; with ``freq`` a column ``bucket`` (start, UTC); then batches,
        total_records, processed_records, successful_records, pending_records, failed_records
        (counts), the three fractions (0–1), design_effect, settled_low_fraction,
        settled_high_fraction, interval (``adjusted``, ``descriptive`` or null) and immature
        (null without ``as_of`` or cohorts). Sorted by group and bucket.
        Without ``by`` and ``freq`` one row, and none if there are no batches.

    Raises
    ------
    FrameError
        If ``batches`` lacks a needed column.
    ValueError
        If ``freq`` is no width of buckets, or ``time`` no column of times.

    Examples
    --------
    >>> import pandas as pd
    >>> from reach_analytics.measures import success
    >>> batches = pd.DataFrame({
    ...     "schema_name": ["a", "a", "b"], "created_at": pd.NaT, "total_records": [10, 90, 5],
    ...     "processed_records": [10, 90, 5], "successful_records": [10, 45, 0],
    ...     "pending_records": [0, 45, 5], "failed_records": [0, 0, 0],
    ... })
    >>> table = success(batches, by="schema_name")
    >>> print(table[["schema_name", "settled_fraction", "strict_fraction"]].to_string(index=False))
    schema_name  settled_fraction  strict_fraction
              a               1.0             0.55
              b               NaN             0.00
    """
    buckets = Buckets.of(freq, timezone)
    groups, table = pooled(batches, by=by, buckets=buckets, time=time)
    found = finished(table, groups, SUCCESS.empty())
    if buckets is not None and time == "created_at" and as_of is not None:
        wait = parse_duration(longest_wait, "longest_wait", minimum=pd.Timedelta(0))
        wait += _processing(batches)
        now = parse_timestamp(as_of)
        ends = buckets.end(found["bucket"])
        found["immature"] = (ends + wait > now).astype("boolean").mask(ends.isna())
    return found


def _processing(batches: Frame) -> pd.Timedelta:
    """The time from creation in which 99 % of the batches are completed; 0 if none is."""
    batches = BATCHES.normalize(batches, ["created_at", "completed_at"], "success")
    took = (as_utc(batches["completed_at"]) - as_utc(batches["created_at"])).dropna()
    took = took[took <= LONGEST]
    micros = took.astype("int64")
    return pd.Timedelta(float(micros.quantile(0.99)) if len(took) else 0.0, unit="us")


def pooled(
    batches: Frame, *, by: By = None, buckets: Buckets | None = None, time: str = "created_at"
) -> tuple[list[str], pd.DataFrame]:
    """The group tables, and per group the counts, the fractions, and an interval."""
    groups, rows = _grouped(batches, by, buckets, time, "success")
    settled = rows["successful_records"] + rows["failed_records"]
    strict = rows["successful_records"].where(rows["total_records"].notna())
    parts = rows.assign(
        _settled=settled,
        _of_settled=rows["successful_records"].where(settled.notna()),
        _total=rows["total_records"].where(strict.notna()),
        _strict=strict,
        _own=_fraction(strict, rows["total_records"]),
    )
    grouped = parts.groupby(groups, dropna=False)
    parts["_number"] = grouped.ngroup()
    sums = grouped[[*_COUNTS, "_settled", "_of_settled", "_total", "_strict"]].sum(min_count=1)
    table = sums.assign(
        batches=grouped.size(),
        settled_fraction=_fraction(sums["_of_settled"], sums["_settled"]),
        strict_fraction=_fraction(sums["_strict"], sums["_total"]),
        batch_mean_fraction=grouped["_own"].mean(),
    )
    return groups, table.assign(**_interval(parts))


def _interval(parts: pd.DataFrame) -> dict[str, npt.NDArray[Any]]:
    """The design effect and the interval of each settled fraction, from the batches' parts."""
    settled = parts["_settled"].astype("float64").to_numpy(na_value=0)
    hits = parts["_of_settled"].astype("float64").to_numpy(na_value=0)
    sound = (settled > 0) & (hits >= 0) & (hits <= settled)
    found = clustered_interval(
        parts["_number"].to_numpy("int64"),
        np.where(sound, hits, 0.0),
        np.where(sound, settled, 0.0),
        int(parts["_number"].max() + 1) if len(parts) else 0,
    )
    return {
        "design_effect": found["design_effect"],
        "settled_low_fraction": found["low"],
        "settled_high_fraction": found["high"],
        "interval": found["kind"],
    }


def status(
    batches: Frame,
    *,
    by: By = None,
    freq: Freq | None = None,
    time: str = "created_at",
    timezone: str = "UTC",
) -> pd.DataFrame:
    """Batches and records per status, group and time bucket.

    Parameters
    ----------
    batches, by, freq, time, timezone
        As for `success`.

    Returns
    -------
    pandas.DataFrame
        The ``by`` columns; with ``freq`` a column ``bucket`` (start, UTC); status as reported, new
        ones too; batches; and the five record counts. Only what occurs has a row.

    Raises
    ------
    FrameError
        If ``batches`` lacks a needed column.

    Examples
    --------
    >>> from reach_analytics import tables
    >>> from reach_analytics.measures import status
    >>> status(tables.BATCHES.empty(), by="schema_name").columns[:3].tolist()
    ['schema_name', 'status', 'batches']
    """
    batches = BATCHES.normalize(batches, ["status"], "status")
    groups, rows = _grouped(batches, by, Buckets.of(freq, timezone), time, "status")
    groups = [*[name for name in groups if name != "_all"], "status"]
    grouped = rows.groupby(groups, dropna=False)
    table = grouped[_COUNTS].sum(min_count=1).assign(batches=grouped.size())
    return finished(table, groups, STATUS.empty())


def _grouped(
    batches: Frame, by: By, buckets: Buckets | None, time: str, caller: str
) -> tuple[list[str], pd.DataFrame]:
    """The columns to group by, and the batches with these and nullable counts."""
    taken = {"bucket", *([] if caller == "success" else ["status"]), *_COUNTS}
    names = group_names(by, taken, "the batches")
    times = [] if buckets is None else [time_column(time)]
    batches = BATCHES.normalize(batches, [*names, *_COUNTS, *times], caller)
    rows = batches.assign(**{name: batches[name].astype("Int64") for name in _COUNTS})
    if buckets is not None:
        rows = rows.assign(bucket=buckets.start(as_utc(rows[time])))
        names.append("bucket")
    return (names, rows) if names else (["_all"], rows.assign(_all=0))


def _fraction(part: pd.Series, whole: pd.Series) -> pd.Series:
    """Part / whole, null where there is nothing to divide by."""
    return part.astype("float64") / whole.astype("float64").where(lambda n: n != 0)
