"""What the resources' lists show of the dependencies: when each was missing or present."""

from __future__ import annotations

import numpy as np
import pandas as pd

from reach_analytics.tables import RESOURCE_KEY, as_utc

_INTERVAL = ["tenant_id", "batch_id", "pending_id", "external_id", "schema_definition_id"]
_OWN = ["tenant_id", "schema_definition_id", "external_id"]
_MISSING = ["tenant_id", "missing_schema_definition_id", "missing_external_id"]


def links(wait_intervals: pd.DataFrame, missing_intervals: pd.DataFrame) -> pd.DataFrame:
    """The dependencies of the waits, by number.

    Columns: interval (row of ``wait_intervals``), key (number in the order of names), its
    `RESOURCE_KEY` and schema_name, named (whether it has a whole key; others name nothing),
    first_missing, last_missing, last_missing_by, there_by (UTC), at_last (whether the last
    observation of the resource lists it).
    """
    numbered = wait_intervals[_INTERVAL].assign(interval=np.arange(len(wait_intervals)))
    numbered = numbered.assign(last_seen=wait_intervals["last_seen"].array)
    wide = missing_intervals.merge(numbered, on=_INTERVAL, how="inner")
    unnamed = wide[_MISSING].isna().any(axis=1)
    names = wide[_MISSING].set_axis(RESOURCE_KEY, axis=1)
    return names.assign(
        key=names.groupby(RESOURCE_KEY, dropna=False).ngroup(),
        named=~unnamed,
        schema_name=wide["missing_schema_name"],
        interval=wide["interval"],
        first_missing=as_utc(wide["first_missing"]),
        last_missing=as_utc(wide["last_missing"]),
        last_missing_by=as_utc(wide["last_missing_by"]),
        there_by=as_utc(wide["there_by"]),
        at_last=as_utc(wide["last_missing"]) >= wide["last_seen"],
    )


def presence(links: pd.DataFrame, judged: pd.DataFrame) -> pd.DataFrame:
    """Per key, ``missing_until`` (when the last observation that lists it was sent), ``there_by``
    (first proof that it is present), and whether it is ``steady``: not missing again after that.

    A resource that was released had all that it last missed by then.
    """
    times = links.groupby("key")[["last_missing", "last_missing_by"]].max()
    proof = proof_times(links, judged).groupby(links["key"]).min()
    steady = ~(proof <= times["last_missing_by"])
    steady &= links.groupby("key")["named"].all()  # one without a whole key matches no other
    return pd.DataFrame(
        {"missing_until": times["last_missing"], "there_by": proof, "steady": steady}
    )


def proof_times(links: pd.DataFrame, judged: pd.DataFrame) -> pd.Series:
    """For each link, by when it proves its key to be present; null where it does not."""
    released = (judged["verdict"] == "released").fillna(False).to_numpy(bool)
    ended = judged["ended_by"] if "ended_by" in judged else judged["gone_by"]
    interval = links["interval"].to_numpy()
    proves = links["at_last"].to_numpy(bool) & released[interval]
    gone = pd.Series(ended.array[interval], index=links.index)
    return links["there_by"].where(~proves, gone)
