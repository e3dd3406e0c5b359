"""A Retry-After for one request holds for the whole client."""

from __future__ import annotations

import logging
import threading
import time

import pytest

import reach_analytics as reach
from reach_analytics.client import RetryPolicy
from reach_analytics.errors import ApiError
from tests.support.hostile import answer, ok, serve

BATCH = {"batchId": "b1", "status": "success"}


def client(url: str, **options) -> reach.Client:
    return reach.Client(token="abc", tenant_id="t", base_url=url, **options)


def test_other_threads_and_copies_wait_too():
    """One thread is told to wait a second; the other, of another tenant, sends nothing."""
    sent_at: list[float] = []

    def busy_then_good(connection) -> None:
        sent_at.append(time.monotonic())
        first = len(sent_at) == 1
        connection.sendall(answer(429, headers={"Retry-After": "1"}) if first else ok(BATCH))

    with serve(busy_then_good) as server, client(server.url) as own:
        one = threading.Thread(target=own.batch, args=["b1"])
        one.start()
        while not sent_at:
            time.sleep(0.01)
        time.sleep(0.2)
        assert own.for_tenant("t2").batch("b1").batch_id == "b1"
        one.join(10)
    assert len(sent_at) == 3
    assert min(sent_at[1:]) - sent_at[0] > 0.9


def test_a_copy_without_retries_does_not_wait_but_makes_the_others_wait():
    waits: list[float] = []
    busy = answer(429, headers={"Retry-After": "7"})
    with serve(busy, busy, ok(BATCH)) as server:
        with client(server.url, sleep=waits.append) as own:
            for _ in range(2):
                with pytest.raises(ApiError, match="429"):
                    own.without_retries().batch("b1")
            assert len(server.requests) == 2
            assert waits == []
            assert own.for_tenant("t2").batch("b1").batch_id == "b1"
    assert [round(wait) for wait in waits] == [7]


def test_a_long_wait_is_logged_once_and_short_ones_are_not(caplog):
    caplog.set_level(logging.INFO, "reach_analytics.client")
    busy = answer(429, headers={"Retry-After": "30"})
    with serve(busy, busy, busy, answer(500), ok(BATCH)) as server:
        with client(server.url, sleep=[].append, retry=RetryPolicy(attempts=5)) as own:
            own.batch("b1")
    retries = [record for record in caplog.records if "attempt" in record.message]
    assert [r.levelname for r in retries] == ["WARNING", "INFO", "INFO", "INFO"]
    assert "it asks to wait 30 s" in retries[0].message
