"""Scenarios: the shipped ones keep their promises, and wrong files are explained."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from reach_analytics.sandbox import ReferenceSpec, Scenario, SchemaSpec, Stream, Tenant, _saving
from reach_analytics.sandbox.scenario import find, read, shipped

HOUR = timedelta(hours=1)


def played(name: str, seed: int = 0):
    scenario = find(name)
    world = scenario.world(seed)
    world.advance(scenario.start + scenario.duration + timedelta(days=1))
    return world


def events(world) -> Counter:
    return Counter(fact.event for fact in world.ground_truth)


def codes(world) -> Counter:
    return sum((batch.failures for batch in world.batches.values()), Counter())


def test_six_scenarios_ship_and_each_has_a_description():
    names = ["deadlock", "demo", "expiry_storm", "healthy", "late_dependencies", "year"]
    assert shipped() == names
    for name in names:
        assert find(name).name == name
        assert find(name).description


@pytest.mark.parametrize("name", [name for name in shipped() if name != "year"])
def test_the_same_seed_gives_the_same_world_byte_for_byte(name):
    worlds = [_saving.dump(played(name, seed)) for seed in (1, 1, 2)]
    assert worlds[0] == worlds[1] != worlds[2]


def test_healthy_has_neither_waits_nor_failures():
    world = played("healthy")
    assert not world.ground_truth
    assert {batch.status for batch in world.batches.values()} == {"success"}


def test_late_dependencies_mostly_arrive_in_time():
    told = events(played("late_dependencies"))
    assert told["released"] > 3 * told["expired"] > 0


def test_an_expiry_storm_is_mostly_expiries():
    told = events(played("expiry_storm"))
    assert told["expired"] > 2 * told["released"] > 200


def test_in_a_deadlock_nothing_that_waits_is_ever_released():
    world = played("deadlock")
    told = events(world)
    assert told["waiting"] == told["expired"] == 16
    expired = {fact.key.external_id for fact in world.ground_truth if fact.event == "expired"}
    circles = {"TEAM-SELF", "TEAM-TWO", "PER-TWO", "TEAM-THREE", "PER-THREE", "OFF-THREE"}
    assert circles < expired


def test_the_demo_has_something_of_everything():
    world = played("demo")
    assert {"VALIDATION_ERROR", "DEPENDENCY_WAIT_EXPIRED", "BATCH_FAILED"} == codes(world).keys()
    assert events(world)["released"] > 500


def test_the_year_has_ten_thousand_batches_over_365_days():
    scenario = find("year")
    world = scenario.world(0)
    assert 10_000 <= len(world.events) <= 10_050
    assert scenario.moments[-1] - scenario.start == timedelta(days=365)
    world.advance(scenario.moments[30])
    assert 800 < len(world.batches) < 900


def test_a_scenario_can_be_built_in_python_and_written_as_a_file(tmp_path):
    built = Scenario(
        name="mine",
        start=datetime(2026, 1, 1, tzinfo=UTC),
        duration=3 * HOUR,
        tenants=[Tenant(name="One", external_id="ONE", size=2)],
        schemas={
            "people": SchemaSpec(prefix="P-"),
            "visits": SchemaSpec(
                prefix="V-",
                fields={"cost": {"type": "number"}},
                numbers={"cost": (1, 100)},
                links={"person": ReferenceSpec(schema="people", among=3)},
            ),
        },
        streams=[
            Stream(schema="people", records=4, lost=0.5, delays=[HOUR]),
            Stream(schema="visits", records=10, wait=HOUR, batch_size=8),
        ],
    )
    file = tmp_path / "mine.toml"
    file.write_text(
        """
        name = "mine"
        start = 2026-01-01T00:00:00Z
        duration = "PT3H"
        tenants = [{ name = "One", external_id = "ONE", size = 2 }]

        [schemas.people]
        prefix = "P-"

        [schemas.visits]
        prefix = "V-"
        fields.cost = { type = "number" }
        numbers.cost = [1, 100]
        links.person = { schema = "people", among = 3 }

        [[streams]]
        schema = "people"
        records = 4
        lost = 0.5
        delays = ["PT1H"]

        [[streams]]
        schema = "visits"
        records = 10
        wait = "PT1H"
        batch_size = 8
        """
    )
    assert read(file) == find(str(file)) == built
    world = built.world(0)
    world.advance(built.start + 10 * HOUR)
    sizes = [batch.total for batch in world.batches.values()]
    assert Counter(sizes)[8] >= 6  # twenty visits are three batches: 8, 8 and 4
    assert max(sizes) == 8


def test_moments_are_evenly_spaced_and_end_with_the_scenario():
    scenario = find("demo")
    assert scenario.moments[0] == scenario.start + timedelta(minutes=20)
    assert scenario.moments[-1] == scenario.start + scenario.duration


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"duration": timedelta(0)}, "duration must be 0:00:01 to"),
        ({"start": datetime(2026, 1, 1)}, "start must have an offset"),
        ({"observe_every": timedelta(days=1)}, "observe_every is longer than duration"),
        ({"records_per_second": 1e-300}, "records_per_second must be"),
        (
            {"schemas": find("healthy").schemas | {"Contacts": SchemaSpec(prefix="x")}},
            "two of schema",
        ),
        ({"tenants": find("healthy").tenants * 2}, "two of tenant 'ALDER'"),
        ({"streams": [Stream(schema="ghosts", records=1)]}, "no schema 'ghosts'"),
        ({"streams": [Stream(schema="contacts", records=1, tenants=["X"])]}, "no tenant 'X'"),
    ],
)
def test_inconsistent_scenarios_are_refused(change, said):
    with pytest.raises(ValueError, match=said):
        msgspec.structs.replace(find("healthy"), **change).__post_init__()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name = ", "not valid"),
        ("name = 'x'", "missing required field"),
        ("schemas.a = {prefix = 'A-', numbers = {n = [0, 1]}}", "two numbers above 0"),
        ("schemas.a = {prefix = 'A-', category = 'nonsense'}", "no category 'nonsense'"),
        ("streams = [{schema = 'a', records = 1, batch_size = 0}]", "batch_size must be 1 to 1000"),
        ("schemas.a = {prefix = 'A-', links = {b = {schema = 'a', among = 0}}}", "among must be"),
        (
            "uploads = [{at = 'PT1H', tenant = 't', schema = 'a', given = [{a = 2026-01-01}]}]",
            "a value that JSON cannot hold",
        ),
        ("colour = 'red'", "unknown field `colour`"),
        (None, "cannot be read"),
    ],
)
def test_errors_in_files_are_explained(tmp_path, text, said):
    file = tmp_path / "wrong.toml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ValueError, match=said):
        find(str(file))
