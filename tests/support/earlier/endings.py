"""How many waits of each batch and departure ended how, as pandas once counted it."""

from __future__ import annotations

import pandas as pd

from reach_analytics.measures._verdicts.endings import Endings
from reach_analytics.tables import BATCH_KEY

__all__ = ["endings"]

_DEPARTURE = [*BATCH_KEY, "departure"]
_CERTAIN = ["3", "4", "5a", "5b"]


def endings(batches: pd.DataFrame, waits: pd.DataFrame) -> Endings:
    """The counts, by what they are of; see `Endings`."""
    return Endings(_departures(waits), _expired(waits), _unknown(waits), _open(batches, waits))


def _departures(waits: pd.DataFrame) -> pd.DataFrame:
    gone = waits[waits["departure"].notna()]
    certain = gone["rule"].isin(_CERTAIN)
    flags = {"left": pd.Series(True, gone.index)}
    for verdict in ("released", "expired"):
        flags[verdict] = gone["verdict"] == verdict
        flags[f"certainly_{verdict}"] = flags[verdict] & certain
    counted = gone[_DEPARTURE].assign(**{name: flag.astype(int) for name, flag in flags.items()})
    return counted.groupby(_DEPARTURE, as_index=False).sum()


def _expired(waits: pd.DataFrame) -> pd.DataFrame:
    expired = waits[waits["verdict"] == "expired"]
    return expired.groupby([*BATCH_KEY, "rule"]).size().to_frame("waits").reset_index()


def _unknown(waits: pd.DataFrame) -> pd.DataFrame:
    each = waits[waits["verdict"] == "unknown"].drop_duplicates(_DEPARTURE)
    together = each["unknown_together"].astype("int64")
    bounds = each[BATCH_KEY].assign(
        least=together - each["released_at_most"].astype("int64"),
        most=together - each["released_at_least"].astype("int64"),
    )
    return bounds.groupby(BATCH_KEY, as_index=False).sum()


def _open(batches: pd.DataFrame, waits: pd.DataFrame) -> pd.DataFrame:
    still = waits[waits["verdict"].isin(["pending", "censored"])]
    seen = batches.set_index(BATCH_KEY)["observed_at"]
    last = seen.reindex(pd.MultiIndex.from_frame(still[BATCH_KEY])).array
    due = (still["expires_at"].array <= last).astype("int64")
    return still[BATCH_KEY].assign(open=1, due=due).groupby(BATCH_KEY, as_index=False).sum()
