"""Which running batches have stopped moving, and when the others will be through."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pandas as pd

from reach_analytics.columns import ETA, STUCK
from reach_analytics.measures.duration import (
    COUNTS,
    KEY,
    SCHEMA,
    good_looks,
    looked_through,
    unfinished,
)
from reach_analytics.measures.given import length

_KIND = ["tenant_id", "schema_name"]  # batches whose silences are compared
_LOOKS = 3  # with the same counts before a batch is called stuck, and for a pace
_PACE_LOOKS, _PACE_TIME = 5, pd.Timedelta("10min")
_BEGUN = 5  # percent
_LONGEST = 1e10  # seconds, some three centuries: what a time can hold without care


def stuck(
    looks: pd.DataFrame,
    *,
    as_of: datetime,
    after: str | pd.Timedelta = "1h",
    p: float = 0.01,
) -> pd.DataFrame:
    """Batches that run, and whether they have been silent for longer than such batches are.

    A batch is silent while its counts stay the same. ``silence`` runs from the first look with the
    counts as now to the last good look: what happened after that, nobody knows. It is compared
    with the silences seen before, those between two successive changes of a batch that ran, in the
    same tenant and schema. Other batches that run now count as silences at least as long, whatever
    they have reached, or the long ones would be missing. With *n* of these ``comparable`` ones ::

        p_value = (1 + how many are as long or longer) / (n + 1)

    which is a conformal p-value: if this silence is like the others, it is ``p`` or less with a
    chance of no more than ``p``. It can get so small only with n ≥ 1 / p - 1; until then the
    verdict rests on a ``fixed threshold``: silent for ``after`` or longer. Changes between two
    looks count as one, so silences are known to about the distance of the looks.

    The verdicts: ``waiting`` if every record was looked at and only pending ones remain, which
    wait for their dependencies and are never stuck; ``moving`` if the last look shows a change, or
    the silence is nothing unusual; ``too few looks`` if fewer than three show the counts as now;
    otherwise ``stuck``.

    Parameters
    ----------
    looks : pandas.DataFrame
        As from ``history.looks()``. Failed looks are passed over, and a pass that sees a batch in
        a listing and then by itself counts as one look.
    as_of : datetime
        Looks received after it do not count; without an offset it counts as UTC.
    after : str or Timedelta
        The fixed threshold, as ``"1h"``.
    p : float
        How rare a silence has to be, between 0 and 1.

    Returns
    -------
    pandas.DataFrame
        One row per batch whose status is ``processing``, or that has neither failed nor completed
        and whose processed count is below the total; the longest silence first: tenant_id,
        batch_id, schema_name, schema_definition_id, last_look_at and last_change_at (UTC, when the
        looks were sent), silence, unchanged_looks, comparable, p_value, basis (``conformal`` or
        ``fixed threshold``) and verdict. The three before the verdict are null for waiting ones.

    Raises
    ------
    FrameError
        If ``looks`` lacks a needed column.
    ValueError
        If ``after`` is no length of time above zero, or ``p`` not between 0 and 1.

    Examples
    --------
    >>> import pandas as pd
    >>> from reach_analytics import columns
    >>> from reach_analytics.measures.progress import stuck
    >>> times = pd.date_range("2026-01-01 06:00", periods=5, freq="30min", tz="UTC")
    >>> looks = columns.LOOKS.conform(pd.DataFrame({
    ...     "tenant_id": "t", "batch_id": "b", "run_id": list("12345"), "sent_at": times,
    ...     "received_at": times, "scope": "detail", "ok": True, "complete": True,
    ...     "status": "processing", "total_records": 90, "processed_records": [0, 30, 50, 50, 50],
    ... }))
    >>> row = stuck(looks, as_of=times[-1]).iloc[0]
    >>> print(row["silence"], row["verdict"], row["basis"], sep="; ")
    0 days 01:00:00; stuck; fixed threshold
    """
    threshold = length(after, "after")
    if not 0 < p < 1:
        raise ValueError(f"p must be between 0 and 1, found {p}")
    seen = _changes(good_looks(looks, "stuck", as_of))
    last = _last(seen)
    last = last[last["_open"]].reset_index(drop=True)
    waits = last["_waits"]
    last = last.assign(**_compared(last[~waits], _past(seen)))
    conformal = last["comparable"] + 1 >= (1 - 1e-9) / p
    basis = pd.Series("fixed threshold", index=last.index, dtype="str")
    silent = (last["silence"] >= threshold).mask(conformal, last["p_value"] <= p * (1 + 1e-9))
    few = last["unchanged_looks"] < _LOOKS
    verdict = pd.Series("moving", index=last.index, dtype="str").mask(silent, "stuck")
    verdict = verdict.mask(few, "too few looks").mask(last["_changed"], "moving")
    table = last.assign(
        basis=basis.mask(conformal, "conformal").mask(waits),
        verdict=verdict.mask(waits, "waiting"),
    )
    return STUCK.conform(table.sort_values(["silence", *KEY], ascending=[False, True, True]))


def eta(looks: pd.DataFrame, *, as_of: datetime | None = None) -> pd.DataFrame:
    """When each running batch will have looked at its last record, at its pace of late.

    ``records_per_second`` is the rise of the processed count over the last five good looks, or
    over those of the last ten minutes if they are more; ``eta`` = last look + (total - processed) /
    records_per_second. ``eta_low`` and ``eta_high`` take the fastest and the slowest pace between
    two successive ones of these looks instead, standstills left out; ``eta`` lies between them.
    They show how uneven the pace was, and promise nothing. How long pending records wait
    afterwards for what they miss is not part of it.

    Parameters
    ----------
    looks : pandas.DataFrame
        As from ``history.looks()``. Failed looks and those without a processed count are passed
        over; a pass that sees a batch in a listing and then by itself counts as one look.
    as_of : datetime, optional
        Looks received after it do not count; all of them do by default.

    Returns
    -------
    pandas.DataFrame
        One row per batch with records left to look at, the first to be through on top: tenant_id,
        batch_id, schema_name, schema_definition_id, last_look_at (UTC, when it was sent),
        processed_records, total_records, records_per_second, eta, eta_low, eta_high (UTC) and
        reason: null, or why there is no eta: ``total unknown``, ``fewer than 3 looks``,
        ``less than 5 % done``, ``no progress in the last 3 looks`` or ``the count went back``.

    Raises
    ------
    FrameError
        If ``looks`` lacks a needed column.

    Examples
    --------
    >>> import pandas as pd
    >>> from reach_analytics import columns
    >>> from reach_analytics.measures.progress import eta
    >>> times = pd.date_range("2026-01-01 06:00", periods=4, freq="10min", tz="UTC")
    >>> looks = columns.LOOKS.conform(pd.DataFrame({
    ...     "tenant_id": "t", "batch_id": "b", "run_id": list("1234"), "sent_at": times,
    ...     "received_at": times, "scope": "detail", "ok": True, "complete": True,
    ...     "status": "processing", "total_records": 1000, "processed_records": [0, 100, 200, 300],
    ... }))
    >>> print(eta(looks)["eta"].iloc[0])
    2026-01-01 07:40:00+00:00
    """
    seen = good_looks(looks, "eta", as_of)
    filled = seen.assign(**seen.groupby(KEY)[COUNTS].ffill())
    last = filled.drop_duplicates(KEY, keep="last")
    running = last[(unfinished(last) & ~looked_through(last)).to_numpy()]
    known = seen[seen["processed_records"].notna()]
    rows = running[[*KEY, *SCHEMA]].merge(_pace(known), on=KEY, how="left")
    left = rows["total_records"] - rows["processed_records"]
    rows["reason"] = _reasons(rows)
    for name, pace in (("eta", "records_per_second"), ("eta_low", "_fast"), ("eta_high", "_slow")):
        rows[name] = rows["last_look_at"] + _lengths(left / rows[pace].where(rows["reason"].isna()))
    return ETA.conform(rows.sort_values(["eta", *KEY]))


def _changes(seen: pd.DataFrame) -> pd.DataFrame:
    """The looks with whether each shows other counts than the one before, and what was then on.

    A count that a look leaves out is taken to be as it was.
    """
    seen[COUNTS] = seen.groupby(KEY)[COUNTS].ffill()
    counts = seen[COUNTS].fillna(-1)
    before = counts.groupby([seen[name] for name in KEY]).shift()
    changed = (counts != before).any(axis=1) & before.notna().all(axis=1)
    open_still = unfinished(seen)
    waits = open_still & looked_through(seen) & (seen["pending_records"] > 0)
    table = seen.assign(_changed=changed, _open=open_still, _waits=waits)
    table["_state"] = table.groupby(KEY)["_changed"].cumsum()
    table[SCHEMA] = table.groupby(KEY)[SCHEMA].transform("last")
    return table.assign(_kind=table.groupby(_KIND, dropna=False).ngroup())


def _last(seen: pd.DataFrame) -> pd.DataFrame:
    """Each batch's last look, with since when its counts are as they are."""
    states = seen.groupby([*KEY, "_state"])["sent_at"].agg(["min", "size"]).reset_index()
    last = seen.drop_duplicates(KEY, keep="last").merge(states, on=[*KEY, "_state"])
    return last.assign(
        last_look_at=last["sent_at"],
        last_change_at=last["min"],
        silence=last["sent_at"] - last["min"],
        unchanged_looks=last["size"],
    )


