"""The engine is usable again after whatever went wrong, and an interrupt is one."""

from __future__ import annotations

import _thread
import signal
import threading

import ibis
import pytest

import reach_analytics as reach


def failing(table: ibis.Table) -> ibis.Table:
    """Fails while it runs, not while it is made."""
    return table.mutate(number=table.status.cast("int64"))


def endless(table: ibis.Table) -> ibis.Table:
    """Does not end within the life of a test."""
    rows = ibis.range(10_000_000).unnest().name("n").as_table()
    crossed = rows.cross_join(rows.view().rename(m="n")).cross_join(table.select("batch_id"))
    return crossed.aggregate(total=(crossed.n * crossed.m).sum())


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
def test_after_a_failed_expression_a_history_answers_as_before(go_wrong, store):
    history = reach.open_history(store)
    with pytest.raises(Exception):  # noqa: B017, PT011  of whatever kind
        go_wrong(history.tables.batches)
    assert len(history.pending()) > 0
    assert history.tables.batches.count().execute() == len(history.batches())


def test_rows_can_be_streamed_to_their_end(store):
    history = reach.open_history(store)
    batches = list(history.tables.looks.to_pyarrow_batches(chunk_size=10))
    assert sum(map(len, batches)) == len(history.looks())


def test_an_interrupted_query_is_a_keyboard_interrupt_and_the_next_one_answers(store):
    history = reach.open_history(store)
    query = endless(history.tables.batches)
    timer = threading.Timer(0.5, _thread.interrupt_main, [signal.SIGINT])
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            history.tables.read(query)
    finally:
        signal.signal(signal.SIGINT, before)
        timer.cancel()
    assert len(history.pending()) > 0
