"""What became of each wait, as far as the looks can tell, and the rule that says so."""

from __future__ import annotations

import numpy as np
import pandas as pd

from reach_analytics.columns import SPELL_DEPENDENCIES, SPELLS, WAITING, as_utc
from reach_analytics.measures import evidence
from reach_analytics.measures.given import length

_TIMES = ["created_at", "expires_at", "first_seen", "last_seen", "gone_by", "looked_at"]


def waiting(
    spells: pd.DataFrame,
    spell_dependencies: pd.DataFrame,
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
      resource: ``expired``;
    - ``5b``: all it missed was there by E - δ, seen at resources that were released or had it
      struck from their lists: ``released``. What came and went again proves neither;
    - ``5c``: its batch counted no success and no failure meanwhile, beyond those of what is known
      to be released: ``expired``;
    - ``5d``: its batch, with nothing else left to do, counted one for everything that left it:
      ``released``;
    - ``6``: otherwise ``unknown``, with bounds on how many of those alike were released.

    ``released`` says that the wait was over, not that the record passed validation. 5c and 5d
    depend on whether the API counts an expired record as failed. Unless told, that is read from
    departures whose ends are all known; while these tell nothing, only what holds either way is
    concluded. All rules assume that the API releases what misses nothing at once, releases nothing
    after its expiry, and that nobody cancels waits; 5c and 5d also that the list and the counts of
    an answer are of one moment.

    Parameters
    ----------
    spells, spell_dependencies : pandas.DataFrame
        As from ``history.spells()`` and ``history.spell_dependencies()``.
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
    slack = length(tolerance, "tolerance", least=pd.Timedelta(0))
    rows = spells.assign(**{name: as_utc(spells[name]) for name in _TIMES})
    order = ["tenant_id", "batch_id", "first_seen", "pending_id", "resource_external_id"]
    rows = rows.sort_values(order, ignore_index=True)
    rows = rows.assign(verdict=pd.Series(pd.NA, rows.index, dtype="str"), rule="")
    links = evidence.links(rows, spell_dependencies)
    _by_time(rows, slack)
    _by_dependencies(rows, links, slack)
    bounds = _by_counts(rows, expired_counts_as_failed, released_may_fail)
    table = rows.assign(**_ends(rows), **bounds, **evidence.roots(rows, links))
    return WAITING.conform(table)


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


def _by_dependencies(rows: pd.DataFrame, links: pd.DataFrame, slack: pd.Timedelta) -> None:
    """Rules 5a and 5b: what other resources show of the dependencies."""
    keys = evidence.presence(links, rows)
    last = links[links["at_last"]]
    own = keys.reindex(last["key"]).reset_index(drop=True)
    expires = rows["expires_at"].iloc[last["spell"]].reset_index(drop=True)
    steady = own["steady"].astype(bool)
    lacking = steady & (own["missing_until"] >= expires + slack)
    in_time = steady & (own["there_by"] <= expires - slack)
    spell = last["spell"].to_numpy()
    lacks = _counts(spell, lacking, len(rows)) > 0
    known = rows["missing_count"].astype("float64").to_numpy()
    # Never where the list was left out; nor where it was empty and waited yet, which shows that
    # nothing is released at once there, as the rule assumes.
    complete = (_counts(spell, in_time, len(rows)) == known) & (known > 0)
    in_view = rows["last_seen"] <= rows["expires_at"] - slack
    _decide(rows, pd.Series(lacks), "expired", "5a")
    _decide(rows, pd.Series(complete) & in_view, "released", "5b")


def _counts(numbers: np.ndarray, flags: pd.Series, size: int) -> np.ndarray:
    return np.bincount(numbers[flags.to_numpy(bool)], minlength=size)


def _by_counts(rows: pd.DataFrame, as_failed: bool | None, may_fail: bool) -> dict[str, pd.Series]:
    """Rules 5c, 5d and 6: what the batch counted between the full lists around the end."""
    gone = rows["departure"].notna()
    group = rows.groupby(["tenant_id", "batch_id", "departure"], dropna=False).ngroup()
    left = pd.DataFrame({"all": gone.groupby(group).transform("sum")})
    for verdict in ("released", "expired"):
        own = (rows["verdict"] == verdict).fillna(False)
        left[verdict] = own.groupby(group).transform("sum")
    left["open"] = left["all"] - left["released"] - left["expired"]
    left["good"] = rows["successes"].astype("float64")
    left["bad"] = rows["failures"].astype("float64")
    left["settled"] = rows["settled_before"].astype("boolean").fillna(False).astype(bool)
    if as_failed is None:
        as_failed = _convention(left[gone])
    least, most = _released(left, as_failed, may_fail)
    agree = least <= most  # counts that contradict each other prove nothing
    ends = rows["expires_at"].notna()  # what cannot expire has not
    _decide(rows, gone & ends & agree & (most == 0), "expired", "5c")
    _decide(rows, gone & agree & (least == left["open"]), "released", "5d")
    _decide(rows, gone, "unknown", "6")
    unknown = rows["verdict"] == "unknown"
    bounds = {
        "unknown_together": left["open"],
        "released_at_least": least.where(agree, 0),
        "released_at_most": most.where(agree, left["open"]),
    }
    return {name: values.where(unknown) for name, values in bounds.items()}


def _released(
    left: pd.DataFrame, as_failed: bool | None, may_fail: bool
) -> tuple[pd.Series, pd.Series]:
    """At least and at most how many were released of those that left without a verdict.

    A rise that other records of the batch may have caused bounds from above only.
    """
    known, counted = left["released"], left["good"] + left["bad"]
    above = [left["open"].astype("float64"), counted - known]
    below = [left["good"] - known]
    if as_failed is False:
        below.append(counted - known)
    if not may_fail:
        above.append(left["good"] - known)
    least = pd.concat(below, axis=1).max(axis=1).where(left["settled"], 0.0)
    if as_failed:
        # Whoever expired counts as failed, so that the others did not expire.
        least = least.clip(lower=left["open"] - (left["bad"] - left["expired"]).fillna(np.inf))
    most = pd.concat(above, axis=1).min(axis=1)
    return least.fillna(0).clip(lower=0).clip(upper=left["open"]), most


def _convention(left: pd.DataFrame) -> bool | None:
    """Whether expired records count as failed, where departures with known ends agree on it."""
    telling = left[(left["open"] == 0) & left["settled"] & (left["expired"] > 0)]
    counted = telling["good"] + telling["bad"]
    votes = set()
    if (counted == telling["all"]).any():
        votes.add(True)
    if (counted == telling["released"]).any():
        votes.add(False)
    return votes.pop() if len(votes) == 1 else None


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
