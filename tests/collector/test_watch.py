"""`watch` over time: what it requests, what it survives, and that the store is its only state."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import threading
from collections import Counter

import pandas as pd
import pytest

import reach_analytics as reach
from reach_analytics.client import RetryPolicy
from reach_analytics.collector._schedule.batch_states import remembered
from reach_analytics.collector._schedule.policy import Kind, next_observation
from reach_analytics.errors import AuthError, StoreError
from reach_analytics.queries.tables import Tables
from reach_analytics.sandbox import faults
from tests.support.clock import SECOND, Clock, turning
from tests.support.scripted_api import Api, page, row

MINUTE, HOUR = 60 * SECOND, 3600 * SECOND
ONCE = RetryPolicy(attempts=1)


def watch(sandbox, store, until="1h", *, events=(), retry=ONCE, token=None, client=None, **options):
    """Watch a sandbox by its own clock, which only the watch's waits advance."""
    given = sandbox.credentials | ({} if token is None else {"token": token})
    with client or reach.Client(**given, retry=retry) as client:
        return reach.watch(
            client,
            store,
            until=until,
            wait=turning(sandbox, *events),
            progress=False,
            **{"group_seconds": 900, "compact": False} | options,
        )


def single_observations(sandbox):
    return [r for r in sandbox.requests if r.path.startswith("/api/batches/")]


# -- what it sees ------------------------------------------------------------------------------


def test_after_a_day_the_store_has_the_true_states(place):
    """Every batch is found, and its last observation is the sandbox's own state."""
    with reach.sandbox.serve("demo") as sandbox:
        run = watch(sandbox, place, "5h")
        world = sandbox.world
        assert (run.tenants, run.batches, run.failed_observations) == (3, len(world.batches), 0)
        assert (run.problems, run.neglected, run.outages) == ((), 0, 0)
        assert run.requests == len(sandbox.requests)
        batches = reach.open_history(place).batches().set_index("batch_id")
    for batch_id, batch in world.batches.items():
        shown = batches.loc[batch_id]
        assert shown["successful_records"] == batch.successful
        assert shown["pending_records"] == len(batch.pending)


def test_a_batch_that_has_ended_is_confirmed_and_left_alone(place):
    with reach.sandbox.serve("healthy") as sandbox:
        policy = reach.PollingPolicy(audit_fraction=0)
        watch(sandbox, place, "3h", policy=policy)
        last_made = max(b.created_at for b in sandbox.world.batches.values())
        watch(sandbox, place, last_made + 3 * HOUR, policy=policy)
        single, observations = (
            len(single_observations(sandbox)),
            len(reach.open_history(place).observations()),
        )
        run = watch(sandbox, place, last_made + 6 * HOUR, policy=policy)
        assert len(single_observations(sandbox)) == single
        assert len(reach.open_history(place).observations()) == observations + run.observations
        assert run.observations == run.requests - 6  # of tenants and definitions, each hour
        known = remembered(Tables(*place.tables())).batches.values()
    assert {next_observation(one, policy).kind for one in known} == {Kind.AUDIT}


def test_expiries_are_seen_within_seconds(place):
    """Each expiry has an observation shortly before and one shortly after."""
    with reach.sandbox.serve("expiry_storm") as sandbox:
        watch(sandbox, place, "4h")
        history = reach.open_history(place)
        waiting = history.wait_outcomes()
        ended = {f.pending_id for f in sandbox.world.ground_truth if f.event == "expired"}
    gone = waiting[waiting["pending_id"].isin(ended) & waiting["ended_by"].notna()]
    assert len(gone) > 100
    policy = reach.PollingPolicy()
    widest = 2 * policy.margin + policy.tolerance + policy.merge_within
    assert ((gone["ended_by"] - gone["last_seen"]) <= widest + 2 * SECOND).mean() > 0.99
    assert not (waiting.loc[gone.index, "verdict"] == "released").any()


