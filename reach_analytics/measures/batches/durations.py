"""How long batches queue and take, and how fast they are processed."""

from __future__ import annotations

from datetime import datetime

import pandas as pd

from reach_analytics._time import parse_timestamp
from reach_analytics.tables import (
    BATCH_KEY,
    BATCHES,
    DURATIONS,
    OBSERVATIONS,
    THROUGHPUT,
    Frame,
    as_utc,
)

__all__ = [
    "COUNTS",
    "KEY",
    "SCHEMA",
    "STATE",
    "all_processed",
    "durations",
    "good_observations",
    "throughput",
    "unfinished",
]

KEY = BATCH_KEY
SCHEMA = ["schema_name", "schema_definition_id"]
COUNTS = [
    "total_records",
    "processed_records",
    "successful_records",
    "pending_records",
    "failed_records",
]
STATE = [*SCHEMA, "status", "completed_at", *COUNTS]
_TIMES = ["created_at", "started_at", "completed_at"]
_ZERO = pd.Timedelta(0)


def durations(batches: Frame, *, as_of: datetime | None = None) -> pd.DataFrame:
    """How long each batch queued, was processed and took in all, by the API's own times.

    ``queue_time`` = started - created; ``processing_time`` = completed - started; ``total_time`` =
    completed - created; ``records_per_second`` = processed records / seconds of processing. The
    last three are null while the batch runs (status ``processing``), and ``elapsed`` =
    ``as_of`` - started is how long it has run. Where a time is missing, or two are in the
    wrong order, the length is null and never negative; `quality` reports such times. Processing
    that took no time has no rate.

    Parameters
    ----------
    batches : pandas.DataFrame
        As from ``history.batches()``.
    as_of : datetime, optional
        The moment up to which running batches are timed; without an offset it counts as UTC.
        Without it ``elapsed`` is null.

    Returns
    -------
    pandas.DataFrame
        One row per batch, by created_at: tenant_id, batch_id, schema_name, schema_definition_id,
        created_at, started_at, completed_at (UTC), queue_time, processing_time, total_time,
        running, elapsed and records_per_second. Batches without created_at come last.

    Raises
    ------
    FrameError
        If ``batches`` lacks a needed column.

    Examples
    --------
    >>> import pandas as pd
    >>> from reach_analytics import tables
    >>> from reach_analytics.measures.batches.durations import durations
    >>> six = pd.Timestamp("2026-01-01 06:00", tz="UTC")
    >>> batches = tables.BATCHES.conform(pd.DataFrame({
    ...     "tenant_id": ["t"], "batch_id": ["b"], "status": ["success"], "created_at": [six],
    ...     "started_at": [six + pd.Timedelta("5s")], "completed_at": [six + pd.Timedelta("45s")],
    ...     "processed_records": [100],
    ... }))
    >>> row = durations(batches).iloc[0]
    >>> print(row["queue_time"], row["processing_time"], row["records_per_second"], sep="; ")
    0 days 00:00:05; 0 days 00:00:40; 2.5
    """
    needed = [*KEY, *SCHEMA, "status", *_TIMES, "processed_records"]
    batches = BATCHES.normalize(batches, needed, "durations")
    rows = batches[needed].reset_index(drop=True)
    created, started, completed = (as_utc(rows[name]) for name in _TIMES)
    running = rows["status"].eq("processing").fillna(False).astype(bool)
    now = pd.NaT if as_of is None else parse_timestamp(as_of)
    processing = _span(started, completed).mask(running)
    seconds = processing.dt.total_seconds()
    table = rows.assign(
        queue_time=_span(created, started),
        processing_time=processing,
        total_time=_span(created, completed).mask(running),
        running=running,
        elapsed=_span(started, as_utc(pd.Series(now, index=rows.index))).where(running),
        records_per_second=_numbers(rows["processed_records"]) / seconds.where(seconds > 0),
    )
    return DURATIONS.conform(DURATIONS.in_order(table))


