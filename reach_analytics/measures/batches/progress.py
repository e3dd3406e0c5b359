"""Which running batches have stopped moving, and when the others will be done."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pandas as pd

from reach_analytics._time import parse_duration
from reach_analytics.measures._shared.arrays import Floats
from reach_analytics.measures.batches.durations import (
    COUNTS,
    KEY,
    SCHEMA,
    all_processed,
    good_observations,
    unfinished,
)
from reach_analytics.tables import ETA, STUCK, Frame

__all__ = ["eta", "stuck"]

_KIND = ["tenant_id", "schema_name"]  # batches whose silences are compared
_COMPARABLE, _TIMES = 20, 3  # silences that are over, and how often the longest of them
_OBSERVATIONS = 3  # with the same counts before a batch is called stuck, and for a pace
_PACE_OBSERVATIONS, _PACE_TIME = 5, pd.Timedelta("10min")
_BEGUN = 5  # percent
_LONGEST = 1e10  # seconds, some three centuries: safely within what a time can hold


def stuck(
    observations: Frame,
    *,
    as_of: datetime,
    after: str | pd.Timedelta = "1h",
    p: float = 0.01,
) -> pd.DataFrame:
    """Running batches, and whether they have been silent for longer than such batches usually are.

    A batch is silent while its counts stay the same. ``silence`` runs from the first observation
    with the current counts to the last successful one: what happened after that is unknown. It is
    compared with the silences of the same tenant and schema that are over, between two successive
    changes of a batch that ran: with *n* of these ``comparable`` ones, of which *m* are as long or
    longer,

    - ``min_p_value`` is the larger of (1 + m) / (n + 1), a conformal p-value, and of the share of
      their time in which they had been silent for that long: an observation is likelier to fall
      into a long one;
    - ``p_value`` also counts the other running batches, whose silences are not over: as censored
      at their length so far (Kaplan and Meier 1958). Silences that are over are the short ones, and
      would make long ones seem rare; but where the others are stuck as well, they make it usual.

    The first of these verdicts that applies, with the ``basis`` for it:

    - ``waiting``: every record was processed and only pending ones remain, which wait for their
      dependencies;
    - ``moving``: the last observation shows a change;
    - ``too few observations``: fewer than three show the current counts;
    - ``stuck``, ``conformal``: ``p_value`` is ``p`` or less, which takes n ≥ 1 / p - 1;
    - ``moving``, ``conformal``: with as many, ``min_p_value`` is above ``p``: that is nothing
      unusual, whatever the others do;
    - ``stuck``, ``fixed threshold``: silent for ``after`` or longer;
    - ``moving``, ``longest silence``: one that is over was as long;
    - ``stuck``, ``longest silence``: three times as long as any of at least 20 that are over;
    - ``cannot tell``: longer than usual, but the batches beside it may be slow as well, or too
      little is known.

    Changes between two observations count as one, so silences are known to about the interval
    between observations.

    Parameters
    ----------
    observations : pandas.DataFrame
        As from ``history.observations()``. Failed ones are skipped, and a pass that sees a batch in
        a listing and then by itself counts as one observation.
    as_of : datetime
        Observations received after it do not count; without an offset it counts as UTC.
    after : str or Timedelta
        The fixed threshold, as ``"1h"``. It applies wherever the comparison does not decide.
    p : float
        How rare a silence has to be, between 0 and 1.

    Returns
    -------
    pandas.DataFrame
        One row per batch whose status is ``processing``, or that has neither failed nor completed
        and whose processed count is below the total; the longest silence first: tenant_id,
        batch_id, schema_name, schema_definition_id, last_observed_at and last_change_at (UTC, when
        the observations were sent), silence, unchanged_observations, comparable, p_value,
        min_p_value, basis and verdict. The four before the verdict are null for waiting ones; the
        basis is null where none was needed.

    Raises
    ------
    FrameError
        If ``observations`` lacks a needed column, or the tenant or batch of a row.
    ValueError
        If ``after`` is no length of time above zero, or ``p`` not between 0 and 1.

    Examples
    --------
    >>> import pandas as pd
    >>> from reach_analytics import tables
    >>> from reach_analytics.measures.batches.progress import stuck
    >>> times = pd.date_range("2026-01-01 06:00", periods=5, freq="30min", tz="UTC")
    >>> observations = tables.OBSERVATIONS.conform(pd.DataFrame({
    ...     "tenant_id": "t", "batch_id": "b", "run_id": list("12345"), "sent_at": times,
    ...     "received_at": times, "scope": "detail", "ok": True, "complete": True,
    ...     "status": "processing", "total_records": 90, "processed_records": [0, 30, 50, 50, 50],
    ... }))
    >>> row = stuck(observations, as_of=times[-1]).iloc[0]
    >>> print(row["silence"], row["verdict"], row["basis"], sep="; ")
    0 days 01:00:00; stuck; fixed threshold
    """
    threshold = parse_duration(after, "after")
    if not 0 < p < 1:
        raise ValueError(f"p must be between 0 and 1, found {p}")
    seen = _changes(good_observations(observations, "stuck", as_of))
    last = _last(seen)
    last = last[last["_open"]].reset_index(drop=True)
    last = last.assign(**_compared(last[~last["_waits"]], _past(seen)))
    table = last.assign(**_judged(last, threshold, p))
    return STUCK.conform(STUCK.in_order(table))


def eta(observations: Frame, *, as_of: datetime | None = None) -> pd.DataFrame:
    """When each running batch will have processed its last record, at its recent pace.

    ``records_per_second`` is the rise of the processed count over the last five successful
    observations, or over those of the last ten minutes if they are more; ``eta`` = last observation
    + (total - processed) / records_per_second. ``eta_low`` and ``eta_high`` take the fastest and
    the slowest pace between two successive ones of these instead, standstills left out; ``eta``
    lies between them. They show how uneven the pace was, and promise nothing. How long pending
    records wait afterwards for what they miss is not part of it.

    Parameters
    ----------
    observations : pandas.DataFrame
        As from ``history.observations()``. Failed ones and those without a processed count are
        skipped; a pass that sees a batch in a listing and then by itself counts as one observation.
    as_of : datetime, optional
        Observations received after it do not count; all of them do by default.

    Returns
    -------
    pandas.DataFrame
        One row per batch with records left to process, the first to finish on top: tenant_id,
        batch_id, schema_name, schema_definition_id, last_observed_at (UTC, when it was sent),
        processed_records, total_records, records_per_second, eta, eta_low, eta_high (UTC) and
        reason: null, or why there is no eta: ``total unknown``, ``fewer than 3 observations``,
        ``less than 5 % done``, ``no progress in the last 3 observations`` or ``the count went
        back``.

    Raises
    ------
    FrameError
        If ``observations`` lacks a needed column, or the tenant or batch of a row.

    Examples
    --------
    >>> import pandas as pd
    >>> from reach_analytics import tables
    >>> from reach_analytics.measures.batches.progress import eta
    >>> times = pd.date_range("2026-01-01 06:00", periods=4, freq="10min", tz="UTC")
    >>> observations = tables.OBSERVATIONS.conform(pd.DataFrame({
    ...     "tenant_id": "t", "batch_id": "b", "run_id": list("1234"), "sent_at": times,
    ...     "received_at": times, "scope": "detail", "ok": True, "complete": True,
    ...     "status": "processing", "total_records": 1000, "processed_records": [0, 100, 200, 300],
    ... }))
    >>> print(eta(observations)["eta"].iloc[0])
    2026-01-01 07:40:00+00:00
    """
    seen = good_observations(observations, "eta", as_of)
    filled = seen.assign(**seen.groupby(KEY)[COUNTS].ffill())
    last = filled.drop_duplicates(KEY, keep="last")
    running = last[(unfinished(last) & ~all_processed(last)).to_numpy()]
    known = seen[seen["processed_records"].notna()]
    rows = running[[*KEY, *SCHEMA]].merge(_pace(known), on=KEY, how="left")
    left = rows["total_records"] - rows["processed_records"]
    rows["reason"] = _reasons(rows)
    for name, pace in (("eta", "records_per_second"), ("eta_low", "_fast"), ("eta_high", "_slow")):
        rows[name] = rows["last_observed_at"] + _lengths(
            left / rows[pace].where(rows["reason"].isna())
        )
    return ETA.conform(ETA.in_order(rows))


def _changes(seen: pd.DataFrame) -> pd.DataFrame:
    """The observations with whether each shows other counts than the one before.

    A count that an observation leaves out is taken as unchanged.
    """
    seen[COUNTS] = seen.groupby(KEY)[COUNTS].ffill()
    counts = seen[COUNTS].fillna(-1)
    before = counts.groupby([seen[name] for name in KEY]).shift()
    changed = (counts != before).any(axis=1) & before.notna().all(axis=1)
    open_still = unfinished(seen)
    waits = open_still & all_processed(seen) & (seen["pending_records"] > 0)
    table = seen.assign(_changed=changed, _open=open_still, _waits=waits)
    table["_state"] = table.groupby(KEY)["_changed"].cumsum()
    table[SCHEMA] = table.groupby(KEY)[SCHEMA].transform("last")
    return table.assign(_kind=table.groupby(_KIND, dropna=False).ngroup())


def _last(seen: pd.DataFrame) -> pd.DataFrame:
    """Each batch's last observation, with the time since which its counts are unchanged."""
    states = seen.groupby([*KEY, "_state"])["sent_at"].agg(["min", "size"]).reset_index()
    last = seen.drop_duplicates(KEY, keep="last").merge(states, on=[*KEY, "_state"])
    return last.assign(
        last_observed_at=last["sent_at"],
        last_change_at=last["min"],
        silence=last["sent_at"] - last["min"],
        unchanged_observations=last["size"],
    )