def test_a_restart_continues_where_it_stopped(place):
    """Stopped and restarted, it neither requests everything again nor forgets."""
    with reach.sandbox.serve("demo") as sandbox:
        watch(sandbox, place, "4h")
        before = len(sandbox.requests)
        observations = len(reach.open_history(place).observations())
        known = remembered(Tables(*place.tables())).batches.values()
        ends = sandbox.now() + MINUTE
        due = {k.batch_id for k in known if next_observation(k, reach.PollingPolicy()).at <= ends}
        run = watch(sandbox, place, "1min")
        asked = [r for r in sandbox.requests[before:] if r.path.startswith("/api/batches/")]
        frame = reach.open_history(place).observations()
        news = set(frame.loc[(frame["run_id"] == run.run_id) & frame["changed"], "batch_id"])
        assert {r.path.rsplit("/", 1)[-1] for r in asked} <= due | news
        assert due < {k.batch_id for k in known}
        # A batch that changed a moment ago may be due again within the minute.
        often = pd.Series([r.path for r in asked]).value_counts()
        assert often.max() <= MINUTE / reach.PollingPolicy().min_interval
    assert len(frame) == observations + run.observations
    assert not frame.duplicated(["run_id", "tenant_id", "batch_id", "sent_at"]).any()


def test_given_ids_are_watched_until_they_have_ended(place):
    with reach.sandbox.serve("demo") as sandbox:
        sandbox.advance(sandbox.scenario.moments[0])
        tenant, [batch_id, *_] = next(
            (t, [b.id for b in batches]) for t, batches in sandbox.world.batches_of.items()
        )
        run = watch(sandbox, place, None, batch_ids=[batch_id], tenants=[tenant])
        assert sandbox.world.batches[batch_id].status != "processing"
        asked = Counter(r.path for r in sandbox.requests)
        assert asked.pop("/partner/tenants") == asked.pop("/partner/schema-definitions") == 1
        assert set(asked) == {f"/api/batches/{batch_id}"}
    assert run.batches == 1
    [known] = remembered(Tables(*place.tables())).batches.values()
    assert known.finished


def test_two_watches_share_a_store(place):
    """They may write at once; every observation of both is stored once, and the frames agree."""
    with reach.sandbox.serve("demo") as sandbox:
        sandbox.advance(sandbox.scenario.moments[3])
        runs = []

        def work() -> None:
            runs.append(watch(sandbox, place, "40min", group=50, group_seconds=120))

        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        history = reach.open_history(place)
        frame = history.observations()
    assert len(frame) == sum(run.observations for run in runs)
    assert not frame.duplicated(["run_id", "tenant_id", "batch_id", "sent_at"]).any()
    assert len(history.batches()) == frame["batch_id"].nunique()


# -- what it asks ------------------------------------------------------------------------------


def test_if_nothing_happens_hardly_anything_is_requested(server):
    quiet = row("a", createdAt="2026-01-01T00:00:00Z")
    api = Api(batches=page(quiet))
    run = server(api, "12h", policy=reach.PollingPolicy(audit_fraction=0))
    assert run.requests == len(api.asked)
    assert len(api.asked) < 12 * 4 * 1.2  # a listing each 15 minutes


def test_the_daily_budget_is_kept_and_neglected_observations_are_logged(place, caplog):
    with reach.sandbox.serve("demo") as sandbox:
        run = watch(sandbox, place, "6h", requests_per_day=500)
        times = pd.Series(1, index=[r.at for r in sandbox.requests])
    assert len(times) <= 500 / 24 * 6 + 500 / 25 + 1
    assert run.neglected > 0
    assert "overdue" in str(run)
    assert not run.ok
    assert any("raise the budget" in r.message for r in caplog.records)


def test_deadlines_go_first_if_the_budget_is_small(place):
    """With a fifth of the requests it needs, it still observes most expiries closely."""
    with reach.sandbox.serve("expiry_storm") as sandbox:
        run = watch(sandbox, place, "4h", requests_per_day=6000)
        waiting = reach.open_history(place).wait_outcomes()
        ended = {f.pending_id for f in sandbox.world.ground_truth if f.event == "expired"}
    assert run.neglected > 0
    gone = waiting[waiting["pending_id"].isin(ended) & waiting["ended_by"].notna()]
    assert (gone["last_seen"] > gone["expires_at"] - 5 * MINUTE).mean() > 0.5


