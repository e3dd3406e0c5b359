"""The emulated Reach: what happens to records as its clock advances."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from reach_analytics.sandbox import World
from reach_analytics.sandbox.scenario import find

START = datetime(2026, 3, 2, 6, tzinfo=UTC)


@pytest.fixture
def world():
    """One tenant "t" and schemas a ← b ← c, one record a second."""
    world = World(START, records_per_second=1)
    world.add_tenant("T", "t")
    world.add_schema("a", "custom_schema", {"n": {"type": "number", "minimum": 0}})
    for name, other in (("b", "A"), ("c", "b")):
        world.add_schema(name, "custom_schema", {"needs": {"$ref": f"reach:schemas/{other}"}})
    return world


def send(world, schema: str, *records: str | dict, wait_s: int = 600, **options):
    """Records by their id; ``"x>y"`` is x, which needs y."""
    tenant_id = next(iter(world.tenants))
    rows = [
        r if isinstance(r, dict) else dict(zip(("externalId", "needs"), r.split(">"), strict=False))
        for r in records
    ]
    return world.ingest(tenant_id, schema, rows, wait_s=wait_s, **options)


def later(world, seconds: float) -> None:
    world.advance(world.time + timedelta(seconds=seconds))


def counts(batch) -> tuple[int, int, int, int]:
    """(processed, successful, pending, failed)"""
    return batch.processed, batch.successful, len(batch.pending), sum(batch.failures.values())


def test_records_are_processed_one_after_the_other(world):
    batch = send(world, "a", "1", "2", "3")
    assert (batch.status, counts(batch)) == ("processing", (0, 0, 0, 0))
    later(world, 4 + 2)
    assert (batch.status, counts(batch)) == ("processing", (2, 2, 0, 0))
    later(world, 1)
    assert (batch.status, batch.completed_at) == ("success", START + timedelta(seconds=7))


def test_records_wait_for_what_they_miss_and_are_released_in_chains_across_batches(world):
    sales, shops = send(world, "c", "s1>h1"), send(world, "b", "h1>o1")
    later(world, 10)
    assert counts(sales) == counts(shops) == (1, 0, 1, 0)
    assert sales.status == "partial_success"
    send(world, "a", "o1")
    later(world, 10)
    assert counts(sales) == counts(shops) == (1, 1, 0, 0)
    assert sales.status == "success"
    assert [fact.event for fact in world.ground_truth] == ["waiting"] * 2 + ["released"] * 2
    assert all(resources.is_idle for resources in world.libraries.values())


def test_waits_expire_and_their_dependents_wait_on(world):
    shops, sales = send(world, "b", "h1>o1", wait_s=60), send(world, "c", "s1>h1", wait_s=600)
    later(world, 65)
    assert counts(shops) == (1, 0, 0, 1)
    assert (shops.status, shops.failures) == ("failure", {"DEPENDENCY_WAIT_EXPIRED": 1})
    assert counts(sales) == (1, 0, 1, 0)
    later(world, 600)
    assert counts(sales) == (1, 0, 0, 1)
    assert all(resources.is_idle for resources in world.libraries.values())


def test_without_a_wait_missing_dependencies_fail_at_once(world):
    batch = send(world, "b", "h1>o1", wait_s=0)
    later(world, 10)
    assert batch.failures == {"MISSING_DEPENDENCY": 1}


def test_two_that_need_each_other_are_never_released():
    world = World(START)
    world.add_tenant("T", "t")
    for name, other in (("a", "b"), ("b", "a")):
        world.add_schema(name, "custom_schema", {"needs": {"$ref": f"reach:schemas/{other}"}})
    one, other = send(world, "a", "1>2", wait_s=60), send(world, "b", "2>1", wait_s=60)
    later(world, 30)
    assert len(one.pending) == len(other.pending) == 1
    later(world, 60)
    assert [fact.event for fact in world.ground_truth] == ["waiting"] * 2 + ["expired"] * 2


def test_records_are_validated(world):
    batch = send(world, "a", {"externalId": "1", "n": -1}, {"n": 1}, {"externalId": 5}, "ok")
    later(world, 10)
    assert (batch.failures, batch.successful) == ({"VALIDATION_ERROR": 3}, 1)
    assert batch.failed_records[0]["message"] == "-1 is less than the minimum of 0"


def test_a_batch_can_fail_as_a_whole(world):
    batch = send(world, "a", "1", "2", message="unreadable")
    later(world, 10)
    assert (batch.status, batch.message, counts(batch)) == ("failure", "unreadable", (2, 0, 0, 2))


def test_an_empty_batch_succeeds(world):
    batch = send(world, "a")
    later(world, 10)
    assert batch.status == "success"


def test_tenants_share_nothing(world):
    other = world.add_tenant("U", "u")
    world.ingest(other.id, "a", [{"externalId": "o1"}])
    later(world, 10)
    shops = send(world, "b", "h1>o1")
    later(world, 10)
    assert len(shops.pending) == 1


def test_advancing_the_clock_at_once_or_in_steps_is_the_same():
    scenario = find("demo")
    whole, steps = scenario.world(3), scenario.world(3)
    whole.advance(scenario.moments[-1])
    for moment in scenario.moments:
        steps.advance(moment)
    assert whole.ground_truth == steps.ground_truth
    assert [b.status for b in whole.batches.values()] == [b.status for b in steps.batches.values()]


def test_the_same_seed_gives_the_same_world_and_another_seed_another():
    scenario = find("demo")
    worlds = [scenario.world(seed) for seed in (1, 1, 2)]
    for world in worlds:
        world.advance(scenario.moments[5])
    assert list(worlds[0].batches) == list(worlds[1].batches) != list(worlds[2].batches)
    assert worlds[0].ground_truth == worlds[1].ground_truth


def test_counts_always_add_up_and_nothing_is_both_stored_and_pending():
    scenario = find("demo")
    world = scenario.world(0)
    for moment in scenario.moments:
        world.advance(moment)
        for batch in world.batches.values():
            processed, successful, pending, failed = counts(batch)
            assert successful + pending + failed == processed <= batch.total
            for item in batch.pending.values():
                assert item.missing
                assert item.expires_at > moment
                assert not set(item.missing) & set(world.libraries[batch.tenant_id].resources)


@pytest.mark.parametrize("wait_s", [-1, 86_401])
def test_waits_out_of_range_are_refused(world, wait_s):
    with pytest.raises(ValueError, match="wait_s"):
        send(world, "a", "1", wait_s=wait_s)


def test_more_than_a_thousand_records_are_refused(world):
    with pytest.raises(ValueError, match="1000"):
        send(world, "a", *map(str, range(1001)))


def test_schema_names_are_unique_ignoring_case(world):
    with pytest.raises(ValueError, match="'A'"):
        world.add_schema("A", "custom_schema", {})


def test_an_empty_batch_is_processing_until_it_has_begun(world):
    batch = send(world, "a")
    assert batch.status == "processing"
    later(world, 4)
    assert (batch.status, batch.completed_at) == ("success", world.time)


def test_any_error_of_the_validator_fails_the_record_and_the_clock_runs_on(world):
    """With a schema that `check` refuses, as the validator fails on its joined patterns."""
    schema = world.add_schema("odd", "custom_schema", {"n": {"type": "object"}})
    patterns = {"patternProperties": {"^a": {}, "(?i)^b": {}}, "additionalProperties": False}
    schema.problems = problems_of(schema, {"n": patterns})
    batch = send(world, "odd", {"externalId": "1", "n": {"z": 1}}, "2")
    later(world, 10)
    assert (batch.processed, batch.successful) == (2, 1)
    assert "cannot be validated" in batch.failed_records[0]["message"]


def problems_of(schema, properties: dict):
    """The checks of the same schema with other properties."""
    own = {**schema.document["properties"], **properties}
    return dataclasses.replace(schema, document={**schema.document, "properties": own}).problems


CASCADE = """
import dataclasses
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from reach_analytics.sandbox import World, Write, assumptions
from reach_analytics.sandbox import _saving
world = World(datetime(2026, 3, 2, tzinfo=UTC), records_per_second=10)
tenant = world.add_tenant("T", "t")
world.add_schema("a", "custom_schema", {"of": {"$ref": "reach:schemas/a"}})
many = {"type": "array", "items": {"$ref": "reach:schemas/a"}}
world.add_schema("c", "custom_schema", {"of": many})
names = [f"M{i}" for i in range(9)]
world.ingest(tenant.id, "a", [{"externalId": "R"}, *({"externalId": n, "of": "R"} for n in names)])
world.advance(world.time + timedelta(seconds=60))
wait = {"externalId": "W", "of": [*names, "ABSENT"]}
world.ingest(tenant.id, "c", [wait], wait_s=600)
world.submit(Write(tenant.id, "a", ["R"], assumptions.DELETE, cascade=True))
world.advance(world.time + timedelta(seconds=60))
print(_saving.dump(world).decode())
"""


def test_a_cascade_is_the_same_in_every_process():
    dumps = {
        subprocess.run(
            [sys.executable, "-c", CASCADE],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in "123"
    }
    assert len(dumps) == 1
    assert "ABSENT" in dumps.pop()
