"""What to upload next, in which order, and what each upload frees."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise

import numpy as np
import pandas as pd

from reach_analytics._time import parse_timestamp
from reach_analytics.measures._graph.model import PendingGraph, read_pending_graph
from reach_analytics.measures._planning.pace import paced
from reach_analytics.measures._planning.sidney import Signatures, blocks
from reach_analytics.measures._shared.arrays import (
    Flags,
    Ints,
    counted,
    distinct,
    offsets_of,
    ranges,
)
from reach_analytics.measures.dependencies.bottlenecks import needed_by
from reach_analytics.tables import RESOURCE_KEY, UPLOAD_PLAN, Frame

__all__ = ["HEURISTIC", "OPTIMAL", "WITHIN_TWICE", "upload_plan"]

OPTIMAL, WITHIN_TWICE, HEURISTIC = "optimal", "within twice the optimum", "heuristic"
_HOUR = 3_600_000_000
_LAST = 253_402_214_400_000_000  # 9999-12-31, in microseconds since 1970
_PAIRS = 8_000_000  # of resources and roots, brought together at once


def upload_plan(
    dependencies: Frame | PendingGraph,
    pending: Frame | None = None,
    *,
    top: int | None = 100,
    uploads_per_hour: float | None = None,
    as_of: datetime | None = None,
    max_roots: int = 64,
) -> pd.DataFrame:
    """The missing dependencies to deliver, in the order in which they free the most the soonest.

    Roots are listed, all of them: what nothing pending would bring. Each pending resource that is
    in no deadlock is free once a certain set of roots is present; those of one set count together.
    The plan keeps the sum over resources of the place at which each is freed small, by a Sidney
    decomposition: block after block, the set of roots that frees the most per root, found by a
    minimum cut. So two dependencies that free a thousand resources together come before one that
    frees ten alone, which an order by ``unlock`` would not see.

    ``guarantee`` says how good the order is: ``optimal`` where every resource waits for one root
    only, ``within twice the optimum`` (Chekuri and Motwani 1999), or ``heuristic``: where
    alternatives (two pending resources with one key) or more than ``max_roots`` roots are
    involved, or a pace is given.

    With ``uploads_per_hour`` the deliveries are played at that pace from ``as_of`` on, against the
    expiries. Of several choices of what to save, the one that frees the most in time is taken
    (which is the best is NP-hard to find), and whatever frees nothing comes last, marked ``too
    late``: no upload is spent on it while another would still free something.

    Parameters
    ----------
    dependencies, pending
        As for `bottlenecks`.
    top : int, optional
        How many dependencies to list at most. All with None.
    uploads_per_hour : float, optional
        How many dependencies can be delivered an hour.
    as_of : datetime, optional
        When the first hour begins; needed with ``uploads_per_hour``.
    max_roots : int
        Resources that need more roots than this are left out of the choice of the order.

    Returns
    -------
    pandas.DataFrame
        One row per dependency, in order: position (from 1), block (from 1), tenant_id,
        schema_definition_id, external_id, schema_name, frees (pending resources freed when it has
        arrived after those before it; at a pace, in time), running_total, block_frees, needed_by
        (UTC, earliest expiry among those that name it), deliver_at (UTC, at a pace), guarantee and
        reason: null, or why it frees nothing, not even together with others: ``deadlock`` (all
        that waits for it waits for itself too; see `deadlocks`) or ``too late`` (at this pace).
        These come last. No rows if nothing is missing.

    Raises
    ------
    FrameError
        If a frame lacks a documented column.
    ValueError
        If ``top`` or ``max_roots`` is below 1, ``uploads_per_hour`` not above 0 or without
        ``as_of``.

    Examples
    --------
    Three sales need X and Y, two need Z: Z frees two for one upload, X and Y three for two.

    >>> import pandas as pd
    >>> from reach_analytics import tables
    >>> from reach_analytics.measures import upload_plan
    >>> needs = [("1", "X"), ("1", "Y"), ("2", "X"), ("2", "Y"), ("3", "X"), ("3", "Y")]
    >>> waits = tables.DEPENDENCIES.conform(pd.DataFrame([
    ...     {"tenant_id": "t", "batch_id": "b", "pending_id": sale, "external_id": sale,
    ...      "schema_definition_id": "sales", "missing_schema_definition_id": "contacts",
    ...      "missing_external_id": contact}
    ...     for sale, contact in [*needs, ("4", "Z"), ("5", "Z")]
    ... ]))
    >>> print(upload_plan(waits)[["block", "external_id", "frees", "running_total"]]
    ...       .to_string(index=False))
     block external_id  frees  running_total
         1           Z      2              2
         2           X      0              2
         2           Y      3              5
    """
    if (top is not None and top < 1) or max_roots < 1:
        raise ValueError(f"top and max_roots must be at least 1, found {top} and {max_roots}")
    if uploads_per_hour is not None and not (0 < uploads_per_hour <= _HOUR):
        raise ValueError(
            f"uploads_per_hour must be above 0, and a microsecond each, found {uploads_per_hour}"
        )
    if uploads_per_hour is not None and as_of is None:
        raise ValueError("uploads_per_hour needs as_of: the moment at which the uploads begin")
    graph = read_pending_graph(dependencies, pending, "upload_plan")
    roots = np.flatnonzero(graph.is_root)
    names = graph.names.keys(roots)[RESOURCE_KEY].reset_index(drop=True)
    roots = roots[names.sort_values(RESOURCE_KEY).index]
    signatures, overflow = _signatures(graph, roots, max_roots)
    found = blocks(signatures, top if uploads_per_hour is None else None)
    useful = _of_use(graph)
    order = [(n, int(roots[r])) for n, block in enumerate(found, 1) for r in block.roots]
    if uploads_per_hour is not None or top is None or len(order) < top:
        # What the blocks do not hold frees nothing, or only with more roots than were considered.
        held, after = {root for _, root in order}, order[-1][0] + 1 if order else 1
        rest = [root for root in roots.tolist() if root not in held]
        order += [(after, root) for root in sorted(rest, key=lambda root: not useful[root])]
    if uploads_per_hour is None:
        frees = np.array(_freed_one_by_one(graph, [root for _, root in order]), np.int64)
        guarantee = _guarantee(graph, signatures, overflow)
        return _table(graph, order, frees, guarantee)[:top]
    moments = _moments_at_pace(as_of, uploads_per_hour, len(order))
    best = paced(graph, [root for _, root in order], moments, max_roots)
    block = {root: number for number, root in order}
    runs = _numbered_runs([block[root] for root in best.order])
    order = list(zip(runs, best.order, strict=True))
    return _table(graph, order, best.frees, HEURISTIC, moments, best.in_vain)[:top]


def _moments_at_pace(as_of: datetime | None, uploads_per_hour: float, count: int) -> Ints:
    """When each upload has arrived, in microseconds since 1970."""
    moment = pd.Series([parse_timestamp(as_of or "1970-01-01")])
    begin = int(moment.dt.as_unit("us").astype("int64").iloc[0])
    moments = begin + np.rint(_HOUR / uploads_per_hour * np.arange(1, count + 1))
    if count and not moments[-1] < _LAST:
        raise ValueError(f"uploads_per_hour {uploads_per_hour} takes beyond the year 9999")
    return np.asarray(moments, np.int64)


def _numbered_runs(values: list[int]) -> list[int]:
    """1 for the first run of equal values, 2 for the next, and so on."""
    changed = np.diff(np.array(values[:1] + values, np.int64)) != 0
    numbers: list[int] = (1 + np.cumsum(changed)).tolist()
    return numbers


def _guarantee(graph: PendingGraph, signatures: Signatures, overflow: bool) -> str:
    """How good an order by these signatures is."""
    # Only what something waits for can come in more than one way.
    if overflow or ((graph.producers > 1) & (graph.direct > 0)).any():
        return HEURISTIC
    return OPTIMAL if (signatures.lengths == 1).all() else WITHIN_TWICE


def _signatures(graph: PendingGraph, named: Ints, max_roots: int) -> tuple[Signatures, bool]:
    """For the pending resources, the roots whose arrival frees each, as places in ``named``; alike
    ones counted together. And whether any was left out since it needs too many.

    Keys arrive in rounds, in each round in the order of a queue: of several resources that bring
    one key, the one that is freed first decides its roots.
    """
    rank, roots = _ranked(graph, named)
    sets = _RootSets(graph, named, max_roots)
    offsets, rows = _inner_dependents(graph, rank)
    unmet, present = graph.needs.copy(), np.zeros(graph.key_count, bool)
    last = np.zeros(graph.resource_count, np.int64)
    ready = np.flatnonzero(unmet == 0)
    brought = graph.brings[ready[np.argsort(rank[ready])]]
    front = np.concatenate([brought[_firsts(brought)], roots])
    found = []
    while len(front):
        present[front] = True
        waiting = rows[ranges(offsets[front], offsets[front + 1])]
        last[waiting] = np.arange(len(waiting))
        touched, times = counted(waiting, graph.resource_count)
        unmet[touched] -= times
        freed = touched[unmet[touched] == 0]
        freed = freed[np.argsort(last[freed])]
        found.append(sets.united(freed))
        brought = graph.brings[freed]
        first = _firsts(brought)
        first = first[~present[brought[first]]]
        front = brought[first]
        sets.put(front, first, *found[-1])
    lost = np.bincount(graph.edge_resource[~present[graph.edge_key]], minlength=len(unmet)) > 0
    found.append(sets.united(np.flatnonzero(~graph.inner & ~lost & (graph.needs > 0))))
    lengths = np.concatenate([part[0] for part in found])
    members = np.concatenate([part[1] for part in found])
    kept = lengths[lengths >= 0]
    each = Signatures(offsets_of(kept), members, np.ones_like(kept))
    return Signatures.merged(each), len(kept) < len(lengths)


def _ranked(graph: PendingGraph, named: Ints) -> tuple[Ints, Ints]:
    """The place of each resource, and the roots in order, that do not depend on the order of rows:
    where alternatives are, it would decide between them."""
    if not (graph.producers[graph.brings[graph.inner]] > 1).any():
        return np.arange(graph.resource_count), named
    identity = graph.names.resources()[["tenant_id", "batch_id", "pending_id"]]
    table = identity.assign(ready=graph.needs == 0)
    order = table.sort_values(["ready", "tenant_id", "batch_id", "pending_id"]).index
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    first = np.full(graph.key_count, len(order))
    np.minimum.at(first, graph.edge_key, rank[graph.edge_resource])
    return rank, named[np.argsort(first[named], kind="stable")]


def _inner_dependents(graph: PendingGraph, rank: Ints) -> tuple[Ints, Ints]:
    """As ``PendingGraph.dependents``, only those that bring what others wait for, by rank."""
    edges = np.flatnonzero(graph.inner[graph.edge_resource])
    key, resource = graph.edge_key[edges], graph.edge_resource[edges]
    order = np.lexsort((rank[resource], key))
    return offsets_of(np.bincount(key, minlength=graph.key_count)), resource[order]


def _firsts(values: Ints) -> Ints:
    """Where each distinct value appears first, in order."""
    return np.sort(np.unique(values, return_index=True)[1])


class _RootSets:
    """Of the keys that have arrived, the roots that each takes: for key k the ``length[k]`` members
    from ``start[k]`` on, or -1 where these are more than ``most``."""

    def __init__(self, graph: PendingGraph, named: Ints, most: int) -> None:
        self.graph, self.most, self.width = graph, most, max(1, len(named))
        self.start = np.zeros(graph.key_count, np.int64)
        self.length = np.zeros(graph.key_count, np.int64)
        self.start[named], self.length[named] = np.arange(len(named)), 1
        self.members, self.used = np.arange(len(named)), len(named)
        self._edges = offsets_of(graph.needs)

    def united(self, resources: Ints) -> tuple[Ints, Ints]:
        """The roots of all keys that each resource misses: how many (-1 for too many), and which,
        one resource after the other."""
        starts, ends = self._edges[resources], self._edges[resources + 1]
        key = self.graph.edge_key[ranges(starts, ends)]
        bounds = offsets_of(ends - starts)
        cost = offsets_of(np.maximum(self.length[key], 0))[bounds]
        cuts = np.searchsorted(cost, np.arange(_PAIRS, cost[-1], _PAIRS))
        counts, members = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        for first, end in pairwise(distinct(np.array([0, *cuts, len(resources)])).tolist()):
            found = self._united(key[bounds[first] : bounds[end]], np.diff(bounds[first : end + 1]))
            counts.append(found[0])
            members.append(found[1])
        return np.concatenate(counts), np.concatenate(members)

    def _united(self, key: Ints, missed: Ints) -> tuple[Ints, Ints]:
        """The same for resources that miss so many keys each, these being the keys."""
        owner, length = np.repeat(np.arange(len(missed)), missed), self.length[key]
        too_many = np.bincount(owner[length < 0], minlength=len(missed)) > 0
        length = np.maximum(length, 0)
        root = self.members[ranges(self.start[key], self.start[key] + length)]
        pairs = distinct(np.repeat(owner, length) * self.width + root)
        owner = pairs // self.width
        counts = np.bincount(owner, minlength=len(missed))
        too_many |= counts > self.most
        return np.where(too_many, -1, counts), (pairs % self.width)[~too_many[owner]]

    def put(self, keys: Ints, rows: Ints, counts: Ints, members: Ints) -> None:
        """The keys arrive, with the roots of these rows of what `united` has found."""
        self.length[keys] = counts[rows]
        starts = offsets_of(np.maximum(counts, 0))
        added = members[ranges(starts[rows], starts[rows + 1])]
        self.start[keys] = self.used + offsets_of(np.maximum(counts[rows], 0))[:-1]
        if self.used + len(added) > len(self.members):
            self.members = np.resize(self.members, 2 * (self.used + len(added)))
        self.members[self.used : self.used + len(added)] = added
        self.used += len(added)


def _freed_one_by_one(graph: PendingGraph, order: list[int]) -> list[int]:
    """How many resources each delivery frees, after those before it; nothing expires."""
    never = len(order)
    when = np.full(graph.key_count, never)
    when[order] = np.arange(never)
    when[graph.brings[graph.needs == 0]] = -1
    offsets, rows = _inner_dependents(graph, np.arange(graph.resource_count))
    changed = np.flatnonzero(when < never)
    while len(changed):
        waiting = distinct(rows[ranges(offsets[changed], offsets[changed + 1])])
        moments = _moments(graph, when, waiting)
        brought = graph.brings[waiting[moments < never]]
        before = when[brought]
        np.minimum.at(when, brought, moments[moments < never])
        changed = distinct(brought[when[brought] < before])
    moments = _moments(graph, when, np.flatnonzero(graph.needs))
    in_time = moments[(moments >= 0) & (moments < never)]
    return [int(count) for count in np.bincount(in_time, minlength=never)]


def _moments(graph: PendingGraph, when: Ints, resources: Ints) -> Ints:
    """When the last key that each of these resources misses arrives."""
    if not len(resources):
        return np.zeros(0, np.int64)
    edges = offsets_of(graph.needs)
    starts, ends = edges[resources], edges[resources + 1]
    arrivals = when[graph.edge_key[ranges(starts, ends)]]
    return np.maximum.reduceat(arrivals, offsets_of(ends - starts)[:-1])


def _table(
    graph: PendingGraph,
    order: list[tuple[int, int]],
    frees: Ints,
    guarantee: str,
    moments: Ints | None = None,
    in_vain: Flags | None = None,
) -> pd.DataFrame:
    """The plan: ``order`` has a block and a root of each row."""
    rows = [root for _, root in order]
    keys = graph.names.keys(np.array(rows, np.int64)).reset_index(drop=True)
    block = pd.Series([number for number, _ in order], dtype="int64")
    freed = pd.Series(frees, dtype="int64")
    times = pd.Series(moments, index=keys.index, dtype="Int64")
    reason = pd.Series(None, index=keys.index, dtype="str")
    if in_vain is not None:
        reason = reason.mask(pd.Series(in_vain), "too late")
    reason = reason.mask(~_of_use(graph)[rows], "deadlock")
    return UPLOAD_PLAN.conform(
        keys.assign(
            position=np.arange(1, len(order) + 1),
            block=block,
            frees=freed,
            running_total=freed.cumsum(),
            block_frees=freed.groupby(block).transform("sum"),
            needed_by=needed_by(graph).iloc[rows].reset_index(drop=True),
            deliver_at=pd.to_datetime(times, unit="us", utc=True),
            guarantee=guarantee,
            reason=reason,
        )
    )


def _of_use(graph: PendingGraph) -> Flags:
    """For each key, whether anything that misses it can ever be freed."""
    edges = ~graph.tainted[graph.edge_resource]
    return np.bincount(graph.edge_key[edges], minlength=graph.key_count) > 0
