"""The store: idempotent, safe to share, clear errors, readable by any tool."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, TableFeatures, write_deltalake

import reach_analytics as reach
from reach_analytics.collector._observe.rows import to_tables
from reach_analytics.errors import (
    ForeignStoreError,
    StoreError,
    StoreNotFoundError,
    StoreVersionError,
)
from reach_analytics.store._delta import open_table, open_tables
from reach_analytics.store._location import Location
from reach_analytics.tables import STORED_OBSERVATIONS, STORED_SNAPSHOTS
from tests.support.observations import batch, minute, observation


def some_observations(count: int = 20, run_id: str = "r"):
    return [
        observation(batch(f"b{n}", {"A": "xy"}), n, run_id=run_id, tenant_id=f"t{n % 2}")
        for n in range(count)
    ]


def rows(store: reach.Store) -> tuple[int, int]:
    snapshots, observations = store.tables()
    return snapshots.count().to_pyarrow().as_py(), observations.count().to_pyarrow().as_py()


@pytest.fixture
def store(tmp_path):
    return reach.Store(tmp_path / "a place" / "store")


def test_appending_the_same_observations_again_changes_nothing(store):
    tables = to_tables(some_observations(), minute(99))
    first = store.append(*tables)
    assert (first.snapshots, first.observations) == (20, 20)
    again = store.append(*tables)
    assert (again.snapshots, again.observations) == (0, 0)
    assert rows(store) == (20, 20)


@pytest.mark.parametrize("name", ["100%", "{x}", "a*b?", "it's", "ünï #1"])
def test_any_directory_name_is_accepted(name, tmp_path):
    store = reach.Store(tmp_path / name / "store")
    for _ in range(2):
        store.append(*to_tables(some_observations(), minute(99)))
    assert rows(store) == (20, 20)
    assert all(os.path.exists(file) for file in store.files(STORED_SNAPSHOTS))
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    "name", ["tenant_id=x", "sent_at=2020-01-01", "ok=false", "observed_date=1999-01-01"]
)
def test_a_directory_that_looks_like_a_partition_changes_no_column(name, tmp_path):
    store = reach.Store(tmp_path / name / "store")
    store.append(*to_tables(some_observations(2), minute(99)))
    observations = reach.open_history(store).observations()
    assert observations["tenant_id"].tolist() == ["t0", "t1"]
    assert observations["sent_at"].tolist() == [minute(0), minute(1)]
    assert observations["ok"].all()


def test_the_parent_of_a_store_says_where_it_is(store):
    store.append(*to_tables(some_observations(2), minute(99)))
    with pytest.raises(ForeignStoreError, match=r"did you mean .*a place/store\?"):
        reach.open_history(os.path.dirname(store.location))


def test_an_empty_location_is_refused():
    with pytest.raises(ValueError, match="location is empty"):
        reach.Store("")


@pytest.mark.parametrize("name", ["a%20b", "a\\b"])
def test_directory_names_that_delta_cannot_write_to_are_refused(name, tmp_path):
    with pytest.raises(ValueError, match="choose another directory"):
        reach.Store(tmp_path / name)


@pytest.mark.parametrize("name", ["[x]", "a^b", "a|b"])
def test_directory_names_that_delta_cannot_append_to_say_to_rename(name, tmp_path):
    with pytest.raises(StoreError, match=r"must not have any of .* rename the directory"):
        reach.Store(tmp_path / name).append(*to_tables(some_observations(), minute(99)))
    assert not list(tmp_path.iterdir())


def test_an_unchanged_batch_adds_an_observation_and_no_state(store):
    store.append(*to_tables(some_observations(), minute(99)))
    later = [
        observation(batch(f"b{n}", {"A": "yx"}), 50 + n, tenant_id=f"t{n % 2}") for n in range(20)
    ]
    added = store.append(*to_tables(later, minute(99)))
    assert (added.snapshots, added.observations) == (0, 20)


def test_appending_again_completes_a_crash_between_the_two_tables(store):
    snapshots, observations = to_tables(some_observations(), minute(99))
    store.append(snapshots, STORED_OBSERVATIONS.schema.empty_table())
    assert len(reach.open_history(store).batches()) == 0
    store.append(snapshots, observations)
    assert rows(store) == (20, 20)


def test_only_live_files_are_read(store, tmp_path):
    store.append(*to_tables(some_observations(), minute(99)))
    live = store.files(STORED_OBSERVATIONS)
    stray = os.path.join(os.path.dirname(live[0]), "left-over.parquet")
    pq.write_table(pq.read_table(live[0]), stray)
    assert rows(store) == (20, 20)


def test_any_parquet_or_delta_tool_reads_the_store(store):
    store.append(*to_tables(some_observations(), minute(99)))
    files = store.files(STORED_SNAPSHOTS)
    query = f"SELECT count(*) FROM read_parquet({files!r}) WHERE tenant_id = 't1'"
    assert duckdb.sql(query).fetchall() == [(10,)]
    delta = DeltaTable(store.uri(STORED_SNAPSHOTS)).to_pyarrow_table()
    assert delta.num_rows == 20
    assert set(delta.column_names) == set(STORED_SNAPSHOTS.names)


def test_reading_without_a_store_creates_nothing(tmp_path):
    missing = tmp_path / "nothing"
    with pytest.raises(StoreNotFoundError, match=r"no store at .*nothing; check the path"):
        reach.open_history(missing)
    assert not missing.exists()


def test_other_files_in_the_directory_are_not_taken_for_a_store(tmp_path):
    (tmp_path / "letters.txt").write_text("dear")
    store = reach.Store(tmp_path)
    with pytest.raises(ForeignStoreError, match=r"letters\.txt"):
        store.tables()
    with pytest.raises(ForeignStoreError):
        store.append(*to_tables(some_observations(), minute(0)))
    assert [p.name for p in tmp_path.iterdir()] == ["letters.txt"]


def test_a_file_is_not_a_store(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ForeignStoreError, match="is a file"):
        reach.open_history(tmp_path / "file")


def test_a_foreign_delta_table_is_not_taken_for_a_store(tmp_path):
    write_deltalake(tmp_path / "snapshots", pa.table({"x": [1]}))
    with pytest.raises(ForeignStoreError, match="not one that reach_analytics made"):
        reach.open_history(tmp_path)


def test_a_store_of_a_newer_version_says_to_upgrade(store):
    store.append(*to_tables(some_observations(), minute(0)))
    table = DeltaTable(store.uri(STORED_OBSERVATIONS))
    table.alter.set_table_properties(
        {"reach_analytics.table_version": "99"}, raise_if_not_exists=False
    )
    with pytest.raises(StoreVersionError, match=r"version 99.*pip install -U reach-analytics"):
        reach.open_history(store)
    with pytest.raises(StoreVersionError):
        store.append(*to_tables(some_observations(), minute(0)))


@pytest.mark.parametrize(
    ("feature", "meaning"),
    [
        (TableFeatures.DeletionVectors, "deletionVectors, by which rows of a file may be deleted"),
        (TableFeatures.ColumnMapping, "columnMapping, by which columns have other names"),
    ],
)
def test_a_feature_by_which_files_are_not_what_they_hold_is_refused(store, feature, meaning):
    store.append(*to_tables(some_observations(), minute(0)))
    table = DeltaTable(store.uri(STORED_OBSERVATIONS))
    table.alter.add_feature(feature, allow_protocol_versions_increase=True)
    for use in (
        lambda: reach.open_history(store),
        lambda: store.append(*to_tables(some_observations(), minute(1))),
        store.compact,
    ):
        with pytest.raises(StoreError, match=f"{meaning}.*DROP FEATURE"):
            use()


def test_rows_of_the_wrong_shape_are_refused_before_anything_is_written(store):
    snapshots, observations = to_tables(some_observations(), minute(0))
    with pytest.raises(ValueError, match="status"):
        store.append(snapshots.drop_columns(["status"]), observations)
    nulls = observations.set_column(0, "run_id", pa.nulls(20, pa.string()))
    with pytest.raises(ValueError, match=r"run_id must not be null"):
        store.append(snapshots, nulls)
    assert not store.exists()


def test_an_unwritable_location_is_a_store_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError):
        reach.Store(tmp_path / "file" / "store").append(*to_tables(some_observations(), minute(0)))


def test_a_store_that_is_gone_is_not_recreated(store):
    tables = to_tables(some_observations(), minute(0))
    store.append(*tables)
    shutil.move(store.location, store.location + " elsewhere")
    with pytest.raises(StoreError, match="is gone; is its disk still mounted"):
        store.append(*tables)
    assert not store.exists()
    shutil.move(store.location + " elsewhere", store.location)
    assert store.append(*tables).observations == 0


def _mounted(place: Path, *options: str) -> bool:
    done = subprocess.run(["mount", *options, str(place)], capture_output=True, check=False)
    return done.returncode == 0


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    if shutil.which("mount") is None or not _mounted(
        place, "-t", "tmpfs", "-o", "size=2m", "tmpfs"
    ):
        pytest.skip("may not mount a file system here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_reported_and_nothing_is_half_written(small_disk):
    store = reach.Store(small_disk / "store")
    store.append(*to_tables(some_observations(), minute(99)))
    more = to_tables(some_observations(300, "second"), minute(99))
    for left in (0, 4096, 8192, 12288, 16384):  # fails in the first file, or the log, or later
        with (small_disk / "ballast").open("wb", buffering=0) as ballast:
            with suppress(OSError):
                while True:
                    ballast.write(bytes(4096))
            ballast.truncate(max(0, ballast.tell() - left))
        with pytest.raises(StoreError, match=r"is full; make room"):
            store.append(*more)
        (small_disk / "ballast").unlink()
        assert rows(store)[1] == 20
    added = store.append(*more)
    assert added.observations == 300
    assert rows(store) == (300, 320)


def test_a_read_only_disk_is_reported_and_can_be_read(small_disk):
    store = reach.Store(small_disk / "store")
    store.append(*to_tables(some_observations(), minute(99)))
    assert _mounted(small_disk, "-o", "remount,ro")
    with pytest.raises(StoreError, match="no permission to write to"):
        store.append(*to_tables(some_observations(), minute(99)))
    assert rows(store) == (20, 20)


def _append_often(location: str, run_id: str) -> None:
    store = reach.Store(location)
    for start in range(6):
        observations = [
            observation(batch(f"b{n}"), start * 100 + n, run_id=run_id) for n in range(30)
        ]
        store.append(*to_tables(observations, minute(0)))


def test_processes_that_append_at_once_lose_and_duplicate_nothing(store):
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=_append_often, args=(store.location, f"r{n}")) for n in range(3)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    # 30 states that every process saw, and 6 x 30 observations of each process
    assert rows(store) == (30, 3 * 6 * 30)


def test_a_store_that_another_process_makes_while_it_is_opened_is_whole(store):
    place = Location(store.location)

    def open_one(table):
        """Finds no observations; then the whole store is made before the states are opened."""
        found = open_table(place, table)
        if not asked:
            store.append(*to_tables(some_observations(), minute(99)))
        asked.append(table)
        return found

    asked: list = []
    opened = open_tables(place, open_one)
    assert set(opened) == {STORED_OBSERVATIONS, STORED_SNAPSHOTS}
    assert asked == [STORED_OBSERVATIONS, STORED_SNAPSHOTS, STORED_OBSERVATIONS]


def test_a_table_that_gets_its_first_rows_while_it_is_opened_has_a_log(store, monkeypatch):
    place, listing = Location(store.location), Location.data_files

    def made_meanwhile(self, table):
        monkeypatch.setattr(Location, "data_files", listing)
        store.append(*to_tables(some_observations(), minute(99)))
        return listing(self, table)

    monkeypatch.setattr(Location, "data_files", made_meanwhile)
    assert open_table(place, STORED_SNAPSHOTS) is not None


def _append_forever(location: str, acknowledged) -> None:
    store = reach.Store(location)
    for number in range(10_000):
        store.append(*to_tables([observation(batch(f"b{number}"), number)], minute(0)))
        acknowledged.send(number)


def test_a_writer_killed_at_any_moment_leaves_every_acknowledged_observation_once(store):
    context = multiprocessing.get_context("spawn")
    for round_ in range(3):
        acknowledged, sender = context.Pipe(duplex=False)
        worker = context.Process(target=_append_forever, args=(store.location, sender))
        worker.start()
        sender.close()
        seen = []
        while len(seen) < 2 + round_:
            assert acknowledged.poll(60), "the writer is silent"
            seen.append(acknowledged.recv())
        time.sleep(0.013 * round_)
        os.kill(worker.pid, signal.SIGKILL)
        worker.join()
        while acknowledged.poll():
            try:
                seen.append(acknowledged.recv())
            except EOFError:
                break
        snapshots, observations = store.tables()
        kept = observations.to_pyarrow()["batch_id"].to_pylist()
        assert len(kept) == len(set(kept))
        assert {f"b{number}" for number in seen} <= set(kept)
        assert set(kept) <= set(snapshots.to_pyarrow()["batch_id"].to_pylist())


def test_the_shipped_store_stays_readable():
    """Written by version 0.1.0; its answers must not change."""
    place = Path(__file__).parents[2] / "data" / "demo"
    history = reach.open_history(place)
    assert history.observations()["run_id"].nunique() == 6
    assert history.health()["pending_resources"].sum() == 139
    assert history.bottlenecks().loc[0, ["external_id", "unlock"]].tolist() == ["LOC-023", 17]


def older(path, column: str) -> reach.Store:
    """A store that an earlier version made, which did not know this column of a state."""
    store = reach.Store(path)
    store.append(*to_tables([observation(batch("old"), 0)], minute(9)))
    uri = store.uri(STORED_SNAPSHOTS)
    opened = DeltaTable(uri)
    known, properties = opened.to_pyarrow_table(), opened.metadata().configuration
    shutil.rmtree(uri)
    DeltaTable.create(
        uri,
        schema=known.drop_columns([column]).schema,
        partition_by=["snapshot_date"],
        configuration=properties,
        raise_if_key_not_exists=False,
    )
    write_deltalake(uri, known.drop_columns([column]), mode="append")
    return reach.Store(path)


def test_a_store_of_an_earlier_version_gets_the_columns_that_new_rows_fill(tmp_path):
    store = older(tmp_path / "s", "extra")
    assert reach.open_history(store).batches()["extra"].isna().tolist() == [True]
    # Two writers find the column missing at once.
    others = [reach.Store(tmp_path / "s") for _ in range(4)]
    names = [f"b{n}" for n in range(len(others))]
    start = threading.Barrier(len(others))

    def write(other: reach.Store, name: str) -> None:
        start.wait()
        document = batch(name) | {"novel": name}
        other.append(*to_tables([observation(document, 5, batch_id=name)], minute(9)))

    with ThreadPoolExecutor(len(others)) as pool:
        list(pool.map(write, others, names))
    found = reach.open_history(store).batches().set_index("batch_id")["extra"]
    assert {name: json.loads(found[name]) for name in names} == {n: {"novel": n} for n in names}
    assert found.isna()["old"]


def test_a_column_that_no_row_fills_is_not_added(tmp_path):
    store = older(tmp_path / "s", "extra")
    store.append(*to_tables([observation(batch("new"), 5, batch_id="new")], minute(9)))
    assert "extra" not in DeltaTable(store.uri(STORED_SNAPSHOTS)).to_pyarrow_table().column_names
