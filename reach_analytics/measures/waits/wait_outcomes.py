"""What became of each wait, as far as the observations show, and the rule applied."""

from __future__ import annotations

import numpy as np
import pandas as pd

from reach_analytics._time import parse_duration
from reach_analytics.measures._shared.arrays import Ints
from reach_analytics.measures._verdicts import presence
from reach_analytics.measures._verdicts.deletions import may_have_deleted
from reach_analytics.measures._verdicts.tallies import convention, released_bounds, tallies
from reach_analytics.measures.waits.expiry_codes import rises, trusted
from reach_analytics.tables import (
    DEPARTURES,
    MISSING_INTERVALS,
    WAIT_INTERVALS,
    WAIT_OUTCOMES,
    Frame,
    as_utc,
)

__all__ = ["wait_outcomes"]

_TIMES = ["created_at", "expires_at", "first_seen", "last_seen", "gone_by", "last_sent_at"]


def wait_outcomes(
    wait_intervals: Frame,
    missing_intervals: Frame,
    departures: Frame | None = None,
    batches: Frame | None = None,
    *,
    tolerance: str | pd.Timedelta = "5s",
    expired_counts_as_failed: bool | None = None,
    released_may_fail: bool = True,
) -> pd.DataFrame:
    """What became of each wait: one row per pending resource ever seen, with the rule applied.

    A wait that is gone was released or ran out, and the API does not say which. With L =
    ``last_seen``, U = ``gone_by``, E = ``expires_at`` and the clocks within δ = ``tolerance`` of
    each other, the first rule that applies decides:

    - ``1``: a resource that is listed again was never gone (such gaps are closed in
      ``wait_intervals``);
    - ``2``: observations after L failed or were not full: ``censored`` at L. ``seen``: the last
      observation lists it, ``pending``;
    - ``3``: U ≤ E - δ: ``released`` in (L, U];
    - ``4``: L ≥ E + δ: ``expired``; it was swept away U - E later at most;
    - ``5a``: something it missed last was still missing at E + δ or later, seen at any resource:
      ``expired``. This assumes that what has come stays; where a batch that deletes may have run
      between L and that observation, it proves nothing;
    - ``5b``: all it missed was present by E - δ, seen at resources that were released or had it
      struck from their lists: ``released``. What came and went again proves neither, and nothing
      is concluded from several dependencies while a batch that deletes may have run;
    - ``5c``: its batch counted no success and no failure meanwhile, beyond those of what is known
      to be released: ``expired``;
    - ``5d``: its batch, with nothing else left to do, counted one for everything that left it:
      ``released``;
    - ``5e``: an error code of its batch that counts what expired (see `expiry_codes`) rose for
      all of those that left, or for none: ``expired``, or ``released``;
    - ``6``: otherwise ``unknown``, with bounds on how many of those alike were released.

    ``released`` says that the wait was over, not that the record passed validation. 5c, 5d and 5e
    compare the counts with all that left in one span: those whose ends are bracketed by other,
    overlapping observations are allowed for. 5c and 5d depend on whether the API counts an expired
    record as failed. Unless given, that is read from departures whose ends are all known; while
    these do not show it, only what holds either way is concluded. 5e is used only where it agrees
    with every wait whose end is certain without it.

    What all rules assume: the API releases what misses nothing at once, and releases nothing after
    its expiry; nobody cancels waits; a batch that deletes stands in ``batches``; and the list and
    the counts of an answer are of one moment.

    Parameters
    ----------
    wait_intervals, missing_intervals : pandas.DataFrame
        As from ``history.wait_intervals()`` and ``history.missing_intervals()``.
    departures : pandas.DataFrame, optional
        As from ``history.departures()``; without it the rules 5c to 5e conclude nothing.
    batches : pandas.DataFrame, optional
        As from ``history.batches()``, for those that delete; without it none is known of.
    tolerance : str or Timedelta
        How far this machine's clock and the API's may be apart.
    expired_counts_as_failed : bool, optional
        Whether the API counts an expired record in ``failed_records``.
    released_may_fail : bool
        Whether a released record may still fail its validation. If you know that yours never do,
        successes alone tell how many were released, and far fewer ends stay unknown.

    Returns
    -------
    pandas.DataFrame
        One row per wait: tenant_id, batch_id, pending_id, resource_external_id,
        schema_definition_id, schema_name, created_at, expires_at, first_seen, last_seen; verdict
        and rule; departure (number of the observation without it, within its batch); ended_after
        and ended_by (UTC; both E for an expired one); sweep_lag_low and sweep_lag_high (bounds on
        how long after E it was gone); unknown_together, released_at_least and released_at_most
        (counts, for unknown ones); root_schema_definition_id and root_external_id (what it depended
        on last, up the chain; of several, the one that most waits depended on). By tenant, batch
        and first_seen.

    Raises
    ------
    FrameError
        If a frame lacks a documented column.
    ValueError
        If ``tolerance`` is no length of time, or below zero.

    Examples
    --------
    >>> import pandas as pd
    >>> from reach_analytics import tables
    >>> from reach_analytics.measures import wait_outcomes
    >>> noon = pd.Timestamp("2026-01-01 12:00", tz="UTC")
    >>> minute = pd.Timedelta(minutes=1)
    >>> wait_intervals = tables.WAIT_INTERVALS.conform(pd.DataFrame({
    ...     "tenant_id": "t", "batch_id": "b", "pending_id": ["1", "2"], "first_seen": noon,
    ...     "last_seen": noon, "gone_by": [noon + 5 * minute, pd.NaT],
    ...     "expires_at": noon + 60 * minute, "last_sent_at": [noon + 5 * minute, noon],
    ... }))
    >>> outcomes = wait_outcomes(wait_intervals, tables.MISSING_INTERVALS.empty())
    >>> print(outcomes[["pending_id", "verdict", "rule"]].to_string(index=False))
    pending_id  verdict rule
             1 released    3
             2  pending seen
    """
    wait_intervals = WAIT_INTERVALS.normalize(wait_intervals, WAIT_INTERVALS.names, "wait_outcomes")
    missing_intervals = MISSING_INTERVALS.normalize(
        missing_intervals, MISSING_INTERVALS.names, "wait_outcomes"
    )
    slack = parse_duration(tolerance, "tolerance", minimum=pd.Timedelta(0))
    rows = wait_intervals.assign(**{name: as_utc(wait_intervals[name]) for name in _TIMES})
    order = ["tenant_id", "batch_id", "first_seen", "pending_id", "resource_external_id"]
    rows = rows.sort_values(order, ignore_index=True)
    rows = rows.assign(verdict=pd.Series(pd.NA, rows.index, dtype="str"), rule="")
    links = presence.links(rows, missing_intervals)
    _by_time(rows, slack)
    _by_dependencies(rows, links, batches, slack)
    table, number = tallies(rows, _departures(departures))
    bounds = _by_counts(rows, table, number, expired_counts_as_failed, released_may_fail)
    return WAIT_OUTCOMES.conform(
        rows.assign(**_ends(rows), **bounds, **presence.roots(rows, links))
    )


