"""When something may have been deleted again, so that what was present need not have stayed."""

from __future__ import annotations

import numpy as np
import pandas as pd

from reach_analytics.measures._shared.arrays import Flags, Ints
from reach_analytics.tables import BATCHES, Frame, as_utc

_NAMES = ["tenant_id", "batch_type", "status", "created_at", "started_at", "completed_at"]
_NAMES += ["successful_records"]


def may_have_deleted(
    batches: Frame | None, tenant: pd.Series, after: pd.Series, by: pd.Series, caller: str
) -> Flags:
    """Whether a batch of the tenant that deletes may have run in each span (after, by].

    A batch may delete from its start to its completion, whatever its schema: with ``cascade`` it
    deletes what refers to its records, too, and a status does not show it. One that is over and
    deleted nothing explains nothing.
    """
    found = np.zeros(len(tenant), bool)
    if batches is None:
        return found
    batches = BATCHES.normalize(batches, _NAMES, caller)
    deletes = batches["batch_type"].str.contains("delete", case=False).fillna(False).astype(bool)
    over = as_utc(batches["completed_at"]).where(batches["status"] != "processing")
    idle = over.notna() & (batches["successful_records"] == 0).fillna(False).astype(bool)
    own = batches[deletes & ~idle]
    began = as_utc(own["started_at"]).fillna(as_utc(own["created_at"]))
    ended = over[own.index]
    # Without a start or an end, it may have begun or go on at any time.
    begins = _micros(began, np.iinfo(np.int64).min)
    ends = _micros(ended, np.iinfo(np.int64).max)
    since, until = _micros(after, 0), _micros(by, 0)
    places = pd.Series(np.arange(len(tenant))).groupby(tenant.to_numpy()).indices
    for name, mine in own.reset_index().groupby("tenant_id").indices.items():
        rows = places.get(name, [])
        # Those that began before the span is over, less those that had ended before it began.
        begun = np.searchsorted(np.sort(begins[mine]), until[rows], "right")
        done = np.searchsorted(np.sort(ends[mine]), since[rows], "right")
        found[rows] = begun > done
    return found & (after.notna() & by.notna()).to_numpy(bool)


def _micros(times: pd.Series, unknown: int) -> Ints:
    micros = times.astype("int64").where(times.notna(), unknown)
    return np.asarray(micros.to_numpy(), np.int64)
