"""What became of each wait, as far as the looks can tell, and the rule that says so."""

from __future__ import annotations

import numpy as np
import pandas as pd

from reach_analytics._time import parse_duration
from reach_analytics.columns import DEPARTURES, SPELL_DEPENDENCIES, SPELLS, WAITING, as_utc
from reach_analytics.measures import evidence
from reach_analytics.measures.arrays import Ints
from reach_analytics.measures.deletions import may_have_deleted
from reach_analytics.measures.expiry_codes import rises, trusted
from reach_analytics.measures.tallies import convention, released_bounds, tallies

_TIMES = ["created_at", "expires_at", "first_seen", "last_seen", "gone_by", "looked_at"]


def waiting(
    spells: pd.DataFrame,
    spell_dependencies: pd.DataFrame,
    departures: pd.DataFrame | None = None,
    batches: pd.DataFrame | None = None,
    *,
    tolerance: str | pd.Timedelta = "5s",
    expired_counts_as_failed: bool | None = None,
    released_may_fail: bool = True,
) -> pd.DataFrame:
    """What became of each wait: one row per pending resource ever seen, with the rule applied.

    A wait that is gone was released or ran out, and the API does not say which. With L =
    ``last_seen``, U = ``gone_by``, E = ``expires_at`` and the clocks within δ = ``tolerance`` of
    each other, the first rule that applies decides:

    - ``1``: a resource that is listed again was never gone (such gaps are closed in ``spells``);
    - ``2``: looks after L failed or were not full: ``censored`` at L. ``seen``: the last look
      lists it, ``pending``;
    - ``3``: U ≤ E - δ: ``released`` in (L, U];
    - ``4``: L ≥ E + δ: ``expired``; it was swept away U - E later at most;
    - ``5a``: something it missed at last was still missing at E + δ or later, seen at any
      resource: ``expired``. This takes for granted that what has come stays; where a batch that
      deletes may have been at work between L and that look, it proves nothing;
    - ``5b``: all it missed was there by E - δ, seen at resources that were released or had it
      struck from their lists: ``released``. What came and went again proves neither, and nothing
      is concluded from several dependencies while a batch that deletes may have been at work;
    - ``5c``: its batch counted no success and no failure meanwhile, beyond those of what is known
      to be released: ``expired``;
    - ``5d``: its batch, with nothing else left to do, counted one for everything that left it:
      ``released``;
    - ``5e``: an error code of its batch that counts what expired (see `expiry_codes`) rose for
      all of those that left, or for none: ``expired``, or ``released``;
    - ``6``: otherwise ``unknown``, with bounds on how many of those alike were released.

    ``released`` says that the wait was over, not that the record passed validation. 5c, 5d and 5e
    compare the counts with all that left in one span: those whose ends are bracketed by other,
    overlapping looks are allowed for. 5c and 5d
    depend on whether the API counts an expired record as failed. Unless told, that is read from
    departures whose ends are all known; while these tell nothing, only what holds either way is
    concluded. 5e is used only where it agrees with every wait whose end is certain without it.

    What all rules assume: the API releases what misses nothing at once, and releases nothing after
    its expiry; nobody cancels waits; a batch that deletes stands in ``batches``; and the list and
    the counts of an answer are of one moment.

    Parameters
    ----------
    spells, spell_dependencies : pandas.DataFrame
        As from ``history.spells()`` and ``history.spell_dependencies()``.
    departures : pandas.DataFrame, optional
        As from ``history.departures()``; without it the rules 5c to 5e conclude nothing.
    batches : pandas.DataFrame, optional
        As from ``history.batches()``, for those that delete; without it none is known of.
    tolerance : str or Timedelta
        How far this machine's clock and the API's may be apart.
    expired_counts_as_failed : bool, optional
        Whether the API counts an expired record in ``failed_records``.
    released_may_fail : bool
        Whether a released record may fail its validation yet. If you know that yours never do,
        successes alone tell how many were released, and far fewer ends stay unknown.

    Returns
    -------
    pandas.DataFrame
        One row per wait: tenant_id, batch_id, pending_id, resource_external_id,
        schema_definition_id, schema_name, created_at, expires_at, first_seen, last_seen; verdict
        and rule; departure (number of the look without it, within its batch); ended_after and
        ended_by (UTC; both E for an expired one); sweep_lag_low and sweep_lag_high (bounds on how
        long after E it was gone); unknown_together, released_at_least and released_at_most (counts,
        for unknown ones); root_schema_definition_id and root_external_id (what it hung on at last,
        up the chain; of several, the one that most waits hung on). By tenant,
        batch and first_seen.

    Raises
    ------
    FrameError
        If a frame lacks a documented column.
    ValueError
        If ``tolerance`` is no length of time, or below zero.

    Examples
    --------
    >>> import pandas as pd
    >>> from reach_analytics import columns
    >>> from reach_analytics.measures import waiting
    >>> noon = pd.Timestamp("2026-01-01 12:00", tz="UTC")
    >>> minute = pd.Timedelta(minutes=1)
    >>> spells = columns.SPELLS.conform(pd.DataFrame({
    ...     "tenant_id": "t", "batch_id": "b", "pending_id": ["1", "2"], "first_seen": noon,
    ...     "last_seen": noon, "gone_by": [noon + 5 * minute, pd.NaT],
    ...     "expires_at": noon + 60 * minute, "looked_at": [noon + 5 * minute, noon],
    ... }))
    >>> print(waiting(spells, columns.SPELL_DEPENDENCIES.empty())[["pending_id", "verdict", "rule"]]
    ...       .to_string(index=False))
    pending_id  verdict rule
             1 released    3
             2  pending seen
    """
    spells = SPELLS.require(spells, SPELLS.names, "waiting")
    spell_dependencies = SPELL_DEPENDENCIES.require(
        spell_dependencies, SPELL_DEPENDENCIES.names, "waiting"
    )
    slack = parse_duration(tolerance, "tolerance", minimum=pd.Timedelta(0))
    rows = spells.assign(**{name: as_utc(spells[name]) for name in _TIMES})
    order = ["tenant_id", "batch_id", "first_seen", "pending_id", "resource_external_id"]
    rows = rows.sort_values(order, ignore_index=True)
    rows = rows.assign(verdict=pd.Series(pd.NA, rows.index, dtype="str"), rule="")
    links = evidence.links(rows, spell_dependencies)
    _by_time(rows, slack)
    _by_dependencies(rows, links, batches, slack)
    table, number = tallies(rows, _departures(departures))
    bounds = _by_counts(rows, table, number, expired_counts_as_failed, released_may_fail)
    return WAITING.conform(rows.assign(**_ends(rows), **bounds, **evidence.roots(rows, links)))


