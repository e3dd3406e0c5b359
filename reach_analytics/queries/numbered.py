"""What was seen to wait, by number: batches, observations, waits and what they missed.

A number stands for each batch, state, wait and key, so that everything after the first step is
grouped and joined by integers, and texts are read again only where they are asked for. Each step is
computed once and kept by the engine.

Only the list of a detail observation counts: a listing or a failed observation ends no wait, nor
does one that was under way while an earlier one was, since it is unknown which saw the later state.
A resource that is gone from one list and back in a later one never left. A state that was seen a
thousand times is flattened once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import ibis

from reach_analytics.queries.engine import Runner, numbered
from reach_analytics.queries.plausible import meant_time
from reach_analytics.tables import BATCH_KEY

__all__ = ["Numbered"]

_STATE = [*BATCH_KEY, "state_hash"]
_WAIT = ["batch", "interval"]
_TEXTS = ["external_id", "schema_definition_id", "schema_name"]
_TIMES = ["created_at", "expires_at"]
_SHOWN = [*_TEXTS, *_TIMES]
_MISSING = {
    "missing_schema_definition_id": "schema_definition_id",
    "missing_external_id": "external_id",
    "missing_schema_name": "schema_name",
}
_BITS = 40  # states of a batch that numbers tell apart; where there are more, some seem alike
_SECONDS = 2**34  # more than the seconds in any plausible time, or the members of a list


@dataclass(frozen=True)
class Numbered:
    """The waits of a store at a moment.

    In every join the larger side stands on the left: of it nothing is held in memory.

    Attributes
    ----------
    stored : ibis.Table
        The stored observations that count.
    snapshots : ibis.Table
        The stored states.
    run : Runner
        Computes and keeps the steps.
    """

    stored: ibis.Table
    snapshots: ibis.Table
    run: Runner

    @cached_property
    def batches(self) -> ibis.Table:
        """(batch, tenant, tenant_id, batch_id)."""
        names = self.snapshots.select(BATCH_KEY).distinct()
        tenants = names.select("tenant_id").distinct()
        tenants = tenants.select("tenant_id", tenant=ibis.row_number())
        numbered = names.select(*BATCH_KEY, batch=ibis.row_number())
        joined = numbered.inner_join(tenants, "tenant_id")
        return self.run.keep(joined.select("batch", "tenant", *BATCH_KEY))

    @cached_property
    def states(self) -> ibis.Table:
        """(state, batch, tenant, tenant_id, batch_id, state_hash) of the states with a list."""
        listing = self.snapshots.filter(self.snapshots.has_pending_details).select(_STATE)
        joined = listing.inner_join(self.batches, BATCH_KEY).select(*_STATE, "batch", "tenant")
        # Those of a batch in a row, so that few of them differ by a multiple of `_BITS`.
        return self.run.keep(joined.mutate(state=ibis.row_number().over(order_by=joined.batch)))

    @cached_property
    def observations(self) -> ibis.Table:
        """The observations that list what waits: (batch, state, number, sent_at, received_at,
        closed, departure, gone_by, base).

        They are numbered within their batch, each with the next full list after it and the last
        full list up to it (``departure`` and ``base``, as numbers).
        """
        good = self.stored.filter(self.stored.ok & (self.stored.scope == "detail"))
        good = good.select(*_STATE, "sent_at", "received_at", "complete", "run_id")
        own = self.states.select(*_STATE, "batch", "state")
        listed = good.inner_join(own, _STATE)
        order = [listed.sent_at, listed.received_at, listed.state_hash, listed.run_id]
        ordered = ibis.window(group_by=listed.batch, order_by=order)
        rows = listed.select(
            *("batch", "state", "sent_at", "received_at", "complete"),
            number=ibis.row_number().over(ordered).cast("int64"),
        )
        return self.run.keep(_with_ends(self.run.keep(rows)))

    @cached_property
    def sights(self) -> ibis.Table:
        """The observed states: (state, batch, tenant, tenant_id, batch_id, state_hash, and first,
        last and observations, which are numbers of observations)."""
        seen = self.observations.group_by("state").aggregate(
            first=self.observations.number.min(),
            last=self.observations.number.max(),
            observations=self.observations.count(),
        )
        joined = self.states.inner_join(seen, "state")
        return self.run.keep(joined.select(*self.states.columns, *seen.columns[1:]))

    @cached_property
    def listed(self) -> ibis.Table:
        """The pending resources of every observed state, with its first and last observation."""
        lists = self.snapshots.select(*_STATE, "pending_resources")
        joined = lists.inner_join(self.sights, _STATE)
        seen = ["batch", "tenant", "state", "first", "last", "observations"]
        one = joined.select(*seen, resource=joined.pending_resources.unnest())
        rows = one.mutate(
            pending_id=one.resource["id"],
            missing=one.resource["missing_dependencies"],
            external_id=one.resource["resource_external_id"],
            **{name: one.resource[name] for name in (*_TEXTS[1:], *_TIMES)},
        ).drop("resource")
        # One without an id is identified by its own key.
        parts = [rows[name].fill_null("") for name in (_TEXTS[1], _TEXTS[0])]
        named = ibis.literal("\n") + parts[1] + "\n" + parts[0]
        return rows.mutate(
            interval=rows.pending_id.fill_null(named),
            **{name: meant_time(rows[name]) for name in _TIMES},
        )

    @cached_property
    def waits(self) -> ibis.Table:
        """One row per (batch, pending resource): (wait, batch, interval, first, last, departure,
        gone_by, first_seen, last_seen, missing_count, told_first, told_last, told, is_twice,
        has_id, and its last texts and times).

        ``told`` counts the observations with a list of what it misses, ``told_first`` and
        ``told_last`` are the first and last of them; is_twice where a state may name it twice.
        """
        found = _per_wait(self.listed)
        began = self.observations.select("batch", first="number", first_seen="sent_at")
        dated = found.inner_join(began, ["batch", "first"]).select(*found.columns, "first_seen")
        left = self.observations.select(
            "batch", "departure", "gone_by", last="number", last_seen="sent_at"
        )
        joined = dated.inner_join(left, ["batch", "last"])
        plain = joined.select(*dated.columns, "departure", "gone_by", "last_seen")
        return self._with_last_shown(numbered(plain, "wait", self.run))

    def _with_last_shown(self, waits: ibis.Table) -> ibis.Table:
        """Of texts and times that changed while a resource waited, those shown last."""
        changed = self.run.keep(waits.filter(waits.is_changed).select(_WAIT))
        waits = waits.drop("is_changed")
        if not self.rows(changed):
            return waits
        seen = self.listed.semi_join(changed, _WAIT)
        last = seen.group_by(_WAIT).aggregate(
            **{f"{name}_last": _last_text(seen, name) for name in _TEXTS},
            **{f"{name}_last": _last_time(seen, name) for name in _TIMES},
        )
        joined = waits.left_join(self.run.keep(last), _WAIT)
        joined = joined.select(*waits.columns, *last.columns[2:])
        others = [name for name in waits.columns if name not in _SHOWN]
        shown = {name: ibis.coalesce(joined[f"{name}_last"], joined[name]) for name in _SHOWN}
        return self.run.keep(joined.select(*others, **shown))

    @cached_property
    def keys(self) -> ibis.Table:
        """What was ever missing: (key, tenant, tenant_id, and its two names), numbered by these."""
        names = self.names
        keys = names.select("key", "tenant", *_MISSING).drop("missing_schema_name").distinct()
        tenants = self.batches.select("tenant", "tenant_id").distinct()
        joined = keys.inner_join(tenants, "tenant")
        return self.run.keep(joined.select(*keys.columns, "tenant_id"))

    @cached_property
    def links(self) -> ibis.Table:
        """One row per (wait, key that it was ever seen to miss): first, last (numbers of
        observations), name (the last in order), and there (the first one without it, if any)."""
        seen = self.listed.select(*_WAIT, "tenant", "first", "last", "missing")
        waits = self.waits.select(*_WAIT, "wait")
        own = seen.inner_join(waits, _WAIT).select("wait", "tenant", "first", "last", "missing")
        each = _unnested(own)
        names = self.names.rename({f"own_{name}": name for name in ("tenant", *_MISSING)})
        same = [each[name].identical_to(names[f"own_{name}"]) for name in ("tenant", *_MISSING)]
        named = each.inner_join(names, same).select("wait", "key", "name", "first", "last")
        found = named.group_by(["wait", "key"]).aggregate(
            first=named.first.min(), last=named["last"].max(), name=named.name.max()
        )
        joined = self.run.keep(found).inner_join(self._told, "wait")
        told = joined.select(*found.columns, *self._told.columns[1:])
        # The next observation lists the resource, unless the resource was out of sight for a while.
        steady = told.told == told.told_last - told.told_first + 1
        freed = ibis.ifelse(steady, told["last"] + 1, told.told_last)
        there = ibis.ifelse(told["last"] < told.told_last, freed, ibis.null("int64"))
        return self.run.keep(told.mutate(there=there).select(*found.columns, "there"))

    @cached_property
    def names(self) -> ibis.Table:
        """(name, key, tenant, and the three names) of all that was ever missing.

        Numbers are in the order of the names, where an absent one of a key stands last.
        """
        each = _unnested(self.listed.select("tenant", "missing"))
        tenants = self.batches.select("tenant", "tenant_id").distinct()
        names = self.run.keep(each.select("tenant", *_MISSING).distinct())
        joined = names.inner_join(tenants, "tenant").select(*names.columns, "tenant_id")
        order = [
            joined.tenant_id,
            joined.missing_schema_definition_id.asc(nulls_first=False),
            joined.missing_external_id.asc(nulls_first=False),
            joined.missing_schema_name.asc(nulls_first=True),
        ]
        numbered = joined.mutate(name=ibis.row_number().over(order_by=order))
        alike = ibis.window(group_by=["tenant", *list(_MISSING)[:2]])
        keyed = numbered.mutate(key=numbered.name.min().over(alike))
        return self.run.keep(keyed.select("name", "key", "tenant", *_MISSING))

    @cached_property
    def _told(self) -> ibis.Table:
        """Per wait the first, last and number of the observations with its list: (wait, told_first,
        told_last, told).

        A list that was left out does not count, and one that names a resource twice counts once.
        """
        told = self.waits.select("wait", "told_first", "told_last", "told")
        twice = self.run.keep(self.waits.filter(self.waits.is_twice).select(_WAIT))
        if not self.rows(twice):
            return told
        seen = self.listed.filter(self.listed.missing.notnull()).semi_join(twice, _WAIT)
        once = self.run.keep(seen.select(*_WAIT, "state", "observations").distinct())
        counted = once.group_by(_WAIT).aggregate(counted=once.observations.sum())
        joined = self.waits.left_join(self.run.keep(counted), _WAIT)
        wide = joined.select(*told.columns, "counted")
        return self.run.keep(
            wide.mutate(told=ibis.coalesce(wide.counted, wide.told)).drop("counted")
        )

    def rows(self, table: ibis.Table) -> int:
        """How many rows a table has."""
        return int(self.run.read(table.count().as_table())[0][0].as_py())


@ibis.udf.scalar.builtin(name="bit_count")  # type: ignore[untyped-decorator]
def _bit_count(number: int) -> int:
    """How many bits of a number are 1."""
    raise NotImplementedError  # the engine has it


@ibis.udf.scalar.builtin(name="hash", signature=(("string",) * 3 + ("timestamp",) * 2, "int64"))  # type: ignore[untyped-decorator]
def _hash(external_id: str, schema_id: str, schema_name: str, created: str, expires: str) -> int:
    """A number for what is shown of a resource; another one, almost surely, for anything else."""
    raise NotImplementedError  # the engine has it


def _per_wait(seen: ibis.Table) -> ibis.Table:
    """What the lists show of each (batch, interval)."""
    # The last value shown; a list left out at the end does not repeat the one before.
    count = seen.missing.length().fill_null(-1)
    told = seen.missing.notnull()
    bit = ibis.literal(1, "int64") << (seen.state % _BITS)
    shown = _hash(*[seen[name] for name in _SHOWN])
    found = seen.group_by(_WAIT).aggregate(
        first=seen.first.min(),
        last=seen["last"].max(),
        missing_count=count.argmax(seen["last"] * _SECONDS + count).cast("int64").nullif(-1),
        has_id=seen.pending_id.notnull().any(),
        told_first=seen.first.min(where=told),
        told_last=seen["last"].max(where=told),
        told=seen.observations.sum(where=told),
        bits=bit.cast("float64").sum(),
        sights=seen.count(),
        least_hash=shown.min(),
        most_hash=shown.max(),
        **{name: seen[name].arbitrary() for name in _SHOWN},
    )
    # A sum of powers of two has as many bits as these are, if they differ; else it has fewer.
    twice = _bit_count(found.bits.cast("int64")) != found.sights
    changed = found.least_hash != found.most_hash
    return found.mutate(is_twice=twice, is_changed=changed).drop(
        "bits", "sights", "least_hash", "most_hash"
    )


def _with_ends(observations: ibis.Table) -> ibis.Table:
    """Observations with what ends the waits that each lists."""
    before = ibis.window(group_by="batch", order_by="number", preceding=(None, 1))
    after = ibis.window(group_by="batch", order_by="number", following=(1, None))
    until = ibis.window(group_by="batch", order_by="number", preceding=None, following=0)
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
    ).drop("full", "full_at", "clear", "complete")


def _unnested(listed: ibis.Table) -> ibis.Table:
    """One row per missing dependency, with its three names."""
    others = [name for name in listed.columns if name != "missing"]
    each = listed.select(*others, one=listed.missing.unnest())
    return each.select(*others, **{name: each.one[part] for name, part in _MISSING.items()})


def _last_text(seen: ibis.Table, name: str) -> ibis.Value:
    """A column's value in the last state that has one; of two keys the greater."""
    value = seen[name]
    order = ibis.struct({"last": seen["last"], "then": value})
    return value.argmax(order, where=value.notnull())


def _last_time(seen: ibis.Table, name: str) -> ibis.Value:
    """The time in the last state that has one; of several the earliest, to the second.

    There are several if a list names a resource twice: no wait then seems longer than it can be.
    """
    value = seen[name]
    order = seen["last"] * _SECONDS - value.epoch_seconds()
    return value.argmax(order, where=value.notnull())