def _past(seen: pd.DataFrame) -> pd.DataFrame:
    """The silences between two successive changes of batches that ran after the first of them."""
    changes = seen[seen["_changed"]]
    after = changes.groupby(KEY)["sent_at"].shift(-1)
    spans = changes.assign(silence=after - changes["sent_at"])
    ran = spans["_open"] & ~spans["_waits"] & after.notna()
    return spans.loc[ran, ["_kind", "silence"]]


def _judged(last: pd.DataFrame, threshold: pd.Timedelta, p: float) -> dict[str, pd.Series]:
    """The verdict on each batch and its basis: the first rule that applies."""
    silence, rare = last["silence"], p * (1 + 1e-9)
    enough = last["comparable"] + 1 >= (1 - 1e-9) / p
    rules = [
        (last["_waits"], "waiting", None),
        (last["_changed"], "moving", None),
        (last["unchanged_observations"] < _OBSERVATIONS, "too few observations", None),
        (last["p_value"] <= rare, "stuck", "conformal"),
        (enough & (last["min_p_value"] > rare), "moving", "conformal"),
        (silence >= threshold, "stuck", "fixed threshold"),
        (~enough & (silence <= last["_longest"]), "moving", "longest silence"),
        (
            (last["comparable"] >= _COMPARABLE) & (silence >= _TIMES * last["_longest"]),
            "stuck",
            "longest silence",
        ),
    ]
    open_yet = pd.Series(True, index=last.index)
    verdict = pd.Series("cannot tell", index=last.index, dtype="str")
    basis = pd.Series(None, index=last.index, dtype="str")
    for applies, told, why in rules:
        here = open_yet & applies.fillna(False).astype(bool)
        verdict, open_yet = verdict.mask(here, told), open_yet & ~here
        basis = basis if why is None else basis.mask(here, why)
    return {"verdict": verdict, "basis": basis}


