"""Scheduled faults, and what a caller sees of each, over real sockets."""

from __future__ import annotations

import contextlib
import email.utils
import json
import socket
import time

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

import reach_analytics as reach
from reach_analytics import sandbox as sandboxes
from reach_analytics.errors import ApiError, PagingError, ReachError
from reach_analytics.sandbox import faults
from reach_analytics.sandbox.faults import Faults


@pytest.fixture(scope="module")
def running():
    with sandboxes.serve("demo", seed=3) as sandbox:
        sandbox.advance(sandbox.scenario.moments[11])
        yield sandbox


@pytest.fixture
def own(running):
    running.set_faults()
    yield running
    running.set_faults()


@pytest.fixture
def get(own):
    """A plain request as another program would make it, with no retries."""

    def get(path: str = "/partner/tenants", **query):
        headers = {"Authorization": f"Bearer {own.token()}", "reach-tenant-id": tenant_of(own)}
        return requests.get(own.url + path, params=query, headers=headers, timeout=5)

    return get


def tenant_of(sandbox) -> str:
    return next(iter(sandbox.world.tenants))


def client_of(sandbox, **options) -> reach.Client:
    return reach.Client(**sandbox.credentials, **options)


def listed(sandbox, page_size: int = 3) -> list[str]:
    with client_of(sandbox) as client:
        listing = client.for_tenant(tenant_of(sandbox)).batches(page_size=page_size)
        return [batch.batch_id for batch in listing]


def truth(sandbox) -> list[str]:
    return [batch.id for batch in sandbox.world.batches_of[tenant_of(sandbox)]][::-1]


def test_every_nth_request_of_a_path_is_hit_and_others_are_not():
    plan = Faults([faults.Failure(path="/api/*", every=3)])
    hits = [bool(plan.draw("GET", "/api/batches")) for _ in range(7)]
    assert hits == [False, False, True, False, False, True, False]
    assert not plan.draw("GET", "/partner/tenants")
    assert (plan.seen, plan.struck) == ([7], [2])


def test_a_fault_can_be_limited_to_a_method_and_a_number_of_times():
    plan = Faults([faults.Drop(method="POST", times=2)])
    assert [bool(plan.draw(m, "/x")) for m in ("GET", "POST", "POST", "POST")] == [0, 1, 1, 0]


@given(st.integers(0, 1000), st.floats(0.2, 0.8))
def test_a_probability_hits_its_share_and_its_seed_decides_which(seed, probability):
    rule = faults.Failure(probability=probability, seed=seed)
    drawn = [[bool(Faults([rule]).draw("GET", "/"))] for _ in range(2)]
    assert drawn[0] == drawn[1]
    hits = [rule.strikes(number) for number in range(1, 1001)]
    assert abs(sum(hits) / 1000 - probability) < 0.1


def test_a_rate_limit_says_when_to_come_back_and_the_client_does(own, get):
    own.set_faults(faults.RateLimit(retry_after_s=0, every=1, times=2))
    answer = get()
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "0")
    assert answer.json() == {"success": False, "message": "too many requests", "data": None}
    with client_of(own) as client:
        assert len(list(client.tenants())) == 3
        assert client.requests_sent == 2


@pytest.mark.parametrize("status", [500, 502, 503, 504, 599])
def test_a_5xx_is_answered_in_the_envelope(own, get, status):
    own.set_faults(faults.Failure(status=status, retry_after_s=3))
    answer = get()
    assert (answer.status_code, answer.headers["retry-after"]) == (status, "3")
    assert answer.json()["success"] is False


def test_latency_delays_the_answer_and_changes_nothing_else(own, get):
    own.set_faults(faults.Latency(delay_s=0.3, times=1))
    begin = time.monotonic()
    assert get().status_code == 200
    assert time.monotonic() - begin >= 0.3


def test_a_dropped_connection_has_no_answer_and_the_next_request_does(own, get):
    own.set_faults(faults.Drop(times=1))
    with pytest.raises(requests.ConnectionError):
        get()
    assert get().status_code == 200
    assert [(r.status, r.complete) for r in own.requests[-2:]] == [(None, False), (200, True)]


@pytest.mark.parametrize(("after", "made"), [(False, 0), (True, 1)])
def test_a_write_whose_answer_is_dropped_may_have_had_its_effect(own, after, made):
    own.set_faults(faults.Drop(after=after, times=1))
    before = len(own.world.batches)
    with pytest.raises(requests.ConnectionError):
        requests.post(
            f"{own.url}/api/resources/contacts/batch",
            json={"resources": []},
            headers={"Authorization": f"Bearer {own.token()}", "reach-tenant-id": tenant_of(own)},
            timeout=5,
        )
    assert len(own.world.batches) - before == made


def test_a_truncated_body_ends_before_its_announced_length(own, get):
    own.set_faults(faults.Truncate(keep=0.5, times=1))
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        get()
    assert (own.requests[-1].status, own.requests[-1].complete) == (200, False)
    own.set_faults(faults.Truncate(keep=0.9, times=1))
    with client_of(own) as client:
        assert len(list(client.tenants())) == 3


@pytest.mark.parametrize("body", [None, "<html>busy</html>", ""])
def test_a_malformed_body_is_complete_http_but_not_json(own, get, body):
    own.set_faults(faults.Malformed(body=body, times=1))
    answer = get()
    assert answer.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        json.loads(answer.text)