def test_a_listing_in_any_order_shows_new_batches(server):
    """New batches are found though the listing has the oldest first."""
    rows = [
        row(f"b{n:03}", createdAt=f"2026-03-01T{n // 60:02}:{n % 60:02}:00Z") for n in range(250)
    ]

    class Paged(Api):
        def __call__(self, connection) -> None:
            query = self.server.paths()[-1].partition("?")[2]
            at = int(query.partition("cursor=")[2].partition("&")[0] or 0)
            last = at + 100 >= len(rows)
            self.answers["batches"] = {
                "results": rows[at : at + 100],
                "pagination": {
                    "hasNextPage": not last,
                    "total": len(rows),
                    "cursor": f"{at + 100}",
                },
            }
            super().__call__(connection)

    server(Paged(), "1min")
    rows.append(row("new", createdAt="2026-03-02T00:02:00Z"))
    run = server(Paged(), "15min")
    assert run.new_states == 1


# -- what it survives --------------------------------------------------------------------------


def test_a_forbidden_tenant_does_not_affect_the_others(place):
    with reach.sandbox.serve("demo") as sandbox:
        sandbox.advance(sandbox.scenario.moments[2])
        good = next(iter(sandbox.world.tenants))
        run = watch(sandbox, place, "2h", tenants=["nobody", good])
        asked = [r for r in sandbox.requests if r.tenant_id == "nobody"]
    assert [p.tenant_id for p in run.problems] == ["nobody"]
    assert run.batches > 0
    assert run.failed_observations == 0
    assert len(asked) <= 8  # less and less often


def test_due_observations_of_a_refused_tenant_are_held_until_it_is_allowed(server):
    waits = row("a", 1, pendingResources=[{"id": "p", "resourceExternalId": "A"}])
    api = Api(batches=page(row("a", 1)), a=waits)
    server(api, "5min")
    api.answers["batches"] = api.answers["a"] = None  # 404 for both
    before = len(api.asked)
    server(api, "3h")
    refused = api.asked[before:]
    assert refused.count("/api/batches/a") <= 2 < refused.count("/api/batches")
    api.answers |= {"batches": page(row("a", 1)), "a": waits}
    run = server(api, "3h")
    assert run.ok
    assert run.observations > 0


def test_a_revoked_token_ends_it_and_its_observations_are_kept(place):
    with reach.sandbox.serve("demo") as sandbox:
        token, good = sandbox.token(), [True]
        revoke = (sandbox.scenario.moments[8], lambda: good.clear())
        with pytest.raises(AuthError, match="no longer accepted, so no more requests are sent"):
            watch(sandbox, place, "8h", token=lambda: token if good else "x.y.z", events=[revoke])
        refused = [r for r in sandbox.requests if r.status == 401]
        assert 2 <= len(refused) <= 40
        seen = [r for r in single_observations(sandbox) if r.status == 200]
        frame = reach.open_history(place).observations()
    assert (frame["ok"] & (frame["scope"] == "detail")).sum() == len(seen)


def test_hours_of_outage_leave_few_failed_observations_and_end_by_themselves(place):
    with reach.sandbox.serve("demo") as sandbox:
        moments = sandbox.scenario.moments
        down = (moments[4], lambda: sandbox.set_faults(faults.Failure(status=503)))
        up = (moments[12], lambda: sandbox.set_faults())
        run = watch(sandbox, place, "10h", events=[down, up])
        failed = [r for r in sandbox.requests if r.status == 503]
        assert run.outages == 1
        assert ", 1 outage" in str(run)
        assert "outages" not in str(run)
        assert len(failed) <= 15 + 30 * (moments[12] - moments[4]) / HOUR
        frame = reach.open_history(place).observations()
        batches = reach.open_history(place).batches()
        assert len(batches) == len(sandbox.world.batches)
        statuses = {b.id: b.status for b in sandbox.world.batches.values()}
    assert batches.set_index("batch_id")["status"].to_dict() == statuses
    assert run.failed_observations == (~frame["ok"]).sum() <= len(failed)


