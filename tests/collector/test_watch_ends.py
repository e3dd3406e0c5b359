"""``until`` and one Ctrl-C end a watch, even if requests hang or its clock stands."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta

import pytest

import reach_analytics as reach
from reach_analytics.client import RetryPolicy
from reach_analytics.collector._watch import standstill
from reach_analytics.collector._watch.standstill import Stillness
from tests.support.hostile import answer, drip, serve
from tests.support.observations import minute
from tests.support.scripted_api import Api, row

GRACE_S, SLACK_S = 5.0, 10.0  # requests under way have 5 s; a busy machine gets more
ENDLESS = drip(b"HTTP/1.1 200 ", lasts_s=60)


def client(url: str, **options) -> reach.Client:
    return reach.Client(token="abc", tenant_id="t", base_url=url, **options)


def test_until_ends_a_watch_though_all_requests_hang(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(standstill, "_TELL_HANGING_S", 0.5)
    begun = time.monotonic()
    with serve(ENDLESS) as server, client(server.url, threads=4) as own:
        with caplog.at_level(logging.WARNING):
            run = reach.watch(own, tmp_path / "s", until="2s", batch_ids=["a"])
            ended = time.monotonic()
            run = reach.watch(own, tmp_path / "s", until="1s", batch_ids=list("abcd"))
    assert ended - begun < 2 + GRACE_S + SLACK_S
    assert run.failed_observations == 0
    told = [record.message for record in caplog.records if "nothing comes back" in record.message]
    assert len(told) == 2
    assert told[1].startswith("all 4 requests in flight have taken more than")


def test_the_client_can_be_used_again_after_the_watch(tmp_path):
    with serve(ENDLESS, answer(404)) as server, client(server.url) as own:
        reach.watch(own, tmp_path / "s", until="0.5s", batch_ids=["a"])
        with pytest.raises(reach.errors.NotFoundError):
            own.batch("a")


def test_one_interrupt_ends_a_watch_that_hangs_without_a_traceback(tmp_path):
    environment = {"REACH_TOKEN": "abc", "REACH_TENANT_ID": "t", "PYTHONUNBUFFERED": "1"}
    with serve(ENDLESS) as server:
        process = subprocess.Popen(
            [sys.executable, "-m", "reach_analytics.cli", "watch", "--store", "s", "--json"],
            cwd=tmp_path,
            env={**os.environ, **environment, "REACH_BASE_URL": server.url},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            ends_at = time.monotonic() + 60
            while not server.requests and time.monotonic() < ends_at:
                time.sleep(0.05)
            begun = time.monotonic()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=40)
        finally:
            process.kill()
    assert time.monotonic() - begun < GRACE_S + SLACK_S
    assert process.returncode == 0
    assert "Traceback" not in err
    assert json.loads(out)["observations"] == 0


def test_a_standing_clock_is_logged_and_does_not_make_a_watch_endless(tmp_path, caplog):
    with reach.sandbox.serve("demo") as sandbox, reach.Client(**sandbox.credentials) as own:
        begun = time.monotonic()
        with caplog.at_level(logging.WARNING):
            run = reach.watch(own, tmp_path / "s", until="2s", progress=False)
        assert 2 <= time.monotonic() - begun < 2 + SLACK_S
    [problem] = run.problems
    assert problem.message.startswith("the clock is stopped at 20")
    assert "the clock is stopped" in caplog.text


def test_a_clock_that_waits_advance_does_not_count_as_standing():
    stillness = Stillness(timedelta(seconds=5))
    for number in range(100):
        assert stillness.waited(9.0, minute(number), minute(number + 1)) is None
    assert not stillness.is_over


def test_a_standing_clock_is_logged_once_and_again_after_it_ran():
    stillness = Stillness(timedelta(hours=1))
    told = [stillness.waited(2.0, minute(0), minute(0)) for _ in range(6)]
    assert [text is not None for text in told] == [False, False, True, False, False, False]
    assert stillness.stands
    stillness.waited(2.0, minute(0), minute(1))
    assert not stillness.stands
    for _ in range(1800):
        stillness.waited(2.0, minute(1), minute(1))
    assert stillness.is_over


def test_a_probe_in_an_outage_does_not_hold_the_watch(tmp_path):
    """The token's check drips, yet the watch ends at `until`."""

    class Refusing(Api):
        def __call__(self, connection) -> None:
            if self.server.paths()[-1].startswith("/api/batches?"):
                ENDLESS(connection)
            else:
                super().__call__(connection)

    api = Refusing(a=answer(401), b=row("b"))
    begun = time.monotonic()
    with serve(api) as api.server:
        with client(api.server.url, retry=RetryPolicy(attempts=1)) as own:
            reach.watch(own, tmp_path / "s", until="2s", batch_ids=["a"])
    assert time.monotonic() - begun < 2 + GRACE_S + SLACK_S