def throughput(observations: Frame) -> pd.DataFrame:
    """How many records were processed between one successful observation of a batch and the next.

    ``records_per_second`` = rise of the processed count / seconds between the observations, by the
    times they were sent. It is null where the count fell, which `quality` reports too. Pairs in
    which a fully processed batch stayed as it was have no row, so that the rows are the same
    whether a store was compacted or not.

    Parameters
    ----------
    observations : pandas.DataFrame
        As from ``history.observations()``. Failed ones and those without a processed count are
        skipped. A pass that sees a batch in a listing and then by itself counts as one observation.

    Returns
    -------
    pandas.DataFrame
        One row per pair, by tenant, batch and time: tenant_id, batch_id, schema_name,
        schema_definition_id, from_at, to_at (UTC, when the observations were sent), running
        (whether records were left to process at the earlier one), records, seconds and
        records_per_second. No rows for a batch observed once, or only when fully processed.

    Raises
    ------
    FrameError
        If ``observations`` lacks a needed column, or the tenant or batch of a row.

    Examples
    --------
    >>> import pandas as pd
    >>> from reach_analytics import tables
    >>> from reach_analytics.measures.batches.durations import throughput
    >>> times = pd.date_range("2026-01-01 06:00", periods=3, freq="10min", tz="UTC")
    >>> observations = tables.OBSERVATIONS.conform(pd.DataFrame({
    ...     "tenant_id": "t", "batch_id": "b", "run_id": ["1", "2", "3"], "sent_at": times,
    ...     "received_at": times, "scope": "detail", "ok": True, "complete": True,
    ...     "status": "processing", "total_records": 900, "processed_records": [0, 300, 900],
    ... }))
    >>> print(throughput(observations)[["records", "seconds", "records_per_second"]]
    ...       .to_string(index=False))
     records  seconds  records_per_second
         300    600.0                 0.5
         600    600.0                 1.0
    """
    seen = good_observations(observations, "throughput")
    seen = seen[seen["processed_records"].notna()].reset_index(drop=True)
    before = seen.groupby(KEY)[["sent_at", "processed_records"]].shift()
    records = seen["processed_records"] - before["processed_records"]
    seconds = (seen["sent_at"] - before["sent_at"]).dt.total_seconds()
    left = unfinished(seen) & ~all_processed(seen)
    table = seen.assign(
        from_at=before["sent_at"],
        to_at=seen["sent_at"],
        running=left.groupby([seen[name] for name in KEY]).shift(fill_value=False),
        records=records,
        seconds=seconds,
        records_per_second=(records / seconds).where(records >= 0),
    )
    told = before["sent_at"].notna() & (table["running"] | (records != 0))
    return THROUGHPUT.conform(table[told])


def good_observations(
    observations: Frame, caller: str, as_of: datetime | None = None
) -> pd.DataFrame:
    """The successful observations, one per pass and moment, by batch and time; counts float.

    A listing followed by a detail observation in the same pass is left out: the two count as one.
    """
    marks = ["run_id", "sent_at", "received_at", "scope", "state_hash"]
    observations = OBSERVATIONS.normalize(observations, [*KEY, *marks, "ok", *STATE], caller)
    OBSERVATIONS.identified(observations, KEY, caller)
    good = observations[observations["ok"].astype("boolean").fillna(False).to_numpy(bool)]
    seen = good[[*KEY, *marks, *STATE]].assign(
        sent_at=as_utc(good["sent_at"]),
        received_at=as_utc(good["received_at"]),
        completed_at=as_utc(good["completed_at"]),
        **{name: _numbers(good[name]) for name in COUNTS},
    )
    seen = seen[seen["sent_at"].notna()]
    if as_of is not None:
        seen = seen[seen["received_at"] <= parse_timestamp(as_of)]
    order = [*KEY, "sent_at", "received_at", "scope", "run_id", "state_hash", "processed_records"]
    rising = [name != "scope" for name in order]  # at one moment a listing comes first
    seen = seen.sort_values(order, ascending=rising)
    after = seen.groupby(KEY)[["run_id", "scope"]].shift(-1)
    twice = (after["run_id"] == seen["run_id"]) & (after["scope"] == "detail")
    seen = seen[~(twice & (seen["scope"] == "list")).fillna(False).astype(bool)]
    return seen.drop_duplicates([*KEY, "sent_at"], keep="last").reset_index(drop=True)


def unfinished(seen: pd.DataFrame) -> pd.Series:
    """Whether a batch is not finished, by its status, or else by its counts."""
    processing = seen["status"].eq("processing").fillna(False).astype(bool)
    short = seen["processed_records"] < seen["total_records"]
    over = seen["completed_at"].notna() | seen["status"].eq("failure").fillna(False).astype(bool)
    open_still: pd.Series = processing | (short & ~over)
    return open_still


def all_processed(seen: pd.DataFrame) -> pd.Series:
    """Whether every record has been processed, so that only pending ones may remain."""
    total = seen["total_records"]
    outcomes = seen[["successful_records", "pending_records", "failed_records"]]
    told: pd.Series = outcomes.sum(axis=1, min_count=3) >= total
    return ((seen["processed_records"] >= total) | told) & (total > 0)


def _span(start: pd.Series, end: pd.Series) -> pd.Series:
    """The time from one to the other; null where it would be negative."""
    length: pd.Series = end - start
    return length.where(length >= _ZERO)


def _numbers(counts: pd.Series) -> pd.Series:
    numbers: pd.Series = counts.astype("Float64").astype("float64")
    return numbers
