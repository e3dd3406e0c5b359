"""What became of each wait, as far as the observations show, and the rule applied."""

from __future__ import annotations

import pandas as pd

from reach_analytics._time import parse_duration
from reach_analytics.measures.waits.expiry_codes import expiry_numbers
from reach_analytics.queries.departed import Conventions
from reach_analytics.queries.evidence import outcomes_of_rows
from reach_analytics.tables import (
    BATCHES,
    DEPARTURES,
    MISSING_INTERVALS,
    WAIT_INTERVALS,
    WAIT_OUTCOMES,
    Frame,
)

__all__ = ["conventions_of", "wait_outcomes"]

_OF_BATCHES = ["tenant_id", "batch_type", "status", "created_at", "started_at", "completed_at"]
_OF_BATCHES += ["successful_records"]


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
        One row per wait: tenant_id, batch_id, pending_id, external_id,
        schema_definition_id, schema_name, created_at, expires_at, first_seen, last_seen; verdict
        and rule; departure (number of the observation without it, within its batch); ended_after
        and ended_by (UTC; both E for an expired one); sweep_lag_low and sweep_lag_high (bounds on
        how long after E it was gone); unknown_together, released_at_least and released_at_most
        (counts, for unknown ones); root_schema_definition_id and root_external_id (what it depended
        on last, up the chain; of several, the one that most waits depended on). By tenant, batch,
        first_seen, pending_id, external_id and schema_definition_id.

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
    stated = conventions_of(tolerance, expired_counts_as_failed, released_may_fail)
    waits = WAIT_INTERVALS.normalize(wait_intervals, WAIT_INTERVALS.names, "wait_outcomes")
    missing = MISSING_INTERVALS.normalize(
        missing_intervals, MISSING_INTERVALS.names, "wait_outcomes"
    )
    counted, known = DEPARTURES.empty(), None
    if departures is not None:
        counted = DEPARTURES.normalize(departures, DEPARTURES.names, "wait_outcomes")
        counted = counted.drop_duplicates(list(DEPARTURES.key))
    if batches is not None:
        known = BATCHES.to_arrow(BATCHES.normalize(batches, _OF_BATCHES, "wait_outcomes"))
    rows = outcomes_of_rows(
        WAIT_INTERVALS.to_arrow(waits),
        MISSING_INTERVALS.to_arrow(missing),
        DEPARTURES.to_arrow(counted),
        known,
        stated,
    )
    return WAIT_OUTCOMES.to_pandas(rows)


def conventions_of(
    tolerance: str | pd.Timedelta, expired_counts_as_failed: bool | None, released_may_fail: bool
) -> Conventions:
    """What the rules assume of the API and the clocks.

    Raises
    ------
    ValueError
        If ``tolerance`` is no length of time, or below zero.
    """
    slack = parse_duration(tolerance, "tolerance", minimum=pd.Timedelta(0)).to_pytimedelta()
    return Conventions(expired_counts_as_failed, released_may_fail, slack, expiry_numbers)
