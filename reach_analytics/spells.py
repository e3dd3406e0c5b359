"""From looks to spells: when each pending resource was seen to wait, and when it was gone.

A spell is one wait of one pending resource. Only what a look at the batch itself lists can tell:
a listing and a failed look end no spell, nor does a look that was under way while an earlier one
was, since nobody knows which saw the later state. A resource that is gone from one list and back in
a later one never left. Everything is lazy, Ibis in and Ibis out, and a state that was seen a
thousand times is flattened once.
"""

from __future__ import annotations

import ibis

from reach_analytics.columns import SPELL_DEPENDENCIES, SPELLS

_BATCH = ["tenant_id", "batch_id"]
_SPELL = [*_BATCH, "spell"]
_RESOURCE = ["pending_id", "resource_external_id", "schema_definition_id"]
_MISSING = ["schema_definition_id", "external_id", "schema_name"]
_COUNTS = ["status", "total_records", "processed_records", "successful_records", "failed_records"]


def spells(observations: ibis.Table, snapshots: ibis.Table) -> ibis.Table:
    """One row per (batch, pending resource)."""
    looks = _numbered(observations, snapshots)
    seen = _resources(looks, snapshots)
    # The last value that was told; a list that was left out at last is not the one seen before.
    count = seen.missing.length().fill_null(-1)
    told = {
        name: seen[name].argmax(seen.last, where=seen[name].notnull())
        for name in (*_RESOURCE, "schema_name", "created_at", "expires_at")
    }
    spell = seen.group_by(_SPELL).aggregate(
        first=seen.first.min(),
        last=seen.last.max(),
        missing_count=count.argmax(seen.last).cast("int64").nullif(-1),
        **told,
    )
    began = looks.select(*_BATCH, first="number", first_seen="sent_at")
    left = looks.select(*_BATCH, "base", "departure", "gone_by", last="number", last_seen="sent_at")
    dated = spell.inner_join(began, [*_BATCH, "first"]).inner_join(left, [*_BATCH, "last"])
    dated = dated.select(*spell.columns, "first_seen", *left.columns[2:5], "last_seen")
    counted = _with_counts(dated, looks)
    return counted.left_join(_last_looks(observations), _BATCH).select(SPELLS.names)


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
    names = {name: seen[name].argmax(seen.last, where=seen[name].notnull()) for name in _RESOURCE}
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
    own = snapshots.select(*_BATCH, "state_hash", "has_pending_details", *_COUNTS)
    good = observations.filter(observations.ok & (observations.scope == "detail"))
    listed = good.inner_join(own, [*_BATCH, "state_hash"])
    listed = listed.filter(listed.has_pending_details).select(
        *_BATCH, "state_hash", "sent_at", "received_at", "complete", "run_id", *_COUNTS
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
    begins = looks.complete & (next_sent.isnull() | (looks.received_at <= next_sent))
    none, never = ibis.null("int64"), ibis.null(looks.received_at.type())
    full = looks.mutate(
        full=ibis.ifelse(ends, looks.number, none),
        full_at=ibis.ifelse(ends, looks.received_at, never),
        clear=ibis.ifelse(begins, looks.number, none),
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
    return rows.mutate(spell=rows.pending_id.fill_null(named))


def _with_counts(spells: ibis.Table, looks: ibis.Table) -> ibis.Table:
    """The spells with what the batch counted between the full lists around their end."""
    counts = {name: name for name in _COUNTS}
    before = looks.select(*_BATCH, base="number", **{f"{name}_0": name for name in counts})
    after = looks.select(*_BATCH, departure="number", **{f"{name}_1": name for name in counts})
    wide = spells.left_join(before, [*_BATCH, "base"])
    wide = wide.select(*spells.columns, *before.columns[3:])
    both = wide.left_join(after, [*_BATCH, "departure"])
    both = both.select(*wide.columns, *after.columns[3:])
    done = (both.status_0 != "processing") & (both.processed_records_0 == both.total_records_0)
    return both.mutate(
        settled_before=done,
        successes=both.successful_records_1 - both.successful_records_0,
        failures=both.failed_records_1 - both.failed_records_0,
    )


def _last_looks(observations: ibis.Table) -> ibis.Table:
    """When the last look at each batch itself was sent, failed ones too."""
    own = observations.filter(observations.scope == "detail")
    return own.group_by(_BATCH).aggregate(looked_at=own.sent_at.max())
