"""How well the collecting itself goes: what it costs, what it sees, how old its data gets."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from reach_analytics._time import parse_duration
from reach_analytics.measures._shared.arrays import Floats, Ints, ranges
from reach_analytics.measures._shared.grouping import Buckets, By, Freq, group_names
from reach_analytics.measures._shared.staleness import (
    Seen,
    age_quantiles,
    mean_age,
    relative_age_quantile,
)
from reach_analytics.tables import (
    BATCH_KEY,
    COLLECTION_HEALTH,
    OBSERVATION_LOG,
    WAIT_INTERVALS,
    WAIT_OUTCOMES,
    Frame,
    as_utc,
)

__all__ = ["collection_health"]

_COUNTS = [
    "observations",
    "failed_observations",
    "detail_observations",
    "requests",
    "batches",
    "changes",
    "distances",
    "gaps",
]


def collection_health(
    observation_log: Frame,
    wait_intervals: Frame | None = None,
    wait_outcomes: Frame | None = None,
    *,
    by: By = None,
    freq: Freq | None = None,
    gap: str | pd.Timedelta = "20min",
    timezone: str = "UTC",
) -> pd.DataFrame:
    """How well the batches were observed: requests, what they saw, and how old the data got.

    A successful observation saw a change if it is the first of its batch; if status, a count,
    completed_at or error_message differ from the batch's successful observation before, of either
    scope; or if a detail observation differs otherwise, as in what is pending, from the one before,
    and none of the observations between them saw a change in those. What changed and changed back
    between two observations is not seen. A listing is one request however many batches are on the
    page. Requests are counted by what they returned: a retried one is one, and a page of a listing
    that failed or was empty none.

    With Δ the intervals between successful observations of a batch that had not ended with nothing
    pending at the earlier one, what is known is ΣΔ²/(2ΣΔ) old on average over time, and older than
    a for Σ max(Δ - a, 0) / ΣΔ of the time (Cho and Garcia-Molina 2003 call this the age of a copy).
    ``staleness_p50`` and ``staleness_p95`` solve that for a, exactly; ``staleness_p95_fraction``
    does so for the age of what is known as part of the batch's own age at the same moment. What a
    waiting batch waits for is known from detail observations alone: while something is pending, the
    intervals are those between such observations, or to the listing that shows that nothing is any
    more; a listing that first shows that something is begins one.

    An interval belongs to the group and bucket of the observation that ends it, so a batch that was
    not observed since has none: see `coverage` for that.

    Parameters
    ----------
    observation_log : pandas.DataFrame
        As from ``history.observation_log()``.
    wait_intervals, wait_outcomes : pandas.DataFrame, optional
        As from ``history.wait_intervals()`` and ``history.wait_outcomes()``; without them the
        columns about waits are null.
    freq : str or Timedelta, optional
        Width of time buckets of ``sent_at``, as ``"1h"``.
    by : str or list of str, optional
        Columns to group by, as ``"tenant_id"`` or ``"run_id"``. Observations that the store has
        folded into another one belong to that one's run. What is about waits is null for a run,
        since a wait is bracketed by two.
    gap : str or Timedelta
        Intervals longer than this count as gaps.
    timezone : str
        Whose clocks and calendar the buckets follow, as ``"Europe/Berlin"``.

    Returns
    -------
    pandas.DataFrame
        The ``by`` columns; with ``freq`` a column ``bucket`` (start, UTC); then

        - observations, failed_observations, detail_observations, requests, batches (different
          ones), changes: counts;
        - requests_per_change, and unchanged_fraction (successful observations without a change /
          successful observations, 0–1);
        - distances (count of the intervals), staleness_mean, staleness_p50, staleness_p95 (lengths
          of time), staleness_p95_fraction (0–1), gaps (their count), longest_gap (length of time);
        - brackets (waits found gone, in the bucket of ``gone_by``), bracket_p50 and bracket_p95
          (lengths of time from ``last_seen`` to ``gone_by``);
        - ended_waits (released, expired or unknown, in the bucket of ``ended_by``, or of
          ``last_seen`` if that is later), unknown_waits, unknown_fraction (0–1).

        A group has every bucket from its first to its last, also those without an observation. One
        row without ``by`` and ``freq``; none without observations.

    Raises
    ------
    FrameError
        If a frame lacks a needed column.
    ValueError
        If ``by`` names a column twice, ``freq`` is no width of time or gives more than a hundred
        thousand buckets, or ``gap`` is no length of time above zero.

    Examples
    --------
    >>> import pandas as pd
    >>> from reach_analytics import tables
    >>> from reach_analytics.measures import collection_health
    >>> minutes = pd.to_timedelta([0, 10, 20, 60], unit="min")
    >>> observation_log = tables.OBSERVATION_LOG.conform(pd.DataFrame({
    ...     "tenant_id": "t", "batch_id": "b", "run_id": ["1", "2", "3", "4"], "scope": "detail",
    ...     "sent_at": pd.Timestamp("2026-01-01 06:00", tz="UTC") + minutes, "ok": True,
    ...     "state": [1, 1, 1, 2], "core": [1, 1, 1, 2], "finished": [False, False, False, True],
    ...     "waits": False,
    ... }))
    >>> row = collection_health(observation_log).iloc[0]
    >>> print(row["requests"], row["changes"], row["requests_per_change"], row["gaps"])
    4 2 2.0 1
    >>> print(row["staleness_mean"], row["staleness_p50"], row["staleness_p95"], sep="; ")
    0 days 00:15:00; 0 days 00:10:00; 0 days 00:37:00
    """
    taken = ["bucket", *COLLECTION_HEALTH.names]
    names = group_names(by, taken, "the observation log")
    limit = parse_duration(gap, "gap")
    buckets = Buckets.of(freq, timezone)
    groups = [*names, *(["bucket"] if buckets is not None else [])]
    rows = _rows(observation_log, names, buckets)
    ends = [_brackets(wait_intervals, names, buckets), _ended(wait_outcomes, names, buckets)]
    code, table = _grouped(rows, groups)
    found = table.assign(**_tally(rows, code, len(table)))
    found = found.assign(**_news(rows, code, len(table), limit))
    for part in ends:
        if part is not None and len(rows):
            found = found.merge(_of_waits(part, groups), how="outer", on=groups or "_all")
    if buckets is not None and len(found):
        found = _filled(found, names, buckets)
    return _finished(found, groups)


def _rows(observation_log: Frame, names: list[str], buckets: Buckets | None) -> pd.DataFrame:
    """The observations with numbers of their batches, and their buckets."""
    needed = [*OBSERVATION_LOG.names, *names]
    if not isinstance(observation_log, pd.DataFrame):
        observation_log = OBSERVATION_LOG.normalize(observation_log, needed, "collection_health")
    # Of no rows: texts that are given as categories, as millions of them should be, stay so.
    OBSERVATION_LOG.check(observation_log[:0], needed, "collection_health")
    rows = observation_log[[*dict.fromkeys(needed)]].reset_index(drop=True)
    rows = rows.assign(
        sent_at=as_utc(rows["sent_at"]),
        created_at=as_utc(rows["created_at"]),
        detail=(rows["scope"] == "detail").to_numpy(bool),
        **{name: _flags(rows[name]) for name in ("ok", "finished", "waits")},
        batch=_number(rows, BATCH_KEY),
        tenant=_number(rows, ["tenant_id"]),
    )
    return _placed(rows, "sent_at", buckets)


def _placed(rows: pd.DataFrame, time: str, buckets: Buckets | None) -> pd.DataFrame:
    return rows.assign(bucket=buckets.start(rows[time])) if buckets is not None else rows


def _flags(values: pd.Series) -> pd.Series:
    return values.astype("boolean").fillna(False).astype(bool)


def _number(rows: pd.DataFrame, names: list[str]) -> Ints:
    """A number for each row, the same for those that are alike in these columns."""
    groups = rows.groupby(names, dropna=False, observed=True, sort=False)
    return np.asarray(groups.ngroup(), np.int64)


def _ranks(texts: pd.Series) -> Ints:
    """For each text its place among the different ones, in order."""
    coded = texts.astype("category").cat
    place = np.argsort(coded.categories.argsort())
    return np.asarray(place[coded.codes], np.int64)


def _grouped(rows: pd.DataFrame, groups: list[str]) -> tuple[Ints, pd.DataFrame]:
    """The number of each row's group, and the group tables, a row for each."""
    if not groups:
        return np.zeros(len(rows), np.int64), pd.DataFrame({"_all": [0] * min(len(rows), 1)})
    code = _number(rows, groups)
    _, first = np.unique(code, return_index=True)
    table = rows[groups].iloc[first].reset_index(drop=True)
    texts = table.select_dtypes("category").columns
    return code, table.astype({name: "str" for name in texts})