def _past(seen: pd.DataFrame) -> pd.DataFrame:
    """The silences between two successive changes of batches that ran after the first of them."""
    changes = seen[seen["_changed"]]
    after = changes.groupby(KEY)["sent_at"].shift(-1)
    spans = changes.assign(silence=after - changes["sent_at"])
    ran = spans["_open"] & ~spans["_waits"] & after.notna()
    return spans.loc[ran, ["_kind", "silence"]]


def _compared(running: pd.DataFrame, past: pd.DataFrame) -> dict[str, pd.Series]:
    """How many silences each running batch is compared with, and its p-value among them."""
    lengths = {kind: np.sort(rows.to_numpy()) for kind, rows in past.groupby("_kind")["silence"]}
    none = np.array([], dtype="timedelta64[us]")
    count = pd.Series(np.nan, index=running.index)
    p_value = pd.Series(np.nan, index=running.index)
    for kind, silences in running.groupby("_kind")["silence"]:
        before, others = lengths.get(kind, none), len(silences) - 1
        shorter = np.searchsorted(before, silences.to_numpy(), side="left")
        count[silences.index] = len(before) + others
        p_value[silences.index] = (1 + len(before) - shorter + others) / (len(before) + others + 1)
    return {"comparable": count, "p_value": p_value}


