"""From looks to spells: when each pending resource was seen to wait, and when it was gone.

A spell is one wait of one pending resource. Only what a look at the batch itself lists can tell:
a listing and a failed look end no spell, nor does a look that was under way while an earlier one
was, since nobody knows which saw the later state. A resource that is gone from one list and back in
a later one never left. Everything is lazy, Ibis in and Ibis out, and a state that was seen a
thousand times is flattened once.
"""

from __future__ import annotations

import ibis

from reach_analytics._meant import meant_time
from reach_analytics.columns import DEPARTURES, SPELL_DEPENDENCIES, SPELLS

_BATCH = ["tenant_id", "batch_id"]
_SPELL = [*_BATCH, "spell"]
_RESOURCE = ["pending_id", "resource_external_id", "schema_definition_id"]
_MISSING = ["schema_definition_id", "external_id", "schema_name"]
_SECONDS = 2**34  # more than there are in the times that can be meant, or members in a list
_COUNTS = ["status", "total_records", "processed_records", "successful_records", "failed_records"]


def spells(observations: ibis.Table, snapshots: ibis.Table) -> ibis.Table:
    """One row per (batch, pending resource)."""
    looks = _numbered(observations, snapshots)
    seen = _resources(looks, snapshots)
    return _dated(seen, looks).left_join(_last_looks(observations), _BATCH).select(SPELLS.names)


def departures(observations: ibis.Table, snapshots: ibis.Table) -> ibis.Table:
    """One row per look without waits that earlier ones list, with what the batch counted.

    Waits of one departure may have been seen last by different looks, where looks overlap. So that
    all of them left within what is counted, the counts run from the last clear look before the
    first of them left.
    """
    looks = _numbered(observations, snapshots)
    dated = _dated(_resources(looks, snapshots), looks)
    gone = dated.filter(dated.departure.notnull())
    left = gone.group_by([*_BATCH, "departure"]).aggregate(first=gone["last"].min())
    from_look = looks.select(*_BATCH, "base", first="number")
    to_look = looks.select(
        *_BATCH, "closed", state_1="state_hash", departure="number", gone_by="received_at"
    )
    spans = left.inner_join(from_look, [*_BATCH, "first"]).drop("first")
    spans = spans.inner_join(to_look, [*_BATCH, "departure"])
    spans = spans.select(*left.columns[:3], "base", *to_look.columns[2:4], "gone_by")
    base = looks.select(*_BATCH, base="number", state_0="state_hash")
    spans = spans.left_join(base, [*_BATCH, "base"]).select(*spans.columns, "state_0")
    spans = spans.left_join(_overlapping(spans, dated), [*_BATCH, "departure"]).select(
        *spans.columns, "overlapping"
    )
    return _counted(spans, snapshots).select(DEPARTURES.names)


def _overlapping(spans: ibis.Table, dated: ibis.Table) -> ibis.Table:
    """For each departure whose look others overlap, the waits that were last seen by these: they
    may have left before or after the moment that its counts are of."""
    open_ends = spans.filter(~spans.closed).select(*_BATCH, "departure", "gone_by")
    seen = dated.select(*_BATCH, "last", "last_seen")
    pairs = open_ends.inner_join(
        seen,
        [
            *_BATCH,
            seen["last"] > open_ends.departure,
            seen.last_seen < open_ends.gone_by,
        ],
    )
    return pairs.group_by([*_BATCH, "departure"]).aggregate(overlapping=pairs.count())