def _departures(given: Frame | None) -> pd.DataFrame:
    if given is None:
        return DEPARTURES.empty()
    return DEPARTURES.normalize(given, DEPARTURES.names, "wait_outcomes")


def _decide(rows: pd.DataFrame, where: pd.Series, verdict: str, rule: str) -> None:
    """Give the verdict to the rows where it applies and none was given before."""
    new = where.fillna(False).astype(bool) & rows["verdict"].isna()
    rows.loc[new, ["verdict", "rule"]] = verdict, rule


def _by_time(rows: pd.DataFrame, slack: pd.Timedelta) -> None:
    """Rules 2, 3 and 4: the moments alone."""
    gone = rows["gone_by"].notna()
    _decide(rows, ~gone & (rows["last_sent_at"] > rows["last_seen"]), "censored", "2")
    _decide(rows, ~gone, "pending", "seen")
    _decide(rows, rows["gone_by"] <= rows["expires_at"] - slack, "released", "3")
    _decide(rows, rows["last_seen"] >= rows["expires_at"] + slack, "expired", "4")


def _by_dependencies(
    rows: pd.DataFrame, links: pd.DataFrame, batches: Frame | None, slack: pd.Timedelta
) -> None:
    """Rules 5a and 5b: what other resources show of the dependencies."""
    keys = presence.presence(links, rows)
    last = links[links["at_last"]].reset_index(drop=True)
    interval = last["interval"].to_numpy()
    own = keys.reindex(last["key"]).reset_index(drop=True)
    expires, seen = (
        rows[n].iloc[interval].reset_index(drop=True) for n in ("expires_at", "last_seen")
    )

    def undone(after: pd.Series, by: pd.Series) -> pd.Series:
        tenant = last["tenant_id"]
        return pd.Series(
            may_have_deleted(batches, tenant, after - slack, by + slack, "wait_outcomes")
        )

    steady = own["steady"].astype(bool)
    late = presence.next_missing(links, last["key"], expires + slack)
    lacking = steady & late.notna() & ~undone(seen, late)
    in_time = steady & (own["there_by"] <= expires - slack)
    lacks = _counts(interval, lacking, len(rows)) > 0
    known = rows["missing_count"].astype("float64").to_numpy()
    # Of several that came one after the other, the first may have been gone when the last came.
    alone = pd.Series((known == 1)[interval])
    in_time &= alone | ~undone(seen, own["there_by"].fillna(expires))
    # Never where the list was left out; nor where it was empty and still waited, which shows that
    # nothing is released at once there, as the rule assumes.
    complete = (_counts(interval, in_time, len(rows)) == known) & (known > 0)
    in_view = rows["last_seen"] <= rows["expires_at"] - slack
    _decide(rows, pd.Series(lacks), "expired", "5a")
    _decide(rows, pd.Series(complete) & in_view, "released", "5b")


