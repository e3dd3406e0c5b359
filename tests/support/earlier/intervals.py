"""The intervals as one query once gave them: a second opinion on those of `queries.numbered`."""

from __future__ import annotations

import ibis

from reach_analytics.queries.plausible import meant_time
from reach_analytics.tables import BATCH_KEY, DEPARTURES, MISSING_INTERVALS, WAIT_INTERVALS

__all__ = ["departures", "missing_intervals", "wait_intervals"]

_INTERVAL = [*BATCH_KEY, "interval"]
_RESOURCE = ["pending_id", "external_id", "schema_definition_id"]
_MISSING = ["schema_definition_id", "external_id", "schema_name"]
_SECONDS = 2**34  # more than the seconds in any plausible time, or the members of a list
_COUNTS = ["status", "total_records", "processed_records", "successful_records", "failed_records"]


def wait_intervals(stored: ibis.Table, snapshots: ibis.Table) -> ibis.Table:
    """One row per (batch, pending resource)."""
    observations = _numbered(stored, snapshots)
    seen = _resources(observations, snapshots)
    return (
        _dated(seen, observations)
        .left_join(_last_observations(stored), BATCH_KEY)
        .select(WAIT_INTERVALS.names)
    )


def departures(stored: ibis.Table, snapshots: ibis.Table) -> ibis.Table:
    """One row per observation without waits that earlier ones list, with what the batch counted.

    Waits of one departure may have been last seen by different observations, where these overlap.
    So that all of them left within what is counted, the counts run from the last clear observation
    before the first of them left.
    """
    observations = _numbered(stored, snapshots)
    dated = _dated(_resources(observations, snapshots), observations)
    gone = dated.filter(dated.departure.notnull())
    left = gone.group_by([*BATCH_KEY, "departure"]).aggregate(first=gone["last"].min())
    from_observation = observations.select(*BATCH_KEY, "base", first="number")
    to_observation = observations.select(
        *BATCH_KEY, "closed", state_1="state_hash", departure="number", gone_by="received_at"
    )
    spans = left.inner_join(from_observation, [*BATCH_KEY, "first"]).drop("first")
    spans = spans.inner_join(to_observation, [*BATCH_KEY, "departure"])
    spans = spans.select(*left.columns[:3], "base", *to_observation.columns[2:4], "gone_by")
    base = observations.select(*BATCH_KEY, base="number", state_0="state_hash")
    spans = spans.left_join(base, [*BATCH_KEY, "base"]).select(*spans.columns, "state_0")
    spans = spans.left_join(_overlapping(spans, dated), [*BATCH_KEY, "departure"]).select(
        *spans.columns, "overlapping"
    )
    return _counted(spans, snapshots).select(DEPARTURES.names)


def _overlapping(spans: ibis.Table, dated: ibis.Table) -> ibis.Table:
    """For each departure whose observation others overlap, the waits that were last seen by these:
    they may have left before or after the moment that its counts are of."""
    open_ends = spans.filter(~spans.closed).select(*BATCH_KEY, "departure", "gone_by")
    seen = dated.select(*BATCH_KEY, "last", "last_seen")
    pairs = open_ends.inner_join(
        seen,
        [
            *BATCH_KEY,
            seen["last"] > open_ends.departure,
            seen.last_seen < open_ends.gone_by,
        ],
    )
    return pairs.group_by([*BATCH_KEY, "departure"]).aggregate(overlapping=pairs.count())


def _dated(seen: ibis.Table, observations: ibis.Table) -> ibis.Table:
    """The waits with when they were seen and gone; last observation and departure by number."""
    # The last value shown; a list left out at the end does not repeat the one before.
    count = seen.missing.length().fill_null(-1)
    # A list that names a resource twice reads the same in any order.
    told = {name: _last_told(seen, name) for name in (*_RESOURCE, "schema_name")}
    told |= {name: _last_time(seen, name) for name in ("created_at", "expires_at")}
    interval = seen.group_by(_INTERVAL).aggregate(
        first=seen.first.min(),
        last=seen.last.max(),
        missing_count=count.argmax(seen["last"] * _SECONDS + count).cast("int64").nullif(-1),
        **told,
    )
    began = observations.select(*BATCH_KEY, first="number", first_seen="sent_at")
    left = observations.select(
        *BATCH_KEY, "departure", "gone_by", last="number", last_seen="sent_at"
    )
    dated = interval.inner_join(began, [*BATCH_KEY, "first"]).inner_join(left, [*BATCH_KEY, "last"])
    return dated.select(*interval.columns, "first_seen", "departure", "gone_by", "last_seen")