def _tally(rows: pd.DataFrame, code: Ints, size: int) -> dict[str, Ints]:
    """How many observations, requests and batches there are in each group."""
    sent = rows["sent_at"].astype("int64").to_numpy()
    detail = rows["detail"].to_numpy()
    pages = pd.DataFrame({"code": code, "tenant": rows["tenant"], "sent": sent})[~detail]
    pairs = pd.DataFrame({"code": code, "batch": rows["batch"]}).drop_duplicates()
    details = _count(code[detail], size)
    return {
        "observations": _count(code, size),
        "failed_observations": _count(code[~rows["ok"].to_numpy()], size),
        "detail_observations": details,
        # The rows of a page were sent at one moment. Their runs may differ by now, where
        # observations have been folded into others.
        "requests": details + _count(pages.drop_duplicates()["code"].to_numpy(), size),
        "batches": _count(pairs["code"].to_numpy(), size),
    }


def _news(
    rows: pd.DataFrame, code: Ints, size: int, limit: pd.Timedelta
) -> dict[str, Ints | Floats | pd.Series]:
    """What the successful observations of each group saw, and the intervals between them."""
    seen, place = _good(rows)
    changes = _count(code[place[seen.changed()]], size)
    ends, distance, age = seen.distances()
    own = code[place[ends]]
    longest = np.zeros(size, np.int64)
    np.maximum.at(longest, own, distance)
    count = _count(own, size)
    half, most = age_quantiles(distance, own, size, [0.5, 0.95])
    return {
        "changes": changes,
        "distances": count,
        "staleness_mean": _lengths(mean_age(distance, own, size)),
        "staleness_p50": _lengths(half),
        "staleness_p95": _lengths(most),
        "staleness_p95_fraction": relative_age_quantile(distance, age, own, size, 0.95),
        "gaps": _count(own[distance > limit // pd.Timedelta(microseconds=1)], size),
        "longest_gap": _lengths(np.where(count > 0, longest, np.nan)),
    }


def _good(rows: pd.DataFrame) -> tuple[Seen, Ints]:
    """The successful observations by batch and time, a listing before a detail observation; and
    their positions."""
    place = np.flatnonzero(rows["ok"].to_numpy())
    good = rows.iloc[place]
    sent = np.asarray(good["sent_at"].astype("int64"), np.int64)
    state, core = (
        np.asarray(good[name].astype("Int64").fillna(0), np.int64) for name in ("state", "core")
    )
    batch, detail = np.asarray(good["batch"], np.int64), good["detail"].to_numpy()
    # Ties go by the run, so that the order of rows changes nothing.
    order = np.lexsort((_ranks(good["run_id"]), state, detail, sent, batch))
    known = good["created_at"].notna().to_numpy()[order]
    batch, sent = batch[order], sent[order]
    start = np.searchsorted(batch, batch)  # where those of the same batch begin
    created = np.where(known, good["created_at"].astype("int64").to_numpy()[order], sent[start])
    flags = {name: good[name].to_numpy()[order] for name in ("finished", "waits")}
    seen = Seen(batch, sent, detail[order], state[order], core[order], **flags, created=created)
    return seen, place[order]


def _brackets(
    wait_intervals: Frame | None, names: list[str], buckets: Buckets | None
) -> pd.DataFrame | None:
    """The waits found gone, with how closely their ends are bracketed; None if not given, or not to
    be grouped like observations."""
    if wait_intervals is None or not _shared(names):
        return None
    needed = [*names, "last_seen", "gone_by"]
    rows = WAIT_INTERVALS.normalize(wait_intervals, needed, "collection_health")[needed]
    gone = rows[rows["gone_by"].notna()]
    width = (gone["gone_by"] - gone["last_seen"]).dt.as_unit("us").astype("int64")
    return _placed(gone.assign(bracket=width), "gone_by", buckets)


def _ended(
    wait_outcomes: Frame | None, names: list[str], buckets: Buckets | None
) -> pd.DataFrame | None:
    """The waits that are over, with whether it is unknown how they ended; None likewise."""
    if wait_outcomes is None or not _shared(names):
        return None
    needed = [*names, "verdict", "last_seen", "ended_by"]
    rows = WAIT_OUTCOMES.normalize(wait_outcomes, needed, "collection_health")[needed]
    over = rows[rows["verdict"].isin(["released", "expired", "unknown"])]
    late = over["ended_by"] > over["last_seen"]
    over = over.assign(
        unknown=(over["verdict"] == "unknown").astype("int64"),
        found=over["ended_by"].where(late, over["last_seen"]),
    )
    return _placed(over, "found", buckets)


def _shared(names: Iterable[str]) -> bool:
    """Whether waits can be grouped like observations."""
    return set(names) <= set(BATCH_KEY)


def _of_waits(rows: pd.DataFrame, groups: list[str]) -> pd.DataFrame:
    """The columns about waits, for each group."""
    rows = rows if groups else rows.assign(_all=0)
    grouped = rows.groupby(groups or ["_all"], dropna=False)
    if "bracket" in rows:
        width = grouped["bracket"]
        table = width.size().to_frame("brackets")
        for name, p in (("bracket_p50", 0.5), ("bracket_p95", 0.95)):
            table[name] = _lengths(width.quantile(p).to_numpy(np.float64)).array
    else:
        table = grouped.size().to_frame("ended_waits")
        table["unknown_waits"] = grouped["unknown"].sum()
        table["unknown_fraction"] = table["unknown_waits"] / table["ended_waits"]
    return table.reset_index()


def _filled(table: pd.DataFrame, names: list[str], buckets: Buckets) -> pd.DataFrame:
    """The table with every bucket from the first to the last of each group."""
    starts = buckets.between(table["bucket"].min(), table["bucket"].max())
    place = starts.get_indexer(pd.Index(table["bucket"]))
    number = _number(table, names) if names else np.zeros(len(table), np.int64)
    ends = pd.Series(place).groupby(number).agg(["min", "max"])
    first, last = ends["min"].to_numpy(), ends["max"].to_numpy() + 1
    every = pd.DataFrame({"_group": np.repeat(ends.index, last - first)})
    every["bucket"] = starts[ranges(first, last)].as_unit("us")
    heads = table[names].assign(_group=number).drop_duplicates("_group")
    every = every.merge(heads, on="_group").drop(columns="_group")
    return every.merge(table, how="left", on=[*names, "bucket"])


def _finished(table: pd.DataFrame, groups: list[str]) -> pd.DataFrame:
    """The measure's columns in their dtypes, with the rates beside the counts."""
    told = {"brackets": ["brackets"], "ended_waits": ["ended_waits", "unknown_waits"]}
    counts = [*_COUNTS, *(n for name, own in told.items() if name in table for n in own)]
    full = table.assign(**{name: table[name].fillna(0).astype("int64") for name in counts})
    good = full["observations"] - full["failed_observations"]
    full = full.assign(
        requests_per_change=full["requests"] / full["changes"].where(full["changes"] > 0),
        unchanged_fraction=(good - full["changes"]) / good.where(good > 0),
    )
    full = full.sort_values(groups, ignore_index=True) if groups else full
    return pd.concat([full[groups], COLLECTION_HEALTH.conform(full)], axis=1)


def _count(code: Ints, size: int) -> Ints:
    return np.bincount(code, minlength=size)


def _lengths(microseconds: Floats) -> pd.Series:
    """Lengths of time; null for NaN."""
    return pd.Series(pd.to_timedelta(np.rint(microseconds), unit="us"))