def _counts(numbers: np.ndarray, flags: pd.Series, size: int) -> np.ndarray:
    return np.bincount(numbers[flags.to_numpy(bool)], minlength=size)


def _by_counts(
    rows: pd.DataFrame,
    table: pd.DataFrame,
    number: Ints,
    as_failed: bool | None,
    may_fail: bool,
) -> dict[str, pd.Series]:
    """Rules 5c to 6: what the batches counted from a base to the departure's observation.

    ``table`` has a row per departure, and ``number`` says which is whose.
    """
    if as_failed is None:
        as_failed = convention(table)
    least, most = released_bounds(table, as_failed, may_fail)
    agree = least <= most  # counts that contradict each other prove nothing
    least, most = least.where(agree, 0.0), most.where(agree, table["open"])
    low, high = _by_codes(table)
    told = (least.clip(lower=low) <= most.clip(upper=high)) & (low <= high)
    low, high = low.where(told, 0.0), high.where(told, table["open"])

    def of(values: pd.Series) -> pd.Series:
        return values.reindex(number).set_axis(rows.index)

    gone = pd.Series(number >= 0, rows.index)
    some = of(table["open"] > 0)
    ends = rows["expires_at"].notna()  # what cannot expire has not
    _decide(rows, gone & ends & some & of(most == 0), "expired", "5c")
    _decide(rows, gone & some & of(least == table["open"]), "released", "5d")
    _decide(rows, gone & ends & some & of(high == 0), "expired", "5e")
    _decide(rows, gone & some & of(low == table["open"]), "released", "5e")
    _decide(rows, gone, "unknown", "6")
    unknown = rows["verdict"] == "unknown"
    bounds = {
        "unknown_together": table["open"],
        "released_at_least": least.clip(lower=low),
        "released_at_most": most.clip(upper=high),
    }
    return {name: of(values).where(unknown) for name, values in bounds.items()}


def _by_codes(table: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """At least and at most how many of the open ones were released, by the codes that count what
    expired."""
    risen = rises(table)
    low = pd.Series(0.0, table.index)
    high = table["open"].astype("float64")
    for code in trusted(table, risen):
        rise = risen[code] - table["expired"]
        most_expired = (rise - table["others_expired"]).clip(lower=-1)
        min_expired = (rise - table["others_may_be_expired"]).where(table["settled_before"])
        low = low.clip(lower=(table["open"] - most_expired).fillna(0))
        high = high.clip(upper=(table["open"] - min_expired).fillna(np.inf))
    return low, high


def _ends(rows: pd.DataFrame) -> dict[str, pd.Series]:
    """When each wait ended, as an interval, and how long after its expiry an expired one went."""
    expired, expires = rows["verdict"] == "expired", rows["expires_at"]
    # Nothing waits beyond its expiry, whatever became of it.
    over = (expires < rows["gone_by"]) & (expires > rows["last_seen"])
    by = rows["gone_by"].mask(over, expires)
    late = rows["last_seen"] - expires
    # Where the clocks differ, the last observation may be a little later than the expiry.
    after = rows["last_seen"].mask((expires < rows["last_seen"]) & rows["gone_by"].notna(), expires)
    return {
        "ended_after": after.mask(expired, expires),
        "ended_by": by.mask(expired, expires),
        "sweep_lag_low": late.where(late > pd.Timedelta(0), pd.Timedelta(0)).where(expired),
        "sweep_lag_high": (rows["gone_by"] - expires).where(expired),
    }
