"""What the batches' counts tell of the waits that left together, between two observations."""

from __future__ import annotations

import numpy as np
import pandas as pd

from reach_analytics.measures._shared.arrays import Ints
from reach_analytics.tables import BATCH_KEY

_DEPARTURE = [*BATCH_KEY, "departure"]


def tallies(counts: pd.DataFrame, departures: pd.DataFrame) -> pd.DataFrame:
    """One row per departure: what left, and what the batch counted meanwhile.

    The counts run from the departure's base to its own observation. Where observations overlap,
    others may have left in that span as well: those of earlier departures with the same base
    surely, those whose base lies before it possibly, and so those last seen by observations that
    overlap the departure's own. Without overlaps there are none.

    Parameters
    ----------
    counts : DataFrame
        _DEPARTURE; left, released, expired (how many, by the verdicts so far).
    departures : DataFrame
        As `tables.DEPARTURES`.

    Returns
    -------
    DataFrame
        The counts, and open (how many of them are not known to have ended either way); good, bad
        (rises of the counts; null if not known), settled_before, errors_before, errors_after;
        others_released, others_expired (in the span for certain), others_may_be_released,
        others_may_be_expired (at most), and alone (whether no others are in the span).
    """
    table = counts[[*_DEPARTURE, "left", "released", "expired"]]
    table = table.sort_values(_DEPARTURE, ignore_index=True)
    table["open"] = table["left"] - table["released"] - table["expired"]
    counted = departures.rename(columns={"successes": "good", "failures": "bad"})
    names = [*_DEPARTURE, "base", "good", "bad", "settled_before", "errors_before", "errors_after"]
    names.append("overlapping")
    counted = counted[names].drop_duplicates(_DEPARTURE)
    table = table.merge(counted, on=_DEPARTURE, how="left", validate="one_to_one")
    table[["base", "good", "bad"]] = table[["base", "good", "bad"]].astype("float64")
    ended = table["settled_before"].astype("boolean")
    table["settled_before"] = ended.fillna(False).astype(bool)
    return table.assign(**_others(table))


def _others(table: pd.DataFrame) -> dict[str, pd.Series]:
    """What else left in the span of each departure; the table is in the order of _DEPARTURE.

    Departures in order have bases in order, so that those of the same base are the earlier ones
    that surely left after it, and those that may have are the ones found gone after it.
    """
    batch = table.groupby(BATCH_KEY, dropna=False).ngroup().to_numpy()
    # One number for a batch and an observation in it, so that one search serves all batches.
    departure = table["departure"].to_numpy("int64", na_value=0)
    width = int(departure.max(initial=0)) + 2
    base = table["base"].fillna(width - 2).to_numpy().clip(0, width - 2).astype(np.int64)
    begin = np.searchsorted(batch * width + departure, batch * width + base, side="right")
    place = np.arange(len(table))
    begin = np.minimum(begin, place)
    same = table.groupby([*BATCH_KEY, "base"], dropna=False)

    def before(counts: pd.Series) -> Ints:
        total = np.concatenate([[0], np.cumsum(counts.to_numpy())])
        return np.asarray(total[place] - total[begin], np.int64)

    seen_since = table.pop("overlapping").fillna(0).to_numpy("int64")
    return {
        "others_released": same["released"].cumsum() - table["released"],
        "others_expired": same["expired"].cumsum() - table["expired"],
        "others_may_be_released": pd.Series(before(table["left"] - table["expired"]) + seen_since),
        "others_may_be_expired": pd.Series(before(table["left"] - table["released"]) + seen_since),
        "alone": pd.Series((begin == place) & (seen_since == 0)),
    }


def released_bounds(
    table: pd.DataFrame, as_failed: bool | None, may_fail: bool
) -> tuple[pd.Series, pd.Series]:
    """At least and at most how many of the ``open`` waits of each departure were released.

    A rise that other records of the batch may have caused bounds from above only. The lower bound
    is above the upper where the counts contradict what left, or went back.
    """
    surely = table["released"] + table["others_released"]
    at_most = table["released"] + table["others_may_be_released"]
    counted = table["good"] + table["bad"]
    above = [table["open"].astype("float64"), counted - surely]
    below = [table["good"] - at_most]
    if as_failed is False:
        below.append(counted - at_most)
    if not may_fail:
        above.append(table["good"] - surely)
    least = pd.concat(below, axis=1).max(axis=1).where(table["settled_before"], 0.0)
    if as_failed:
        # Those that expired count as failed, so the others did not expire.
        failed = table["bad"] - table["expired"] - table["others_expired"]
        least = least.clip(lower=table["open"] - failed.fillna(np.inf))
    most = pd.concat(above, axis=1).min(axis=1)
    back = (table["good"] < 0) | (table["bad"] < 0)
    return least.fillna(0).clip(lower=0).mask(back, np.inf), most


def convention(table: pd.DataFrame) -> bool | None:
    """Whether expired records count as failed, where departures with known ends agree on it."""
    known = (table["open"] == 0) & table["settled_before"] & table["alone"] & (table["expired"] > 0)
    telling = table[known]
    counted = telling["good"] + telling["bad"]
    votes = set()
    if (counted == telling["left"]).any():
        votes.add(True)
    if (counted == telling["released"]).any():
        votes.add(False)
    return votes.pop() if len(votes) == 1 else None
