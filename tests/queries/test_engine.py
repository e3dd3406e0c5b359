"""The engine is usable after any failure, and an interrupt is raised as one."""

from __future__ import annotations

import gc
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ibis
import pytest

import reach_analytics as reach
from reach_analytics._interrupts import _Job, run_interruptibly
from reach_analytics.errors import StoreError
from reach_analytics.queries.engine import connect, kept


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
    parts = history.tables.wait_outcomes.to_pyarrow_batches(chunk_size=10)
    verdicts = [verdict for part in parts for verdict in part["verdict"].to_pylist()]
    assert sorted(verdicts) == sorted(history.wait_outcomes()["verdict"])


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


def held(engine) -> list[str]:
    names = [name for (name,) in engine.con.execute("SHOW TABLES").fetchall()]
    return [name for name in names if name.startswith("kept_")]


def disabled(engine) -> str:
    query = "SELECT current_setting('disabled_optimizers')"
    return engine.con.execute(query).fetchone()[0]


@pytest.mark.parametrize("after_s", [0.05, 0.3, 1.0])
def test_an_interrupted_step_leaves_nothing_behind(after_s, store):
    history = reach.open_history(store)
    engine = history.tables.batches.get_backend()
    before = disabled(engine)
    with ctrl_c(after_s), pytest.raises(KeyboardInterrupt):
        history.tables.run.keep(endless(history.tables.batches))
    assert held(engine) == []
    assert disabled(engine) == before
    assert len(history.release_rates()) == 1


def test_what_a_step_keeps_goes_with_the_last_that_refers_to_it():
    engine = connect()
    engine.con.execute("CREATE VIEW numbers AS SELECT range AS n FROM range(10)")
    kept_one = kept(engine.table("numbers"))
    derived = kept_one.filter(kept_one.n > 3)
    del kept_one
    gc.collect()
    assert len(held(engine)) == 1
    assert derived.count().to_pyarrow().as_py() == 6
    del derived
    gc.collect()
    assert held(engine) == []


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


def test_what_does_not_fit_in_memory_goes_to_a_directory_that_is_removed_with_the_engine():
    engine = connect("60MB", threads=1)
    [directory] = engine.con.execute("SELECT current_setting('temp_directory')").fetchone()
    engine.con.execute(
        "CREATE VIEW numbers AS SELECT range AS n, hash(range)::VARCHAR AS h FROM range(3000000)"
    )
    numbers = engine.table("numbers")
    spilled = []
    ordered = numbers.order_by("h").to_pyarrow_batches(chunk_size=100_000)
    for batch in ordered:
        spilled += [path.name for path in Path(directory).iterdir()]
        del batch
    assert spilled
    del ordered, numbers, engine
    gc.collect()
    assert not Path(directory).exists()


def test_too_little_memory_says_what_to_do(store):
    history = reach.open_history(store, memory_limit="1MB", threads=1)
    with pytest.raises(StoreError, match="raise memory_limit of open_history"):
        history.wait_intervals()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"memory_limit": "much"},
            "memory_limit must be a size as \"2GB\", found 'much'",
        ),
        ({"memory_limit": "-1GB"}, "memory_limit must be a size"),
        ({"threads": 0}, "threads cannot be 0"),
        ({"engine": ibis.duckdb.connect(), "threads": 2}, "not with engine="),
    ],
)
def test_a_limit_that_cannot_be_used_is_an_error_that_says_why(options, message, store):
    with pytest.raises(ValueError, match=message):
        reach.open_history(store, **options)


def test_by_default_queries_take_half_of_the_memory():
    def limit(engine) -> float:
        [found] = engine.con.execute("SELECT current_setting('memory_limit')").fetchone()
        number, unit = found.split()
        return float(number) * {"MiB": 2**20, "GiB": 2**30, "TiB": 2**40}[unit]

    assert limit(connect()) == pytest.approx(limit(ibis.duckdb.connect()) / 0.8 / 2, rel=0.02)


def test_an_engine_that_is_none_is_an_error_that_says_what_it_may_be(store):
    with pytest.raises(TypeError, match="must be a SparkSession or an Ibis backend, found str"):
        reach.open_history(store, engine="duckdb")


def test_limits_reach_the_engine(store, tmp_path):
    history = reach.open_history(
        store, memory_limit="1.5GB", threads=1, spill_directory=tmp_path / "it's here"
    )
    con = history.tables.batches.get_backend().con
    settings = [
        con.execute(f"SELECT current_setting('{name}')").fetchone()[0]
        for name in ("memory_limit", "threads", "temp_directory")
    ]
    assert settings == ["1.3 GiB", 1, str(tmp_path / "it's here")]
    assert len(history.batches()) > 0


def test_without_a_place_for_temporary_files_a_history_still_answers(store, monkeypatch):
    def full(*_, **__):
        raise OSError("no usable temporary directory")

    monkeypatch.setattr(tempfile, "mkdtemp", full)
    assert len(reach.open_history(store).batches()) > 0
