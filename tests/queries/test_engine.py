"""The engine is usable after any failure, and an interrupt is raised as one."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import ibis
import pytest

import reach_analytics as reach
from reach_analytics._interrupts import _Job, run_interruptibly


def failing(table: ibis.Table) -> ibis.Table:
    """Fails while it runs, not while it is made."""
    return table.mutate(number=table.status.cast("int64"))


def endless(table: ibis.Table) -> ibis.Table:
    """Does not end within the life of a test, and needs little memory."""
    crossed = table.select("batch_id")
    for number in range(12):
        crossed = crossed.cross_join(table.select(**{f"n{number}": table.batch_id.length()}))
    return crossed.aggregate(total=sum(crossed[f"n{n}"] for n in range(12)).sum())


@pytest.mark.parametrize(
    "go_wrong",
    [
        lambda table: failing(table).execute(),
        lambda table: failing(table).to_pyarrow(),
        lambda table: list(failing(table).to_pyarrow_batches()),
        lambda table: [next(iter(table.to_pyarrow_batches(chunk_size=1))), 1 / 0],
        lambda table: table.get_backend().con.execute("SELECT * FROM range(1000000)").nothing(),
    ],
    ids=["execute", "to_pyarrow", "batches", "batches left unread", "raw result left unread"],
)
def test_after_a_failed_expression_a_history_still_answers(go_wrong, store):
    history = reach.open_history(store)
    with pytest.raises(Exception):  # noqa: B017, PT011  of whatever kind
        go_wrong(history.tables.batches)
    assert len(history.pending()) > 0
    assert history.tables.batches.count().execute() == len(history.batches())


def test_rows_can_be_streamed_to_the_end(store):
    history = reach.open_history(store)
    batches = list(history.tables.observations.to_pyarrow_batches(chunk_size=10))
    assert sum(map(len, batches)) == len(history.observations())


@contextmanager
def ctrl_c(after_s: float) -> Iterator[None]:
    """Send this process one SIGINT after ``after_s``; it raises even if others handle it."""
    sender = threading.Timer(after_s, os.kill, [os.getpid(), signal.SIGINT])
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        sender.start()
        yield
    finally:
        sender.join()
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("after_s", [0.02, 0.1, 0.3, 1.0])
def test_an_interrupted_query_raises_keyboard_interrupt_and_the_next_one_answers(after_s, store):
    """Also while Ibis and DuckDB prepare it, where an exception may be swallowed."""
    history = reach.open_history(store)
    query = endless(history.tables.batches)
    with ctrl_c(after_s), pytest.raises(KeyboardInterrupt):
        history.tables.read(query)
    assert len(history.pending()) > 0


def test_work_that_ignores_its_first_interrupts_is_interrupted_again():
    asked = threading.Semaphore(0)

    def work():
        for _ in range(3):
            asked.acquire()

    with ctrl_c(0.2), pytest.raises(KeyboardInterrupt):
        run_interruptibly(work, asked.release)


def test_the_result_or_error_of_work_in_a_thread_is_passed_on():
    assert run_interruptibly(lambda: 7, lambda: None) == 7
    with pytest.raises(ZeroDivisionError):
        run_interruptibly(lambda: 1 // 0, lambda: None)


def test_work_that_is_not_wanted_any_more_is_not_begun():
    done = []
    job = _Job(lambda: done.append(1))
    job.is_wanted = False
    job.start()
    assert job.done.wait(60)
    assert done == []