def _compared(running: pd.DataFrame, past: pd.DataFrame) -> dict[str, pd.Series]:
    """How each running batch's silence compares with those that are over, and with the others."""
    lengths = {kind: np.sort(rows.to_numpy()) for kind, rows in past.groupby("_kind")["silence"]}
    none = np.array([], dtype="timedelta64[us]")
    found = {
        name: pd.Series(np.nan, index=running.index)
        for name in ("comparable", "p_value", "min_p_value")
    }
    longest = pd.Series(pd.NaT, index=running.index, dtype="timedelta64[us]")
    for kind, silences in running.groupby("_kind")["silence"]:
        over = lengths.get(kind, none).astype("timedelta64[us]").astype(np.float64)
        own = silences.to_numpy().astype("timedelta64[us]").astype(np.float64)
        found["comparable"][silences.index] = len(over)
        lowest = np.maximum(_conformal(over, own), _share_of_time(over, own))
        found["min_p_value"][silences.index] = lowest
        found["p_value"][silences.index] = np.maximum(lowest, _with_censored(over, own))
        if len(over):
            longest[silences.index] = pd.Timedelta(over[-1], unit="us").as_unit("us")
    return {**found, "_longest": longest}


def _conformal(over: Floats, own: Floats) -> Floats:
    """(1 + as long or longer) / (n + 1), for each of ``own`` among the sorted ``over``."""
    longer = len(over) - np.searchsorted(over, own, side="left")
    return (1 + longer) / (len(over) + 1)


