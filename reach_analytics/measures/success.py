"""How uploads fare: success fractions and status counts, per group and time bucket."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from reach_analytics.columns import BATCHES, STATUS, SUCCESS, as_utc

_COUNTS = [
    "total_records",
    "processed_records",
    "successful_records",
    "pending_records",
    "failed_records",
]
By = str | Sequence[str] | None


def success(
    batches: pd.DataFrame, *, by: By = None, freq: str | None = None, time: str = "created_at"
) -> pd.DataFrame:
    """Fraction of records that succeeded, pooled over batches, per group and time bucket.

    ``settled_fraction`` = Σ successful / Σ (successful + failed): of what is decided, how much
    succeeded. ``strict_fraction`` = Σ successful / Σ total: of all that was sent, how much is
    stored now. ``batch_mean_fraction`` = mean of successful / total over batches, whatever their
    size. A batch that lacks a needed count is left out of that fraction; without any data a
    fraction is null, never 0.

    Parameters
    ----------
    batches : pandas.DataFrame
        As from ``history.batches()``: one row per batch.
    by : str or list of str, optional
        Columns to group by, as ``"schema_name"``. Batches without a value form a group of their
        own.
    freq : str, optional
        Width of the time buckets, as ``"1h"`` or ``"D"``; no buckets by default.
    time : str
        The time a batch counts at: ``created_at`` follows cohorts, ``completed_at`` throughput.

    Returns
    -------
    pandas.DataFrame
        The ``by`` columns; with ``freq`` a column ``bucket`` (start, UTC); then batches,
        total_records, processed_records, successful_records, pending_records, failed_records
        (counts) and the three fractions (0–1). Sorted by group and bucket. Without ``by`` and
        ``freq`` one row, and none if there are no batches.

    Raises
    ------
    FrameError
        If ``batches`` lacks a needed column.

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
    groups, rows = _grouped(batches, by, freq, time, "success")
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
    sums = grouped[[*_COUNTS, "_settled", "_of_settled", "_total", "_strict"]].sum(min_count=1)
    table = sums.assign(
        batches=grouped.size(),
        settled_fraction=_fraction(sums["_of_settled"], sums["_settled"]),
        strict_fraction=_fraction(sums["_strict"], sums["_total"]),
        batch_mean_fraction=grouped["_own"].mean(),
    )
    return _finished(table, groups, SUCCESS.empty())


def status(
    batches: pd.DataFrame, *, by: By = None, freq: str | None = None, time: str = "created_at"
) -> pd.DataFrame:
    """Batches and records per status, group and time bucket.

    Parameters
    ----------
    batches, by, freq, time
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
    >>> from reach_analytics import columns
    >>> from reach_analytics.measures import status
    >>> status(columns.BATCHES.empty(), by="schema_name").columns[:3].tolist()
    ['schema_name', 'status', 'batches']
    """
    BATCHES.require(batches, ["status"], "status")
    groups, rows = _grouped(batches, by, freq, time, "status")
    groups = [*[name for name in groups if name != "_all"], "status"]
    grouped = rows.groupby(groups, dropna=False)
    table = grouped[_COUNTS].sum(min_count=1).assign(batches=grouped.size())
    return _finished(table, groups, STATUS.empty())


def _grouped(
    batches: pd.DataFrame, by: By, freq: str | None, time: str, caller: str
) -> tuple[list[str], pd.DataFrame]:
    """The columns to group by, and the batches with these and nullable counts."""
    names = [by] if isinstance(by, str) else list(by or ())
    taken = {"bucket", *([] if caller == "success" else ["status"]), *_COUNTS} & set(names)
    if taken or len(set(names)) < len(names):
        raise ValueError(f"by takes columns of the batches, each once, found {names}")
    needed = [*names, *_COUNTS, *([time] if freq else [])]
    BATCHES.require(batches, needed, caller)
    rows = batches.assign(**{name: batches[name].astype("Int64") for name in _COUNTS})
    if freq:
        rows = rows.assign(bucket=_bucket(as_utc(rows[time]), freq))
        names.append("bucket")
    return (names, rows) if names else (["_all"], rows.assign(_all=0))


_CALENDAR = ("W", "M", "Q", "Y")


def _bucket(times: pd.Series, freq: str) -> pd.Series:
    """The start of each time's bucket: widths in days or less, or a calendar unit."""
    if freq in _CALENDAR:
        starts: pd.Series = times.dt.tz_localize(None).dt.to_period(freq).dt.start_time
        aware: pd.Series = starts.dt.tz_localize("UTC").astype(times.dtype)
        return aware
    try:
        width = pd.Timedelta(freq if freq[:1].isdigit() else f"1{freq}")
        if width > pd.Timedelta(0) and freq and not freq.endswith("W"):
            floored: pd.Series = times.dt.floor(width)
            return floored
    except (ValueError, TypeError):
        pass
    raise ValueError(
        f"freq must be a width like '15min', '1h' or '7D', or one of {_CALENDAR}, found {freq!r}"
    )


def _fraction(part: pd.Series, whole: pd.Series) -> pd.Series:
    """part / whole, null where there is nothing to divide by."""
    return part.astype("float64") / whole.astype("float64").where(lambda n: n != 0)


def _finished(table: pd.DataFrame, groups: list[str], like: pd.DataFrame) -> pd.DataFrame:
    """The groups as columns in front of the measure's own, in its dtypes."""
    shown = [name for name in groups if name != "_all" and name not in like.columns]
    flat = table.reset_index()
    flat = flat.reindex(columns=[*shown, *like.columns])
    return flat.astype({name: like[name].dtype for name in like.columns})