def _dated(seen: ibis.Table, looks: ibis.Table) -> ibis.Table:
    """The spells with when they were seen and gone, and their last look and departure by number."""
    # The last value that was told; a list that was left out at last is not the one seen before.
    count = seen.missing.length().fill_null(-1)
    # A list that names a resource twice is read alike in any order.
    told = {name: _last_told(seen, name) for name in (*_RESOURCE, "schema_name")}
    told |= {name: _last_time(seen, name) for name in ("created_at", "expires_at")}
    spell = seen.group_by(_SPELL).aggregate(
        first=seen.first.min(),
        last=seen.last.max(),
        missing_count=count.argmax(seen["last"] * _SECONDS + count).cast("int64").nullif(-1),
        **told,
    )
    began = looks.select(*_BATCH, first="number", first_seen="sent_at")
    left = looks.select(*_BATCH, "departure", "gone_by", last="number", last_seen="sent_at")
    dated = spell.inner_join(began, [*_BATCH, "first"]).inner_join(left, [*_BATCH, "last"])
    return dated.select(*spell.columns, "first_seen", "departure", "gone_by", "last_seen")


def _last_told(seen: ibis.Table, name: str) -> ibis.Value:
    """What the last state that tells a column tells of it; of two keys the greater."""
    value, order = seen[name], seen["last"]
    if name in _RESOURCE[1:]:
        order = ibis.struct({"last": order, "then": value})
    return value.argmax(order, where=value.notnull())


def _last_time(seen: ibis.Table, name: str) -> ibis.Value:
    """The time that the last state tells which tells one; of several the earliest, to the second.

    Of a list that names a resource twice: so nothing is waited for longer than may be.
    """
    value = seen[name]
    order = seen["last"] * _SECONDS - value.epoch_seconds()
    return value.argmax(order, where=value.notnull())


def spell_dependencies(observations: ibis.Table, snapshots: ibis.Table) -> ibis.Table:
    """One row per (batch, pending resource, dependency that it was ever seen to miss)."""
    looks = _numbered(observations, snapshots)
    seen = _resources(looks, snapshots)
    each = seen.mutate(one=seen.missing.unnest())
    each = each.mutate(**{f"missing_{name}": each.one[name] for name in _MISSING})
    key = [*_SPELL, "missing_schema_definition_id", "missing_external_id"]
    found = each.group_by(key).aggregate(
        first=each.first.min(),
        last=each.last.max(),
        missing_schema_name=each.missing_schema_name.max(),
    )
    own = _told(seen)
    joined = found.inner_join(own, _SPELL)
    # The next look lists the resource, unless the resource was out of sight for a while.
    steady = joined.looks == joined.spell_last - joined.spell_first + 1
    freed = ibis.ifelse(steady, joined["last"] + 1, joined.spell_last)
    there = ibis.ifelse(joined["last"] < joined.spell_last, freed, ibis.null("int64"))
    rows = joined.mutate(there=there).select(*found.columns, *_RESOURCE, "there")
    for number, times in (
        ("first", {"first_missing": "sent_at"}),
        ("last", {"last_missing": "sent_at", "last_missing_by": "received_at"}),
        ("there", {"there_by": "received_at"}),
    ):
        own = looks.select(*_BATCH, **{number: "number"}, **times)
        wide = rows.left_join(own, [*_BATCH, number])
        rows = wide.select(*rows.columns, *times)
    return rows.select(SPELL_DEPENDENCIES.names)


def _told(seen: ibis.Table) -> ibis.Table:
    """Per spell, who it is, and the first, last and number of the looks that tell what it misses.

    A list that was left out tells nothing, and one that names a resource twice counts once.
    """
    names = {name: _last_told(seen, name) for name in _RESOURCE}
    who = seen.group_by(_SPELL).aggregate(**names)
    told = seen.filter(seen.missing.notnull())
    states = told.select(*_SPELL, "state_hash", "first", "last", "looks").distinct()
    counted = states.group_by(_SPELL).aggregate(
        spell_first=states.first.min(), spell_last=states["last"].max(), looks=states.looks.sum()
    )
    return who.inner_join(counted, _SPELL).select(
        *who.columns, "spell_first", "spell_last", "looks"
    )


