"""SIGKILL at a hundred moments: the store stays readable, loses nothing and doubles nothing."""

from __future__ import annotations

import multiprocessing
import random
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

import reach_analytics as reach
from reach_analytics.errors import ForeignStoreError
from reach_analytics.sandbox import faults
from tests.collector import victim

KEY = ["run_id", "tenant_id", "batch_id", "sent_at"]
KILLS = 100


def processes():
    """Processes that start in no time: forked from one that has imported everything."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.collector.victim", "ibis.backends.duckdb"])
    return context


def acknowledged(notes: Path) -> set[tuple[str, ...]]:
    lines = [line.split() for path in notes.glob("*") for line in path.read_text().splitlines()]
    return {tuple(line) for line in lines if len(line) == 4}  # the last may be cut short


def stored(place: Path) -> pd.DataFrame:
    """The looks, checked to be whole: each once, and each good one with its state."""
    frame = reach.open_history(place).looks()
    assert not frame.duplicated(KEY).any()
    assert frame.loc[frame["ok"], "status"].notna().all()
    return frame


def keys(frame: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    return ((*row[:3], row[3].isoformat()) for row in frame[KEY].itertuples(index=False))


def test_a_watch_that_is_killed_at_any_moment_loses_and_doubles_nothing(tmp_path):
    """Two watches at a time on one store, faults on; 100 kills; then the sandbox's own log."""
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
        sandbox.advance(sandbox.now() + timedelta(hours=6))
        begun = 0
        while begun < KILLS:
            alive = []
            for _ in range(2):
                begun += 1
                given = (sandbox.environment, str(place), str(notes / f"{begun}"), begun)
                alive.append(context.Process(target=victim.watch, args=given, daemon=True))
                alive[-1].start()
            for process in alive:
                process.join(rng.uniform(0.1, 1.2))
                assert process.exitcode is None, "it ended by itself"
                process.kill()
                process.join()
            told = acknowledged(notes)
            if told:
                frame = stored(place)
                assert told <= set(keys(frame))
        log = [r for r in sandbox.requests if r.path.startswith("/api/batches/")]
    assert len(told) > 2000
    answered = Counter(r.path.rsplit("/", 1)[-1] for r in log if r.status == 200)
    seen = frame[frame["ok"] & (frame["scope"] == "detail")].groupby("batch_id").size()
    assert all(count <= answered[batch_id] for batch_id, count in seen.items())
    assert seen.sum() > 500


def test_a_place_that_is_no_store_stays_as_it_is(tmp_path):
    """What a kill leaves of a store's creation is taken up; what is somebody else's is not."""
    (tmp_path / "their.txt").write_text("mine")
    with reach.sandbox.serve("healthy") as sandbox, reach.Client(**sandbox.credentials) as client:
        with pytest.raises(ForeignStoreError, match=r"their\.txt"):
            reach.watch(client, tmp_path, until="1h", wait=lambda s: None, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["their.txt"]
