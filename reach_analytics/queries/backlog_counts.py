"""How many waits began, lasted and ended when: the counts that `measures.backlog` rests on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import reduce

import ibis

from reach_analytics.queries.engine import Runner

__all__ = ["KINDS", "BacklogCounts"]

KINDS = ("began", "surely", "over", "released", "expired", "unknown")
"""What is counted: how many had begun, surely lasted, may have lasted, and ended in each way."""

_TICK = ibis.interval(microseconds=1)


class BacklogCounts:
    """The waits that had begun by ``now``, for counting.

    Parameters
    ----------
    waits : ibis.Table
        As `tables.WAIT_OUTCOMES`.
    names : sequence of str
        Columns to group by.
    now : datetime
        Reference time.
    fresh : timedelta
        What waited at the last observation surely waits for this long.
    """

    def __init__(
        self,
        waits: ibis.Table,
        names: Sequence[str],
        now: datetime,
        fresh: timedelta,
        run: Runner,
    ) -> None:
        self._names, self._now, self._run = list(names), now, run
        spans = _spans(waits, self._names, now, fresh)
        self._rows = run.keep(spans.filter(spans.began <= self._literal(now)))

    def first(self, reach: timedelta) -> datetime | None:
        """When the first wait began that did so no more than ``reach`` before any was seen."""
        rows = self._rows
        seen = self._one(rows.aggregate(seen=rows.first_seen.min()))
        if seen is None:
            return None
        seen = min(seen, self._now)
        shown = rows.began.min(where=rows.began >= self._literal(seen - reach))
        return self._one(rows.aggregate(first=shown)) or seen

    def _one(self, table: ibis.Table) -> datetime | None:
        found: datetime | None = self._run.read(table)[0][0].as_py()
        # Spark gives times without their zone, in UTC.
        return found if found is None or found.tzinfo else found.replace(tzinfo=UTC)

    def counts(self, start: datetime, width: timedelta) -> ibis.Table:
        """How many waits of a group had a time of some kind in each step: (names, kind, step, n).

        Step s runs from ``start`` + s ``width`` on, for one ``width``; -1 is all before. What
        counts up to a step's end lies in the step that ends then (all `KINDS` but ``surely``); what
        counts before a step's end, in the step that begins then. Nothing after ``now`` counts.
        """
        parts = [self._of_kind(kind, start, width) for kind in KINDS]
        return reduce(lambda one, other: one.union(other), parts)

    def _of_kind(self, kind: str, start: datetime, width: timedelta) -> ibis.Table:
        rows, begin, now = self._rows, self._literal(start), self._literal(self._now)
        if kind in ("began", "surely", "over"):
            at = rows[kind]
        else:
            ended = (rows.verdict == kind).fill_null(False)
            at = ibis.ifelse(ended, rows.ended_by, ibis.null(rows.ended_by.type()))
        known = at < now if kind == "surely" else at <= now
        within = at if kind == "surely" else ibis.greatest(at - _TICK, begin)
        passed = within.delta(begin, unit="microsecond")
        step = (passed // (width // timedelta(microseconds=1))).cast("int64")
        told = rows.filter(known).select(*self._names, step=ibis.ifelse(at < begin, -1, step))
        counted = told.group_by([*self._names, "step"]).aggregate(n=told.count())
        return counted.select(*self._names, "step", "n", kind=ibis.literal(kind))

    def _literal(self, moment: datetime) -> ibis.Value:
        return ibis.literal(moment, type=self._type)

    _type = "timestamp('UTC', 6)"


def _spans(waits: ibis.Table, names: Sequence[str], now: datetime, fresh: timedelta) -> ibis.Table:
    """When each wait began, until when it surely lasted, and when it is over at the latest."""
    after, expires = waits.ended_after, waits.expires_at
    moment = ibis.literal(now, type=after.type())
    until = ibis.least(
        after + ibis.interval(microseconds=fresh // timedelta(microseconds=1)), moment
    )
    until = ibis.ifelse((expires < until).fill_null(False), expires, until)
    lists = ibis.greatest(after, until)  # the last observation lists it
    surely = ibis.ifelse((waits.verdict == "pending").fill_null(False), lists, after)
    over = ibis.coalesce(waits.ended_by, expires)
    overdue = waits.verdict.isin(["pending", "censored"]) & (expires <= after)
    # Listed after its expiry, for an unknown time.
    over = ibis.ifelse(overdue.fill_null(False), ibis.null(over.type()), over)
    # At its very end nothing waits any more.
    surely = ibis.ifelse((over <= surely).fill_null(False), over - _TICK, surely)
    began = ibis.coalesce(waits.created_at, waits.first_seen)
    began = ibis.ifelse((began <= surely).fill_null(False), began, surely)
    own = [name for name in ("first_seen", "verdict", "ended_by") if name not in names]
    return waits.select(*names, *own, began=began, surely=surely, over=over)
