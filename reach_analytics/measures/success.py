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
_LEAST = 5  # batches for a design effect to say something
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

    The interval around ``settled_fraction`` is Wilson's at 95 % for ``n / max(1, design_effect)``
    records (Korn and Graubard 1998; Franco et al. 2019), since the records of a batch succeed or
    fail together. With *s* of *n* settled records succeeded in each of *k* batches, and *p*
    pooled, ``design_effect = k / (k - 1) · Σ(s - p n)² / (Σn · p (1 - p))``. With fewer than five
    batches, or where all or none succeeded, that is no estimate, and the interval is called
    ``descriptive``.

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
        (counts), the three fractions (0–1), design_effect, settled_low_fraction,
        settled_high_fraction and interval (``adjusted``, ``descriptive`` or null). Sorted by group
        and bucket. Without ``by`` and ``freq`` one row, and none if there are no batches.

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
    groups, table = pooled(batches, by=by, freq=freq, time=time)
    return _finished(table.assign(**_interval(table)), groups, SUCCESS.empty())


def pooled(
    batches: pd.DataFrame, *, by: By = None, freq: str | None = None, time: str = "created_at"
) -> tuple[list[str], pd.DataFrame]:
    """The group columns, and per group the counts, fractions, and what an interval needs."""
    groups, rows = _grouped(batches, by, freq, time, "success")
    settled = rows["successful_records"] + rows["failed_records"]
    strict = rows["successful_records"].where(rows["total_records"].notna())
    parts = rows.assign(
        _settled=settled,
        _of_settled=rows["successful_records"].where(settled.notna()),
        _total=rows["total_records"].where(strict.notna()),
        _strict=strict,
        _own=_fraction(strict, rows["total_records"]),
        _square=settled * settled,
        _cross=settled * rows["successful_records"],
        _own_square=rows["successful_records"] * rows["successful_records"],
        _clusters=(settled > 0).astype("Int64"),
    )
    grouped = parts.groupby(groups, dropna=False)
    summed = [*_COUNTS, "_settled", "_of_settled", "_total", "_strict", "_clusters"]
    squares = ["_square", "_cross", "_own_square"]
    sums = grouped[[*summed, *squares]].sum(min_count=1)
    table = sums.assign(
        batches=grouped.size(),
        settled_fraction=_fraction(sums["_of_settled"], sums["_settled"]),
        strict_fraction=_fraction(sums["_strict"], sums["_total"]),
        batch_mean_fraction=grouped["_own"].mean(),
    )
    return groups, table


def _interval(table: pd.DataFrame) -> dict[str, pd.Series]:
    """The design effect and the interval of each settled fraction."""
    from statsmodels.stats.proportion import proportion_confint

    p, n = table["settled_fraction"], table["_settled"].astype("float64")
    batches = table["_clusters"].astype("float64")
    # Σ(s - p n)² from sums of squares, so that each batch is touched once.
    spread = (
        table["_own_square"].astype("float64")
        - 2 * p * table["_cross"].astype("float64")
        + p**2 * table["_square"].astype("float64")
    )
    mixed = (p > 0) & (p < 1) & (batches > 1)
    effect = (batches / (batches - 1) * spread / (n * p * (1 - p))).where(mixed)
    effective = n / effect.fillna(1).clip(lower=1)
    some = (n > 0).fillna(False)
    low, high = proportion_confint(p[some] * effective[some], effective[some], method="wilson")
    kind = pd.Series("descriptive", index=table.index).where(
        ~(mixed & (batches >= _LEAST)), "adjusted"
    )
    return {
        "design_effect": effect,
        "settled_low_fraction": pd.Series(low, index=table.index[some]).reindex(table.index),
        "settled_high_fraction": pd.Series(high, index=table.index[some]).reindex(table.index),
        "interval": kind.where(some),
    }


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