def _last_told(seen: ibis.Table, name: str) -> ibis.Value:
    """A column's value in the last state that has one; of two keys the greater."""
    value, order = seen[name], seen["last"]
    if name in _RESOURCE[1:]:
        order = ibis.struct({"last": order, "then": value})
    return value.argmax(order, where=value.notnull())


def _last_time(seen: ibis.Table, name: str) -> ibis.Value:
    """The time in the last state that has one; of several the earliest, to the second.

    There are several if a list names a resource twice: no wait then seems longer than it can be.
    """
    value = seen[name]
    order = seen["last"] * _SECONDS - value.epoch_seconds()
    return value.argmax(order, where=value.notnull())


def missing_intervals(stored: ibis.Table, snapshots: ibis.Table) -> ibis.Table:
    """One row per (batch, pending resource, dependency that it was ever seen to miss)."""
    observations = _numbered(stored, snapshots)
    seen = _resources(observations, snapshots)
    each = seen.mutate(one=seen.missing.unnest())
    each = each.mutate(**{f"missing_{name}": each.one[name] for name in _MISSING})
    key = [*_INTERVAL, "missing_schema_definition_id", "missing_external_id"]
    found = each.group_by(key).aggregate(
        first=each.first.min(),
        last=each.last.max(),
        missing_schema_name=each.missing_schema_name.max(),
    )
    own = _told(seen)
    joined = found.inner_join(own, _INTERVAL)
    # The next observation lists the resource, unless the resource was out of sight for a while.
    steady = joined.observations == joined.interval_last - joined.interval_first + 1
    freed = ibis.ifelse(steady, joined["last"] + 1, joined.interval_last)
    there = ibis.ifelse(joined["last"] < joined.interval_last, freed, ibis.null("int64"))
    rows = joined.mutate(there=there).select(*found.columns, *_RESOURCE, "there")
    for number, times in (
        ("first", {"first_missing": "sent_at"}),
        ("last", {"last_missing": "sent_at", "last_missing_by": "received_at"}),
        ("there", {"there_by": "received_at"}),
    ):
        own = observations.select(*BATCH_KEY, **{number: "number"}, **times)
        wide = rows.left_join(own, [*BATCH_KEY, number])
        rows = wide.select(*rows.columns, *times)
    return rows.select(MISSING_INTERVALS.names)


def _told(seen: ibis.Table) -> ibis.Table:
    """Per wait: its identity, and the first, last and number of the observations with its list.

    A list that was left out does not count, and one that names a resource twice counts once.
    """
    names = {name: _last_told(seen, name) for name in _RESOURCE}
    who = seen.group_by(_INTERVAL).aggregate(**names)
    told = seen.filter(seen.missing.notnull())
    states = told.select(*_INTERVAL, "state_hash", "first", "last", "observations").distinct()
    counted = states.group_by(_INTERVAL).aggregate(
        interval_first=states.first.min(),
        interval_last=states["last"].max(),
        observations=states.observations.sum(),
    )
    return who.inner_join(counted, _INTERVAL).select(
        *who.columns, "interval_first", "interval_last", "observations"
    )