def _share_of_time(over: Floats, own: Floats) -> Floats:
    """The part of all time in silences that are over in which one had already lasted for that long,
    the own one counted as another of mean length that has."""
    total = float(over.sum())
    if not total > 0:
        return np.zeros(len(own))
    rest = np.concatenate([np.cumsum(over[::-1])[::-1], [0.0]])
    first = np.searchsorted(over, own, side="left")
    longer, mean = rest[first] - own * (len(over) - first), total / len(over)
    return np.asarray((longer + mean) / (total + mean), np.float64)


def _with_censored(over: Floats, own: Floats) -> Floats:
    """As `_conformal`, with the other running ones as censored at their length: the Kaplan–Meier
    estimate, just before each length, of a silence as long, itself counted as one that is."""
    ends, ended = np.unique(over, return_counts=True)
    others = np.sort(own)
    at_risk = len(over) - np.searchsorted(over, ends, side="left")
    at_risk = at_risk + len(others) - np.searchsorted(others, ends, side="left")
    places = np.searchsorted(ends, own, side="left")
    # All of them are at risk until their own length, and none of ``own`` is among the ended.
    curve = np.concatenate([[1.0], np.cumprod(1 - ended / at_risk)])
    return np.asarray(curve[places], np.float64)


def _pace(known: pd.DataFrame) -> pd.DataFrame:
    """Per batch: its last observation, how many there are, and the pace over the last of them."""
    grouped = known.groupby(KEY)
    number = grouped.cumcount(ascending=False)
    recent = grouped["sent_at"].transform("max") - known["sent_at"] <= _PACE_TIME
    window = known[(number < _PACE_OBSERVATIONS) | recent]
    steps = window.groupby(KEY)[["sent_at", "processed_records"]].diff()
    paces = steps["processed_records"] / steps["sent_at"].dt.total_seconds()
    paces = paces.where(paces > 0).groupby([window[name] for name in KEY])
    ends = window.groupby(KEY)[["sent_at", "processed_records"]].agg(["first", "last"])
    rise = ends["processed_records"]["last"] - ends["processed_records"]["first"]
    seconds = (ends["sent_at"]["last"] - ends["sent_at"]["first"]).dt.total_seconds()
    pace = rise / seconds.where(seconds > 0)
    third = known[number == _OBSERVATIONS - 1].set_index(KEY)["processed_records"]
    table = pd.DataFrame(
        {
            "last_observed_at": ends["sent_at"]["last"],
            "processed_records": ends["processed_records"]["last"],
            "total_records": grouped["total_records"].last(),
            "records_per_second": pace,
            "_fast": np.fmax(paces.max(), pace),
            "_slow": np.fmin(paces.min(), pace),
            "_observations": grouped.size(),
            "_third": third.reindex(ends.index),
        }
    )
    return table.reset_index()


def _reasons(rows: pd.DataFrame) -> pd.Series:
    """Why a batch has no eta; the first that applies."""
    done, total = rows["processed_records"], rows["total_records"]
    reason = pd.Series(None, index=rows.index, dtype="str")
    reason = reason.mask(~(rows["records_per_second"] > 0), "the count went back")
    still = f"no progress in the last {_OBSERVATIONS} observations"
    reason = reason.mask(~(done > rows["_third"]), still)
    reason = reason.mask(~(100 * done >= _BEGUN * total), f"less than {_BEGUN} % done")
    reason = reason.mask(
        ~(rows["_observations"] >= _OBSERVATIONS), f"fewer than {_OBSERVATIONS} observations"
    )
    return reason.mask(~(total > 0) & done.notna(), "total unknown")


def _lengths(seconds: pd.Series) -> pd.Series:
    """Seconds as lengths of time, the longest capped at what a time can hold."""
    lengths = np.full(len(seconds), "NaT", dtype="timedelta64[us]")
    known = seconds.notna().to_numpy(bool)
    micros = (seconds[known].clip(upper=_LONGEST) * 1e6).round().astype("int64")
    lengths[known] = micros.to_numpy().astype("timedelta64[us]")
    return pd.Series(lengths, index=seconds.index)
