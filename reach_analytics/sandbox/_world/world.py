"""The state of an emulated Reach, and how it changes as its own clock is turned. No I/O.

Everything that happens is an event with a time: a write arrives, a record is processed, a wait
expires. Turning the clock forward plays the events up to the new time in order, so the same calls
with the same seed give the same world. Events are values, not closures, so that a world can be
saved and loaded.
"""

from __future__ import annotations

import heapq
import random
import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from reach_analytics.sandbox import assumptions
from reach_analytics.sandbox._world import schema, validation
from reach_analytics.sandbox._world.resource_store import ResourceStore
from reach_analytics.sandbox._world.schema import Key, Schema
from reach_analytics.sandbox._world.state import Batch, Fact, Pending, Record, Tenant, Write
from reach_analytics.sandbox._world.validation import Refused, names

BEGIN_OF_TIME, END_OF_TIME = datetime(1900, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
RATES = (0.001, 1e6)


class Event(NamedTuple):
    """What happens when the clock reaches ``at``; ``number`` orders simultaneous events."""

    at: datetime
    number: int
    action: str
    subject: Any


class World:
    """Tenants, schemas, resources, batches and waits, on a clock that only `advance` turns.

    Parameters
    ----------
    start : datetime
        Where the clock starts, aware.
    seed : int
        Determines all ids.
    records_per_second : float
        How fast each batch is processed.
    """

    def __init__(
        self,
        start: datetime,
        *,
        seed: int = 0,
        records_per_second: float = assumptions.RECORDS_PER_SECOND,
    ) -> None:
        slowest, fastest = RATES
        if not slowest <= records_per_second <= fastest:
            raise ValueError(
                f"records_per_second must be {slowest:g} to {fastest:g}, found {records_per_second}"
            )
        if start.tzinfo is None or not BEGIN_OF_TIME <= start <= END_OF_TIME:
            raise ValueError(f"start must have an offset and lie in 1900 to 9000, found {start}")
        self.time = start.astimezone(UTC)
        self.records_per_second = float(records_per_second)
        self.tenants: dict[str, Tenant] = {}
        self.schemas: dict[str, Schema] = {}
        self.batches: dict[str, Batch] = {}
        self.batches_of: dict[str, list[Batch]] = defaultdict(list)
        self.libraries: dict[str, ResourceStore] = defaultdict(ResourceStore)
        self.ground_truth: list[Fact] = []
        self.events: list[Event] = []
        self.event_count = 0
        self.random = random.Random(seed)
        self._schema_ids: dict[str, str] = {}

    # -- the clock

    def advance(self, until: datetime) -> None:
        """Play everything that happens up to and including ``until``; time never goes back."""
        if until > END_OF_TIME:
            raise ValueError(f"the clock ends at {END_OF_TIME:%Y-%m-%d}, found {until:%Y-%m-%d}")
        until = until.astimezone(UTC)
        while self.events and self.events[0].at <= until:
            event = heapq.heappop(self.events)
            self.time = event.at
            getattr(self, f"_on_{event.action}")(event.subject)
        self.time = max(self.time, until)

    def _at(self, moment: datetime, action: str, subject: Any) -> None:
        self.event_count += 1
        event = Event(max(moment, self.time), self.event_count, action, subject)
        heapq.heappush(self.events, event)

    # -- tenants and schemas

    def add_tenant(self, name: str, external_id: str, *, website: str | None = None) -> Tenant:
        """Add a tenant."""
        if self.tenant_of(external_id) is not None:
            raise ValueError(f"there is a tenant with externalId {external_id!r} already")
        tenant = Tenant(self.new_id(), external_id, name, self.time, website)
        self.tenants[tenant.id] = tenant
        return tenant

    def tenant_of(self, external_id: str) -> Tenant | None:
        """The tenant with this external id."""
        return next((t for t in self.tenants.values() if t.external_id == external_id), None)

    def add_schema(
        self,
        name: str,
        category: str,
        properties: Mapping[str, Any],
        *,
        required: Sequence[str] = (),
    ) -> Schema:
        """Add a schema definition with an ``externalId`` and these properties."""
        document = {
            "type": "object",
            "properties": {"externalId": {"type": "string", "minLength": 1}, **properties},
            "required": ["externalId", *required],
        }
        return self.define(name, category, document)

    def define(
        self,
        name: str,
        category: str,
        document: dict[str, Any],
        *,
        external_id_field: str = "externalId",
        plural_name: str | None = None,
        description: str | None = None,
    ) -> Schema:
        """Add a schema definition; names are unique ignoring case."""
        schema.check(name, document, external_id_field)
        if self.find_schema(name):
            raise ValueError(f"there is a schema named {name!r} already")
        made = Schema(
            self.new_id(),
            name,
            category,
            document,
            self.time,
            external_id_field,
            plural_name,
            description,
        )
        self.keep_schema(made)
        return made

    def keep_schema(self, made: Schema) -> None:
        """Register a schema under its id and its name."""
        self.schemas[made.id] = made
        self._schema_ids[made.name.casefold()] = made.id

    def find_schema(self, name_or_id: str) -> Schema | None:
        """The schema with this id, or this name ignoring case."""
        if name_or_id in self.schemas:
            return self.schemas[name_or_id]
        return self.schemas.get(self._schema_ids.get(name_or_id.casefold(), ""))

    # -- writes

    def ingest(
        self,
        tenant_id: str,
        schema: str,
        records: Sequence[Record],
        *,
        wait_s: int = 0,
        message: str | None = None,
    ) -> Batch:
        """Submit a batch of records to be stored: `submit` for the common case."""
        return self.submit(Write(tenant_id, schema, records, wait_s=wait_s, message=message))

    def submit(self, write: Write) -> Batch:
        """Accept a batch; it is processed as the clock turns."""
        return self._accept(write, self.check(write))

    def delete_all(self, write: Write) -> Batch:
        """Accept a batch that deletes every resource the schema has now."""
        return self._accept(self.naming_all(write), self.check(write))

    def naming_all(self, write: Write) -> Write:
        """The write with every stored resource of its schema named."""
        definition = self._definition(write)
        stored = self.libraries[write.tenant_id].resources
        return replace(write, items=[k.external_id for k in stored if k.schema_id == definition.id])

    def would_delete(self, write: Write) -> int:
        """How many resources a deleting write would delete now."""
        definition = self._definition(write)
        resources = self.libraries[write.tenant_id]
        named = {Key(definition.id, item) for item in write.items}
        doomed: set[Key] = set()
        for key in named & resources.resources.keys():
            dependents = resources.dependents(key)
            if write.cascade or dependents.keys() <= named:
                doomed |= {key, *dependents}
        return len(doomed)

    def schedule(self, moment: datetime, write: Write) -> None:
        """Schedule a write to arrive when the clock reaches ``moment``."""
        self.check(write)
        self._at(moment, "write", write)

    def check(self, write: Write) -> Schema:
        """The schema of a write; a ValueError if it cannot be accepted."""
        definition = self._definition(write)
        if not 0 <= write.wait_s <= assumptions.MAX_WAIT_S:
            raise ValueError(f"wait_s must be 0 to {assumptions.MAX_WAIT_S}, found {write.wait_s}")
        if len(write.items) > assumptions.MAX_RECORDS:
            raise ValueError(f"at most {assumptions.MAX_RECORDS} items, found {len(write.items)}")
        return definition

    def _definition(self, write: Write) -> Schema:
        definition = self.find_schema(write.schema)
        if write.tenant_id not in self.tenants or definition is None:
            raise ValueError(f"no tenant {write.tenant_id!r} or no schema {write.schema!r}")
        return definition

    def _accept(self, write: Write, definition: Schema) -> Batch:
        batch = Batch(self.new_id(), definition.id, len(write.items), self.time, write)
        self.batches[batch.id] = batch
        self.batches_of[write.tenant_id].append(batch)
        self._at(self.time + timedelta(seconds=assumptions.START_DELAY_S), "begin", batch)
        return batch

    # -- events

    def _on_write(self, write: Write) -> None:
        self.submit(write)

    def _on_begin(self, batch: Batch) -> None:
        batch.started_at = self.time
        if batch.write.message is not None:
            batch.message = batch.write.message
            batch.processed = batch.total
            batch.failures["BATCH_FAILED"] = batch.total
        if batch.processed == batch.total:
            self._complete(batch)
        else:
            self._next_record(batch)

    def _next_record(self, batch: Batch) -> None:
        self._at(self.time + timedelta(seconds=1 / self.records_per_second), "record", batch)

    def _on_record(self, batch: Batch) -> None:
        item = batch.write.items[batch.processed]
        batch.processed += 1
        if batch.write.kind == assumptions.DELETE:
            self._delete(batch, item)
        else:
            self._take(batch, item)
        if batch.processed < batch.total:
            self._next_record(batch)
        else:
            self._complete(batch)

    def _complete(self, batch: Batch) -> None:
        batch.completed_at = self.time
        batch.forget_items()  # a year's records need not stay in memory

    def _take(self, batch: Batch, given: Record) -> None:
        """Store a record, let it wait, or fail it."""
        definition, resources = self.schemas[batch.schema_id], self.libraries[batch.tenant_id]
        write = batch.write
        try:
            record = validation.known_fields(
                definition, given, ignore_unknown=write.ignore_unknown_fields
            )
            key = validation.key_of(definition, record)
            merged = validation.merged(definition, resources.resources.get(key), record, write)
            needs = validation.needs(definition, merged, self.find_schema)
            missing = [k for k in needs if k not in resources.resources]
            if missing and write.wait_s == 0:
                raise Refused("MISSING_DEPENDENCY", f"not found: {names(missing)}")
        except Refused as refusal:
            self._fail(batch, given, refusal)
            return
        if missing:
            self._wait(batch, key, record, needs, missing)
        else:
            self._store(batch, key, merged, needs)

    def _wait(
        self,
        batch: Batch,
        key: Key,
        record: Record,
        needs: tuple[Key, ...],
        missing: Sequence[Key],
    ) -> None:
        until = self.time + timedelta(seconds=batch.write.wait_s)
        number, absent = self.event_count + 1, dict.fromkeys(missing)
        pending = Pending(
            self.new_id(), number, batch, key, record, needs, absent, self.time, until
        )
        batch.pending[pending.id] = pending
        self.libraries[batch.tenant_id].wait(pending)
        self._at(until, "expiry", pending)
        self._note("waiting", pending)

    def _store(self, batch: Batch, key: Key, record: Record, needs: tuple[Key, ...]) -> None:
        """Store a resource, and everything that waited only for it, and so on."""
        resources = self.libraries[batch.tenant_id]
        batch.successful += 1
        ready = resources.put(key, record, needs)
        while ready:
            ready += self._release(ready.popleft())

    def _release(self, pending: Pending) -> Sequence[Pending]:
        """Store a record that waited, or fail it; returns what becomes ready in turn."""
        batch, key = pending.batch, pending.key
        resources = self.libraries[batch.tenant_id]
        if pending.missing or pending.id not in batch.pending:
            return ()
        del batch.pending[pending.id]
        resources.leave(pending)
        definition = self.schemas[key.schema_id]
        try:
            stored = resources.resources.get(key)
            merged = validation.merged(definition, stored, pending.record, batch.write)
            needs = validation.needs(definition, merged, self.find_schema)
        except Refused as refusal:
            self._note("released", pending, succeeded=False)
            self._fail(batch, pending.record, refusal)
            return ()
        self._note("released", pending, succeeded=True)
        batch.successful += 1
        return resources.put(key, merged, needs)

    def _on_expiry(self, pending: Pending) -> None:
        batch = pending.batch
        if pending.id not in batch.pending:
            return  # it was released in time
        del batch.pending[pending.id]
        self.libraries[batch.tenant_id].leave(pending)
        self._note("expired", pending)
        text = f"not found in time: {names(pending.missing)}"
        self._fail(batch, pending.record, Refused("DEPENDENCY_WAIT_EXPIRED", text))

    def _delete(self, batch: Batch, external_id: str) -> None:
        resources, key = self.libraries[batch.tenant_id], Key(batch.schema_id, external_id)
        record = {self.schemas[batch.schema_id].external_id_field: external_id}
        if key in batch.deleted and key not in resources.resources:
            batch.successful += 1  # it was deleted along with another
            return
        dependents = resources.dependents(key)
        cascade = batch.write.cascade
        others = sorted(k for k in dependents if not (cascade or batch.names_later(k)))
        if key not in resources.resources:
            self._fail(batch, record, Refused("NOT_FOUND", "there is no such resource"))
        elif others:
            text = f"referred to by {names(others)}"
            self._fail(batch, record, Refused("HAS_DEPENDENTS", text))
        else:
            for doomed in (*dependents, key):
                resources.remove(doomed)
            batch.deleted |= {key, *dependents}
            batch.successful += 1

    def _fail(self, batch: Batch, record: Mapping[str, Any], refusal: Refused) -> None:
        batch.failures[refusal.code] += 1
        if len(batch.failed_records) < assumptions.MAX_ERROR_DETAILS:
            external_id = record.get(self.schemas[batch.schema_id].external_id_field)
            row = {"code": refusal.code, "message": str(refusal)}
            if isinstance(external_id, str):
                row["externalId"] = external_id
            batch.failed_records.append(row)

    def _note(self, event: Any, pending: Pending, *, succeeded: bool | None = None) -> None:
        batch = pending.batch
        fact = Fact(self.time, event, batch.tenant_id, batch.id, pending.id, pending.key, succeeded)
        self.ground_truth.append(fact)

    def new_id(self) -> str:
        """The next id; the seed determines it."""
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))
