"""How well the collecting itself goes: what it costs, what it sees, how old what is known gets."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from reach_analytics._time import parse_duration
from reach_analytics.columns import COLLECTION_HEALTH, POLLS, SPELLS, WAITING, as_utc
from reach_analytics.measures.arrays import Ints, ranges
from reach_analytics.measures.grouping import By, Freq, bucket, bucket_starts, group_names
from reach_analytics.measures.staleness import (
    Floats,
    Seen,
    age_quantiles,
    mean_age,
    relative_age_quantile,
)

_BATCH = ["tenant_id", "batch_id"]
_COUNTS = [
    "looks",
    "failed_looks",
    "detail_looks",
    "requests",
    "batches",
    "changes",
    "distances",
    "gaps",
]


def collection_health(
    polls: pd.DataFrame,
    spells: pd.DataFrame | None = None,
    waiting: pd.DataFrame | None = None,
    *,
    freq: Freq | None = None,
    by: By = None,
    gap: str | pd.Timedelta = "20min",
) -> pd.DataFrame:
    """How well the batches were looked at: requests, what they saw, and how old knowledge got.

    A good look saw a change if it is the first at its batch; if status, a count, completed_at or
    error_message differ from the batch's good look before, of either scope; or if a look at the
    batch itself differs otherwise, as in what is pending, from the one before, and none of the
    looks between them saw a change in those. What changed and changed back between two looks nobody
    sees. A listing is one request however many batches are on the page. Requests are counted by
    what they brought: a retried one is one, and a page of a listing that failed or was empty none.

    With Δ the distances between good looks at a batch that was not settled (ended, with nothing
    pending) at the earlier one, what is known is ΣΔ²/(2ΣΔ) old on average over time, and older
    than a for Σ max(Δ - a, 0) / ΣΔ of the time (Cho and Garcia-Molina 2003 call this the age of a
    copy). ``staleness_p50`` and ``staleness_p95`` solve that for a, exactly;
    ``staleness_p95_fraction`` does so for the age of what is known as part of the batch's own age
    at the same moment. What a waiting batch waits for is known from looks at the batch itself
    alone: while something is pending, the distances are those between such looks, or to the listing
    that shows that nothing is any more; a listing that first shows that something is begins one.

    A distance belongs to the group and bucket of the look that ends it, so that what was not looked
    at since has none: see `coverage` for that.

    Parameters
    ----------
    polls : pandas.DataFrame
        As from ``history.polls()``.
    spells, waiting : pandas.DataFrame, optional
        As from ``history.spells()`` and ``history.waiting()``; without them the columns about
        waits are null.
    freq : str or Timedelta, optional
        Width of time buckets of ``sent_at``, as ``"1h"``.
    by : str or list of str, optional
        Columns to group by, as ``"tenant_id"`` or ``"run_id"``. Looks that the store has folded
        into another one belong to that one's run. What is about waits is null for a run, since a
        wait is bracketed by two.
    gap : str or Timedelta
        Distances longer than this count as gaps.

    Returns
    -------
    pandas.DataFrame
        The ``by`` columns; with ``freq`` a column ``bucket`` (start, UTC); then

        - looks, failed_looks, detail_looks, requests, batches (different ones), changes: counts;
        - requests_per_change, and unchanged_fraction (good looks without a change / good looks,
          0–1);
        - distances (their count), staleness_mean, staleness_p50, staleness_p95 (lengths of time),
          staleness_p95_fraction (0–1), gaps (their count), longest_gap (length of time);
        - brackets (waits found gone, in the bucket of ``gone_by``), bracket_p50 and bracket_p95
          (lengths of time from ``last_seen`` to ``gone_by``);
        - ended_waits (released, expired or unknown, in the bucket of ``ended_by``, or of
          ``last_seen`` if that is later), unknown_waits, unknown_fraction (0–1).

        A group has every bucket from its first to its last, also those without a look. One row
        without ``by`` and ``freq``; none without looks.

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
    >>> from reach_analytics import columns
    >>> from reach_analytics.measures import collection_health
    >>> minutes = pd.to_timedelta([0, 10, 20, 60], unit="min")
    >>> polls = columns.POLLS.conform(pd.DataFrame({
    ...     "tenant_id": "t", "batch_id": "b", "run_id": ["1", "2", "3", "4"], "scope": "detail",
    ...     "sent_at": pd.Timestamp("2026-01-01 06:00", tz="UTC") + minutes, "ok": True,
    ...     "state": [1, 1, 1, 2], "core": [1, 1, 1, 2], "settled": [False, False, False, True],
    ...     "waits": False,
    ... }))
    >>> row = collection_health(polls).iloc[0]
    >>> print(row["requests"], row["changes"], row["requests_per_change"], row["gaps"])
    4 2 2.0 1
    >>> print(row["staleness_mean"], row["staleness_p50"], row["staleness_p95"], sep="; ")
    0 days 00:15:00; 0 days 00:10:00; 0 days 00:37:00
    """
    taken = ["bucket", *COLLECTION_HEALTH.names]
    names = group_names(by, taken, "the polls")
    limit = parse_duration(gap, "gap")
    groups = [*names, *(["bucket"] if freq is not None else [])]
    rows = _rows(polls, names, freq)
    ends = [_brackets(spells, names, freq), _ended(waiting, names, freq)]
    code, table = _grouped(rows, groups)
    found = table.assign(**_tally(rows, code, len(table)))
    found = found.assign(**_news(rows, code, len(table), limit))
    for part in ends:
        if part is not None and len(rows):
            found = found.merge(_of_waits(part, groups), how="outer", on=groups or "_all")
    if freq is not None and len(found):
        found = _filled(found, names, freq)
    return _finished(found, groups)


def _rows(polls: pd.DataFrame, names: list[str], freq: Freq | None) -> pd.DataFrame:
    """The looks with numbers of their batches, and their buckets."""
    needed = [*POLLS.names, *names]
    # Of no rows: texts that are given as categories, as millions of them should be, stay so.
    given = isinstance(polls, pd.DataFrame)
    POLLS.require(polls[:0] if given else polls, needed, "collection_health")
    rows = polls[[*dict.fromkeys(needed)]].reset_index(drop=True)
    rows = rows.assign(
        sent_at=as_utc(rows["sent_at"]),
        created_at=as_utc(rows["created_at"]),
        detail=(rows["scope"] == "detail").to_numpy(bool),
        **{name: _flags(rows[name]) for name in ("ok", "settled", "waits")},
        batch=_number(rows, _BATCH),
        tenant=_number(rows, ["tenant_id"]),
    )
    return _placed(rows, "sent_at", freq)


def _placed(rows: pd.DataFrame, time: str, freq: Freq | None) -> pd.DataFrame:
    return rows.assign(bucket=bucket(rows[time], freq)) if freq is not None else rows


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
    """The number of each row's group, and the group columns, a row for each."""
    if not groups:
        return np.zeros(len(rows), np.int64), pd.DataFrame({"_all": [0] * min(len(rows), 1)})
    code = _number(rows, groups)
    _, first = np.unique(code, return_index=True)
    table = rows[groups].iloc[first].reset_index(drop=True)
    texts = table.select_dtypes("category").columns
    return code, table.astype({name: "str" for name in texts})


