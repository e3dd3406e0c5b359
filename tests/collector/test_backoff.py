"""An API that does not answer costs a pass a few requests and a bounded time."""

from __future__ import annotations

import logging
import threading
import time
from datetime import timedelta

import jwt
import pytest

import reach_analytics as reach
from reach_analytics.client import RetryPolicy
from reach_analytics.collector import collect
from reach_analytics.collector._observe.limits import CircuitBreaker
from reach_analytics.collector._observe.patience import GivenUp, Patience
from reach_analytics.errors import ApiError
from tests.support.hostile import answer, serve
from tests.support.observations import minute
from tests.support.scripted_api import Api, page, row

BUSY = answer(429, headers={"Retry-After": "20"})
NAMES = [f"b{n:02}" for n in range(64)]


class Sleeps:
    """Sleeps that return at once, and their lengths."""

    def __init__(self, *events: tuple[float, object]) -> None:
        self.total = 0.0
        self.events = list(events)

    def __call__(self, seconds: float) -> None:
        self.total += seconds
        while self.events and self.total >= self.events[0][0]:
            self.events.pop(0)[1]()


def run(
    api: Api, place, sleeps: Sleeps, *, tenant_id="t", token="abc", attempts=5, threads=8, **options
):
    with serve(api) as api.server:
        client = reach.Client(
            token=token,
            tenant_id=tenant_id,
            base_url=api.server.url,
            sleep=sleeps,
            retry=RetryPolicy(attempts=attempts),
            threads=threads,
        )
        with client:
            return collect(client, place, progress=False, **options)


@pytest.mark.parametrize("down", [BUSY, answer(500)], ids=["429", "500"])
def test_if_all_observations_fail_the_pass_gives_up_after_a_few_requests(tmp_path, down, caplog):
    api = Api(batches=page(*(row(name, 1) for name in NAMES)), **dict.fromkeys(NAMES, down))
    sleeps = Sleeps()
    with caplog.at_level(logging.WARNING):
        summary = run(api, tmp_path / "s", sleeps)
    assert len(api.asked) < 30
    assert sleeps.total <= 150
    assert (summary.ok, summary.outages, summary.observations) == (
        False,
        1,
        64 + summary.failed_observations,
    )
    [problem] = summary.problems
    left = 64 - summary.failed_observations
    assert f"{left} of 64 batches were not observed: the API is down" in problem.message
    assert len(caplog.records) == 1


@pytest.mark.parametrize("threads", [1, 4])
def test_giving_up_is_an_outage_however_few_batches_had_failed(tmp_path, threads):
    """Between two requests that are told to wait, fewer may fail than an outage begins with."""
    api = Api(b1=BUSY, b2=BUSY)
    summary = run(
        api, tmp_path / "s", Sleeps(), batch_ids=["b1", "b2"], attempts=50, threads=threads
    )
    assert (summary.ok, summary.outages) == (False, 1)


def test_a_pass_gives_up_on_many_failing_batches(tmp_path):
    names = [f"b{n:05}" for n in range(10_000)]
    api = Api(**dict.fromkeys(names, answer(500)))
    summary = run(api, tmp_path / "s", Sleeps(), batch_ids=names)
    assert len(api.asked) < 30
    assert "of 10,000 batches were not observed" in summary.problems[0].message


def test_a_retry_after_beyond_the_limit_ends_the_pass_at_once(tmp_path):
    down = answer(503, headers={"Retry-After": "3600"})
    sleeps = Sleeps()
    api = Api(**dict.fromkeys(NAMES, down))
    assert not run(api, tmp_path / "s", sleeps, batch_ids=NAMES).ok
    assert sleeps.total == 0
    assert len(api.asked) <= 16


def test_a_pass_gives_up_if_tenants_cannot_be_listed(tmp_path):
    rows = [{"id": f"t{n}"} for n in range(200)]
    api = Api(tenants=page(*rows), batches=answer(503))
    token = jwt.encode({"type": "partner"}, "k" * 32)
    summary = run(api, tmp_path / "s", Sleeps(), tenant_id="", token=token)
    assert len(api.asked) < 60
    told = [problem.message for problem in summary.problems]
    assert any("of 200 tenants were not fully collected" in message for message in told)


@pytest.mark.parametrize("gone_for", [3, 60])
def test_an_api_that_recovers_is_asked_for_the_rest(tmp_path, gone_for):
    api = Api(**dict.fromkeys(NAMES, BUSY))
    good = {name: row(name) for name in NAMES}
    sleeps = Sleeps((gone_for, lambda: api.answers.update(good)))
    summary = run(api, tmp_path / "s", sleeps, batch_ids=NAMES)
    assert (summary.ok, summary.observations) == (True, 64)
    assert summary.outages <= 1
    assert len(api.asked) < 64 + 30


