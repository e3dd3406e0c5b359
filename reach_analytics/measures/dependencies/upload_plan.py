"""What to upload next, in which order, and what each upload frees."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pandas as pd

from reach_analytics._time import parse_timestamp
from reach_analytics.measures._graph.model import PendingGraph, read_pending_graph
from reach_analytics.measures._planning.bound import max_running_totals
from reach_analytics.measures._planning.deliveries import freed_one_by_one
from reach_analytics.measures._planning.exchange import improved
from reach_analytics.measures._planning.pace import paced
from reach_analytics.measures._planning.root_sets import root_signatures
from reach_analytics.measures._planning.sidney import Block, Signatures, blocks
from reach_analytics.measures._shared.arrays import Flags, Ints, offsets_of
from reach_analytics.measures.dependencies.bottlenecks import needed_by
from reach_analytics.tables import RESOURCE_KEY, UPLOAD_PLAN, Frame

__all__ = ["HEURISTIC", "OPTIMAL", "WITHIN_TWICE", "upload_plan"]

OPTIMAL, WITHIN_TWICE, HEURISTIC = "optimal", "within twice the optimum", "heuristic"
_HOUR = 3_600_000_000
_LAST = 253_402_214_400_000_000  # 9999-12-31, in microseconds since 1970


def upload_plan(
    dependencies: Frame | PendingGraph,
    pending: Frame | None = None,
    *,
    top: int | None = 100,
    uploads_per_hour: float | None = None,
    as_of: datetime | None = None,
    max_roots: int = 64,
    effort: int = 100,
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
    effort : int
        How hard to try for better orders inside blocks where ``running_total`` is more than 5 %
        below ``max_running_total``: in how many places, in all and the first blocks first, ten
        neighbours are put in the best of all their orders. Not with 0, nor at a pace.

    Returns
    -------
    pandas.DataFrame
        One row per dependency, in order: position (from 1), block (from 1), tenant_id,
        schema_definition_id, external_id, schema_name, frees (pending resources freed when it has
        arrived after those before it; at a pace, in time), running_total, max_running_total (what
        no plan of as many uploads exceeds; null at a pace), block_frees, needed_by (UTC, earliest
        expiry among those that name it), deliver_at (UTC, at a pace), guarantee and reason: null,
        or why it frees nothing, not even together with others: ``deadlock`` (all that waits for it
        waits for itself too; see `deadlocks`) or ``too late`` (at this pace). These come last. No
        rows if nothing is missing.

    Raises
    ------
    FrameError
        If a frame lacks a documented column.
    ValueError
        If ``top`` or ``max_roots`` is below 1, ``effort`` below 0, ``uploads_per_hour`` not above
        0 or without ``as_of``.

    Notes
    -----
    ``max_running_total`` holds for uploads of any roots, also of those that ``top`` leaves out. It
    is the straight line between the ends of the blocks, rounded down: at the end of a block no
    plan frees more than this one, and no plan ever rises above the line. (What is different with
    alternatives and too many roots is said below.)

    *Proof.* Let f(S) be how many resources the roots S free, B1, B2, ... the blocks, P(j) the
    first j of them together, and r(j) what block j frees per root. Of a set S, let S(j) be the
    part in P(j), and T(j) the part in block j. The more roots are there, the more another one
    adds; so T(j) adds no more to S(j-1) than to all of P(j-1), which is at most r(j) for each of
    its roots, since after P(j-1) no set frees more per root than block j. Added up over the
    blocks, f(S) is at most the sum of r(j) times the size of T(j). As the r(j) fall, that is the
    largest where S takes whole blocks in their order, and then it is the line. At the end of a
    block, f(P(j)) is the sum of what the first j blocks free, which is on the line.

    Resources with more than ``max_roots`` roots are in no block. So many uploads free none of
    them; beyond, the bound grants them all. Where alternatives miss different things, more roots
    need not add more. The bound then grants, from the start, each key that comes in several ways:
    it holds, but the plan may not reach it at the end of a block. At a pace there is none: it would
    have to allow for the expiries.

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
    >>> print(upload_plan(waits)[["block", "external_id", "running_total", "max_running_total"]]
    ...       .to_string(index=False))
     block external_id  running_total  max_running_total
         1           Z              2                  2
         2           X              2                  3
         2           Y              5                  5
    """
    _check(top, max_roots, effort)
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
    signatures, left_out = root_signatures(graph, roots, max_roots)
    found = list(blocks(signatures, top if uploads_per_hour is None else None))
    if uploads_per_hour is None:
        found = _improved(graph, roots, found, improved(found, signatures, effort))
    useful = _of_use(graph)
    order = [(n, int(roots[r])) for n, block in enumerate(found, 1) for r in block.roots]
    if uploads_per_hour is not None or top is None or len(order) < top:
        # What the blocks do not hold frees nothing, or only with more roots than were considered.
        held, after = {root for _, root in order}, order[-1][0] + 1 if order else 1
        rest = [root for root in roots.tolist() if root not in held]
        order += [(after, root) for root in sorted(rest, key=lambda root: not useful[root])]
    if uploads_per_hour is None:
        frees = np.array(freed_one_by_one(graph, [root for _, root in order]), np.int64)
        guarantee = _guarantee(graph, signatures, left_out > 0)
        bound = max_running_totals(graph, roots, len(order), max_roots, (found, left_out))
        return _table(graph, order, frees, guarantee, bound=bound)[:top]
    moments = _moments_at_pace(as_of, uploads_per_hour, len(order))
    best = paced(graph, [root for _, root in order], moments, max_roots)
    block = {root: number for number, root in order}
    runs = _numbered_runs([block[root] for root in best.order])
    order = list(zip(runs, best.order, strict=True))
    return _table(graph, order, best.frees, HEURISTIC, moments, best.in_vain)[:top]


def _check(top: int | None, max_roots: int, effort: int) -> None:
    if (top is not None and top < 1) or max_roots < 1:
        raise ValueError(f"top and max_roots must be at least 1, found {top} and {max_roots}")
    if effort < 0:
        raise ValueError(f"effort must be at least 0, found {effort}")


def _improved(
    graph: PendingGraph, roots: Ints, found: list[Block], tried: list[Block]
) -> list[Block]:
    """The blocks as tried, but for those in which what they free comes later.

    The blocks know neither alternatives nor what needs too many roots, which are free once their
    roots are there all the same.
    """
    if tried == found:
        return found
    starts = offsets_of(np.array([len(block.roots) for block in found], np.int64))
    waiting = []
    for plan in (found, tried):
        order = [int(roots[root]) for block in plan for root in block.roots]
        frees = np.array(freed_one_by_one(graph, order), np.int64)
        waiting.append(np.add.reduceat(frees * np.arange(len(order)), starts[:-1]))
    no_later = (waiting[1] <= waiting[0]).tolist()
    return [new if kept else old for old, new, kept in zip(found, tried, no_later, strict=True)]


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


def _table(
    graph: PendingGraph,
    order: list[tuple[int, int]],
    frees: Ints,
    guarantee: str,
    moments: Ints | None = None,
    in_vain: Flags | None = None,
    bound: Ints | None = None,
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
            max_running_total=pd.Series(bound, index=keys.index, dtype="Int64"),
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
