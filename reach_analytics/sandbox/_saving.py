"""Saving a whole world and loading it again; it then continues as if never interrupted."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec

from reach_analytics.sandbox import assumptions
from reach_analytics.sandbox._world.schema import Key, Schema, check, is_deep
from reach_analytics.sandbox._world.state import Batch, Fact, Pending, Record, Tenant, Write
from reach_analytics.sandbox._world.world import BEGIN_OF_TIME, END_OF_TIME, Event, World

VERSION = 1


class StateError(ValueError):
    """What was to be loaded is not a saved world."""


class _Batch(msgspec.Struct):
    id: str
    schema_id: str
    total: int
    created_at: datetime
    write: Write
    started_at: datetime | None
    completed_at: datetime | None
    processed: int
    successful: int
    failures: dict[str, int]
    failed_records: list[dict[str, Any]]
    deleted: list[Key]
    message: str | None


class _Pending(msgspec.Struct):
    id: str
    number: int
    batch_id: str
    key: Key
    record: Record
    needs: tuple[Key, ...]
    missing: list[Key]
    created_at: datetime
    expires_at: datetime


class _Event(msgspec.Struct, array_like=True):
    at: datetime
    number: int
    action: str
    subject: str | Write  # a batch by its id


class _Saved(msgspec.Struct):
    version: int
    time: datetime
    records_per_second: float
    random: tuple[int, tuple[int, ...], float | None]
    tenants: list[Tenant]
    schemas: list[Schema]
    batches: list[_Batch]
    pending: list[_Pending]
    resources: dict[str, list[tuple[str, str, Record, tuple[Key, ...]]]]
    ground_truth: list[Fact]
    event_count: int
    events: list[_Event]


def dump(world: World) -> bytes:
    """The world as JSON; the same world gives the same bytes."""
    waiting = [p for batch in world.batches.values() for p in batch.pending.values()]
    stored = ((t, world.libraries[t]) for t in world.tenants if t in world.libraries)
    return msgspec.json.encode(
        _Saved(
            VERSION,
            world.time,
            world.records_per_second,
            world.random.getstate(),
            list(world.tenants.values()),
            list(world.schemas.values()),
            [_saved_batch(batch) for batch in world.batches.values()],
            [_saved_pending(pending) for pending in sorted(waiting, key=lambda p: p.number)],
            {
                tenant_id: [(*k, record, resources.needs(k)) for k, record in held.items()]
                for tenant_id, resources in stored
                if (held := resources.resources)
            },
            world.ground_truth,
            world.event_count,
            [_saved_event(e) for e in sorted(world.events) if e.action != "expiry"],
        )
    )


def load(body: bytes | memoryview) -> World:
    """The world that was saved.

    Raises
    ------
    StateError
        If it was not written by `dump`, or is inconsistent.
    """
    try:
        saved = msgspec.json.decode(body, type=_Saved)
        return _restored(saved)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise StateError(f"not a saved world: {str(error) or 'nested too deeply'}") from None
    except KeyError as error:
        raise StateError(f"the saved world names {error}, which it does not have") from None
    except (ValueError, TypeError, OverflowError) as error:
        raise StateError(f"the saved world is inconsistent: {error}") from None


def _saved_batch(batch: Batch) -> _Batch:
    return _Batch(
        batch.id,
        batch.schema_id,
        batch.total,
        batch.created_at,
        batch.write,
        batch.started_at,
        batch.completed_at,
        batch.processed,
        batch.successful,
        dict(batch.failures),
        batch.failed_records,
        sorted(batch.deleted),
        batch.message,
    )


def _saved_pending(pending: Pending) -> _Pending:
    return _Pending(
        pending.id,
        pending.number,
        pending.batch.id,
        pending.key,
        pending.record,
        pending.needs,
        list(pending.missing),
        pending.created_at,
        pending.expires_at,
    )


def _saved_event(event: Event) -> _Event:
    subject = event.subject if isinstance(event.subject, Write) else event.subject.id
    return _Event(event.at, event.number, event.action, subject)


def _restored(saved: _Saved) -> World:
    _demand(saved.version == VERSION, f"version {saved.version}, expected {VERSION}")
    _demand_sound(saved.time)
    world = World(saved.time, records_per_second=saved.records_per_second)
    world.random.setstate(saved.random)
    for tenant in saved.tenants:
        _demand_sound(tenant.created_at)
        _demand(world.tenant_of(tenant.external_id) is None, f"tenant {tenant.id} appears twice")
        world.tenants[tenant.id] = tenant
    for schema in saved.schemas:
        _demand_sound(schema.created_at)
        check(schema.name, schema.document, schema.external_id_field)
        _demand(world.find_schema(schema.name) is None, f"schema {schema.name} appears twice")
        world.keep_schema(schema)
    for item in saved.batches:
        _restore_batch(world, item)
    _restore_resources(world, saved.resources)
    for wait in saved.pending:
        _restore_pending(world, wait)
    for fact in saved.ground_truth:
        _demand_sound(fact.at)
    world.ground_truth = saved.ground_truth
    world.event_count = saved.event_count
    world.events += _restored_events(world, saved.events)
    numbers = {event.number for event in world.events}
    _demand(len(numbers) == len(world.events), "two events have one number")
    _demand(max(numbers, default=0) <= world.event_count, "event_count is too low")
    heapq.heapify(world.events)
    _demand_counts(world)
    return world


def _demand_counts(world: World) -> None:
    """Check that every batch's counts add up, and that just the incomplete have events left."""
    to_come = {event.subject.id for event in world.events if event.action in ("begin", "record")}
    for batch in world.batches.values():
        parts = [batch.successful, len(batch.pending), *batch.failures.values()]
        _demand(
            min(parts) >= 0 and sum(parts) == batch.processed,
            f"the counts of batch {batch.id} do not add up",
        )
        _demand(
            (batch.completed_at is None) == (batch.id in to_come),
            f"batch {batch.id} is complete and has events left, or neither",
        )


