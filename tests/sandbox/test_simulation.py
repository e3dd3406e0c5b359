"""The clock standing, advanced and running; reset; and saving the whole state."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from reach_analytics import sandbox as sandboxes
from reach_analytics.sandbox import SchemaSpec, World, _saving, faults
from reach_analytics.sandbox._http import documents
from reach_analytics.sandbox._saving import StateError
from reach_analytics.sandbox._simulation import Simulation
from reach_analytics.sandbox._world.world import END_OF_TIME
from reach_analytics.sandbox.scenario import find
from tests.support.effort import examples

MINUTE = timedelta(minutes=1)
JSON = {"Content-Type": "application/json"}


class Ticking:
    """A real clock that a test moves by hand."""

    seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def real():
    return Ticking()


@pytest.fixture
def simulation(real):
    return Simulation(find("healthy"), 0, monotonic=real)


def test_a_standing_clock_stands_but_its_readings_differ(simulation, real):
    real.seconds += 60
    readings = [simulation.now() for _ in range(3)]
    assert readings == sorted(set(readings))
    assert readings[-1] - simulation.scenario.start < timedelta(seconds=1)
    assert simulation.world.time == simulation.scenario.start


def test_a_running_clock_runs_at_its_multiple_of_real_time(simulation, real):
    simulation.run(60)
    real.seconds += 10
    assert simulation.now() - simulation.scenario.start == 10 * MINUTE
    assert simulation.world.batches  # the events of the meantime have happened
    simulation.run(0)
    real.seconds += 10
    assert simulation.now() - simulation.scenario.start < 10 * MINUTE + timedelta(seconds=1)


def test_a_running_clock_can_be_advanced_as_well(simulation, real):
    simulation.run(1)
    simulation.advance(simulation.scenario.start + 60 * MINUTE)
    real.seconds += 60
    assert simulation.now() - simulation.scenario.start == 61 * MINUTE


@pytest.mark.parametrize("speed", [-1, math.inf, math.nan, 1e300])
def test_speeds_out_of_range_are_refused(simulation, speed):
    with pytest.raises(ValueError, match="speed must be 0 to 1e"):
        simulation.run(speed)


def test_a_clock_that_runs_for_ages_stops_at_the_end_of_time(simulation, real):
    simulation.run(1e6)
    real.seconds += 1e12
    assert simulation.now().year == 9000


def test_reset_starts_over(simulation):
    simulation.set_faults([faults.Drop()])
    simulation.run(5)
    simulation.advance(simulation.scenario.moments[3])
    simulation.reset()
    assert (simulation.world.time, simulation.speed, simulation.faults.rules) == (
        simulation.scenario.start,
        0,
        [],
    )
    assert not simulation.world.batches
    simulation.reset(find("demo"), 7)
    assert (simulation.scenario.name, simulation.seed) == ("demo", 7)


def halfway(name: str, seed: int = 0) -> Simulation:
    simulation = Simulation(find(name), seed)
    simulation.advance(simulation.scenario.moments[len(simulation.scenario.moments) // 2])
    return simulation


@pytest.mark.parametrize("name", ["demo", "deadlock", "expiry_storm"])
def test_a_saved_state_continues_as_if_uninterrupted(name):
    """Simulated halfway, saved, loaded elsewhere and finished: the same as in one go."""
    first, other = halfway(name, seed=4), Simulation(find("healthy"), 0)
    first.set_faults([faults.Failure(every=2)])
    first.faults.draw("GET", "/")
    body = first.save()
    other.load(body)
    assert other.save() == body
    assert (other.scenario, other.seed) == (first.scenario, 4)
    assert bool(other.faults.draw("GET", "/"))  # the second request, as it goes on counting
    for simulation in (first, other):
        simulation.advance(first.scenario.moments[-1])
    assert _saving.dump(first.world) == _saving.dump(other.world)


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"scenario": 1}', b"[" * 100_000])
def test_an_invalid_saved_state_is_refused_and_changes_nothing(simulation, body):
    before = simulation.save()
    with pytest.raises(StateError):
        simulation.load(body)
    assert simulation.save() == before


SAVED = json.loads(halfway("deadlock").save())


FIRST = SAVED["world"]["pending"][0]


def broken(path: list, value) -> bytes:
    """The saved state with another value at a path."""
    state = json.loads(json.dumps(SAVED))
    node = state
    for step in path[:-1]:
        node = node[step]
    node[path[-1]] = value
    return json.dumps(state).encode()


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (["world", "version"], 2, "version 2"),
        (["world", "time"], "2026-01-01T00:00:00", "no sound time"),
        (["world", "time"], "2030-01-01T00:00:00Z", "is past"),
        (["world", "records_per_second"], 0, "records_per_second"),
        (["world", "tenants"], [], "does not have|no tenant"),
        (["world", "schemas"], [], "does not have|no schema"),
        (["world", "pending", 0, "needs"], [], "waits for the wrong things"),
        (["world", "pending", 0, "missing"], [], "waits for the wrong things"),
        (["world", "pending", 0, "batch_id"], "ghost", "'ghost'"),
        (["world", "pending", 0, "expires_at"], "1999-01-01T00:00:00Z", "is past"),
        (["world", "batches", 0, "processed"], -1, "has processed -1"),
        (["world", "batches", 0, "total"], 3, "has processed|items"),
        (["world", "batches", 0, "write", "wait_s"], 10**6, "wait_s"),
        (["world", "batches", 0, "write", "kind"], "SOME", "no batch type"),
        (["world", "batches", 0, "created_at"], "0001-01-01T00:00:00+14:00", "no sound time"),
        (["world", "batches", 1], SAVED["world"]["batches"][0], "twice"),
        (["world", "events", 0, 2], "explode", "cannot"),
        (["world", "events", 0, 0], "1999-01-01T00:00:00Z", "is past"),
        (["world", "random"], [3, [1, 2], None], "is inconsistent"),
        (["world", "ground_truth", 0, "at"], "9999-01-01T00:00:00Z", "no sound time"),
        (["world", "pending", 0, "needs"], [*FIRST["needs"], FIRST["needs"][0]], "one thing twice"),
        (["world", "pending", 1, "number"], FIRST["number"], "one number"),
        (["world", "event_count"], 1, "event_count is too low"),
        (["world", "records_per_second"], 1e-12, "records_per_second"),
        (["world", "batches", 0, "successful"], -1, "do not add up"),
        (["world", "pending"], [], "do not add up"),
        (["world", "schemas", 0, "name"], SAVED["world"]["schemas"][1]["name"], "twice"),
        (["world", "pending", 0, "record", "deep"], json.loads("[" * 150 + "]" * 150), "deeply"),
        (["seed"], "none", "not a saved state"),
        (["counts"], [[1], []], "differ in number"),
    ],
)
def test_an_inconsistent_state_is_refused_and_says_why(simulation, path, value, said):
    before = simulation.save()
    with pytest.raises(StateError, match=said):
        simulation.load(broken(path, value))
    assert simulation.save() == before


def paths(node, path=()):
    """Every path in a nested value."""
    yield path
    steps = node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
    for step in steps:
        yield from paths(node[step], (*path, step))


PATHS = [list(path) for path in paths(SAVED) if path and path[:2] != ("world", "random")]
odd = st.none() | st.integers(-5, 5) | st.text(max_size=3) | st.just([]) | st.just({})


@settings(max_examples=examples(300))
@given(st.sampled_from(PATHS), odd)
def test_any_saved_state_is_refused_or_can_be_simulated(path, value):
    """No input may break the sandbox later, when it is simulated and shown."""
    simulation = Simulation(find("healthy"), 0)
    try:
        simulation.load(broken(path, value))
    except StateError:
        return
    simulation.advance(
        max(simulation.world.time, simulation.scenario.moments[-1]) + timedelta(days=2)
    )
    world = simulation.world
    for batch in world.batches.values():
        assert not batch.pending
        msgspec.json.encode(documents.batch(world, batch, pending_details=True))
    told = [documents.schema(world, schema) for schema in world.schemas.values()]
    told += [documents.tenant(tenant) for tenant in world.tenants.values()]
    told += [documents.fact(fact) for fact in world.ground_truth]
    assert msgspec.json.encode(told)
    assert simulation.save()


def test_the_state_travels_over_http_and_through_files(tmp_path):
    with sandboxes.serve("demo", seed=2) as one, sandboxes.serve("healthy") as other:
        one.advance(one.scenario.moments[8])
        state = requests.get(one.url + "/_sandbox/state", timeout=30).content
        answer = requests.put(other.url + "/_sandbox/state", data=state, headers=JSON, timeout=30)
        assert answer.json()["data"]["scenario"] == "demo"
        assert list(other.world.batches) == list(one.world.batches)
        other.reset("healthy", 3)
        other.load(_saved(one, tmp_path / "state.json"))
        assert other.scenario.name == "demo"
        bad = requests.put(
            other.url + "/_sandbox/state", data=state[:-100], headers=JSON, timeout=30
        )
        assert (bad.status_code, bad.json()["success"]) == (422, False)


def _saved(sandbox, path):
    sandbox.save(path)
    return path


def test_clock_reset_ground_truth_and_requests_are_available_over_http():
    with sandboxes.serve("expiry_storm") as sandbox:

        def call(method: str, path: str, **options):
            answer = requests.request(method, sandbox.url + path, timeout=30, **options)
            return answer.status_code, answer.json()["data"]

        status, clock = call("POST", "/_sandbox/clock", json={"advanceSeconds": 7200, "speed": 0})
        assert (status, clock["scenario"], clock["speed"]) == (200, "expiry_storm", 0)
        status, ground_truth = call(
            "GET", "/_sandbox/ground_truth", params={"offset": 5, "limit": 10}
        )
        assert (status, len(ground_truth["results"])) == (200, 10)
        assert ground_truth["total"] == len(sandbox.world.ground_truth)
        assert ground_truth["results"][0]["pendingId"] == sandbox.world.ground_truth[5].pending_id
        requests.get(sandbox.url + "/api/batches?limit=1", timeout=5)
        status, log = call("GET", "/_sandbox/requests")
        assert [(row["path"], row["status"]) for row in log["results"]] == [("/api/batches", 401)]
        assert call("POST", "/_sandbox/reset", json={"scenario": "healthy", "seed": 1})[0] == 200
        assert sandbox.scenario.name == "healthy"
        assert call("POST", "/_sandbox/reset", json={"scenario": "../../etc"})[0] == 422
        assert call("POST", "/_sandbox/clock", json={"to": "9999-01-01T00:00:00Z"})[0] == 422
        assert call("POST", "/_sandbox/clock", json={"speed": -1})[0] == 400


def test_the_end_of_time_can_be_saved(simulation):
    simulation.advance(END_OF_TIME)
    body = simulation.save()
    simulation.load(body)
    assert simulation.save() == body


def test_a_reset_that_fails_changes_nothing(simulation):
    kinds = simulation.scenario.schemas | {
        "odd": SchemaSpec(prefix="O-", fields={"a": {"type": "nothing"}})
    }
    bad = msgspec.structs.replace(simulation.scenario, name="bad", schemas=kinds)
    before = simulation.save()
    with pytest.raises(ValueError, match="not a JSON Schema"):
        simulation.reset(bad)
    assert simulation.save() == before


def test_every_offset_is_the_same_moment_and_a_wait_is_as_long_as_it_says():
    """In Berlin that night lacks an hour; the wait is still two hours."""
    world = World(datetime(2026, 3, 28, tzinfo=UTC), records_per_second=1)
    tenant = world.add_tenant("T", "t")
    world.add_schema("a", "custom_schema", {"of": {"$ref": "reach:schemas/a"}})
    world.advance(datetime(2026, 3, 29, 1, 0, tzinfo=ZoneInfo("Europe/Berlin")))
    batch = world.ingest(tenant.id, "a", [{"externalId": "1", "of": "2"}], wait_s=7200)
    world.advance(world.time + MINUTE)
    (wait,) = batch.pending.values()
    assert wait.expires_at - wait.created_at == timedelta(hours=2)
    assert documents.timestamp(world.time) == "2026-03-29T00:01:00.000Z"


def test_ground_truth_and_the_world_are_those_of_the_running_clocks_time(real):
    with sandboxes.serve("expiry_storm", speed=3600, monotonic=real) as sandbox:
        real.seconds += 2
        ground_truth = requests.get(sandbox.url + "/_sandbox/ground_truth", timeout=5).json()[
            "data"
        ]
        assert ground_truth["total"] > 0
        real.seconds += 2
        assert sandbox.world.time - sandbox.scenario.start == timedelta(hours=4)


def test_the_clock_can_be_set_running_over_http_and_when_served(real):
    with sandboxes.serve("healthy", speed=60, monotonic=real) as sandbox:
        real.seconds += 60
        url = sandbox.url + "/_sandbox/clock"
        now = requests.get(url, timeout=5).json()["data"]["now"]
        assert now == "2026-03-02T07:00:00.000Z"
        requests.post(url, json={"speed": 3600}, timeout=5)
        real.seconds += 1
        assert sandbox.now() - sandbox.scenario.start >= 120 * MINUTE


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"host": "0.0.0.0"}, "loopback only"),
        ({"port": 99_999}, "port must be 0 to 65535"),
        ({"speed": -2}, "speed must be"),
    ],
)
def test_serving_with_odd_options_is_refused(options, said):
    with pytest.raises(ValueError, match=said):
        with sandboxes.serve("healthy", **options):
            pass


def test_the_sandbox_listens_elsewhere_only_on_request():
    with sandboxes.serve("healthy", host="0.0.0.0", allow_remote=True) as sandbox:
        port = sandbox.url.rpartition(":")[2]
        assert requests.get(f"http://127.0.0.1:{port}/openapi.json", timeout=5).status_code == 200