def test_an_api_whose_host_is_unknown_is_waited_for(tmp_path):
    """Without DNS it keeps trying, with few requests."""
    clock = Clock()
    client = reach.Client(
        token="abc",
        tenant_id="t",
        base_url="http://no-such-host.invalid",
        allow_http=True,
        now=clock.now,
        retry=ONCE,
    )
    with client:
        run = reach.watch(
            client, tmp_path / "store", until="2h", wait=clock.wait, progress=False, compact=False
        )
    assert run.observations == 0
    assert "the connection failed" in run.problems[0].message
    assert 20 < run.requests < 60  # one each 2.5 to 5 minutes


def test_ctrl_c_ends_it_with_everything_written(place):
    with reach.sandbox.serve("demo") as sandbox:

        def interrupt() -> None:
            raise KeyboardInterrupt

        run = watch(
            sandbox,
            place,
            None,
            events=[(sandbox.scenario.moments[5], interrupt)],
            group_seconds=10**6,
            group=10**6,
        )
        seen = [r for r in single_observations(sandbox) if r.status == 200]
    frame = reach.open_history(place).observations()
    assert len(frame) == run.observations
    assert (frame["scope"] == "detail").sum() == len(seen) > 100


def test_a_store_that_vanishes_ends_it_and_is_not_recreated(place):
    with reach.sandbox.serve("demo") as sandbox:
        gone = (sandbox.scenario.moments[4], lambda: shutil.rmtree(place.location))
        with pytest.raises(StoreError, match="is gone"):
            watch(sandbox, place, "8h", events=[gone])
    assert not os.path.exists(place.location)


def test_a_store_that_cannot_be_written_is_waited_for_on_request(tmp_path):
    """The mount is read-only for two hours; afterwards the buffer is written."""
    mount = tmp_path / "mount"
    mount.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", mount], capture_output=True).returncode:
        pytest.skip("mounting is not permitted here")
    place = reach.Store(mount / "store")

    def remount(mode: str):
        return lambda: subprocess.run(["mount", "-o", f"remount,{mode}", mount], check=True)

    try:
        with reach.sandbox.serve("demo") as sandbox:
            moments = sandbox.scenario.moments
            events = [(moments[4], remount("ro")), (moments[8], remount("rw"))]
            run = watch(sandbox, place, "5h", events=events, keep_retrying=True)
            assert run.batches == len(reach.open_history(place).batches())
            with pytest.raises(StoreError, match=r"no permission to write|[Rr]ead-only"):
                watch(sandbox, place, "8h", events=[(sandbox.now() + MINUTE, remount("ro"))])
    finally:
        subprocess.run(["umount", "-l", mount], check=True)


def test_odd_arguments_are_refused_before_anything_is_requested(server, place):
    api = Api(batches=page())
    for odd, message in (
        ({"every": "0s"}, "every must be a length of time above zero"),
        ({"requests_per_day": 0}, "requests_per_day must be at least 1"),
        ({"group": 0}, "group must be at least 1"),
        ({"group_seconds": 0}, "group_seconds must be above 0"),
        ({"until": "soon"}, "until must be a length of time"),
        ({"batch_ids": ["a"], "tenants": ["t", "u"]}, "batch_ids belong to one tenant"),
    ):
        with pytest.raises(ValueError, match=message):
            server(api, **{"until": "1h"} | odd)
    with pytest.raises(TypeError, match="watch takes a Client first, found Store"):
        reach.watch(place, place)
    assert api.asked == []


def test_events_are_logged_with_their_fields(place, caplog):
    caplog.set_level(logging.INFO, "reach_analytics.collector")
    with reach.sandbox.serve("demo") as sandbox:
        down = (sandbox.scenario.moments[4], lambda: sandbox.set_faults(faults.Failure()))
        watch(sandbox, place, "4h", events=[down], tenants=["nobody", *sandbox.world.tenants])
    events = {getattr(record, "event", None) for record in caplog.records}
    assert {"problem", "outage"} <= events
