"""SIGKILL at random moments: the store stays readable, loses nothing, duplicates nothing."""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

import reach_analytics as reach
from reach_analytics.errors import ForeignStoreError
from reach_analytics.sandbox import faults
from tests.support import victim
from tests.support.effort import THOROUGH

KEY = ["run_id", "tenant_id", "batch_id", "sent_at"]
KILLS = int(os.environ.get("KILLS", "100" if THOROUGH else "8"))
AT_ONCE = 2


def processes():
    """Processes that start quickly: forked from one that has imported everything."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.support.victim"])
    return context


def acknowledged(notes: Path) -> set[tuple[str, ...]]:
    files = [path.read_text() for path in notes.glob("*[0-9]")]
    lines = [line.split() for text in files for line in text.splitlines()]
    return {tuple(line) for line in lines if len(line) == 4}  # the last may be cut short


def stored(place: Path) -> pd.DataFrame:
    """The observations, checked: each is there once, and each good one has its state."""
    frame = reach.open_history(place).observations()
    assert not frame.duplicated(KEY).any()
    assert frame.loc[frame["ok"], "status"].notna().all()
    return frame


def until(happens: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end
        time.sleep(0.01)


def kill(process) -> None:
    assert process.exitcode is None, "it ended by itself"
    process.kill()
    process.join()


def keys(frame: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    return ((*row[:3], row[3].isoformat()) for row in frame[KEY].itertuples(index=False))


def test_a_watch_killed_at_any_moment_loses_and_duplicates_nothing(tmp_path):
    """Two watches at once on one store, with faults; compared with the sandbox's own log."""
    rng, context = random.Random(7), processes()
    place, notes = tmp_path / "store", tmp_path / "notes"
    notes.mkdir()
    rules = [
        faults.Failure(probability=0.05, seed=1),
        faults.Drop(probability=0.03, seed=2),
        faults.RateLimit(probability=0.03, seed=3, retry_after_s=0),
        faults.Truncate(probability=0.02, seed=4),
    ]
    with reach.sandbox.serve("late_dependencies", speed=victim.SPEED, faults=rules) as sandbox:
        sandbox.advance(sandbox.now() + timedelta(hours=5))
        alive: deque = deque()
        for number in range(KILLS):
            given = (sandbox.environment, str(place), str(notes / f"{number}"))
            alive.append(context.Process(target=victim.watch, args=given, daemon=True))
            alive[-1].start()
            if number % 4 == 0:  # some get to write before they are killed
                until((notes / f"{number}").exists)
            alive[0].join(rng.uniform(0.0, 1.0))
            if len(alive) == AT_ONCE:
                kill(alive.popleft())
                told = acknowledged(notes)
                if told and number % 10 == 0:
                    assert told <= set(keys(stored(place)))
        while alive:
            kill(alive.popleft())
        assert any(r.faults for r in sandbox.requests)
        log = [r for r in sandbox.requests if r.status == 200]
    told, frame = acknowledged(notes), stored(place)
    assert told <= set(keys(frame))
    assert len(told) > KILLS
    # The sandbox answered every observation in the store, and none is stored twice.
    single = Counter(r.path.rsplit("/", 1)[-1] for r in log if r.path.startswith("/api/batches/"))
    listed = Counter(r.tenant_id for r in log if r.path == "/api/batches")
    good = frame[frame["ok"]]
    observations = good[good["scope"] == "detail"].groupby("batch_id").size()
    pages = good[good["scope"] == "list"].groupby("tenant_id")["sent_at"].nunique()
    assert all(count <= single[batch_id] for batch_id, count in observations.items())
    assert all(count <= listed[tenant_id] for tenant_id, count in pages.items())
    assert min(observations.sum(), pages.sum()) > KILLS / 5


def test_a_directory_that_is_no_store_is_left_unchanged(tmp_path):
    """The remains of a killed creation are reused; a foreign directory is not."""
    (tmp_path / "their.txt").write_text("mine")
    with reach.sandbox.serve("healthy") as sandbox, reach.Client(**sandbox.credentials) as client:
        with pytest.raises(ForeignStoreError, match=r"their\.txt"):
            reach.watch(client, tmp_path, until="1h", wait=lambda s: None, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["their.txt"]
