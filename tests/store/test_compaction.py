"""Compaction: the same answers from fewer rows; nothing is lost or duplicated."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import random
import shutil
import signal
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import ibis
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable, Field, write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st

import reach_analytics as reach
from reach_analytics.collector._observe.rows import to_tables
from reach_analytics.errors import StoreNotFoundError
from reach_analytics.history import History
from reach_analytics.queries.tables import Tables
from reach_analytics.store._folding import folded
from reach_analytics.tables import LIST, STORED_OBSERVATIONS, STORED_SNAPSHOTS
from tests.support.answers import answers, assert_same
from tests.support.effort import THOROUGH
from tests.support.observations import batch, counts, minute, observation

LATER = datetime(2026, 3, 9, tzinfo=UTC)
DONE = counts(10, 8, 1)
HOUR = timedelta(hours=1)


def seen_at(table: pa.Table) -> Counter:
    """How often each (tenant, batch, scope, time) was observed, by the rows and their repeats."""
    rows = table.select(["tenant_id", "batch_id", "scope", "sent_at", "repeats"]).to_pylist()
    return Counter(
        (row["tenant_id"], row["batch_id"], row["scope"], when)
        for row in rows
        for when in (row["sent_at"], *(row["repeats"] or ()))
    )


def stored(store: reach.Store) -> Counter:
    return seen_at(store.tables()[1].to_pyarrow())


def count(store: reach.Store) -> int:
    return store.tables()[1].count().to_pyarrow().as_py()


def fold(snapshots: pa.Table, observations: pa.Table) -> pa.Table:
    """What a compaction makes of every day, without a store."""
    done, day = [], observations["observed_date"]
    for today in sorted(set(day.to_pylist())):
        earlier = observations.filter(pc.less(day, today))
        start = datetime(today.year, today.month, today.day, tzinfo=UTC)
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.register("own", observations.filter(pc.equal(day, today)))
            connection.execute("CREATE TEMP TABLE day AS FROM own")
            connection.register(
                "earlier", earlier.filter(pc.greater_equal(earlier["received_at"], start))
            )
            connection.register("states", snapshots)
            done.append(folded(connection).to_arrow_table().cast(observations.schema))
    return pa.concat_tables(done)


def left(*observations) -> list[float]:
    """The minutes of the observations that stay."""
    times = fold(*to_tables(observations, minute(9999)))["sent_at"].to_pylist()
    return [(when - minute(0)).total_seconds() / 60 for when in sorted(times)]


def finished(waits: dict | None = None, **fields) -> dict:
    return batch(waits=waits or {}, progress=DONE, **fields)


@pytest.fixture
def store(tmp_path):
    return reach.Store(tmp_path / "store")


@pytest.fixture
def watched(store):
    """A batch observed twenty times, every ten minutes, that changed once; in 5 files."""
    states = [finished({"A": "x"})] * 12 + [finished()] * 8
    observations = [observation(state, 10 * at, run_id=f"r{at}") for at, state in enumerate(states)]
    for start in range(0, 20, 4):
        store.append(*to_tables(observations[start : start + 4], minute(9999)))
    return store


def test_of_equal_observations_the_first_two_and_the_last_two_stay():
    assert left(*(observation(finished(), at) for at in range(9))) == [0, 1, 7, 8]
    assert left(*(observation(finished(), at) for at in range(4))) == [0, 1, 2, 3]


def test_the_second_of_them_holds_when_the_others_were_sent():
    rows = fold(*to_tables([observation(finished(), at) for at in range(7)], minute(9999)))
    assert rows["repeats"].to_pylist() == [None, [minute(2), minute(3), minute(4)], None, None]


def test_another_state_a_failed_observation_and_another_status_end_a_stretch():
    changed = [observation(finished({"A": "x"} if at < 4 else {}), at) for at in range(8)]
    assert len(left(*changed)) == 8
    failed = [observation(None if at == 4 else finished(), at, batch_id="b") for at in range(9)]
    assert len(left(*failed)) == 9
    odd = [replace(observation(finished(), at), http_status=200 + (at > 3)) for at in range(8)]
    assert len(left(*odd)) == 8


@pytest.mark.parametrize(
    "state",
    [
        batch(status="processing", progress=DONE),
        batch(progress=counts(10, 2, 1, processed=4)),
        batch(),
    ],
    ids=["processing", "records left", "no counts"],
)
def test_of_an_unfinished_batch_every_observation_stays(state):
    assert len(left(*(observation(state, at) for at in range(9)))) == 9


def test_an_observation_that_overlaps_another_stays():
    observations = [observation(finished(), at) for at in range(12)]
    observations[5] = replace(observations[5], received_at=minute(6.5))
    assert left(*observations) == [0, 1, 3, 4, 5, 6, 7, 8, 10, 11]


def test_one_that_was_under_way_at_midnight_makes_later_ones_stay():
    """All it overlaps: a measure cannot use them, and uses the first one after them."""
    midnight = 18 * 60
    slow = replace(observation(finished(), midnight - 1), received_at=minute(midnight + 3.5))
    after = [observation(finished(), midnight + at) for at in range(10)]
    assert [at - midnight for at in left(slow, *after)] == [-1, 0, 1, 2, 3, 4, 5, 8, 9]


def test_tenants_batches_and_scopes_are_folded_separately():
    observations = [
        observation(
            finished(), 10 * at + part, tenant_id=tenant, scope=scope, run_id=f"{tenant}{at}"
        )
        for at in range(9)
        for part, (tenant, scope) in enumerate([("t", LIST), ("t", "detail"), ("u", "detail")])
    ]
    rows = fold(*to_tables(observations, minute(9999)))
    each = Counter(zip(rows["tenant_id"].to_pylist(), rows["scope"].to_pylist(), strict=True))
    assert each == {("t", LIST): 4, ("t", "detail"): 4, ("u", "detail"): 4}


def test_folded_rows_fold_again_with_late_ones():
    def all_but(*late: int):
        observations = [
            observation(finished(), at, run_id=f"r{at}") for at in range(20) if at not in late
        ]
        return to_tables(observations, minute(9999))

    snapshots, early = all_but(0, 5, 19)
    late = to_tables(
        [observation(finished(), at, run_id=f"r{at}") for at in (0, 5, 19)], minute(9999)
    )[1]
    twice = fold(snapshots, pa.concat_tables([fold(snapshots, early), late]))
    assert twice.equals(fold(*all_but()))


@pytest.mark.parametrize("at", [1.5, 5, 9.5, 18.5])
def test_what_was_known_at_a_moment_stays_known(at):
    """Received at once, since the receiving time of a folded observation is not kept."""
    states = [finished({"A": "x", "B": "y"})] * 10 + [finished({"B": "y"})] * 10
    observations = [
        replace(observation(each, n), received_at=minute(n)) for n, each in enumerate(states)
    ]
    snapshots, stored = to_tables(observations, minute(9999))
    before, after = (
        answers(History(Tables(ibis.memtable(snapshots), ibis.memtable(rows), minute(at))), ONCE)
        for rows in (stored, fold(snapshots, stored))
    )
    del before["moment"]
    assert_same(before, after)


ONCE = ["batches", "wait_intervals", "missing_intervals", "wait_outcomes"]
PENDING = [{"A": "xy", "B": "x"}, {"A": "x", "B": "x"}, {"B": "x"}, {}]
CHANGES = [
    *(batch(status="processing", progress=counts(10, at, 0, processed=at)) for at in (0, 5, 5, 9)),
    batch(status="partial_success", progress=counts(10, 3, 1, processed=6)),
    *(finished(waits) for waits in PENDING),
    batch(waits={"B": "x"}, progress=DONE | {"pendingRecords": 3}),  # truncated
    batch(progress=counts(10, 7, 2), status="success"),
    None,  # a failed observation
]
BEGUN = 5  # the first ones, whose batch is unfinished
SEEN = st.tuples(
    st.integers(0, len(CHANGES) - 1),  # what the batch itself shows
    st.integers(0, 2),  # how far the listing lags behind
    st.integers(1, 9),  # for how many passes
    st.integers(1, 4),  # every how many passes it is listed
    st.sampled_from([1, 5, 100]),  # minutes between two
    st.sampled_from([0.0, 0.0, 0.0, 0.5, 3.0]),  # how long its last answer takes
)


def told(runs: list[tuple[int, int, int, int, float, float]], name: str) -> list:
    """The observations of a batch: unfinished states first, then finished ones."""
    begun = sorted(run for run in runs if run[0] < BEGUN)
    at, observations, shown = 16 * 60.0, [], 0
    for state, lag, times, every, gap, slow in [*begun, *(r for r in runs if r[0] >= BEGUN)]:
        for number in range(times):
            run_id, document = f"{name}{at}", CHANGES[state]
            shown = max(shown, min(state, len(CHANGES) - 2) - lag)
            if number % every == 0:
                observations.append((CHANGES[shown], at, LIST, run_id, 0.0))
            observations.append(
                (document, at + 0.25, "detail", run_id, slow * (number == times - 1))
            )
            at += gap
    return [
        replace(
            observation(
                document and {**document, "batchId": name},
                when,
                batch_id=name,
                scope=scope,
                run_id=run_id,
            ),
            received_at=minute(when + 0.1 + slow),
        )
        for document, when, scope, run_id, slow in observations
    ]


TOLD_BY_OBSERVATIONS = [
    "batches",
    "wait_intervals",
    "missing_intervals",
    "coverage",
    "quality",
    "stuck",
    "eta",
]


@settings(max_examples=6 if THOROUGH else 3)
@given(runs=st.lists(st.lists(SEEN, min_size=1, max_size=6), min_size=1, max_size=2))
def test_folding_changes_no_answer_and_loses_no_observation(runs):
    observations = [each for number, own in enumerate(runs) for each in told(own, f"b{number}")]
    snapshots, stored = to_tables(observations, minute(9999))
    fewer = fold(snapshots, stored)
    assert seen_at(fewer) == seen_at(stored)
    assert fold(snapshots, fewer).equals(fewer)
    before, after = (
        answers(
            History(Tables(ibis.memtable(snapshots), ibis.memtable(rows))), TOLD_BY_OBSERVATIONS
        )
        for rows in (stored, fewer)
    )
    assert_same(before, after)


@pytest.fixture(scope="module")
def midnight(tmp_path_factory):
    """A store of late dependencies, observed every ten minutes from one day into the next."""
    store = reach.Store(tmp_path_factory.mktemp("midnight") / "store")
    with reach.sandbox.serve("late_dependencies") as sandbox:
        with reach.Client(**sandbox.credentials) as client:
            moment = sandbox.scenario.moments[-1] - 2 * HOUR
            while moment < sandbox.scenario.moments[-1] + 1.5 * HOUR:
                sandbox.advance(moment)
                reach.collect(client, store, progress=False)
                moment += HOUR / 6
    return store


def test_every_frame_and_measure_is_the_same_after_a_compaction(midnight):
    store = midnight
    before, observations = answers(reach.open_history(store)), stored(store)
    done = store.compact(now=LATER)
    assert done.observations_folded > 0.5 * observations.total()
    assert done.bytes_after < done.bytes_before / 4
    assert done.files_before > 30 > 4 >= done.files_after
    assert_same(before, answers(reach.open_history(store)))
    assert stored(store) == observations


def test_compacting_reports_what_it_did_and_has_nothing_to_do_again(watched):
    done = watched.compact(now=LATER)
    assert (done.files_before, done.files_after) == (7, 2)
    assert (done.observations_folded, done.days_skipped, done.files_deleted) == (12, 0, 0)
    again = watched.compact(now=LATER)
    assert (again.files_before, again.files_after, again.observations_folded) == (2, 2, 0)
    assert count(watched) == 8


def test_a_day_that_is_not_over_keeps_its_observations_and_gets_few_files(watched):
    done = watched.compact(now=minute(500))
    assert (done.observations_folded, done.files_after) == (0, 2)
    assert count(watched) == 20


def test_without_folding_every_observation_stays(watched):
    assert watched.compact(now=LATER, fold=False).observations_folded == 0
    assert count(watched) == 20
    assert watched.compact(now=LATER).observations_folded == 12


def test_folded_observations_are_not_added_again(watched):
    observations = stored(watched)
    watched.compact(now=LATER)
    rows = [observation(finished({"A": "x"}), 10 * at, run_id=f"r{at}") for at in range(12)]
    assert watched.append(*to_tables(rows, minute(9999))).observations == 0
    late = observation(finished({"A": "x"}), 55, run_id="late")
    assert watched.append(*to_tables([late], minute(9999))).observations == 1
    assert watched.compact(now=LATER).observations_folded == 1
    assert stored(watched) == observations + Counter([("t", "b", "detail", minute(55))])


def test_readers_that_opened_the_store_before_can_read_on(watched):
    reader = watched.tables()[1]
    watched.compact(now=LATER)
    assert reader.count().to_pyarrow().as_py() == 20


def _age_log(table: str, minutes: float) -> None:
    """Make the log say that everything was replaced that many minutes earlier."""
    log = Path(table) / "_delta_log"
    for entry in log.iterdir():
        if entry.suffix != ".json":
            entry.unlink()  # checkpoints, which say it too
            continue
        actions = [json.loads(line) for line in entry.read_text().splitlines()]
        for action in actions:
            if "remove" in action:
                action["remove"]["deletionTimestamp"] -= int(minutes * 60_000)
        entry.write_text("\n".join(map(json.dumps, actions)) + "\n")


def test_replaced_files_are_deleted_after_the_retention_and_no_others(watched):
    files = watched.files(STORED_OBSERVATIONS)
    orphan = Path(files[0]).with_name("part-of-a-writer-that-died.parquet")
    orphan.write_text("")
    watched.compact(now=LATER)
    assert all(map(os.path.exists, files))
    _age_log(watched.uri(STORED_OBSERVATIONS), minutes=80)
    assert watched.compact(now=LATER, retention=85 * HOUR / 60).files_deleted == 0
    assert all(map(os.path.exists, files))
    assert watched.compact(now=LATER, retention=HOUR).files_deleted == len(files)
    assert not any(map(os.path.exists, files))
    assert all(map(os.path.exists, watched.files(STORED_OBSERVATIONS)))
    assert orphan.exists()  # no log ever named it: it may be the only copy of something
    with pytest.raises(ValueError, match="at least an hour, found 0:30:00"):
        watched.compact(now=LATER, retention=HOUR / 2)


def test_small_files_are_counted_from_the_log(watched):
    assert watched.small_files() == 5  # of 5 and 2, in one day each
    assert watched.wants_compaction(threshold=4)
    assert not watched.wants_compaction(threshold=5)
    watched.compact(now=LATER)
    assert watched.small_files() == 0
    assert reach.Store("nowhere at all").small_files() == 0


def test_without_a_store_there_is_nothing_to_compact(store):
    with pytest.raises(StoreNotFoundError):
        store.compact(now=LATER)


def test_a_compaction_leaves_a_checkpoint_so_that_the_log_need_not_be_read(watched):
    watched.compact(now=LATER)
    for table in (STORED_SNAPSHOTS, STORED_OBSERVATIONS):
        log = Path(watched.uri(table)) / "_delta_log"
        newest = DeltaTable(watched.uri(table)).version()
        assert (log / f"{newest:020}.checkpoint.parquet").exists()


def without_repeats(store: reach.Store) -> None:
    """The store as an earlier version made it."""
    schema = STORED_OBSERVATIONS.schema.remove(STORED_OBSERVATIONS.names.index("repeats"))
    for table, own in ((STORED_SNAPSHOTS, STORED_SNAPSHOTS.schema), (STORED_OBSERVATIONS, schema)):
        DeltaTable.create(
            store.uri(table),
            schema=own,
            partition_by=[table.partition],
            configuration={"reach_analytics.table_version": "1"},
            raise_if_key_not_exists=False,
        )


def test_a_store_of_before_folding_is_read_written_and_compacted(store):
    without_repeats(store)
    observations = [observation(finished({"A": "x"}), at, run_id=f"r{at}") for at in range(9)]
    for some in (observations[:5], observations[3:]):
        store.append(*to_tables(some, minute(9999)))
    assert (
        "repeats" not in DeltaTable(store.uri(STORED_OBSERVATIONS)).to_pyarrow_table().column_names
    )
    before, observations = answers(reach.open_history(store)), stored(store)
    assert store.compact(now=LATER).observations_folded == 5
    assert_same(before, answers(reach.open_history(store)))
    assert stored(store) == observations
    # And an earlier version continues to append to it.
    old = to_tables([observation(finished(), 99)], minute(9999))[1].drop_columns(["repeats"])
    merge = DeltaTable(store.uri(STORED_OBSERVATIONS)).merge(old, "t.sent_at = s.sent_at", "s", "t")
    merge.when_not_matched_insert_all().execute()
    assert stored(store).total() == 10


def test_columns_of_a_later_version_are_null_in_new_rows_and_survive_a_compaction(watched):
    opened = DeltaTable(watched.uri(STORED_OBSERVATIONS))
    opened.alter.add_columns(Field("novel", "long"))
    row = to_tables([observation(finished(), 500)], minute(9999))[1]
    known = row.append_column("novel", pa.array([7]))
    write_deltalake(opened, known.select(opened.schema().to_arrow().names), mode="append")
    watched.append(*to_tables([observation(finished(), 510)], minute(9999)))
    assert watched.compact(now=LATER).observations_folded == 14
    kept = DeltaTable(watched.uri(STORED_OBSERVATIONS)).to_pyarrow_table()
    assert sorted(kept["novel"].drop_null().to_pylist()) == [7]


def test_the_shipped_store_gives_the_same_answers_when_compacted(tmp_path):
    shipped = Path(__file__).parents[2] / "data" / "demo"
    copy = reach.Store(shutil.copytree(shipped, tmp_path / "copy"))
    before = answers(reach.open_history(copy))
    copy.compact(now=datetime(2100, 1, 1, tzinfo=UTC))
    assert_same(before, answers(reach.open_history(copy)))


CONTEXT = multiprocessing.get_context("spawn")
APPENDS = 15 if THOROUGH else 6


def _append_some(location: str, name: str) -> None:
    store = reach.Store(location)
    for at in range(APPENDS):
        observations = [
            observation(finished(), 8 * at + n, run_id=name, tenant_id=name) for n in range(8)
        ]
        store.append(*to_tables(observations, minute(9999)))


def _compact_some(location: str, times: int) -> None:
    logging.disable(logging.WARNING)
    for _ in range(times):
        reach.Store(location).compact(now=LATER)


def test_with_concurrent_writers_and_compactions_no_observation_is_lost_or_duplicated(store):
    _append_some(store.location, "first")
    writers = [CONTEXT.Process(target=_append_some, args=(store.location, n)) for n in "ab"]
    others = [CONTEXT.Process(target=_compact_some, args=(store.location, 6)) for _ in "12"]
    for process in (*writers, *others):
        process.start()
    for process in (*writers, *others):
        process.join(100)
        assert process.exitcode == 0
    store.compact(now=LATER)
    expected = [
        (who, "b", "detail", minute(n)) for who in ("first", "a", "b") for n in range(8 * APPENDS)
    ]
    assert stored(store) == Counter(expected)
    assert count(store) == 3 * 4


def _append_and_compact(location: str, first: int, acknowledged) -> None:
    store = reach.Store(location)
    for number in range(first, 10_000):
        observations = [observation(finished(batch_id=f"b{n}"), number) for n in range(5)]
        store.append(*to_tables(observations, minute(9999)))
        acknowledged.send(number)
        store.compact(now=LATER)


def test_a_compaction_killed_at_any_moment_loses_and_duplicates_no_observation(store):
    dice, seen = random.Random(7), -1
    for _ in range(5 if THOROUGH else 3):
        acknowledged, sender = CONTEXT.Pipe(duplex=False)
        worker = CONTEXT.Process(
            target=_append_and_compact, args=(store.location, seen + 1, sender)
        )
        worker.start()
        sender.close()
        assert acknowledged.poll(60), "the writer is silent"
        time.sleep(dice.uniform(0, 0.7))
        os.kill(worker.pid, signal.SIGKILL)
        worker.join()
        while acknowledged.poll():
            try:
                seen = acknowledged.recv()
            except EOFError:
                break
        observations = stored(store)
        assert set(observations.values()) == {1}
        found = {when for _, _, _, when in observations}
        assert found >= {minute(number) for number in range(seen + 1)}
        # What it had written but not acknowledged yet is kept too.
        seen = max(seen, len(found) - 1)
    store.compact(now=LATER)
    assert count(store) == 5 * 4


def test_a_compaction_uses_the_present_by_default(watched):
    done = watched.compact(retention="12h")
    assert done.observations_folded == 12  # days of long ago
