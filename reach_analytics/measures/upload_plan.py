"""What to upload next, in which order, and what each upload frees."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from reach_analytics.columns import UPLOAD_PLAN, as_utc
from reach_analytics.measures.clauses import Clauses, read_clauses
from reach_analytics.measures.dependencies import needed_by
from reach_analytics.measures.plan import played
from reach_analytics.measures.sidney import Block, Roots, blocks

OPTIMAL, WITHIN_TWICE, HEURISTIC = "optimal", "within twice the optimum", "heuristic"
_HOUR = 3_600_000_000


def upload_plan(
    dependencies: pd.DataFrame,
    pending: pd.DataFrame | None = None,
    *,
    top: int | None = 100,
    uploads_per_hour: float | None = None,
    as_of: datetime | None = None,
    max_roots: int = 64,
) -> pd.DataFrame:
    """The missing dependencies to deliver, in the order in which they free the most the soonest.

    Only roots are listed: what nothing pending would bring. Each pending resource that is in no
    deadlock is free once a certain set of roots is there; resources of one set count together.
    The plan keeps the sum over resources of the place at which each is freed small, by a Sidney
    decomposition: block after block, the set of roots that frees the most per root, found by a
    minimum cut. So two dependencies that free a thousand resources together come before one that
    frees ten alone, which an order by ``unlock`` would not see.

    ``guarantee`` says how good the order is: ``optimal`` where every resource waits for one root
    only, ``within twice the optimum`` (Chekuri and Motwani 1999), or ``heuristic``: where
    alternatives (two pending resources with one key) or more than ``max_roots`` roots are
    involved, or a pace is given.

    With ``uploads_per_hour`` the deliveries are played at that pace from ``as_of`` on, against the
    expiries; of the plan's order and the order of the earliest need, the one that frees more in
    time is returned.

    Parameters
    ----------
    dependencies, pending
        As for `bottlenecks`.
    top : int, optional
        About how many dependencies to list: blocks are added until there are so many, and then
        cut. All with None.
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
        (UTC, earliest expiry among those that name it), deliver_at (UTC, at a pace) and guarantee.
        No rows if nothing is missing.

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
    >>> from reach_analytics import columns
    >>> from reach_analytics.measures import upload_plan
    >>> needs = [("1", "X"), ("1", "Y"), ("2", "X"), ("2", "Y"), ("3", "X"), ("3", "Y")]
    >>> waits = columns.DEPENDENCIES.conform(pd.DataFrame([
    ...     {"tenant_id": "t", "batch_id": "b", "pending_id": sale, "resource_external_id": sale,
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
    if uploads_per_hour is not None and not (0 < uploads_per_hour < np.inf):
        raise ValueError(f"uploads_per_hour must be above 0, found {uploads_per_hour}")
    if uploads_per_hour is not None and as_of is None:
        raise ValueError("uploads_per_hour needs as_of: the moment at which the uploads begin")
    clauses = _in_order(dependencies, pending)
    signatures = _Signatures(clauses, max_roots)
    found = list(_first(blocks(signatures.weights), top))
    keys = clauses.by_name.tolist()
    order = [(number, keys[r]) for number, block in enumerate(found, 1) for r in block.roots]
    guarantee = signatures.guarantee
    if uploads_per_hour is None:
        frees = _freed_one_by_one(clauses, [root for _, root in order])
        return _table(clauses, order, frees, None, guarantee).head(top or len(order))
    begin = int(as_utc(pd.Series([as_of])).astype("int64").iloc[0])
    gap = _HOUR / uploads_per_hour
    return _at_pace(clauses, order[:top], begin, gap)


def _in_order(dependencies: pd.DataFrame, pending: pd.DataFrame | None) -> Clauses:
    """The graph; where alternatives are in it the order of rows would decide between them, so
    they are put in an order of their own."""
    clauses = read_clauses(dependencies, pending, "upload_plan")
    if not (clauses.producers > 1).any():
        return clauses
    resource = ["tenant_id", "batch_id", "pending_id"]
    missing = ["missing_schema_definition_id", "missing_external_id"]
    return read_clauses(
        dependencies.sort_values([*resource, *missing]),
        None if pending is None else pending.sort_values(resource),
        "upload_plan",
    )


def _first(found: Iterator[Block], count: int | None) -> Iterator[Block]:
    """Blocks until they hold so many roots."""
    held = 0
    for block in found:
        yield block
        held += len(block.roots)
        if count is not None and held >= count:
            return


class _Signatures:
    """For each pending resource, roots whose arrival frees it; alike ones counted together.

    A root is written as the place of its key among all keys by name.
    """

    def __init__(self, clauses: Clauses, max_roots: int) -> None:
        self.has_alternatives = bool((clauses.producers > 1).any())
        self.overflow = 0
        self.weights: dict[Roots, int] = defaultdict(int)
        for roots in self._of_resources(clauses, max_roots):
            if roots is None:
                self.overflow += 1
            elif roots:
                self.weights[roots] += 1

    @property
    def guarantee(self) -> str:
        """How good an order by these signatures is."""
        if self.has_alternatives or self.overflow:
            return HEURISTIC
        return OPTIMAL if all(len(roots) == 1 for roots in self.weights) else WITHIN_TWICE

    def _of_resources(self, clauses: Clauses, max_roots: int) -> Iterator[Roots | None]:
        """In the order in which they are freed once all roots arrive: their roots, or None where
        these are too many. Of several resources that bring one key, the first decides its roots."""
        offsets, rows = (part.tolist() for part in clauses.dependents)
        unmet, brings = clauses.needs.tolist(), clauses.brings.tolist()
        none: Roots | None = frozenset()
        of_key: dict[int, Roots | None] = {}
        of_resource: dict[int, Roots | None] = {}
        arrived: deque[int] = deque()

        def arrive(key: int, roots: Roots | None) -> None:
            if key not in of_key:
                of_key[key] = roots
                arrived.append(key)

        for resource in np.flatnonzero(clauses.needs == 0).tolist():
            yield none
            arrive(brings[resource], none)
        for key in np.flatnonzero(clauses.is_root).tolist():
            arrive(key, frozenset([int(clauses.place[key])]))
        while arrived:
            key = arrived.popleft()
            own = of_key[key]
            for resource in rows[offsets[key] : offsets[key + 1]]:
                before = of_resource.get(resource, none)
                of_resource[resource] = roots = _union(before, own, max_roots)
                unmet[resource] -= 1
                if unmet[resource] == 0:
                    yield roots
                    arrive(brings[resource], roots)


def _union(one: Roots | None, other: Roots | None, most: int) -> Roots | None:
    if one is None or other is None:
        return None
    if not one or one is other:
        return other
    both = one | other
    return both if len(both) <= most else None


def _freed_one_by_one(clauses: Clauses, order: list[int]) -> list[int]:
    """How many resources each delivery frees, after those before it; nothing expires."""
    at = {key: place for place, key in enumerate(order)}
    outcome, moments = played(clauses.without_expiries(), [(at[key], key) for key in order], [])
    frees = [0] * len(order)
    for what, place in zip(outcome, moments, strict=True):
        if what == "released" and place is not None and place >= 0:
            frees[place] += 1
    return frees


def _at_pace(
    clauses: Clauses, order: list[tuple[int, int]], begin: int, gap: float
) -> pd.DataFrame:
    """The better of two orders when the deliveries come at a pace, and waits run out."""
    needed = needed_by(clauses)
    latest = needed.max() if needed.notna().any() else pd.Timestamp(0, tz="UTC")
    due = needed.fillna(latest + pd.Timedelta(days=1))
    urgent = sorted(order, key=lambda entry: (due[entry[1]], clauses.place[entry[1]]))
    tables = []
    for tried in (order, [(1, root) for _, root in urgent]):
        moments = [begin + round(gap * place) for place in range(1, len(tried) + 1)]
        arrivals = [(m, root) for m, (_, root) in zip(moments, tried, strict=True)]
        outcome, when = played(clauses, arrivals, [])
        counted: dict[Any, int] = defaultdict(int)
        for what, moment in zip(outcome, when, strict=True):
            if what == "released":
                counted[moment] += 1
        frees = [counted[moment] for moment in moments]
        tables.append((sum(frees), frees, tried, moments))
    _, frees, tried, moments = max(tables, key=lambda table: table[0])
    return _table(clauses, tried, frees, moments, HEURISTIC)


def _table(
    clauses: Clauses,
    order: list[tuple[int, int]],
    frees: list[int],
    moments: list[int] | None,
    guarantee: str,
) -> pd.DataFrame:
    keys = clauses.keys.iloc[[root for _, root in order]].reset_index(drop=True)
    block = pd.Series([number for number, _ in order], dtype="int64")
    freed = pd.Series(frees, dtype="int64")
    needed = needed_by(clauses).reindex([root for _, root in order]).reset_index(drop=True)
    times = pd.Series(moments, index=keys.index, dtype="Int64")
    return UPLOAD_PLAN.conform(
        keys.assign(
            position=np.arange(1, len(order) + 1),
            block=block,
            frees=freed,
            running_total=freed.cumsum(),
            block_frees=freed.groupby(block).transform("sum"),
            needed_by=needed,
            deliver_at=pd.to_datetime(times, unit="us", utc=True),
            guarantee=guarantee,
        )
    )
