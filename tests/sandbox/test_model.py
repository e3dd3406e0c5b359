"""The world against a naive model of it: plain lists, no index."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from reach_analytics.sandbox import World, Write, _saving, assumptions
from reach_analytics.sandbox._world.schema import Key
from tests.support.effort import examples

START = datetime(2026, 3, 2, 6, tzinfo=UTC)
SECOND = timedelta(seconds=1)
# a refers to nothing but other a; b to an a; c to an a and to many b.
PROPERTIES = {
    "a": {"stamp": {"type": "integer"}, "peer": {"$ref": "reach:schemas/a"}},
    "b": {"stamp": {"type": "integer"}, "of": {"$ref": "reach:schemas/A"}},
    "c": {
        "stamp": {"type": "integer"},
        "of": {"$ref": "reach:schemas/a"},
        "parts": {"type": "array", "items": {"$ref": "reach:schemas/b"}},
    },
}
ids = st.sampled_from("12")
tenants = st.sampled_from([0, 0, 0, 0, 1])


def records(schema: str):
    """Records of a schema; some invalid, some with fields that it does not know."""
    optional = {
        "a": {"peer": ids | st.none()},
        "b": {"of": ids | st.none()},
        "c": {"of": ids | st.none(), "parts": st.lists(ids, max_size=2)},
    }[schema]
    odd = {"stamp": st.just("no number"), "surplus": st.just(1)}
    good = st.fixed_dictionaries({"externalId": ids}, optional=optional)
    return st.one_of(
        good, good, good, st.fixed_dictionaries({"externalId": ids}, optional={**optional, **odd})
    )


writes = st.sampled_from("abc").flatmap(
    lambda schema: st.tuples(st.just(schema), st.lists(records(schema), min_size=1, max_size=4))
)


@dataclass
class NaiveBatch:
    write: Write
    schema: str
    created: datetime
    next: int = 0
    good: int = 0
    failed: dict = field(default_factory=dict)
    gone: set = field(default_factory=set)

    @property
    def next_at(self) -> datetime:
        return self.created + (assumptions.START_DELAY_S + 1 + self.next) * SECOND

    def fail(self, code: str) -> None:
        self.failed[code] = self.failed.get(code, 0) + 1


@dataclass
class NaiveWait:
    batch: NaiveBatch
    key: tuple
    record: dict
    needs: list
    until: datetime


class Naive:
    """What the world should do, by the table of assumptions; keys are (tenant, schema, id)."""

    def __init__(self) -> None:
        self.stored: dict = {}
        self.waits: list[NaiveWait] = []
        self.batches: list[NaiveBatch] = []
        self.released: list = []
        self.expired: list = []

    def advance(self, until: datetime) -> None:
        while True:
            coming = [(wait.until, 0, i) for i, wait in enumerate(self.waits)]
            coming += [
                (batch.next_at, 1, i)
                for i, batch in enumerate(self.batches)
                if batch.next < len(batch.write.items)
            ]
            if not coming or min(coming)[0] > until:
                return
            _, is_record, i = min(coming)
            if is_record:
                self.process(self.batches[i])
            else:
                wait = self.waits.pop(i)
                wait.batch.fail("DEPENDENCY_WAIT_EXPIRED")
                self.expired.append((wait.key, wait.until))

    def process(self, batch: NaiveBatch) -> None:
        at, item = batch.next_at, batch.write.items[batch.next]
        batch.next += 1
        if batch.write.kind == assumptions.DELETE:
            self.delete(batch, (batch.write.tenant_id, batch.schema, item))
            return
        if {"surplus"} & item.keys() and not batch.write.ignore_unknown_fields:
            batch.fail("UNKNOWN_FIELD")
            return
        record = {name: value for name, value in item.items() if name != "surplus"}
        key = (batch.write.tenant_id, batch.schema, record["externalId"])
        code, merged = self.merge(batch, key, record)
        if code:
            batch.fail(code)
            return
        needs = self.needs(key, merged)
        if all(need in self.stored for need in needs):
            batch.good += 1
            self.arrive(key, merged)
        elif batch.write.wait_s == 0:
            batch.fail("MISSING_DEPENDENCY")
        else:
            self.waits.append(
                NaiveWait(batch, key, record, needs, at + batch.write.wait_s * SECOND)
            )

    def merge(self, batch: NaiveBatch, key: tuple, record: dict) -> tuple:
        there = self.stored.get(key)
        if there is not None and batch.write.rejects_stored:
            return "CONFLICT", None
        if there is None and batch.write.kind == assumptions.PATCH:
            return "NOT_FOUND", None
        merged = dict(there or {})
        for name, value in record.items():
            if value is None:
                merged.pop(name, None)
            else:
                merged[name] = value
        return ("VALIDATION_ERROR" if merged.get("stamp") == "no number" else None), merged

    def needs(self, key: tuple, record: dict) -> list:
        tenant, found = key[0], []
        if record.get("peer") is not None:
            found.append((tenant, "a", record["peer"]))
        if record.get("of") is not None:
            found.append((tenant, "a", record["of"]))
        return found + [(tenant, "b", part) for part in record.get("parts", [])]

    def arrive(self, key: tuple, record: dict) -> None:
        ready = self.put(key, record)
        while ready:
            wait = ready.pop(0)
            self.waits.remove(wait)
            self.released.append(wait.key)
            code, merged = self.merge(wait.batch, wait.key, wait.record)
            if code:
                wait.batch.fail(code)
            else:
                wait.batch.good += 1
                ready += self.put(wait.key, merged)

    def put(self, key: tuple, record: dict) -> list:
        is_new = key not in self.stored
        self.stored[key] = record
        return [
            wait
            for wait in self.waits
            if is_new and key in wait.needs and all(need in self.stored for need in wait.needs)
        ]

    def dependents(self, key: tuple) -> set:
        found = {key}
        while True:
            more = {k for k, r in self.stored.items() if found & set(self.needs(k, r))} | found
            if more == found:
                return found - {key}
            found = more

    def delete(self, batch: NaiveBatch, key: tuple) -> None:
        if key not in self.stored:
            if key in batch.gone:
                batch.good += 1
            else:
                batch.fail("NOT_FOUND")
            return
        others = self.dependents(key)
        to_come = {(*key[:2], item) for item in batch.write.items[batch.next :]}
        if others - to_come and not batch.write.cascade:
            batch.fail("HAS_DEPENDENTS")
            return
        for each in {key} | others:
            del self.stored[each]
            batch.gone.add(each)
        batch.good += 1


class WorldAgainstNaive(RuleBasedStateMachine):
    """Random writes and clock advances; after each, both must be in the same state."""

    @initialize()
    def begin(self) -> None:
        self.world = World(START, records_per_second=1)
        self.naive = Naive()
        self.tenant_ids = [self.world.add_tenant(name, name).id for name in "TU"]
        for name, properties in PROPERTIES.items():
            self.world.add_schema(name, "custom_schema", properties)
        self.stamp = 0

    def submit(self, write: Write, then: float = 0) -> None:
        """Each batch arrives at its own microsecond, so that no two events coincide."""
        self.advance_clock(1e-6)
        made = self.world.submit(write)
        self.naive.batches.append(NaiveBatch(write, write.schema, self.world.time))
        assert list(self.world.batches)[-1] == made.id
        self.advance_clock(then)

    @rule(
        upload=writes,
        tenant=tenants,
        wait_s=st.sampled_from([0, 2, 30, 86_400, 86_400]),
        rejects=st.booleans(),
        ignores=st.booleans(),
        kind=st.sampled_from([assumptions.INGEST, assumptions.INGEST, assumptions.PATCH]),
        then=st.sampled_from([0, 10]),
    )
    def upload(self, upload, tenant, wait_s, rejects, ignores, kind, then) -> None:
        schema, items = upload
        stamped = []
        for item in items:
            self.stamp += 1
            stamped.append({"stamp": self.stamp, **item})
        rejects = rejects and kind == assumptions.INGEST
        owner = self.tenant_ids[tenant]
        self.submit(Write(owner, schema, stamped, kind, wait_s, rejects, ignores), then=then)

    @rule(
        which=st.integers(0, 30),
        more=st.lists(ids, max_size=2),
        cascade=st.booleans(),
        then=st.sampled_from([0, 10]),
    )
    def delete(self, which, more, cascade, then) -> None:
        there = sorted(self.naive.stored) or [(self.tenant_ids[0], "a", "1")]
        owner, schema, first = there[which % len(there)]
        items = [first, *more]
        write = Write(owner, schema, items, assumptions.DELETE, cascade=cascade)
        expected = set()
        doomed = {(owner, schema, item) for item in items}
        for key in doomed & self.naive.stored.keys():
            others = self.naive.dependents(key)
            if cascade or others <= doomed:
                expected |= others | {key}
        assert self.world.would_delete(write) == len(expected)
        self.submit(write, then)

    @rule(schema=st.sampled_from("abc"), tenant=tenants)
    def delete_all(self, schema, tenant) -> None:
        owner = self.tenant_ids[tenant]
        write = Write(owner, schema, (), assumptions.DELETE)
        named = self.world.naming_all(write)
        keys = {key for key in self.naive.stored if key[:2] == (owner, schema)}
        assert sorted(named.items) == sorted(key[2] for key in keys)
        self.submit(named)

    @rule(seconds=st.sampled_from([0.5, 3, 10, 10, 10, 60, 90_000]))
    def advance_clock(self, seconds: float) -> None:
        until = self.world.time + timedelta(seconds=seconds)
        self.world.advance(until)
        self.naive.advance(until)

    @rule()
    def save_and_load(self) -> None:
        body = _saving.dump(self.world)
        self.world = _saving.load(body)
        assert _saving.dump(self.world) == body

    def name(self, tenant_id: str, key: Key) -> tuple:
        return (tenant_id, self.world.schemas[key.schema_id].name, key.external_id)

    @invariant()
    def every_batch_counts_the_same_and_adds_up(self) -> None:
        for batch, naive in zip(self.world.batches.values(), self.naive.batches, strict=True):
            waiting = [wait for wait in self.naive.waits if wait.batch is naive]
            assert batch.processed == naive.next
            assert batch.successful == naive.good
            assert batch.failures == naive.failed
            assert len(batch.pending) == len(waiting)
            parts = batch.successful + len(batch.pending) + sum(batch.failures.values())
            assert parts == batch.processed <= batch.total

    @invariant()
    def the_same_is_stored_and_refers_only_to_stored_resources(self) -> None:
        stored = {
            self.name(tenant_id, key): record
            for tenant_id, resources in self.world.libraries.items()
            for key, record in resources.resources.items()
        }
        assert stored == self.naive.stored
        for key, record in stored.items():
            assert all(need in stored for need in self.naive.needs(key, record))

    @invariant()
    def the_same_waits_and_nothing_beyond_its_expiry(self) -> None:
        found = []
        for batch in self.world.batches.values():
            resources = self.world.libraries[batch.tenant_id]
            for wait in batch.pending.values():
                assert wait.expires_at > self.world.time
                assert wait.missing.keys() == {
                    k for k in wait.needs if k not in resources.resources
                }
                assert wait.missing
                found.append((self.name(batch.tenant_id, wait.key), wait.expires_at))
        assert sorted(found) == sorted((wait.key, wait.until) for wait in self.naive.waits)

    @invariant()
    def no_record_is_both_pending_and_stored(self) -> None:
        """The stamp distinguishes records of the same key."""
        for tenant_id, resources in self.world.libraries.items():
            stamps = {record.get("stamp") for record in resources.resources.values()}
            for batch in self.world.batches_of[tenant_id]:
                assert not stamps & {wait.record["stamp"] for wait in batch.pending.values()}

    @invariant()
    def nothing_is_left_behind_when_nothing_waits(self) -> None:
        if not self.naive.waits:
            assert all(resources.is_idle for resources in self.world.libraries.values())

    @invariant()
    def the_log_tells_what_happened(self) -> None:
        told = {"released": [], "expired": []}
        for fact in self.world.ground_truth:
            if fact.event != "waiting":
                told[fact.event].append((self.name(fact.tenant_id, fact.key), fact.at))
        assert [key for key, _ in told["released"]] == self.naive.released
        assert told["expired"] == self.naive.expired


TestWorldAgainstNaive = WorldAgainstNaive.TestCase
TestWorldAgainstNaive.settings = settings(
    max_examples=examples(150), stateful_step_count=50, deadline=None
)
