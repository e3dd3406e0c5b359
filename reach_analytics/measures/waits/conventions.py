"""How the API counts waits that end, as far as the counts themselves show."""

from __future__ import annotations

import pandas as pd

from reach_analytics.measures._verdicts.endings import certain, departures_of_rows
from reach_analytics.measures._verdicts.tallies import convention, released_bounds, tallies
from reach_analytics.tables import CONVENTIONS, DEPARTURES, Frame

__all__ = ["conventions", "conventions_of_counts"]

_ENOUGH = 30  # released ones, none of which failed: at most one in ten does, at 95 %


def conventions(wait_outcomes: Frame, departures: pd.DataFrame) -> pd.DataFrame:
    """What the counts show of two things that the API leaves open, and what that would decide.

    Whether an expired record counts as failed, and whether a released one ever fails its
    validation. Both are read from departures whose ends are all certain by the rules 3, 4, 5a and
    5b of `wait_outcomes`. Where at least 30 released records are known and none failed, and no
    departure contradicts it, ``none_fails`` is true: then you may pass ``released_may_fail=False``
    to `wait_outcomes`, and ``would_settle`` of the ``unknown`` ends are known. That is for you to
    decide, since a later record may still fail.

    Parameters
    ----------
    wait_outcomes, departures : pandas.DataFrame
        As from ``history.wait_outcomes()`` and ``history.departures()``.

    Returns
    -------
    pandas.DataFrame
        One row: expired_counts_as_failed (null while unknown), released (known ones),
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
    >>> from reach_analytics import tables
    >>> from reach_analytics.measures import conventions
    >>> row = conventions(tables.WAIT_OUTCOMES.empty(), tables.DEPARTURES.empty()).iloc[0]
    >>> int(row["unknown"]), bool(row["none_fails"])
    (0, False)
    """
    counts = departures_of_rows(wait_outcomes, "conventions")
    departures = DEPARTURES.normalize(departures, DEPARTURES.names, "conventions")
    return conventions_of_counts(counts, departures)


def conventions_of_counts(counts: pd.DataFrame, departures: pd.DataFrame) -> pd.DataFrame:
    """The same, from how many left at each departure; see `Endings`."""
    sure = tallies(certain(counts), departures)
    as_failed = convention(sure)
    known = sure[(sure["open"] == 0) & sure["settled_before"] & sure["alone"]]
    known = known[known["good"].notna()]
    released = int(known["released"].sum())
    failed = int((known["released"] - known["good"]).clip(lower=0).sum())
    least, most = released_bounds(sure, as_failed, may_fail=False)
    against = int((least > most).sum())
    judged = tallies(counts, departures)
    low, high = released_bounds(judged, as_failed, may_fail=False)
    decided = (low <= high) & ((high == 0) | (low == judged["open"]))
    row = {
        "expired_counts_as_failed": as_failed,
        "released": released,
        "released_failed": failed,
        "failed_high_fraction": _upper(failed, released),
        "contradictions": against,
        "none_fails": released >= _ENOUGH and failed == 0 and against == 0,
        "unknown": int(judged["open"].sum()),
        "would_settle": int(judged.loc[decided, "open"].sum()),
    }
    return CONVENTIONS.conform(pd.DataFrame([row]))


def _upper(failed: int, released: int) -> float:
    from scipy.special import betaincinv  # scipy.stats takes long to load

    return float(betaincinv(failed + 1, released - failed, 0.95)) if failed < released else 1.0
