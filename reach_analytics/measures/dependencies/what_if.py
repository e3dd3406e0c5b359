"""What would happen if: deliveries played against the pending resources and their expiries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd

from reach_analytics._plausible import EPOCH
from reach_analytics.measures._graph.model import PendingGraph, read_pending_graph
from reach_analytics.measures._planning.deliveries import played
from reach_analytics.tables import BOTTLENECKS, RESOURCE_KEY, WHAT_IF, Frame

__all__ = ["Deliveries", "Delivery", "what_if"]

Delivery = tuple[str, ...]
Deliveries = Mapping[Delivery, Any] | Iterable[Delivery] | pd.DataFrame


def what_if(
    dependencies: Frame | PendingGraph,
    pending: Frame | None = None,
    *,
    deliveries: Deliveries = (),
    force: Iterable[str] = (),
) -> pd.DataFrame:
    """What becomes of each pending resource if these dependencies are delivered.

    With times, deliveries and expiries are played in order: a resource whose last dependency
    arrives before its ``expires_at`` is released, and its own key is then present for others; one
    that expires brings nothing. A delivery at the very moment of an expiry comes too late. Without
    times everything is delivered at once, and nothing expires.

    Parameters
    ----------
    dependencies, pending
        As for `bottlenecks`.
    deliveries : dict, list or DataFrame
        Keys that arrive, each as ``(schema, external_id)`` or ``(tenant_id, schema,
        external_id)``, where schema is a name (ignoring case) or id; a dict gives each its time.
        Without a tenant, the key of every tenant that misses it is meant. Or rows of `bottlenecks`,
        of `upload_plan`, where all of these have a ``deliver_at``, that is their time, or of
        `dependencies`, of which what they miss is meant.
    force : list of str
        Ids of pending resources that are uploaded anew without what they miss.

    Returns
    -------
    pandas.DataFrame
        One row per pending resource: tenant_id, batch_id, pending_id, external_id,
        schema_definition_id, schema_name, expires_at, outcome (``released``, ``expired``,
        ``waiting``) and at (UTC; null for what waits on, and where no times were given).

    Raises
    ------
    FrameError
        If a frame lacks a documented column, or rows of deliveries lack one of the key's.
    ValueError
        If a delivery or a forced id is not among what is missing or pending.

    Examples
    --------
    >>> from reach_analytics import tables
    >>> from reach_analytics.measures import what_if
    >>> len(what_if(tables.DEPENDENCIES.empty()))
    0
    """
    graph = read_pending_graph(dependencies, pending, "what_if")
    forced = _forced(graph, force)
    keys, timed = _delivered(graph, deliveries)
    if timed:
        outcome, moments = played(graph, keys, forced)
    else:
        released = graph.closure([key for _, key in keys], forced)
        outcome = np.where(released, "released", "waiting").tolist()
        moments = [None] * graph.resource_count
    at = pd.to_datetime(pd.Series(moments, dtype="Int64"), unit="us", utc=True)
    table = graph.names.resources().assign(outcome=outcome, at=at)
    return WHAT_IF.conform(WHAT_IF.in_order(table))


def _delivered(graph: PendingGraph, deliveries: Deliveries) -> tuple[list[tuple[int, int]], bool]:
    """(microseconds since 1970, key number) of each delivery, and whether they have times."""
    if isinstance(deliveries, pd.DataFrame):
        return _of_rows(graph, deliveries)
    timed = isinstance(deliveries, Mapping)
    if isinstance(deliveries, Mapping):
        times = {key: _time(at) for key, at in deliveries.items()}
    else:
        times = dict.fromkeys(deliveries, 0)
    return _arrivals(graph, times), timed


def _of_rows(graph: PendingGraph, rows: pd.DataFrame) -> tuple[list[tuple[int, int]], bool]:
    """The same of rows that name keys, as those of a plan, or that miss them."""
    missed = {name: f"missing_{name}" for name in RESOURCE_KEY[1:]}
    if {*missed.values()} <= {*rows.columns}:  # as in `dependencies`: each key is meant once
        rows = rows[["tenant_id", *missed.values()]].drop_duplicates()
        rows = rows.rename(columns={theirs: name for name, theirs in missed.items()})
    rows = BOTTLENECKS.normalize(rows, RESOURCE_KEY, "what_if")
    known = _missing(graph)[RESOURCE_KEY]
    known = known.assign(number=known.index)
    number = rows[RESOURCE_KEY].merge(known, on=RESOURCE_KEY, how="left")["number"]
    if number.isna().any():
        key = tuple(rows[RESOURCE_KEY].iloc[int(number.isna().to_numpy().argmax())])
        raise ValueError(f"nothing pending misses {key!r}; history.bottlenecks() lists what is")
    timed = len(rows) > 0 and "deliver_at" in rows and bool(rows["deliver_at"].notna().all())
    times = [_time(at) for at in rows["deliver_at"]] if timed else [0] * len(rows)
    return list(zip(times, number.astype(int).tolist(), strict=True)), timed


def _arrivals(graph: PendingGraph, times: Mapping[Delivery, int]) -> list[tuple[int, int]]:
    """(microseconds since 1970, key number) of each delivery."""
    keys = _missing(graph)
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


def _missing(graph: PendingGraph) -> pd.DataFrame:
    """What names the keys that something misses, by number."""
    return graph.names.keys(np.flatnonzero(graph.direct > 0))


def _forced(graph: PendingGraph, force: Iterable[str]) -> list[int]:
    if isinstance(force, str):
        raise TypeError("force takes several pending ids, as a list; found one text")
    wanted = list(force)
    ids = graph.names.resources()["pending_id"]
    unknown = sorted(set(wanted) - set(ids))
    if unknown:
        raise ValueError(f"no pending resource has the id {unknown[0]!r}; see history.pending()")
    return np.flatnonzero(ids.isin(wanted)).tolist()


def _time(at: Any) -> int:
    moment = pd.Timestamp(at)
    if pd.isna(moment):
        raise ValueError("a delivery's time is missing")
    aware = moment.tz_localize("UTC") if moment.tzinfo is None else moment
    return (aware.to_pydatetime() - EPOCH) // timedelta(microseconds=1)
