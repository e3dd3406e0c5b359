"""The state of each batch by its observations, one row per batch: where a collector resumes."""

from __future__ import annotations

from datetime import datetime, timedelta

import ibis

from reach_analytics.queries.observation_log import unfolded
from reach_analytics.queries.tables import Tables
from reach_analytics.tables import BATCH_KEY, DETAIL, ENDED, LIST

__all__ = ["STATE_COLUMNS", "batch_states", "requests_since"]

_COUNTS = ("total", "processed", "successful", "pending", "failed")
STATE_COLUMNS = ("status", *(f"{name}_records" for name in _COUNTS))
"""What every kind of observation shows of a batch's state."""


def batch_states(tables: Tables, *, near: timedelta, most_expiries: int) -> ibis.Table:
    """One row per batch: when it was asked for and seen, what it showed, and what is ahead.

    Parameters
    ----------
    tables : Tables
        The frames of a store.
    near : timedelta
        Times of the API farther than this from the observation that saw them do not count.
    most_expiries : int
        How many of each batch's coming expiries to keep, the earliest first.
    """
    observations = _marked(_judged(tables.observations))
    states = {
        f"{scope}_state": observations.state_hash.argmax(
            observations.sent_at, where=observations.ok & (observations.scope == scope)
        )
        for scope in (DETAIL, LIST)
    }
    facts = observations.group_by(BATCH_KEY).aggregate(
        last_sent_at=observations.sent_at.max(),
        asked_at=observations.asked_at.max(),
        seen_at=observations.good_at.max(),
        changed_at=observations.sent_at.max(where=observations._changed),
        created_at=observations.created_at.max(
            where=_is_near(observations, observations.created_at, near)
        ),
        # The last that shows it counts. (Engines differ in what argmax does with nulls.)
        ended_at=observations.completed_at.argmax(
            observations.sent_at, where=_is_near(observations, observations.completed_at, near)
        ),
        ended=observations._ended.argmax(observations.sent_at, where=observations.ok),
        core=observations._core.argmax(observations.sent_at, where=observations.ok),
        waits=observations.claims.any(),
        changed_since=observations.news.any(),
        uncounted=(observations.news & observations.pending_records.isnull()).any(),
        refused=observations.refused.sum().cast("int64"),
        unread=observations.unread.sum().cast("int64"),
        **states,
    )
    told = facts.uncounted | (facts.changed_since & facts.waits)
    facts = facts.mutate(told=told.fill_null(False)).drop("changed_since", "uncounted")
    coming = _coming(tables, ibis.interval(near), most_expiries)
    return facts.left_join(coming, BATCH_KEY).select(*facts.columns, "expiries")


def _marked(observations: ibis.Table) -> ibis.Table:
    """The observations with what each means beside the others of its batch."""
    own = ibis.window(group_by=BATCH_KEY)
    detail = observations.scope == DETAIL
    observations = observations.mutate(
        good_at=observations._good_at.max().over(own),
        good_detail_at=observations._good_detail_at.max().over(own),
        told_at=observations._told_at.max().over(own),
        asked_at=observations.sent_at.max(where=detail).over(own),
    )
    detail = observations.scope == DETAIL
    last = (observations.sent_at == observations.told_at) & observations._told_at.notnull()
    later = (
        _after(observations.sent_at, observations.told_at)
        & observations.ok
        & (detail | observations.changed)
    )
    return observations.mutate(
        # The last list holds something, or a count has risen since.
        claims=(
            (last & observations._lists) | (later & (observations.pending_records > 0))
        ).fill_null(False),
        news=~detail & _after(observations.sent_at, observations.asked_at) & observations._changed,
        refused=~observations.ok
        & detail
        & _after(observations.sent_at, observations.good_detail_at),
        unread=~observations.ok & ~detail & _after(observations.sent_at, observations.good_at),
    )


def _is_near(observations: ibis.Table, moment: ibis.Value, near: timedelta) -> ibis.Value:
    """Whether it is a successful observation that shows a time close to its own."""
    span = ibis.interval(near)
    is_near = moment.between(observations.sent_at - span, observations.sent_at + span)
    return (observations.ok & is_near).fill_null(False)


def _judged(observations: ibis.Table) -> ibis.Table:
    """The observations with what each shows."""
    never = ibis.null(observations.sent_at.type())
    tells = (
        observations.ok
        & (observations.scope == DETAIL)
        & observations.pending_resources_count.notnull()
    )
    told = [observations[name].cast("string").fill_null("") for name in STATE_COLUMNS]
    told.append(ibis.ifelse(observations.completed_at.isnull(), "", "ended"))
    observations = observations.mutate(
        _core=ibis.literal("|").join(told),
        _ended=observations.status.isin(ENDED) | observations.completed_at.notnull(),
        _good_at=ibis.ifelse(observations.ok, observations.sent_at, never),
        _good_detail_at=ibis.ifelse(
            observations.ok & (observations.scope == DETAIL), observations.sent_at, never
        ),
        _told_at=ibis.ifelse(tells, observations.sent_at, never),
        _lists=(observations.pending_resources_count > 0).fill_null(False),
    )
    before = ibis.window(
        group_by=[*BATCH_KEY, "ok"], order_by=[observations.sent_at, observations.received_at]
    )
    last = observations._core.lag().over(before)
    other = last.isnull() | (last != observations._core) | (observations.scope == DETAIL)
    return observations.mutate(
        _changed=(observations.ok & observations.changed & other).fill_null(False)
    )


def _after(moment: ibis.Value, other: ibis.Value) -> ibis.Value:
    return other.isnull() | (moment > other)


def _coming(tables: Tables, near: ibis.Value, most: int) -> ibis.Table:
    """(tenant_id, batch_id, expiries): the first ones still ahead when the last list was seen."""
    times = tables.coming_expiries(near)
    ranked = times.mutate(
        _rank=ibis.row_number().over(ibis.window(group_by=BATCH_KEY, order_by=times.expires_at))
    )
    first = ranked.filter(ranked._rank < most)
    return first.group_by(BATCH_KEY).aggregate(expiries=first.expires_at.collect())


def requests_since(tables: Tables, moment: datetime) -> int:
    """Requests sent after ``moment`` that left a trace: detail observations, and pages of listings.

    Observations that the store has folded into others count too.
    """
    observations = unfolded(tables.stored_observations)
    lately = observations.filter(
        observations.sent_at > ibis.literal(moment, type=observations.sent_at.type())
    )
    single = lately.filter(lately.scope == DETAIL).count().as_table()
    pages = lately.filter(lately.scope == LIST).select("tenant_id", "sent_at").distinct()
    counts = (tables.read(one)[0][0].as_py() for one in (single, pages.count().as_table()))
    return int(sum(counts))
