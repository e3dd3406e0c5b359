"""How the API counts waits that end, as far as the counts themselves show."""

from __future__ import annotations

import pandas as pd

from reach_analytics.columns import CONVENTIONS, DEPARTURES, WAITING
from reach_analytics.measures.expiry_codes import CERTAIN
from reach_analytics.measures.tallies import convention, released_bounds, tallies

_ENOUGH = 30  # released ones, none of which failed: at most one in ten does, at 95 %


def conventions(waiting: pd.DataFrame, departures: pd.DataFrame) -> pd.DataFrame:
    """What the counts say of two things that the API leaves open, and what it would settle.

    Whether an expired record counts as failed, and whether a released one ever fails its
    validation. Both are read from departures whose ends are all certain by the rules 3, 4, 5a and
    5b of `waiting`. Where at least 30 released records are known and none failed, and no departure
    contradicts it, ``none_fails`` is true: then `waiting` may be told so
    (``released_may_fail=False``), and ``would_settle`` of the ``unknown`` ends are known. It is
    yours to say, since the next one may fail.

    Parameters
    ----------
    waiting, departures : pandas.DataFrame
        As from ``history.waiting()`` and ``history.departures()``.

    Returns
    -------
    pandas.DataFrame
        One row: expired_counts_as_failed (null while nothing tells), released (known ones),
        released_failed (of these, failed), failed_high_fraction (upper end of a one-sided 95 %
        interval of the part that fails, Clopper and Pearson 1934, as if each failed on its own),
        contradictions (departures that cannot be without a failure), none_fails, unknown and
        would_settle (waits).

    Raises
    ------
    FrameError
        If a frame lacks a needed column.

    Examples
    --------
    >>> from reach_analytics import columns
    >>> from reach_analytics.measures import conventions
    >>> row = conventions(columns.WAITING.empty(), columns.DEPARTURES.empty()).iloc[0]
    >>> int(row["unknown"]), bool(row["none_fails"])
    (0, False)
    """
    names = ["tenant_id", "batch_id", "departure", "verdict", "rule"]
    rows = WAITING.require(waiting, names, "conventions")
    departures = DEPARTURES.require(departures, DEPARTURES.names, "conventions")
    certain, _ = tallies(
        rows.assign(verdict=rows["verdict"].where(rows["rule"].isin(CERTAIN))), departures
    )
    as_failed = convention(certain)
    known = certain[(certain["open"] == 0) & certain["settled"] & certain["alone"]]
    known = known[known["good"].notna()]
    released = int(known["released"].sum())
    failed = int((known["released"] - known["good"]).clip(lower=0).sum())
    least, most = released_bounds(certain, as_failed, may_fail=False)
    against = int((least > most).sum())
    judged, _ = tallies(rows, departures)
    low, high = released_bounds(judged, as_failed, may_fail=False)
    settles = (low <= high) & ((high == 0) | (low == judged["open"]))
    row = {
        "expired_counts_as_failed": as_failed,
        "released": released,
        "released_failed": failed,
        "failed_high_fraction": _upper(failed, released),
        "contradictions": against,
        "none_fails": released >= _ENOUGH and failed == 0 and against == 0,
        "unknown": int(judged["open"].sum()),
        "would_settle": int(judged.loc[settles, "open"].sum()),
    }
    return CONVENTIONS.conform(pd.DataFrame([row]))


def _upper(failed: int, released: int) -> float:
    from scipy.stats import beta

    return float(beta.ppf(0.95, failed + 1, released - failed)) if failed < released else 1.0