# However threads are scheduled: five begin an outage, and four probes take half a minute at most.
@pytest.mark.parametrize("bad", [1, 9])
def test_batches_that_always_fail_cost_only_themselves(tmp_path, bad):
    answers = {name: answer(500) if n < bad else row(name) for n, name in enumerate(NAMES)}
    api = Api(one_batches=page(*(row(name, 1) for name in NAMES)), **answers)
    api.answers["two_batches"] = page(row("other"))
    summary = run(api, tmp_path / "s", Sleeps(), tenants=["one", "two"])
    assert (summary.failed_observations, summary.problems) == (bad, ())
    assert summary.batches == 65
    assert len(api.asked) < 64 + 5 * bad + 20


def test_a_transient_failure_is_no_failed_observation(tmp_path):
    class Shaky(Api):
        def __call__(self, connection) -> None:
            if len(self.asked) % 3 == 1:
                self.asked.append("")
                connection.sendall(answer(503))
            else:
                super().__call__(connection)

    api = Shaky(batches=page(*(row(name, 1) for name in NAMES)), **{n: row(n) for n in NAMES})
    summary = run(api, tmp_path / "s", Sleeps(), attempts=20)
    assert (summary.ok, summary.observations) == (True, 128)


def test_a_pass_gives_up_on_an_api_that_is_down_most_of_the_time():
    """Every outage ends with an answer, yet the pass makes no progress."""
    sleeps = Sleeps()
    own = reach.Client(token="abc", tenant_id="t", base_url="http://127.0.0.1:9", sleep=sleeps)
    patience = Patience(own, timedelta(minutes=2))
    error = ApiError("no", status=503, retryable=True)

    def live_through_outages(count: int) -> None:
        for _ in range(count):
            for number in range(5):
                patience.note(error, number)
            patience.rest()
            patience.note(None, "probe")

    live_through_outages(30)
    with pytest.raises(GivenUp):
        live_through_outages(1000)
    assert sleeps.total <= 150


def test_an_interrupt_during_an_outage_ends_the_pass_at_once(tmp_path):
    api = Api(**dict.fromkeys(NAMES, answer(500)))

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(api, tmp_path / "s", Sleeps((0.5, interrupt)), batch_ids=NAMES)
    observations = reach.open_history(tmp_path / "s").observations()
    assert 5 <= len(observations) <= 20  # the failures so far are kept


def test_requests_under_way_do_not_prolong_an_outage():
    """Eight requests that fail at once are one sign, not eight."""
    breaker = CircuitBreaker(timedelta(seconds=10), uniform=lambda low, high: high)
    error = ApiError("no", status=500, retryable=True)
    for number in range(8):
        breaker.note(error, minute(0), number)
    assert breaker.probe_at == minute(0) + timedelta(seconds=10)
    breaker.probe_at = None
    breaker.note(error, minute(1), "probe")
    assert breaker.probe_at == minute(1) + timedelta(seconds=20)


def test_one_target_that_keeps_failing_is_no_outage():
    breaker = CircuitBreaker()
    error = ApiError("no", status=500, retryable=True)
    assert not any(breaker.note(error, minute(n), "b1") for n in range(50))


@pytest.mark.parametrize("asked", [float("inf"), 1e300, float("nan"), -1.0])
def test_an_absurd_retry_after_is_bounded(asked):
    breaker = CircuitBreaker(uniform=lambda low, high: high)
    error = ApiError("no", status=429, retryable=True, retry_after=asked)
    for number in range(5):
        breaker.note(error, minute(0), number)
    assert minute(0) < breaker.probe_at <= minute(60)


def test_a_pass_does_not_keep_threads_waiting(tmp_path):
    """In real time, with a Retry-After of a minute, it ends within its limit."""
    api = Api(**dict.fromkeys(NAMES, answer(429, headers={"Retry-After": "60"})))
    begun, before = time.monotonic(), threading.active_count()
    with serve(api) as api.server:
        client = reach.Client(token="abc", tenant_id="t", base_url=api.server.url)
        with client:
            summary = collect(
                client, tmp_path / "s", batch_ids=NAMES, give_up_after="2s", progress=False
            )
    assert time.monotonic() - begun < 20
    assert not summary.ok
    assert threading.active_count() <= before + 3
