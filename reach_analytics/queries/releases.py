"""How many waits ended how: the counts that `measures.release_rates` rests on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import ibis

from reach_analytics._plausible import LONGEST
from reach_analytics.queries.engine import Runner

__all__ = ["COUNTS", "release_counts"]

COUNTS = (
    *("waits", "mature", "released", "expired", "unknown", "few", "many"),
    *("expired_all", "lost_least", "lost_most"),
)


def release_counts(
    waits: ibis.Table, names: Sequence[str], now: datetime, run: Runner
) -> ibis.Table:
    """The counts of each group and cluster: ``names``, cluster, and `COUNTS`; in parts to be added.

    Of mature waits: released, expired, unknown (1 or 0 each), and of the unknown the part that was
    released at least and at most (few, many). Of all: expired_all, and the part lost at least and
    at most.

    Parameters
    ----------
    waits : ibis.Table
        As `tables.WAIT_OUTCOMES`, with ``names``, a number of its batch and of the cluster that it
        ends with.
    """
    rows = run.keep(_with_times(waits, names, now))
    rows = _with_maturity(rows, names, run)
    left = (rows.verdict == "unknown").fill_null(False)
    seen = _counted(_plain(rows.filter(~left)), names)
    return seen.union(_counted(_bounded(rows.filter(left), names, run), names))


def _with_times(waits: ibis.Table, names: Sequence[str], now: datetime) -> ibis.Table:
    """What counts of each wait, with its age and what it was given, in microseconds, and whether it
    is over by now whatever became of it."""
    moment = ibis.literal(now, type=waits.first_seen.type())
    began = ibis.coalesce(waits.created_at, waits.first_seen)
    own = ["batch", "cluster", "departure", "verdict", "unknown_together"]
    own += ["released_at_least", "released_at_most"]
    return waits.select(
        *dict.fromkeys([*names, *own]),
        age=moment.delta(began, unit="microsecond"),
        given=waits.expires_at.delta(began, unit="microsecond"),
        over=(waits.expires_at <= moment).fill_null(False),
    )


def _with_maturity(rows: ibis.Table, names: Sequence[str], run: Runner) -> ibis.Table:
    """With whether even the longest wait of a group would be over; never where nothing can be."""
    most = LONGEST // timedelta(microseconds=1)
    longest = rows.given.max(where=rows.given <= most)
    if names:
        of_group = run.keep(rows.group_by(names).aggregate(longest=longest))
        own = of_group.rename({f"own_{name}": name for name in names})
        same = [rows[name].identical_to(own[f"own_{name}"]) for name in names]
        rows = rows.inner_join(own, same).select(*rows.columns, "longest")
    else:
        [found] = run.read(rows.aggregate(longest=longest))["longest"].to_pylist()
        rows = rows.mutate(longest=ibis.literal(found, type="int64"))
    endless = (rows.given > most).fill_null(False) & ~rows.over
    return rows.mutate(mature=(rows.age >= rows.longest).fill_null(False) & ~endless)


def _plain(rows: ibis.Table) -> ibis.Table:
    """Of waits with an end that is known, or that were out of sight: what they may count for."""
    told = rows.verdict.isin(["released", "expired"]).fill_null(False)
    lost = ibis.ifelse(~told & rows.over, 1.0, 0.0)
    many = ibis.ifelse(told, 0.0, 1.0)
    return rows.mutate(
        few=ibis.literal(0.0), many=many, lost_least=ibis.literal(0.0), lost_most=lost
    )


def _bounded(rows: ibis.Table, names: Sequence[str], run: Runner) -> ibis.Table:
    """Of waits that left with others, with bounds on how many of these were released: each wait's
    part of it. Those of them in other groups may all be the released ones, or none of them."""
    together = [*dict.fromkeys([*names, "batch", "departure"])]
    rows = run.keep(rows)
    counted = run.keep(rows.group_by(together).aggregate(own=rows.count()))
    others = counted.rename({f"own_{name}": name for name in together})
    same = [rows[name].identical_to(others[f"own_{name}"]) for name in together]
    wide = rows.inner_join(others, same).select(*rows.columns, "own")
    own = ibis.least(wide.own, wide.unknown_together).cast("float64")
    own = ibis.ifelse(wide.unknown_together.isnull(), ibis.null("float64"), own).nullif(0.0)
    least, most = wide.released_at_least, wide.released_at_most
    few = ibis.greatest(least - (wide.unknown_together - own), 0.0) / own
    many = ibis.ifelse(most < own, most.cast("float64"), own) / own
    lost = (1 - many).fill_null(0.0), (1 - few).fill_null(1.0)
    return wide.mutate(
        few=few.fill_null(0.0), many=many.fill_null(1.0), lost_least=lost[0], lost_most=lost[1]
    )


def _counted(rows: ibis.Table, names: Sequence[str]) -> ibis.Table:
    released, expired = (
        (rows.verdict == name).fill_null(False) for name in ("released", "expired")
    )
    mature = rows.mature
    return rows.group_by([*dict.fromkeys([*names, "cluster"])]).aggregate(
        waits=rows.count(),
        mature=mature.sum().cast("int64"),
        released=(mature & released).sum(),
        expired=(mature & expired).sum(),
        unknown=(mature & ~released & ~expired).sum(),
        few=rows.few.sum(where=mature).fill_null(0.0),
        many=rows.many.sum(where=mature).fill_null(0.0),
        expired_all=expired.sum(),
        lost_least=rows.lost_least.sum(),
        lost_most=rows.lost_most.sum(),
    )