def _restore_resources(world: World, saved: dict[str, list[Any]]) -> None:
    for tenant_id, rows in saved.items():
        resources = world.libraries[world.tenants[tenant_id].id]
        for schema_id, external_id, record, needs in rows:
            _demand(len(set(needs)) == len(needs), f"{external_id} refers to one thing twice")
            _demand(not is_deep(record), f"{external_id} is nested too deeply")
            resources.put(Key(world.schemas[schema_id].id, external_id), record, needs)


def _restore_batch(world: World, item: _Batch) -> None:
    _demand(item.id not in world.batches, f"batch {item.id} appears twice")
    _demand(0 <= item.processed <= item.total, f"batch {item.id} has processed {item.processed}")
    for moment in (item.created_at, item.started_at, item.completed_at):
        _demand_sound(moment)
    left = 0 if item.completed_at is not None else item.total
    _demand(len(item.write.items) == left, f"batch {item.id} has {len(item.write.items)} items")
    _demand_items(item.write)
    _demand_write(world, replace(item.write, items=()))
    _demand(not is_deep(item.failed_records), f"batch {item.id} is nested too deeply")
    batch = Batch(
        item.id,
        world.schemas[item.schema_id].id,
        item.total,
        item.created_at,
        item.write,
        item.started_at,
        item.completed_at,
        item.processed,
        item.successful,
        Counter(item.failures),
        item.failed_records,
        {},
        set(item.deleted),
        item.message,
    )
    world.batches[batch.id] = batch
    world.batches_of[batch.tenant_id].append(batch)


def _restore_pending(world: World, item: _Pending) -> None:
    for key in (item.key, *item.needs):
        world.schemas[key.schema_id]
    batch = world.batches[item.batch_id]
    resources = world.libraries[batch.tenant_id]
    absent = {need for need in item.needs if need not in resources.resources}
    _demand(bool(absent) and absent == set(item.missing), f"{item.id} waits for the wrong things")
    _demand(item.id not in batch.pending, f"{item.id} appears twice")
    _demand(len(set(item.needs)) == len(item.needs), f"{item.id} needs one thing twice")
    _demand(not is_deep(item.record), f"{item.id} is nested too deeply")
    _demand_sound(item.created_at)
    _demand_sound(item.expires_at, since=world.time)
    pending = Pending(
        item.id,
        item.number,
        batch,
        item.key,
        item.record,
        item.needs,
        dict.fromkeys(item.missing),
        item.created_at,
        item.expires_at,
    )
    resources.wait(pending)
    batch.pending[pending.id] = pending
    world.events.append(Event(pending.expires_at, pending.number, "expiry", pending))


def _restored_events(world: World, saved: list[_Event]) -> list[Event]:
    """The events still to come, except expiries."""
    events, batches = [], set()
    for item in saved:
        _demand_sound(item.at, since=world.time)
        subject: Write | Batch
        if isinstance(item.subject, Write):
            _demand(item.action == "write", f"a write cannot {item.action!r}")
            _demand_write(world, item.subject)
            subject = item.subject
        else:
            _demand(item.action in ("begin", "record"), f"a batch cannot {item.action!r}")
            subject = world.batches[item.subject]
            _demand(subject.completed_at is None, f"batch {subject.id} is complete")
            _demand(subject.id not in batches, f"batch {subject.id} has two things to do")
            batches.add(subject.id)
            least = 0 if item.action == "begin" else 1
            _demand(subject.total - subject.processed >= least, f"batch {subject.id} is done")
        events.append(Event(item.at, item.number, item.action, subject))
    return events


def _demand_write(world: World, write: Write) -> None:
    world.check(write)
    _demand_items(write)


def _demand_items(write: Write) -> None:
    wanted = str if write.kind == assumptions.DELETE else dict
    _demand(write.kind in assumptions.BATCH_TYPES, f"there is no batch type {write.kind!r}")
    _demand(all(isinstance(item, wanted) for item in write.items), "a batch has odd items")
    _demand(not is_deep(write.items), "a batch has items that are nested too deeply")


def _demand_sound(moment: datetime | None, *, since: datetime | None = None) -> None:
    if moment is None:
        return
    sound = moment.tzinfo is not None and BEGIN_OF_TIME <= moment <= END_OF_TIME
    _demand(sound, f"no sound time: {moment}")
    _demand(since is None or moment >= since, f"{moment} is past")


def _demand(holds: bool, otherwise: str) -> None:
    if not holds:
        raise StateError(otherwise)
