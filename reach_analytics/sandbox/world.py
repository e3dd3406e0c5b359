"""The state of an emulated Reach, and how it changes as its own clock is turned. No I/O.

Everything that happens is an event with a time: a record is processed, a wait runs out. Turning
the clock forward plays the events up to the new time in order, so the same calls with the same
seed give the same world.
"""

from __future__ import annotations

import heapq
import random
import uuid
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, NamedTuple

from reach_analytics.sandbox import assumptions

REFERENCE = "reach:schemas/"


class Key(NamedTuple):
    """What identifies a resource within a tenant."""

    schema_id: str
    external_id: str


@dataclass
class Tenant:
    """A business of the partner."""

    id: str
    external_id: str
    name: str
    created_at: datetime


@dataclass
class Schema:
    """A schema definition: its JSON Schema, and the fields that refer to other schemas."""

    id: str
    name: str
    category: str
    document: dict[str, Any]
    created_at: datetime
    external_id_field: str = "externalId"

    @cached_property
    def references(self) -> dict[str, str]:
        """Field name to the referenced schema's name or id, for every ``$ref`` field."""
        fields = self.document.get("properties", {})
        refs = {name: str(rule.get("$ref", "")) for name, rule in fields.items()}
        return {n: r.removeprefix(REFERENCE) for n, r in refs.items() if r.startswith(REFERENCE)}

    @cached_property
    def problems(self) -> Callable[[Mapping[str, Any]], list[str]]:
        """What is wrong with a record, as messages; empty if nothing is."""
        from jsonschema import Draft202012Validator  # half a second, and only worlds need it

        rules = {
            name: {"type": ["string", "null"]} if name in self.references else rule
            for name, rule in self.document.get("properties", {}).items()
        }
        validator = Draft202012Validator({**self.document, "properties": rules})
        return lambda record: sorted(error.message for error in validator.iter_errors(record))


@dataclass
class Pending:
    """A record that waits for what it refers to."""

    id: str
    tenant_id: str
    batch: Batch
    key: Key
    record: dict[str, Any]
    missing: dict[Key, None]
    created_at: datetime
    expires_at: datetime


@dataclass
class Batch:
    """An upload and what became of its records so far."""

    id: str
    tenant_id: str
    schema: Schema
    records: Sequence[dict[str, Any]]
    wait_s: int
    created_at: datetime
    started_at: datetime | None = None
    completed_at: datetime | None = None
    processed: int = 0
    successful: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    failed_records: list[dict[str, Any]] = field(default_factory=list)
    pending: dict[str, Pending] = field(default_factory=dict)
    message: str | None = None

    @property
    def status(self) -> str:
        """``processing``, ``success``, ``partial_success`` or ``failure``."""
        return assumptions.batch_status(
            total=len(self.records),
            processed=self.processed,
            successful=self.successful,
            pending=len(self.pending),
        )


@dataclass(frozen=True)
class Fact:
    """Something that truly happened to a resource: the sandbox's log, for checking inferences."""

    at: datetime
    event: str
    tenant_id: str
    batch_id: str
    pending_id: str | None
    key: Key