def _tally(rows: pd.DataFrame, code: Ints, size: int) -> dict[str, Ints]:
    """How many looks, requests and batches there are in each group."""
    sent = rows["sent_at"].astype("int64").to_numpy()
    detail = rows["detail"].to_numpy()
    pages = pd.DataFrame({"code": code, "tenant": rows["tenant"], "sent": sent})[~detail]
    pairs = pd.DataFrame({"code": code, "batch": rows["batch"]}).drop_duplicates()
    looked = _count(code[detail], size)
    return {
        "looks": _count(code, size),
        "failed_looks": _count(code[~rows["ok"].to_numpy()], size),
        "detail_looks": looked,
        # The rows of a page were sent at one moment. Their runs may differ by now, where looks
        # have been folded into others.
        "requests": looked + _count(pages.drop_duplicates()["code"].to_numpy(), size),
        "batches": _count(pairs["code"].to_numpy(), size),
    }


def _news(
    rows: pd.DataFrame, code: Ints, size: int, limit: pd.Timedelta
) -> dict[str, Ints | Floats | pd.Series]:
    """What the good looks of each group saw, and how far apart they are."""
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
    """The good looks by batch and time, a listing before a look at the batch itself; their
    places."""
    place = np.flatnonzero(rows["ok"].to_numpy())
    good = rows.iloc[place]
    sent = np.asarray(good["sent_at"].astype("int64"), np.int64)
    state, core = (
        np.asarray(good[name].astype("Int64").fillna(0), np.int64) for name in ("state", "core")
    )
    batch, detail = np.asarray(good["batch"], np.int64), good["detail"].to_numpy()
    # Where nothing else tells looks apart, the run does: how rows are ordered changes nothing.
    order = np.lexsort((_ranks(good["run_id"]), state, detail, sent, batch))
    known = good["created_at"].notna().to_numpy()[order]
    batch, sent = batch[order], sent[order]
    start = np.searchsorted(batch, batch)  # where the looks at the same batch begin
    created = np.where(known, good["created_at"].astype("int64").to_numpy()[order], sent[start])
    flags = {name: good[name].to_numpy()[order] for name in ("settled", "waits")}
    seen = Seen(batch, sent, detail[order], state[order], core[order], **flags, created=created)
    return seen, place[order]


def _brackets(
    spells: pd.DataFrame | None, names: list[str], freq: Freq | None
) -> pd.DataFrame | None:
    """The waits that were found gone, with how closely looks bracket the end; None if not told."""
    if spells is None:
        return None
    needed = [*_BATCH, "last_seen", "gone_by"]
    rows = SPELLS.require(spells, needed, "collection_health")[needed]
    gone = rows[rows["gone_by"].notna()]
    width = (gone["gone_by"] - gone["last_seen"]).dt.as_unit("us").astype("int64")
    return _placed(gone.assign(bracket=width), "gone_by", freq) if _shared(names) else None


def _ended(
    waiting: pd.DataFrame | None, names: list[str], freq: Freq | None
) -> pd.DataFrame | None:
    """The waits that are over, with whether nobody knows how they ended; None if not told."""
    if waiting is None:
        return None
    needed = [*_BATCH, "verdict", "last_seen", "ended_by"]
    rows = WAITING.require(waiting, needed, "collection_health")[needed]
    over = rows[rows["verdict"].isin(["released", "expired", "unknown"])]
    late = over["ended_by"] > over["last_seen"]
    over = over.assign(
        unknown=(over["verdict"] == "unknown").astype("int64"),
        found=over["ended_by"].where(late, over["last_seen"]),
    )
    return _placed(over, "found", freq) if _shared(names) else None


def _shared(names: Iterable[str]) -> bool:
    """Whether waits can be grouped like looks."""
    return set(names) <= set(_BATCH)


def _of_waits(rows: pd.DataFrame, groups: list[str]) -> pd.DataFrame:
    """What is told about waits, for each group."""
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


def _filled(table: pd.DataFrame, names: list[str], freq: Freq) -> pd.DataFrame:
    """The table with every bucket from the first to the last of each group."""
    starts = bucket_starts(table["bucket"].min(), table["bucket"].max(), freq)
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
    good = full["looks"] - full["failed_looks"]
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