def _numbered(stored: ibis.Table, snapshots: ibis.Table) -> ibis.Table:
    """The observations that list what waits, numbered within their batch, each with the next full
    list after it and the last full list up to it (``departure`` and ``base``, as numbers)."""
    own = snapshots.select(*BATCH_KEY, "state_hash", "has_pending_details")
    good = stored.filter(stored.ok & (stored.scope == "detail"))
    listed = good.inner_join(own, [*BATCH_KEY, "state_hash"])
    listed = listed.filter(listed.has_pending_details).select(
        *BATCH_KEY, "state_hash", "sent_at", "received_at", "complete", "run_id"
    )
    order = [listed.sent_at, listed.received_at, listed.state_hash, listed.run_id]
    ordered = ibis.window(group_by=BATCH_KEY, order_by=order)
    observations = listed.mutate(number=ibis.row_number().over(ordered).cast("int64"))
    before = ibis.window(group_by=BATCH_KEY, order_by=observations.number, preceding=(None, 1))
    after = ibis.window(group_by=BATCH_KEY, order_by=observations.number, following=(1, None))
    until = ibis.window(
        group_by=BATCH_KEY, order_by=observations.number, preceding=None, following=0
    )
    busy_until, next_sent = (
        observations.received_at.max().over(before),
        observations.sent_at.min().over(after),
    )
    # Only a full list that overlaps no earlier observation can end a wait; and only counts received
    # before the next observation was sent are from before it.
    ends = observations.complete & (busy_until.isnull() | (busy_until <= observations.sent_at))
    closed = next_sent.isnull() | (observations.received_at <= next_sent)
    begins = observations.complete & closed
    none, never = ibis.null("int64"), ibis.null(observations.received_at.type())
    full = observations.mutate(
        full=ibis.ifelse(ends, observations.number, none),
        full_at=ibis.ifelse(ends, observations.received_at, never),
        clear=ibis.ifelse(begins, observations.number, none),
        closed=closed,
    )
    return full.mutate(
        departure=full.full.min().over(after),
        gone_by=full.full_at.min().over(after),
        base=full.clear.max().over(until),
    ).drop("full", "full_at", "clear")


def _resources(observations: ibis.Table, snapshots: ibis.Table) -> ibis.Table:
    """The pending resources of every state, with the numbers of its first and last observation."""
    states = observations.group_by([*BATCH_KEY, "state_hash"]).aggregate(
        first=observations.number.min(),
        last=observations.number.max(),
        observations=observations.count(),
    )
    lists = snapshots.select(*BATCH_KEY, "state_hash", "pending_resources")
    joined = states.inner_join(lists, [*BATCH_KEY, "state_hash"])
    one = joined.select(
        *BATCH_KEY,
        "state_hash",
        "first",
        "last",
        "observations",
        resource=joined.pending_resources.unnest(),
    )
    names = ("schema_definition_id", "schema_name", "created_at", "expires_at")
    rows = one.mutate(
        pending_id=one.resource["id"],
        missing=one.resource["missing_dependencies"],
        external_id=one.resource["resource_external_id"],
        **{name: one.resource[name] for name in names},
    ).drop("resource")
    # One without an id is identified by its own key.
    parts = [rows[name].fill_null("") for name in _RESOURCE[1:]]
    named = ibis.literal("\n") + parts[0] + "\n" + parts[1]
    return rows.mutate(
        interval=rows.pending_id.fill_null(named),
        created_at=meant_time(rows.created_at),
        expires_at=meant_time(rows.expires_at),
    )


def _counted(spans: ibis.Table, snapshots: ibis.Table) -> ibis.Table:
    """The spans between two states with what the batch counted from one to the other."""
    # Where nothing has failed, there is nothing to sum up; else no summary means unknown.
    nothing = (snapshots.failed_records == 0) & snapshots.error_summary.isnull()
    errors = ibis.ifelse(nothing, "{}", snapshots.error_summary)
    counts = snapshots.select(*BATCH_KEY, "state_hash", *_COUNTS, errors=errors)
    for when in ("0", "1"):
        own = counts.rename({f"{name}_{when}": name for name in (*_COUNTS, "errors")})
        own = own.rename({f"state_{when}": "state_hash"})
        joined = spans.left_join(own, [*BATCH_KEY, f"state_{when}"])
        spans = joined.select(*spans.columns, *own.columns[3:])
    done = (spans.status_0 != "processing") & (spans.processed_records_0 == spans.total_records_0)
    return spans.mutate(
        settled_before=done,
        overlapping=spans.overlapping.fill_null(0),
        successes=spans.successful_records_1 - spans.successful_records_0,
        failures=spans.failed_records_1 - spans.failed_records_0,
        errors_before=spans.errors_0,
        errors_after=spans.errors_1,
    )


def _last_observations(observations: ibis.Table) -> ibis.Table:
    """When the last detail observation of each batch was sent, failed ones included."""
    own = observations.filter(observations.scope == "detail")
    return own.group_by(BATCH_KEY).aggregate(last_sent_at=own.sent_at.max())
