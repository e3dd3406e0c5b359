"""What waits now, by number: resources, the keys that they miss, and who misses what.

It rests on the last list of each batch. Each step is computed once and kept by the engine; texts
are read again only for the numbers that are asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

import ibis
import pyarrow as pa

from reach_analytics.queries.engine import Runner, numbered
from reach_analytics.tables import RESOURCE_KEY, WAIT_KEY

__all__ = ["Current", "pending_counts"]

_SOON = timedelta(hours=1)

_TEXTS = [*WAIT_KEY, "schema_name"]
_TIMES = ["created_at", "expires_at", "observed_at"]


@dataclass(frozen=True)
class Current:
    """The pending resources of a store at a moment, by number.

    Attributes
    ----------
    pending : ibis.Table
        As `tables.PENDING`, with what each resource misses as a list (``missing_dependencies``).
    run : Runner
        Computes and keeps the steps.
    inside : callable, optional
        Of rows with a resource each, those of the part that is asked about; what these wait for in
        turn is followed all the same.
    """

    pending: ibis.Table
    run: Runner
    inside: Callable[[ibis.Table], ibis.Table] | None = None

    @cached_property
    def resources(self) -> ibis.Table:
        """(resource, and what names it, created_at, expires_at, observed_at, missing_dependencies).

        One that a list names again is one, which misses all that is said of it; it has its earliest
        expiry and, of several names of its schema, the first.
        """
        rows = self.pending.select(*_TEXTS, *_TIMES, "missing_dependencies")
        found = numbered(rows, "resource", self.run)
        # Numbers that are all different stand for names that are; equal ones are looked at.
        marks = _hash(*[found[name].fill_null("") for name in WAIT_KEY])
        counts = found.aggregate(rows=found.count(), marks=marks.nunique())
        [told] = self.run.read(counts).to_pylist()
        if told["rows"] == told["marks"]:
            return found
        several = found.group_by(WAIT_KEY).aggregate(count=found.count())
        several = self.run.keep(several.filter(several["count"] > 1).drop("count"))
        return numbered(_once(found.drop("resource"), several), "resource", self.run)

    @cached_property
    def shown(self) -> ibis.Table:
        """Of `resources`, those of the part."""
        return self.resources if self.inside is None else self.inside(self.resources)

    @cached_property
    def missing(self) -> ibis.Table:
        """(resource, and the tenant_id, schema_definition_id, external_id, schema_name of each key
        that it misses)."""
        own = self.resources.select(
            "resource", "tenant_id", one=self.resources.missing_dependencies.unnest()
        )
        parts = ("schema_definition_id", "external_id", "schema_name")
        return self.run.keep(
            own.select("resource", "tenant_id", **{name: own.one[name] for name in parts})
        )

    @cached_property
    def keys(self) -> ibis.Table:
        """(key, tenant_id, schema_definition_id, external_id, schema_name) of what is missing.

        Numbers are in the order of the names, nulls last. A key has the first by name of the names
        of its schema.
        """
        rows = self.missing.group_by(RESOURCE_KEY).aggregate(
            schema_name=self.missing.schema_name.min()
        )
        order = [rows[name].asc(nulls_first=False) for name in RESOURCE_KEY]
        return self.run.keep(rows.mutate(key=ibis.row_number().over(order_by=order)))

    @cached_property
    def edges(self) -> ibis.Table:
        """(resource, key that it misses)."""
        own = {name: f"own_{name}" for name in RESOURCE_KEY}
        keys = self.keys.select("key", **{mine: self.keys[name] for name, mine in own.items()})
        same = [self.missing[name].identical_to(keys[mine]) for name, mine in own.items()]
        return self.missing.inner_join(keys, same).select("resource", "key")

    @cached_property
    def own(self) -> ibis.Table:
        """(resource, key, kind, expires_at, schema_name): of each resource its own key, if anything
        misses that, and a number of its tenant and schema."""
        mine = {name: f"own_{name}" for name in RESOURCE_KEY}
        keys = self.keys.select("key", **{other: self.keys[name] for name, other in mine.items()})
        rows = self.resources
        same = [rows[name].identical_to(keys[other]) for name, other in mine.items()]
        columns = ["resource", "tenant_id", "schema_definition_id", "expires_at", "schema_name"]
        wide = rows.left_join(keys, same).select(*columns, "key")
        kinds = rows.select(*columns[1:3]).distinct()
        kinds = self.run.keep(kinds.mutate(kind=ibis.row_number()))
        kinds = kinds.rename({f"of_{name}": name for name in columns[1:3]})
        same = [wide[name].identical_to(kinds[f"of_{name}"]) for name in columns[1:3]]
        joined = wide.inner_join(kinds, same)
        return self.run.keep(joined.select("resource", "key", "kind", *columns[3:]))

    @cached_property
    def named_keys(self) -> ibis.Table:
        """`keys`, those without a name of their schema with that of a resource that brings them."""
        names = self.own.group_by("key").aggregate(own_name=self.own.schema_name.min())
        joined = self.keys.left_join(names, "key").select(*self.keys.columns, "own_name")
        name = ibis.coalesce(joined.schema_name, joined.own_name)
        return self.run.keep(joined.mutate(schema_name=name).drop("own_name"))

    def texts_of_keys(self) -> pa.Table:
        """What names the keys, in the order of their numbers."""
        columns = [*RESOURCE_KEY, "schema_name"]
        return self.run.read(self.named_keys.select("key", *columns)).sort_by("key").select(columns)

    def texts_of_resources(self, numbers: pa.Array | None = None) -> pa.Table:
        """What names these resources, and their expires_at, in this order; all by default."""
        columns = [*_TEXTS, "expires_at"]
        rows = self.resources.select("resource", *columns)
        if numbers is None:
            return self.run.read(rows).sort_by("resource").select(columns)
        places = pa.array(range(len(numbers)))
        asked = ibis.memtable(pa.table({"resource": numbers, "place": places}))
        found = self.run.read(rows.inner_join(asked, "resource").select("place", *columns))
        return found.sort_by("place").select(columns)


@ibis.udf.scalar.builtin(name="hash", signature=(("string",) * 5, "int64"))  # type: ignore[untyped-decorator]
def _hash(tenant: str, batch: str, pending: str, external: str, schema: str) -> int:
    """A number for what identifies a wait; another one, almost surely, for anything else."""
    raise NotImplementedError  # the engine has it


def pending_counts(pending: ibis.Table, now: datetime) -> ibis.Table:
    """(tenant_id, pending_resources, expiring_soon, overdue, next_expiry): how many resources of
    each tenant wait, how many of these expire within an hour, how many should have expired, and
    when the next one does; by ``now``."""
    moment = ibis.literal(now, type=pending.expires_at.type())
    soon = ibis.literal(now + _SOON, type=pending.expires_at.type())
    coming = pending.expires_at > moment
    return pending.group_by("tenant_id").aggregate(
        pending_resources=pending.count(),
        expiring_soon=(coming & (pending.expires_at <= soon)).sum().fill_null(0),
        overdue=(pending.expires_at <= moment).sum().fill_null(0),
        next_expiry=pending.expires_at.min(where=coming),
    )


def _once(rows: ibis.Table, several: ibis.Table) -> ibis.Table:
    """The rows, each of ``several`` as one."""
    other = several.rename({f"own_{name}": name for name in WAIT_KEY})
    same = [rows[name].identical_to(other[f"own_{name}"]) for name in WAIT_KEY]
    again = rows.semi_join(other, same)
    united = again.group_by(WAIT_KEY).aggregate(
        schema_name=again.schema_name.min(),
        **{name: again[name].min() for name in _TIMES},
        missing_dependencies=again.missing_dependencies.collect().flatten(),
    )
    return rows.anti_join(other, same).union(united.select(rows.columns))