class World:
    """Tenants, schemas, resources, batches and waits, on a clock that only `advance` turns.

    Parameters
    ----------
    start : datetime
        Where the clock begins, aware.
    seed : int
        Seeds all ids.
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
        self.time = start
        self.tenants: dict[str, Tenant] = {}
        self.schemas: dict[str, Schema] = {}
        self.batches: dict[str, Batch] = {}
        self.batches_of: dict[str, list[Batch]] = defaultdict(list)
        self.resources: dict[str, dict[Key, dict[str, Any]]] = defaultdict(dict)
        self.facts: list[Fact] = []
        self._waiting: dict[tuple[str, Key], dict[str, Pending]] = defaultdict(dict)
        self._events: list[tuple[datetime, int, Callable[[], object]]] = []
        self._event_count = 0
        self._random = random.Random(seed)
        self._record_gap = timedelta(seconds=1 / records_per_second)

    def advance(self, until: datetime) -> None:
        """Play everything that happens up to and including ``until``; time never goes back."""
        while self._events and self._events[0][0] <= until:
            self.time, _, happen = heapq.heappop(self._events)
            happen()
        self.time = max(self.time, until)

    def at(self, moment: datetime, happen: Callable[[], object]) -> None:
        """Have something happen when the clock reaches ``moment``."""
        self._event_count += 1
        heapq.heappush(self._events, (max(moment, self.time), self._event_count, happen))

    def add_tenant(self, name: str, external_id: str) -> Tenant:
        """A new tenant."""
        tenant = Tenant(self._new_id(), external_id, name, self.time)
        self.tenants[tenant.id] = tenant
        return tenant

    def add_schema(self, name: str, category: str, properties: Mapping[str, Any]) -> Schema:
        """A new schema definition; names are unique ignoring case."""
        if self.find_schema(name):
            raise ValueError(f"there is a schema named {name!r} already")
        document = {
            "type": "object",
            "properties": {"externalId": {"type": "string", "minLength": 1}, **properties},
            "required": ["externalId"],
        }
        schema = Schema(self._new_id(), name, category, document, self.time)
        self.schemas[schema.id] = schema
        return schema

    def find_schema(self, name_or_id: str) -> Schema | None:
        """The schema with this id, or this name ignoring case."""
        if name_or_id in self.schemas:
            return self.schemas[name_or_id]
        wanted = name_or_id.casefold()
        return next((s for s in self.schemas.values() if s.name.casefold() == wanted), None)

    def ingest(
        self,
        tenant_id: str,
        schema: str,
        records: Sequence[dict[str, Any]],
        *,
        wait_s: int = 0,
        message: str | None = None,
    ) -> Batch:
        """Take a batch of records to be stored; it is processed as the clock turns.

        ``wait_s`` is the API's ``dependencyWaitTimeout``. With ``message`` the whole batch fails
        with it before its first record.
        """
        definition = self.find_schema(schema)
        if tenant_id not in self.tenants or definition is None:
            raise ValueError(f"no tenant {tenant_id!r} or no schema {schema!r}")
        if not 0 <= wait_s <= assumptions.MAX_WAIT_S:
            raise ValueError(f"wait_s must be 0 to {assumptions.MAX_WAIT_S}, found {wait_s}")
        if len(records) > assumptions.MAX_RECORDS:
            raise ValueError(f"at most {assumptions.MAX_RECORDS} records, found {len(records)}")
        batch = Batch(self._new_id(), tenant_id, definition, records, wait_s, self.time)
        self.batches[batch.id] = batch
        self.batches_of[tenant_id].append(batch)
        begin = self.time + timedelta(seconds=assumptions.START_DELAY_S)
        self.at(begin, lambda: self._begin(batch, message))
        return batch

    def _begin(self, batch: Batch, message: str | None) -> None:
        batch.started_at = self.time
        if message is not None:
            batch.message = message
            batch.processed = len(batch.records)
            batch.failures["BATCH_FAILED"] = len(batch.records)
        if message is not None or not batch.records:
            batch.completed_at = self.time
            return
        self._next_record(batch)

    def _next_record(self, batch: Batch) -> None:
        self.at(self.time + self._record_gap, lambda: self._process(batch))

    def _process(self, batch: Batch) -> None:
        index = batch.processed
        record = batch.records[index]
        batch.processed += 1
        self._take(batch, index, record)
        if batch.processed == len(batch.records):
            batch.completed_at = self.time
        else:
            self._next_record(batch)

    def _take(self, batch: Batch, index: int, record: dict[str, Any]) -> None:
        """Store a record, have it wait, or fail it."""
        if problems := batch.schema.problems(record):
            self._fail(batch, record, "VALIDATION_ERROR", "; ".join(problems), index)
            return
        key = Key(batch.schema.id, record[batch.schema.external_id_field])
        stored = self.resources[batch.tenant_id]
        missing = dict.fromkeys(k for k in self._needs(batch.schema, record) if k not in stored)
        if not missing:
            batch.successful += 1
            self._store(batch.tenant_id, key, record)
        elif batch.wait_s == 0:
            names = ", ".join(k.external_id for k in missing)
            self._fail(batch, record, "MISSING_DEPENDENCY", f"not found: {names}", index)
        else:
            self._wait(batch, key, record, missing)

    def _needs(self, schema: Schema, record: Mapping[str, Any]) -> Iterator[Key]:
        for name, reference in schema.references.items():
            target, value = self.find_schema(reference), record.get(name)
            if target is not None and value is not None:
                yield Key(target.id, value)

    def _wait(
        self, batch: Batch, key: Key, record: dict[str, Any], missing: dict[Key, None]
    ) -> None:
        expires_at = self.time + timedelta(seconds=batch.wait_s)
        pending = Pending(
            self._new_id(), batch.tenant_id, batch, key, record, missing, self.time, expires_at
        )
        batch.pending[pending.id] = pending
        for dependency in missing:
            self._waiting[batch.tenant_id, dependency][pending.id] = pending
        self.at(expires_at, lambda: self._expire(pending))

    def _store(self, tenant_id: str, key: Key, record: dict[str, Any]) -> None:
        """Store a resource, and everything that waited only for it, and so on."""
        arrived = deque([(key, record)])
        while arrived:
            key, record = arrived.popleft()
            self.resources[tenant_id][key] = record
            for pending in list(self._waiting.pop((tenant_id, key), {}).values()):
                del pending.missing[key]
                if not pending.missing:
                    del pending.batch.pending[pending.id]
                    pending.batch.successful += 1
                    self._note("released", pending)
                    arrived.append((pending.key, pending.record))

    def _expire(self, pending: Pending) -> None:
        if pending.id not in pending.batch.pending:
            return  # it was released in time
        del pending.batch.pending[pending.id]
        for dependency in pending.missing:
            waiting = self._waiting[pending.tenant_id, dependency]
            del waiting[pending.id]
            if not waiting:
                del self._waiting[pending.tenant_id, dependency]
        self._note("expired", pending)
        self._fail(
            pending.batch,
            pending.record,
            "DEPENDENCY_WAIT_EXPIRED",
            "not found in time: " + ", ".join(k.external_id for k in pending.missing),
            None,
        )

    def _fail(
        self, batch: Batch, record: Mapping[str, Any], code: str, message: str, index: int | None
    ) -> None:
        batch.failures[code] += 1
        if len(batch.failed_records) < assumptions.MAX_ERROR_DETAILS:
            name = batch.schema.external_id_field
            row = {"index": index, "externalId": record.get(name), "code": code, "message": message}
            batch.failed_records.append({k: v for k, v in row.items() if v is not None})

    def _note(self, event: str, pending: Pending) -> None:
        fact = Fact(self.time, event, pending.tenant_id, pending.batch.id, pending.id, pending.key)
        self.facts.append(fact)

    def _new_id(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))
