"""How many resources wait, over time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa

from reach_analytics._time import parse_duration, parse_timestamp, parse_timezone
from reach_analytics.measures._shared.arrays import Ints
from reach_analytics.measures._shared.grouping import (
    Buckets,
    By,
    Freq,
    group_names,
    numbered_groups,
)
from reach_analytics.queries.backlog_counts import KINDS, BacklogCounts
from reach_analytics.queries.evidence import backlog_counts_of_rows
from reach_analytics.queries.tables import LazyTable
from reach_analytics.tables import BACKLOG, WAIT_OUTCOMES, Frame

__all__ = ["backlog", "backlog_of_counts"]

_COLUMNS = ["created_at", "first_seen", "expires_at", "ended_after", "ended_by", "verdict"]
_REACH = timedelta(days=31)  # before the first observation; earlier starts are outliers


def backlog(
    wait_outcomes: Frame,
    *,
    by: By = None,
    freq: Freq,
    as_of: datetime,
    fresh: str | pd.Timedelta = "15min",
    timezone: str = "UTC",
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
    timezone : str
        Whose clocks and calendar the buckets follow, as ``"Europe/Berlin"``.

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
    rows = WAIT_OUTCOMES.normalize(wait_outcomes, [*WAIT_OUTCOMES.names, *names], "backlog")
    group, labels = numbered_groups(rows, names)
    given = WAIT_OUTCOMES.to_arrow(rows[_COLUMNS])
    given = given.append_column("group", pa.array(group, pa.int64()))
    now = parse_timestamp(as_of)

    def of_rows(now: datetime, fresh: timedelta) -> BacklogCounts:
        return backlog_counts_of_rows(given, ["group"], now, fresh)

    def read(table: LazyTable) -> pd.DataFrame:
        counts: pd.DataFrame = table.to_pyarrow().to_pandas()
        own = labels.reindex(counts.pop("group")).reset_index(drop=True)
        return pd.concat([own, counts], axis=1)

    buckets = Buckets(freq, parse_timezone(timezone))
    found = backlog_of_counts(of_rows, read, names, buckets=buckets, as_of=now, fresh=fresh)
    return found.astype({name: rows[name].dtype for name in names})


def backlog_of_counts(
    begin: Callable[[datetime, timedelta], BacklogCounts],
    read: Callable[[LazyTable], pd.DataFrame],
    names: list[str],
    *,
    buckets: Buckets,
    as_of: pd.Timestamp,
    fresh: str | pd.Timedelta,
) -> pd.DataFrame:
    """The backlog, from counts that an engine makes; see `queries.backlog_counts`."""
    sure_for = parse_duration(fresh, "fresh", minimum=pd.Timedelta(0)).to_pytimedelta()
    begun = begin(as_of.to_pydatetime(), sure_for)
    first = begun.first(_REACH)
    edges = buckets.between(as_of if first is None else parse_timestamp(first), as_of)
    if first is None:  # an odd width is an error without rows too
        return BACKLOG.empty().reindex(columns=[*names, *BACKLOG.names])
    # Of buckets that differ in length the engine counts common parts.
    lengths = np.diff(edges.as_unit("us").asi8)
    width = pd.Timedelta(int(np.gcd.reduce(lengths)), unit="us")
    counts = read(begun.counts(edges[0].to_pydatetime(), width.to_pytimedelta()))
    at = edges[0] + counts["step"].to_numpy() * width
    place = np.where(counts["step"] < 0, 0, edges.searchsorted(pd.DatetimeIndex(at), "right"))
    group, labels = numbered_groups(counts, names)
    kind = pd.Index(KINDS).get_indexer(pd.Index(counts["kind"]))
    table = np.zeros((len(KINDS), len(labels), len(edges)), np.int64)
    np.add.at(table, (kind, group.to_numpy(), place), counts["n"].to_numpy())
    return _shown(dict(zip(KINDS, table, strict=True)), labels, edges)


def _shown(table: dict[str, Ints], labels: pd.DataFrame, edges: pd.DatetimeIndex) -> pd.DataFrame:
    """One row per group and bucket, from the numbers before the first bucket and in each."""
    so_far = {name: own.cumsum(axis=1)[:, 1:].ravel() for name, own in table.items()}
    steps = {name: own[:, 1:].ravel() for name, own in table.items()}
    buckets = len(edges) - 1
    frame = pd.DataFrame(
        {
            "bucket": np.tile(edges[:-1], len(labels)),
            "waiting_low": so_far["began"] - so_far["surely"],
            "waiting_high": so_far["began"] - so_far["over"],
            **{name: steps[name] for name in ("began", "released", "expired", "unknown")},
            "earlier": table["began"][:, 0].repeat(buckets),
        }
    )
    own = labels.loc[labels.index.repeat(buckets)].reset_index(drop=True)
    return pd.concat([own, BACKLOG.conform(frame)], axis=1)
