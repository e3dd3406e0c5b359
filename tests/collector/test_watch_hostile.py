"""Hostile APIs, clocks and operators, and what they must not do to a watch."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

import reach_analytics as reach
from reach_analytics.client import RetryPolicy
from reach_analytics.client.transport import HaltedError
from reach_analytics.collector._observe.limits import Budget
from reach_analytics.collector._observe.rows import to_tables
from reach_analytics.collector._schedule.batch_states import BatchStates
from reach_analytics.collector._schedule.due_queue import DueQueue
from reach_analytics.collector._schedule.policy import Due, Kind, PollingPolicy
from reach_analytics.collector._schedule.tenant_schedule import TenantSchedule
from reach_analytics.collector._targets import Partner
from reach_analytics.collector.summary import Problem
from reach_analytics.queries.batch_states import requests_since
from reach_analytics.queries.tables import Tables
from reach_analytics.tables import LIST
from tests.support.clock import SECOND, Clock, turning
from tests.support.hostile import answer, serve
from tests.support.observations import batch, counts, minute, observation
from tests.support.scripted_api import Api, page, row

MINUTE, HOUR = 60 * SECOND, 3600 * SECOND
WAITS = [{"id": "p", "resourceExternalId": "A", "missingDependencies": [{"externalId": "x"}]}]


def waiting(batch_id: str = "a", count: int = 1, **fields) -> dict:
    return row(batch_id, count, status="partial_success", pendingResources=WAITS, **fields)


def asked(api: Api, batch_id: str = "a") -> int:
    return api.asked.count(f"/api/batches/{batch_id}")


@pytest.mark.parametrize("year", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59Z"])
def test_extreme_dates_do_no_harm_now_or_after_a_restart(server, year):
    late = [{**WAITS[0], "expiresAt": year, "createdAt": year}]
    odd = row("a", 1, createdAt=year, pendingResources=late)
    api = Api(batches=page(odd, row("b", createdAt="2026-03-01T00:00:00Z")), a=odd)
    for _ in range(2):
        before = asked(api)
        assert server(api, "2h", policy=PollingPolicy(audit_fraction=0)).ok
        assert asked(api) > before
    assert api.asked.count("/api/batches") < 100  # no listing each minute for a batch "of 9999"


def test_a_tenant_missing_from_one_listing_is_watched_as_before():
    clock, states = Clock(), BatchStates()
    client = reach.Client(token="abc", tenant_id="", base_url="http://127.0.0.1:9", now=clock.now)
    schedule = TenantSchedule(client, states, PollingPolicy(), MINUTE, ids=None, targets=None)
    mine = client.for_tenant("t")
    schedule.take_tenants(Partner([mine]), None, clock.now())
    states.learn(observation(batch(waits={"A": "x"}), 0))
    schedule.take_tenants(Partner(), None, clock.now())
    assert schedule.tenants == {}
    schedule.take_tenants(Partner([mine]), None, clock.now())
    assert ("t", "b") in {due.key for due in schedule.queue.entries()}
    unread = Partner(problems=[Problem("", "a row that cannot be read")])
    schedule.take_tenants(unread, None, clock.now())
    assert list(schedule.tenants) == ["t"]


def test_a_clock_set_back_does_not_stop_the_observations(server):
    """Six hours back: what waits is observed as often as before, and is written."""
    api, clock = Api(batches=page(waiting()), a=waiting()), server.clock
    times = []

    def set_back() -> None:
        times.append(asked(api))
        clock.time -= 6 * HOUR

    clock.at = [(clock.time + 2 * HOUR, set_back)]
    server(api, clock.time + 2 * HOUR)
    del clock.at[:]
    assert asked(api) - times[0] > times[0] / 2 > 10


def test_a_clock_set_back_in_an_outage_does_not_prolong_it(server):
    api, clock = Api(batches=answer(503)), server.clock

    def set_back() -> None:
        clock.time -= 6 * HOUR
        api.answers["batches"] = page(row("a"))

    begin = clock.time
    clock.at = [(begin + HOUR, set_back)]
    run = server(api, begin + HOUR)
    assert run.batches == 1


def test_after_an_outage_it_observes_again_within_minutes(server):
    """Even a single batch whose own retry interval had grown to hours."""
    api, clock = Api(batches=page(waiting()), a=waiting()), server.clock
    good, seen = dict(api.answers), []
    begin = clock.time

    def fail() -> None:
        api.answers.update(batches=answer(503), a=answer(503))

    def recover() -> None:
        api.answers.update(good)
        seen.append(len(api.asked))

    clock.at = [(begin + HOUR, fail), (begin + 13 * HOUR, recover)]
    server(api, begin + 13 * HOUR + 10 * MINUTE)
    assert asked_after(api, seen[0], "a")
    assert seen[0] < 400  # twelve hours cost little


def asked_after(api: Api, index: int, batch_id: str) -> bool:
    return f"/api/batches/{batch_id}" in api.asked[index:]


def test_a_renewed_token_resumes_everything_at_once(tmp_path):
    with reach.sandbox.serve("late_dependencies") as sandbox:
        sandbox.advance(sandbox.now() + 5 * HOUR)
        token, good, start = sandbox.token(), [True], sandbox.now()
        events = [
            (start + HOUR, lambda: good.clear()),
            (start + 6 * HOUR, lambda: good.append(True)),
        ]
        given = sandbox.credentials | {"token": lambda: token if good else "x.y.z"}
        with reach.Client(**given, retry=RetryPolicy(attempts=1)) as client:
            reach.watch(
                client,
                tmp_path / "s",
                until=start + 6.5 * HOUR,
                wait=turning(sandbox, *events),
                keep_retrying=True,
                group_seconds=900,
                progress=False,
            )
        observations = reach.open_history(tmp_path / "s").batches()
        waits = {b.id for b in sandbox.world.batches.values() if b.pending}
    last = observations.set_index("batch_id").loc[sorted(waits), "observed_at"]
    assert len(waits) > 5
    assert (last > start + 6 * HOUR).all()


def test_a_second_interrupt_loses_no_observation(tmp_path):
    """Ctrl-C twice while answers are slow: the buffer is written before any waiting."""

    class Slow(Api):
        def __call__(self, connection) -> None:
            if len(self.asked) >= 10:
                time.sleep(2)
            super().__call__(connection)

    api = Slow(**{f"b{n}": waiting(f"b{n}") for n in range(20)})

    def interrupt() -> None:
        while len(api.asked) < 10:
            time.sleep(0.01)
        for _ in range(2):
            time.sleep(0.4)
            os.kill(os.getpid(), signal.SIGINT)

    with serve(api) as api.server:
        client = reach.Client(token="abc", tenant_id="t", base_url=api.server.url, threads=2)
        killer = threading.Thread(target=interrupt)
        killer.start()
        begun = time.monotonic()
        run = reach.watch(
            client,
            tmp_path / "s",
            batch_ids=[f"b{n}" for n in range(20)],
            group_seconds=3600,
            progress=False,
        )
        killer.join()
    assert time.monotonic() - begun < 15
    assert run.observations == len(reach.open_history(tmp_path / "s").observations()) >= 8


def test_without_counts_in_the_listing_each_batch_is_observed(server):
    """Without pendingRecords only the batch itself tells whether something waits."""
    api = Api(batches=page({"batchId": "a", "status": "partial_success"}), a=waiting())
    server(api, "2h")
    assert asked(api) > 10
    ended = Api(batches=page({"batchId": "b", "status": "success"}), b=row("b"))
    server(ended, "2h", policy=PollingPolicy(audit_fraction=0))
    assert asked(ended, "b") == 1


@pytest.mark.parametrize(("listed", "counted"), [(2, 1), (1, 0), (0, 1)])
def test_a_listing_that_contradicts_the_batches_costs_no_more_observations(server, listed, counted):
    detail = waiting(count=counted) if counted else row("a", 0, pendingResources=[])
    agree = Api(batches=page(row("a", counted)), a=detail)
    server(agree, server.clock.time + 6 * HOUR)
    differ = Api(batches=page(row("b", listed)), b={**detail, "batchId": "b"})
    run = server(differ, server.clock.time + 6 * HOUR)
    assert len(differ.asked) < 1.5 * len(agree.asked) + 20
    assert run.changes < 10


def test_a_long_sweep_does_not_delay_the_observations(server):
    rows = [row(f"b{n:04}", createdAt="2026-01-01T00:00:00Z") for n in range(3000)]

    class Paged(Api):
        def __call__(self, connection) -> None:
            query = self.server.paths()[-1].partition("?")[2]
            at = int(query.partition("cursor=")[2].partition("&")[0] or 0)
            more = {"hasNextPage": at + 100 < len(rows), "total": 3001, "cursor": str(at + 100)}
            first = [row("a", 1)] if at == 0 else []
            self.answers["batches"] = {"results": first + rows[at : at + 100], "pagination": more}
            super().__call__(connection)

    api = Paged(a=waiting())
    server(api, "2h", requests_per_day=480)
    assert asked(api) > 8


def test_an_endless_listing_is_abandoned(server):
    class Endless(Api):
        def __call__(self, connection) -> None:
            more = {"hasNextPage": True, "total": 1, "cursor": str(len(self.asked))}
            self.answers["batches"] = {"results": [row("a")], "pagination": more}
            super().__call__(connection)

    api = Endless(a=row("a"))
    run = server(api, "1h")
    assert len(api.asked) < 60
    assert "the same page repeatedly" in run.problems[0].message


def test_a_restart_does_not_reset_the_budget(server):
    api = Api(batches=page(row("a")), a=row("a"))
    for _ in range(10):
        server(api, "1min", requests_per_day=10)
    assert len(api.asked) <= 11


def test_budget_debt_is_paid_back_first():
    budget = Budget(240, minute(0), spent=250)
    assert budget.left(minute(0)) == -10
    assert budget.left(minute(59)) < 1 <= budget.left(minute(70))


@given(
    per_day=st.integers(1, 300),
    pauses=st.lists(st.integers(0, 600), min_size=1, max_size=60),
)
def test_no_day_holds_more_requests_than_its_budget(per_day, pauses):
    """Used as fast as allowed, with pauses: the requests of any 24 hours are counted."""
    budget, now, sent = Budget(per_day, minute(0)), minute(0), []
    for pause in pauses * 3:
        while budget.left(now) >= 1:
            budget.spend(1)
            sent.append(now)
        now = budget.next_at(now) + pause * MINUTE / 10
    for first in sent:
        within = [at for at in sent if first <= at < first + 24 * HOUR]
        assert len(within) <= per_day + 1  # the one due as the day ends


def test_requests_of_folded_observations_count_towards_the_budget(tmp_path):
    """Yesterday evening's observations may be folded by now, but were requests too."""
    store = reach.Store(tmp_path / "s")
    ended = batch(status="success", completedAt=minute(0).isoformat())
    ended["progress"] = counts(5, 5, 0)
    observations = [observation(ended, at, run_id=str(at)) for at in range(60, 120)]
    observations += [observation(ended, 120 + at, scope=LIST, run_id=str(at)) for at in range(60)]
    store.append(*to_tables(observations, minute(200)))
    assert requests_since(Tables(*store.tables()), minute(89.5)) == 30 + 60
    assert store.compact(now=minute(2 * 24 * 60)).observations_folded > 100
    assert requests_since(Tables(*store.tables()), minute(89.5)) == 30 + 60