def _departures(given: pd.DataFrame | None) -> pd.DataFrame:
    if given is None:
        return DEPARTURES.empty()
    return DEPARTURES.require(given, DEPARTURES.names, "waiting")


def _decide(rows: pd.DataFrame, where: pd.Series, verdict: str, rule: str) -> None:
    """Give the verdict to the rows where it applies and none was given before."""
    new = where.fillna(False).astype(bool) & rows["verdict"].isna()
    rows.loc[new, ["verdict", "rule"]] = verdict, rule


def _by_time(rows: pd.DataFrame, slack: pd.Timedelta) -> None:
    """Rules 2, 3 and 4: the moments alone."""
    gone = rows["gone_by"].notna()
    _decide(rows, ~gone & (rows["looked_at"] > rows["last_seen"]), "censored", "2")
    _decide(rows, ~gone, "pending", "seen")
    _decide(rows, rows["gone_by"] <= rows["expires_at"] - slack, "released", "3")
    _decide(rows, rows["last_seen"] >= rows["expires_at"] + slack, "expired", "4")


def _by_dependencies(
    rows: pd.DataFrame, links: pd.DataFrame, batches: pd.DataFrame | None, slack: pd.Timedelta
) -> None:
    """Rules 5a and 5b: what other resources show of the dependencies."""
    keys = evidence.presence(links, rows)
    last = links[links["at_last"]].reset_index(drop=True)
    spell = last["spell"].to_numpy()
    own = keys.reindex(last["key"]).reset_index(drop=True)
    expires, seen = (
        rows[n].iloc[spell].reset_index(drop=True) for n in ("expires_at", "last_seen")
    )

    def undone(after: pd.Series, by: pd.Series) -> pd.Series:
        tenant = last["tenant_id"]
        return pd.Series(may_have_deleted(batches, tenant, after - slack, by + slack, "waiting"))

    steady = own["steady"].astype(bool)
    late = evidence.next_missing(links, last["key"], expires + slack)
    lacking = steady & late.notna() & ~undone(seen, late)
    in_time = steady & (own["there_by"] <= expires - slack)
    lacks = _counts(spell, lacking, len(rows)) > 0
    known = rows["missing_count"].astype("float64").to_numpy()
    # Of several that came one after the other, the first may have been gone when the last came.
    alone = pd.Series((known == 1)[spell])
    in_time &= alone | ~undone(seen, own["there_by"].fillna(expires))
    # Never where the list was left out; nor where it was empty and waited yet, which shows that
    # nothing is released at once there, as the rule assumes.
    complete = (_counts(spell, in_time, len(rows)) == known) & (known > 0)
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
    """Rules 5c to 6: what the batches counted from a base to the look without those that left.

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
        least_expired = (rise - table["others_may_be_expired"]).where(table["settled"])
        low = low.clip(lower=(table["open"] - most_expired).fillna(0))
        high = high.clip(upper=(table["open"] - least_expired).fillna(np.inf))
    return low, high


def _ends(rows: pd.DataFrame) -> dict[str, pd.Series]:
    """When each wait ended, as an interval, and how long after its expiry an expired one went."""
    expired, expires = rows["verdict"] == "expired", rows["expires_at"]
    # Nothing waits beyond its expiry, whatever became of it.
    over = (expires < rows["gone_by"]) & (expires > rows["last_seen"])
    by = rows["gone_by"].mask(over, expires)
    late = rows["last_seen"] - expires
    # Where the clocks differ, the last look may be a little later than the expiry.
    after = rows["last_seen"].mask((expires < rows["last_seen"]) & rows["gone_by"].notna(), expires)
    return {
        "ended_after": after.mask(expired, expires),
        "ended_by": by.mask(expired, expires),
        "sweep_lag_low": late.where(late > pd.Timedelta(0), pd.Timedelta(0)).where(expired),
        "sweep_lag_high": (rows["gone_by"] - expires).where(expired),
    }