def _pace(known: pd.DataFrame) -> pd.DataFrame:
    """Per batch: its last look, how many there are, and its pace over the last of them."""
    grouped = known.groupby(KEY)
    number = grouped.cumcount(ascending=False)
    recent = grouped["sent_at"].transform("max") - known["sent_at"] <= _PACE_TIME
    window = known[(number < _PACE_LOOKS) | recent]
    steps = window.groupby(KEY)[["sent_at", "processed_records"]].diff()
    paces = steps["processed_records"] / steps["sent_at"].dt.total_seconds()
    paces = paces.where(paces > 0).groupby([window[name] for name in KEY])
    ends = window.groupby(KEY)[["sent_at", "processed_records"]].agg(["first", "last"])
    rise = ends["processed_records"]["last"] - ends["processed_records"]["first"]
    seconds = (ends["sent_at"]["last"] - ends["sent_at"]["first"]).dt.total_seconds()
    pace = rise / seconds.where(seconds > 0)
    third = known[number == _LOOKS - 1].set_index(KEY)["processed_records"]
    table = pd.DataFrame(
        {
            "last_look_at": ends["sent_at"]["last"],
            "processed_records": ends["processed_records"]["last"],
            "total_records": grouped["total_records"].last(),
            "records_per_second": pace,
            "_fast": np.fmax(paces.max(), pace),
            "_slow": np.fmin(paces.min(), pace),
            "_looks": grouped.size(),
            "_third": third.reindex(ends.index),
        }
    )
    return table.reset_index()


def _reasons(rows: pd.DataFrame) -> pd.Series:
    """Why a batch has no eta; the first that applies."""
    done, total = rows["processed_records"], rows["total_records"]
    reason = pd.Series(None, index=rows.index, dtype="str")
    reason = reason.mask(~(rows["records_per_second"] > 0), "the count went back")
    reason = reason.mask(~(done > rows["_third"]), f"no progress in the last {_LOOKS} looks")
    reason = reason.mask(~(100 * done >= _BEGUN * total), f"less than {_BEGUN} % done")
    reason = reason.mask(~(rows["_looks"] >= _LOOKS), f"fewer than {_LOOKS} looks")
    return reason.mask(~(total > 0) & done.notna(), "total unknown")


def _lengths(seconds: pd.Series) -> pd.Series:
    """Seconds as lengths of time, the longest cut to what a time can bear."""
    lengths = np.full(len(seconds), "NaT", dtype="timedelta64[us]")
    known = seconds.notna().to_numpy(bool)
    micros = (seconds[known].clip(upper=_LONGEST) * 1e6).round().astype("int64")
    lengths[known] = micros.to_numpy().astype("timedelta64[us]")
    return pd.Series(lengths, index=seconds.index)