def _numbered(observations: ibis.Table, snapshots: ibis.Table) -> ibis.Table:
    """The looks that list what waits, numbered within their batch, each with the next full list
    after it and the last full list up to it (``departure`` and ``base``, as numbers)."""
    own = snapshots.select(*_BATCH, "state_hash", "has_pending_details")
    good = observations.filter(observations.ok & (observations.scope == "detail"))
    listed = good.inner_join(own, [*_BATCH, "state_hash"])
    listed = listed.filter(listed.has_pending_details).select(
        *_BATCH, "state_hash", "sent_at", "received_at", "complete", "run_id"
    )
    order = [listed.sent_at, listed.received_at, listed.state_hash, listed.run_id]
    ordered = ibis.window(group_by=_BATCH, order_by=order)
    looks = listed.mutate(number=ibis.row_number().over(ordered).cast("int64"))
    before = ibis.window(group_by=_BATCH, order_by=looks.number, preceding=(None, 1))
    after = ibis.window(group_by=_BATCH, order_by=looks.number, following=(1, None))
    until = ibis.window(group_by=_BATCH, order_by=looks.number, preceding=None, following=0)
    busy_until, next_sent = looks.received_at.max().over(before), looks.sent_at.min().over(after)
    # Only a full list that no earlier look was under way with can end a wait; and only counts that
    # had come before the next look was sent are from before it.
    ends = looks.complete & (busy_until.isnull() | (busy_until <= looks.sent_at))
    closed = next_sent.isnull() | (looks.received_at <= next_sent)
    begins = looks.complete & closed
    none, never = ibis.null("int64"), ibis.null(looks.received_at.type())
    full = looks.mutate(
        full=ibis.ifelse(ends, looks.number, none),
        full_at=ibis.ifelse(ends, looks.received_at, never),
        clear=ibis.ifelse(begins, looks.number, none),
        closed=closed,
    )
    return full.mutate(
        departure=full.full.min().over(after),
        gone_by=full.full_at.min().over(after),
        base=full.clear.max().over(until),
    ).drop("full", "full_at", "clear")


def _resources(looks: ibis.Table, snapshots: ibis.Table) -> ibis.Table:
    """The pending resources of every state, with the numbers of its first and last look."""
    states = looks.group_by([*_BATCH, "state_hash"]).aggregate(
        first=looks.number.min(), last=looks.number.max(), looks=looks.count()
    )
    lists = snapshots.select(*_BATCH, "state_hash", "pending_resources")
    joined = states.inner_join(lists, [*_BATCH, "state_hash"])
    one = joined.select(
        *_BATCH, "state_hash", "first", "last", "looks", resource=joined.pending_resources.unnest()
    )
    names = (*_RESOURCE[1:], "schema_name", "created_at", "expires_at")
    rows = one.mutate(
        pending_id=one.resource["id"],
        missing=one.resource["missing_dependencies"],
        **{name: one.resource[name] for name in names},
    ).drop("resource")
    # One without an id is known by what it is.
    parts = [rows[name].fill_null("") for name in _RESOURCE[1:]]
    named = ibis.literal("\n") + parts[0] + "\n" + parts[1]
    return rows.mutate(
        spell=rows.pending_id.fill_null(named),
        created_at=meant_time(rows.created_at),
        expires_at=meant_time(rows.expires_at),
    )


def _counted(spans: ibis.Table, snapshots: ibis.Table) -> ibis.Table:
    """The spans between two states with what the batch counted from one to the other."""
    # Where nothing has failed, there is nothing to sum up; else a summary left out tells nothing.
    nothing = (snapshots.failed_records == 0) & snapshots.error_summary.isnull()
    errors = ibis.ifelse(nothing, "{}", snapshots.error_summary)
    counts = snapshots.select(*_BATCH, "state_hash", *_COUNTS, errors=errors)
    for when in ("0", "1"):
        own = counts.rename({f"{name}_{when}": name for name in (*_COUNTS, "errors")})
        own = own.rename({f"state_{when}": "state_hash"})
        joined = spans.left_join(own, [*_BATCH, f"state_{when}"])
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


def _last_looks(observations: ibis.Table) -> ibis.Table:
    """When the last look at each batch itself was sent, failed ones too."""
    own = observations.filter(observations.scope == "detail")
    return own.group_by(_BATCH).aggregate(looked_at=own.sent_at.max())