def test_the_due_queue_does_not_grow_with_replaced_entries():
    queue = DueQueue()
    for number in range(20_000):
        queue.put(Due("t", str(number % 3), minute(10**5 + number), Kind.AUDIT, minute(0)))
    assert len(queue._later) < 2000
    assert len(queue.take(minute(10**6))) == 3


def test_ctrl_c_does_not_wait_for_a_slow_rate_limit(server):
    """Nothing more is sent, and it does not wait for a slow limiter."""
    client = reach.Client(
        token="abc", tenant_id="t", base_url="http://127.0.0.1:9", requests_per_second=0.01
    )
    client._transport._limiter.wait()
    found = []

    def ask() -> None:
        try:
            client.observation("a")
        except HaltedError as error:
            found.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    time.sleep(0.2)
    client.halt()
    thread.join(5)
    assert found
    assert client.requests_sent == 0


def test_a_shortfall_is_logged_once(server, caplog):
    caplog.set_level(logging.WARNING, "reach_analytics.collector")
    short = {"results": [row("a")], "pagination": {"hasNextPage": False, "total": 50}}
    run = server(Api(batches=short), "3h")
    assert run.problems[0].message == "the listing gave 1 of 50 announced batches"
    assert len([r for r in caplog.records if "announced" in r.message]) == 1


def test_an_odd_interval_between_listings_is_accepted(server):
    server(Api(batches=answer(500)), timedelta(days=3), every="2000D")


def test_control_characters_of_tenants_do_not_reach_a_terminal():
    problem = Problem("t\x1b[2J", "said \x1b]0;evil\x07")
    told = str(reach.RunSummary("r", minute(0), minute(1), 1, 0, 0, 0, 0, 0, problems=(problem,)))
    assert "\x1b" not in told
    assert "\x07" not in told


def test_a_summary_in_a_notebook_escapes_foreign_text():
    problem = Problem("<b>t</b>", "<script>alert(1)</script>")
    run = reach.RunSummary("r", minute(0), minute(1), 1, 0, 0, 2, 0, 0, problems=(problem,))
    shown = run._repr_html_()
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown
    assert "<b>2</b>" in shown
