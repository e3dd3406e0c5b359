"""What would happen if: deliveries played against the pending resources and their expiries."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from reach_analytics.columns import BOTTLENECKS, WHAT_IF
from reach_analytics.measures.clauses import Clauses, read_clauses

Delivery = tuple[str, ...]
Deliveries = Mapping[Delivery, Any] | Iterable[Delivery] | pd.DataFrame
_KEY = ["tenant_id", "schema_definition_id", "external_id"]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EXPIRY, _DELIVERY = 0, 1  # at one moment, expiry goes first


def what_if(
    dependencies: pd.DataFrame,
    pending: pd.DataFrame | None = None,
    *,
    deliveries: Deliveries = (),
    force: Iterable[str] = (),
) -> pd.DataFrame:
    """What becomes of each pending resource if these dependencies are delivered.

    With times, deliveries and expiries are played in order: a resource whose last dependency
    arrives before its ``expires_at`` is released, and its own key is then there for others; one
    that expires brings nothing. A delivery at the very moment of an expiry comes too late. Without
    times everything is delivered at once, and nothing expires.

    Parameters
    ----------
    dependencies, pending
        As for `bottlenecks`.
    deliveries : dict, list or DataFrame
        Keys that arrive, each as ``(schema, external_id)`` or ``(tenant_id, schema,
        external_id)``, where schema is a name (ignoring case) or id; a dict gives each its time.
        Without a tenant, the key of every tenant that misses it is meant. Or rows of `bottlenecks`
        or of `upload_plan`; where all of these have a ``deliver_at``, that is their time.
    force : list of str
        Ids of pending resources that are uploaded anew without what they miss.

    Returns
    -------
    pandas.DataFrame
        One row per pending resource: tenant_id, batch_id, pending_id, resource_external_id,
        schema_definition_id, schema_name, expires_at, outcome (``released``, ``expired``,
        ``waiting``) and at (UTC; null for what waits on, and where no times were given).

    Raises
    ------
    FrameError
        If a frame lacks a documented column; rows of deliveries, one of the key's.
    ValueError
        If a delivery or a forced id is not among what is missing or pending.

    Examples
    --------
    >>> from reach_analytics import columns
    >>> from reach_analytics.measures import what_if
    >>> len(what_if(columns.DEPENDENCIES.empty()))
    0
    """
    clauses = read_clauses(dependencies, pending, "what_if")
    forced = _forced(clauses, force)
    keys, timed = _delivered(clauses, deliveries)
    if timed:
        outcome, moments = played(clauses, keys, forced)
    else:
        released = clauses.closure([key for _, key in keys], forced)
        outcome = np.where(released, "released", "waiting").tolist()
        moments = [None] * clauses.resource_count
    at = pd.to_datetime(pd.Series(moments, dtype="Int64"), unit="us", utc=True)
    return WHAT_IF.conform(clauses.resources.assign(outcome=outcome, at=at))


def played(
    clauses: Clauses, arrivals: list[tuple[int, int]], forced: list[int]
) -> tuple[list[str], list[int | None]]:
    """Outcome and time of each resource; events in order of time, expiries first."""
    offsets, rows = clauses.dependents
    unmet = clauses.needs.copy()
    outcome = ["waiting"] * clauses.resource_count
    moments: list[int | None] = [None] * clauses.resource_count
    expires = clauses.resources["expires_at"]
    events = [(t, _DELIVERY, key) for t, key in arrivals]
    ends = expires.dt.as_unit("us").astype("int64").tolist()
    events += [(ends[i], _EXPIRY, i) for i in np.flatnonzero(expires.notna()).tolist()]
    heapq.heapify(events)
    start = min((t for t, _, _ in events), default=0)
    for resource in {*forced, *np.flatnonzero(unmet == 0).tolist()}:
        # Forced ones, and those that miss nothing, are released before anything else happens.
        outcome[resource] = "released"
        heapq.heappush(events, (start - 1, _DELIVERY, int(clauses.brings[resource])))
    there = np.zeros(clauses.key_count, bool)
    while events:
        time, kind, what = heapq.heappop(events)
        if kind == _EXPIRY:
            if outcome[what] == "waiting":
                outcome[what], moments[what] = "expired", time
            continue
        if there[what]:
            continue
        there[what] = True
        for resource in rows[offsets[what] : offsets[what + 1]]:
            unmet[resource] -= 1
            if unmet[resource] == 0 and outcome[resource] == "waiting":
                outcome[resource] = "released"
                moments[resource] = time if time >= start else None
                heapq.heappush(events, (time, _DELIVERY, int(clauses.brings[resource])))
    return outcome, moments


def _delivered(clauses: Clauses, deliveries: Deliveries) -> tuple[list[tuple[int, int]], bool]:
    """(microseconds since 1970, key number) of each delivery, and whether they have times."""
    if isinstance(deliveries, pd.DataFrame):
        return _of_rows(clauses, deliveries)
    timed = isinstance(deliveries, Mapping)
    if isinstance(deliveries, Mapping):
        times = {key: _time(at) for key, at in deliveries.items()}
    else:
        times = dict.fromkeys(deliveries, 0)
    return _arrivals(clauses, times), timed


def _of_rows(clauses: Clauses, rows: pd.DataFrame) -> tuple[list[tuple[int, int]], bool]:
    """The same of rows that name keys, as those of a plan."""
    rows = BOTTLENECKS.require(rows, _KEY, "what_if")
    known = clauses.keys.loc[clauses.direct > 0, _KEY]
    known = known.assign(number=known.index)
    number = rows[_KEY].merge(known, on=_KEY, how="left")["number"]
    if number.isna().any():
        key = tuple(rows[_KEY].iloc[int(number.isna().to_numpy().argmax())])
        raise ValueError(f"nothing pending misses {key!r}; history.bottlenecks() lists what is")
    timed = len(rows) > 0 and "deliver_at" in rows and bool(rows["deliver_at"].notna().all())
    times = [_time(at) for at in rows["deliver_at"]] if timed else [0] * len(rows)
    return list(zip(times, number.astype(int).tolist(), strict=True)), timed


def _arrivals(clauses: Clauses, times: Mapping[Delivery, int]) -> list[tuple[int, int]]:
    """(microseconds since 1970, key number) of each delivery."""
    keys = clauses.keys[clauses.direct > 0]
    schema_id, name = keys["schema_definition_id"], keys["schema_name"].str.casefold()
    found = []
    for key, time in times.items():
        if isinstance(key, str) or len(key) not in (2, 3):
            raise ValueError(f"a delivery is (schema, external_id), found {key!r}")
        *tenant, schema, external_id = key
        match = (keys["external_id"] == external_id) & (
            (schema_id == schema) | (name == schema.casefold())
        )
        if tenant:
            match &= keys["tenant_id"] == tenant[0]
        if not match.any():
            raise ValueError(f"nothing pending misses {key!r}; history.bottlenecks() lists what is")
        found += [(time, int(number)) for number in keys.index[match]]
    return found


def _forced(clauses: Clauses, force: Iterable[str]) -> list[int]:
    if isinstance(force, str):
        raise TypeError("force takes several pending ids, as a list; found one text")
    wanted = list(force)
    ids = clauses.resources["pending_id"]
    unknown = sorted(set(wanted) - set(ids))
    if unknown:
        raise ValueError(f"no pending resource has the id {unknown[0]!r}; see history.pending()")
    return np.flatnonzero(ids.isin(wanted)).tolist()


def _time(at: Any) -> int:
    moment = pd.Timestamp(at)
    if pd.isna(moment):
        raise ValueError("a delivery's time is missing")
    aware = moment.tz_localize("UTC") if moment.tzinfo is None else moment
    return (aware.to_pydatetime() - _EPOCH) // timedelta(microseconds=1)