def test_the_date_header_has_the_worlds_time_and_can_be_wrong(own, get):
    shown = email.utils.parsedate_to_datetime(get().headers["date"])
    assert abs((shown - own.world.time).total_seconds()) < 1
    own.set_faults(faults.ClockSkew(seconds=-300))
    off = email.utils.parsedate_to_datetime(get().headers["date"])
    assert (off - shown).total_seconds() == -300


def test_a_page_sent_twice_neither_loses_nor_adds_rows(own):
    own.set_faults(faults.DuplicatePage(path="/api/batches", every=2, times=3))
    assert sorted(set(listed(own))) == sorted(truth(own))
    assert len(own.requests) > 0


def test_pages_out_of_order_hold_every_row_once(own):
    own.set_faults(faults.ReorderPages(path="/api/batches", every=2))
    found = listed(own)
    assert found != truth(own)
    assert sorted(found) == sorted(truth(own))


def test_a_repeated_cursor_is_an_error_of_the_client_and_no_endless_loop(own):
    own.set_faults(faults.RepeatCursor(path="/api/batches", every=2))
    with pytest.raises(PagingError):
        listed(own)


def test_faults_can_be_set_and_read_over_http_and_do_not_affect_the_sandboxs_own_routes(own, get):
    url = own.url + "/_sandbox/faults"
    rules = [{"kind": "error", "status": 500}, {"kind": "drop", "path": "/nowhere", "every": 2}]
    assert requests.put(url, json={"faults": rules}, timeout=5).status_code == 200
    assert get().status_code == 500
    shown = requests.get(url, timeout=5).json()["data"]
    assert shown["faults"] == [{"kind": "error", "status": 500}, rules[1]]
    assert shown["counts"] == [{"seen": 1, "struck": 1}, {"seen": 0, "struck": 0}]
    assert requests.get(own.url + "/openapi.json", timeout=5).status_code == 200


@pytest.mark.parametrize(
    "rule",
    [
        {"kind": "nonsense"},
        {"every": 1},
        {"kind": "error", "status": 200},
        {"kind": "drop", "every": 0},
        {"kind": "latency", "delayS": 1e9},
        {"kind": "drop", "probability": 2},
        {"kind": "drop", "hepp": 1},
    ],
)
def test_faults_that_make_no_sense_are_refused_and_change_nothing(own, get, rule):
    answer = requests.put(own.url + "/_sandbox/faults", json={"faults": [rule]}, timeout=5)
    assert (answer.status_code, answer.json()["success"]) == (400, False)
    assert get().status_code == 200


def test_a_pass_through_every_kind_of_fault_still_collects_the_truth(own, tmp_path):
    """The collector, while every third request and some others go wrong."""
    own.set_faults(
        faults.RateLimit(retry_after_s=0, every=3),
        faults.Failure(probability=0.05, seed=2),
        faults.Drop(probability=0.05, seed=3),
        faults.Truncate(probability=0.05, seed=4),
        faults.Malformed(probability=0.05, seed=5, body="<html>"),
        faults.DuplicatePage(path="/api/batches", probability=0.2, seed=6),
        faults.ReorderPages(path="/api/batches", probability=0.2, seed=7),
    )
    store = reach.Store(tmp_path / "store")
    patient = reach.client.RetryPolicy(attempts=30, base_s=0.001, cap_s=0.01)
    with client_of(own, retry=patient) as client:
        run = reach.collect(client, store, progress=False)
    assert sum(1 for request in own.requests if request.faults) > 5
    seen = reach.open_history(store).batches()
    assert run.ok
    assert set(seen["batch_id"]) == set(own.world.batches)


def test_a_request_is_in_the_log_once_it_is_answered(own, get):
    for fault in (None, faults.Drop(), faults.Truncate(keep=0), faults.Malformed(body="\ud800")):
        own.set_faults(*([fault] if fault else []))
        for _ in range(20):
            before = own.requests[-1].number if own.requests else 0
            with contextlib.suppress(requests.RequestException):
                get()
            assert own.requests[-1].number == before + 1


def test_a_client_that_disconnects_midway_is_logged_without_an_error(own, caplog):
    host, port = own.url.removeprefix("http://").split(":")
    head = "POST /partner/tenants HTTP/1.1\r\nHost: localhost\r\n"
    head += f"Authorization: Bearer {own.token()}\r\n"
    head += "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    before = own.requests[-1].number if own.requests else 0
    with socket.create_connection((host, int(port)), 5) as connection:
        connection.sendall(head.encode())
        time.sleep(0.1)
    for _ in range(100):
        if own.requests and own.requests[-1].number > before:
            break
        time.sleep(0.02)
    assert own.requests[-1].path == "/partner/tenants"
    assert "Exception in ASGI application" not in caplog.text


def test_the_client_gives_up_on_an_api_that_stays_down(own):
    own.set_faults(faults.Failure(status=503))
    policy = reach.client.RetryPolicy(attempts=2, cap_s=0.01, base_s=0.001)
    with pytest.raises(ReachError) as caught, client_of(own, retry=policy) as client:
        list(client.tenants())
    assert isinstance(caught.value, ApiError)
    assert caught.value.status == 503
