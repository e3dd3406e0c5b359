"""How a collector writes: in groups its store can keep up with, and during its compaction."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from types import SimpleNamespace

import reach_analytics as reach
from reach_analytics.collector._compact_if_due import BackgroundCompaction
from reach_analytics.collector._observe.rows import to_tables
from reach_analytics.collector._observe.write_buffer import WriteBuffer
from tests.support.observations import batch, minute, observation

SECOND = timedelta(seconds=1)


class SlowStore:
    """Takes two seconds of a clock for each append."""

    def __init__(self) -> None:
        self.clock = 0.0
        self.sizes: list[int] = []

    def append(self, states, observations) -> SimpleNamespace:
        self.clock += 2.0
        self.sizes.append(observations.num_rows)
        return SimpleNamespace(snapshots=states.num_rows, observations=observations.num_rows)


def test_a_slow_store_is_written_to_in_larger_groups():
    """For ten minutes there is an observation each second, and each is due at once."""
    store = SlowStore()
    buffer = WriteBuffer(
        store, lambda: minute(0), seconds=0.001, seconds_passed=lambda: store.clock
    )
    for number in range(600):
        store.clock += 1.0
        buffer.take(observation(batch(f"b{number}"), 0))
        if buffer.is_due(minute(0) + 2 * SECOND):
            buffer.write()
    buffer.write()
    assert sum(store.sizes) == 600
    busy = 2.0 * len(store.sizes) / store.clock
    assert busy <= 0.25
    assert len(store.sizes) > 50  # nor is it delayed for ever


def test_a_quick_store_is_written_to_at_once():
    store = SlowStore()
    buffer = WriteBuffer(store, lambda: minute(0), seconds=10, seconds_passed=lambda: 0.0)
    buffer.take(observation(batch("b"), 0))
    assert not buffer.is_due(minute(0) + 5 * SECOND)
    assert buffer.is_due(minute(0) + 12 * SECOND)


def test_a_writer_does_not_block_its_own_compaction(tmp_path):
    """Appends without a pause, on the days that are compacted, through the same store."""
    store = reach.Store(tmp_path / "store", durable=False)
    stop, written = threading.Event(), 0

    def append(number: int) -> None:
        rows = [observation(batch(f"b{number}-{n}"), number + 1440 * n) for n in range(3)]
        store.append(*to_tables(rows, minute(99_999)))

    for number in range(4):
        append(number)

    def go_on() -> None:
        nonlocal written
        while not stop.is_set():
            append(4 + written)
            written += 1

    writer = threading.Thread(target=go_on)
    writer.start()
    try:
        done = store.compact(now=minute(99_999))
    finally:
        stop.set()
        writer.join(30)
    assert written > 0
    assert done.days_skipped == 0
    observations = reach.open_history(store).observations()
    assert len(observations) == 3 * (4 + written)
    assert not observations.duplicated(["batch_id", "sent_at"]).any()


def test_a_running_compaction_is_not_waited_for_and_starts_nothing_more(tmp_path, monkeypatch):
    begun, stopped = threading.Event(), threading.Event()

    def compact(self, *, now, stop):
        begun.set()
        assert stop.wait(30)
        time.sleep(3)
        stopped.set()
        return "done"

    store = reach.Store(tmp_path / "store")
    store.append(*to_tables([observation(batch("b"))], minute(9)))
    monkeypatch.setattr(reach.Store, "wants_compaction", lambda self: True)
    monkeypatch.setattr(reach.Store, "compact", compact)
    compaction = BackgroundCompaction(store)
    assert compaction.begin(minute(0))
    assert begun.wait(30)
    assert not compaction.begin(minute(0))
    compaction.end()
    assert not stopped.is_set()
    assert stopped.wait(30)


def test_a_compaction_that_is_told_to_stop_leaves_the_rest_for_later(tmp_path):
    store = reach.Store(tmp_path / "store", durable=False)
    for number in range(3):
        rows = [observation(batch(f"b{number}-{n}"), number + 1440 * n) for n in range(3)]
        store.append(*to_tables(rows, minute(99_999)))
    before = reach.open_history(store).observations()
    stop = threading.Event()
    stop.set()
    done = store.compact(now=minute(99_999), stop=stop)
    assert (done.files_after, done.observations_folded) == (done.files_before, 0)
    assert len(reach.open_history(store).observations()) == len(before)
