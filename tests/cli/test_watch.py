"""`reach-analytics watch` as a process: signals, exit codes, summaries and logs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from random import Random

import pytest

import reach_analytics as reach
from reach_analytics.sandbox import faults
from tests.support.effort import count


def start(*arguments: str, cwd, env) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "reach_analytics.cli", "watch", "--store", "s", *arguments],
        cwd=cwd,
        env={**os.environ, **env},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def until(happens, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def busy():
    """A sandbox in the middle of its scenario, with a minute per second."""
    with reach.sandbox.serve("demo") as sandbox:
        sandbox.advance(sandbox.scenario.moments[4])
        sandbox.run(60)
        yield sandbox


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_everything_written_and_exit_code_0(busy, tmp_path, stop):
    process = start("--json", "--log", "watch.log", cwd=tmp_path, env=busy.environment)
    until(lambda: len(busy.requests) > 30)
    process.send_signal(stop)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    # At this speed of the clock a pause of this machine makes requests late by minutes.
    assert [line for line in err.splitlines() if "requests are late" not in line] == []
    summary = json.loads(out)
    observations = reach.open_history(tmp_path / "s").observations()
    assert summary["observations"] == len(observations) > 10
    single = [r for r in busy.requests if r.path.startswith("/api/batches/")]
    assert (observations["scope"] == "detail").sum() == len([r for r in single if r.status == 200])
    lines = [json.loads(line) for line in (tmp_path / "watch.log").read_text().splitlines()]
    assert [line["event"] for line in lines][:: len(lines) - 1] == ["started", "ended"]
    assert lines[-1]["summary"] == summary
    assert "interrupted" in {line["event"] for line in lines}
    assert {"time", "level", "logger", "message"} <= lines[0].keys()
    assert busy.environment["REACH_TOKEN"] not in out + (tmp_path / "watch.log").read_text()


RUNS = int(os.environ.get("SIGNALS", count(4, 2)))  # watches that end at random moments


def test_a_signal_at_any_moment_of_a_busy_watch_ends_it_cleanly(tmp_path):
    """During a query, a write or an answer: no traceback, no observation lost or twice."""
    random, seen = Random(7), 0
    with reach.sandbox.serve("year") as sandbox:
        sandbox.advance(sandbox.scenario.moments[0])
        sandbox.run(20_000)
        for _ in range(RUNS):
            before = len(sandbox.requests)
            process = start("--json", cwd=tmp_path, env=sandbox.environment)
            until(lambda before=before: len(sandbox.requests) > before + 5)
            time.sleep(random.uniform(0, 2))
            process.send_signal(random.choice([signal.SIGINT, signal.SIGTERM]))
            out, err = process.communicate(timeout=60)
            assert process.returncode == 0, err
            assert "Traceback" not in err, err
            seen += json.loads(out)["observations"]
    observations = reach.open_history(tmp_path / "s").observation_log()
    assert len(observations) == seen > 0
    assert not observations.duplicated(["tenant_id", "batch_id", "sent_at", "scope"]).any()


def test_with_given_ids_it_ends_when_they_have_ended(busy, tmp_path):
    ids = [batch.id for batch in busy.world.batches.values() if not batch.pending][:2]
    tenants = {busy.world.batches[i].tenant_id for i in ids}
    assert len(tenants) == 1
    (tmp_path / "ids.txt").write_text(ids[1])
    process = start(
        *("-", "--file", "ids.txt", "--tenant", tenants.pop()), cwd=tmp_path, env=busy.environment
    )
    out, err = process.communicate(ids[0], timeout=60)
    assert (process.returncode, err) == (0, "")
    assert "batches" in out
    batches = reach.open_history(tmp_path / "s").batches()
    assert set(batches["batch_id"]) == set(ids)


def test_a_token_that_is_refused_is_one_line_and_exit_code_1(busy, tmp_path):
    env = busy.environment | {"REACH_TOKEN": "not.a.token", "REACH_TENANT_ID": "t"}
    process = start(cwd=tmp_path, env=env)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "reach-analytics: the token is no longer accepted" in err.splitlines()[-1]
    assert "Traceback" not in err
    assert "not.a.token" not in err
    assert len(busy.requests) < 30


def test_problems_are_printed_on_stderr_in_plain_lines(busy, tmp_path):
    busy.set_faults(faults.Malformed(path="/api/batches", body="\x1b[2Jno"))
    process = start("--until", "5min", cwd=tmp_path, env=busy.environment)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "WARNING" in err
    assert "\x1b" not in err + out
    assert "requests" in out


def test_an_empty_list_of_ids_is_a_usage_error(busy, tmp_path):
    process = start("-", cwd=tmp_path, env=busy.environment)
    _, err = process.communicate("", timeout=60)
    assert process.returncode == 1
    assert "no batch ids were given" in err
    assert busy.requests == []
