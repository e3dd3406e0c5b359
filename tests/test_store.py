"""The store: idempotent, safe with others, clear about what it cannot open, open to any tool."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

import reach_analytics as reach
from reach_analytics.collector.observe import to_tables
from reach_analytics.columns import OBSERVATIONS, SNAPSHOTS
from reach_analytics.errors import (
    ForeignStoreError,
    StoreError,
    StoreNotFoundError,
    StoreVersionError,
)
from reach_analytics.store.delta import open_table, open_tables
from reach_analytics.store.place import Place
from tests.looks import batch, look, minute


def some_looks(count: int = 20, run_id: str = "r"):
    return [
        look(batch(f"b{n}", {"A": "xy"}), n, run_id=run_id, tenant_id=f"t{n % 2}")
        for n in range(count)
    ]


def rows(store: reach.Store) -> tuple[int, int]:
    snapshots, observations = store.tables()
    return snapshots.count().to_pyarrow().as_py(), observations.count().to_pyarrow().as_py()


@pytest.fixture
def store(tmp_path):
    return reach.Store(tmp_path / "a place" / "store")


def test_appending_the_same_looks_again_changes_nothing(store):
    tables = to_tables(some_looks(), minute(99))
    first = store.append(*tables)
    assert (first.snapshots, first.observations) == (20, 20)
    again = store.append(*tables)
    assert (again.snapshots, again.observations) == (0, 0)
    assert rows(store) == (20, 20)


@pytest.mark.parametrize("name", ["100%", "{x}", "a*b?", "it's", "ünï #1"])
def test_any_directory_name_will_do(name, tmp_path):
    store = reach.Store(tmp_path / name / "store")
    for _ in range(2):
        store.append(*to_tables(some_looks(), minute(99)))
    assert rows(store) == (20, 20)
    assert all(os.path.exists(file) for file in store.files(SNAPSHOTS))
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    "name", ["tenant_id=x", "sent_at=2020-01-01", "ok=false", "observed_date=1999-01-01"]
)
def test_a_directory_that_looks_like_a_partition_changes_no_column(name, tmp_path):
    store = reach.Store(tmp_path / name / "store")
    store.append(*to_tables(some_looks(2), minute(99)))
    looks = reach.open_history(store).looks()
    assert looks["tenant_id"].tolist() == ["t0", "t1"]
    assert looks["sent_at"].tolist() == [minute(0), minute(1)]
    assert looks["ok"].all()


def test_the_parent_of_a_store_says_where_it_is(store):
    store.append(*to_tables(some_looks(2), minute(99)))
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
        reach.Store(tmp_path / name).append(*to_tables(some_looks(), minute(99)))
    assert not list(tmp_path.iterdir())


def test_an_unchanged_batch_adds_a_look_and_no_state(store):
    store.append(*to_tables(some_looks(), minute(99)))
    later = [look(batch(f"b{n}", {"A": "yx"}), 50 + n, tenant_id=f"t{n % 2}") for n in range(20)]
    added = store.append(*to_tables(later, minute(99)))
    assert (added.snapshots, added.observations) == (0, 20)


def test_what_a_crash_between_the_two_tables_left_is_completed_by_appending_again(store):
    snapshots, observations = to_tables(some_looks(), minute(99))
    store.append(snapshots, OBSERVATIONS.schema.empty_table())
    assert len(reach.open_history(store).batches()) == 0
    store.append(snapshots, observations)
    assert rows(store) == (20, 20)


def test_only_live_files_are_read(store, tmp_path):
    store.append(*to_tables(some_looks(), minute(99)))
    live = store.files(OBSERVATIONS)
    stray = os.path.join(os.path.dirname(live[0]), "left-over.parquet")
    pq.write_table(pq.read_table(live[0]), stray)
    assert rows(store) == (20, 20)


def test_any_parquet_or_delta_tool_reads_the_store(store):
    store.append(*to_tables(some_looks(), minute(99)))
    query = f"SELECT count(*) FROM read_parquet({store.files(SNAPSHOTS)!r}) WHERE tenant_id = 't1'"
    assert duckdb.sql(query).fetchall() == [(10,)]
    delta = DeltaTable(store.uri(SNAPSHOTS)).to_pyarrow_table()
    assert delta.num_rows == 20
    assert set(delta.column_names) == set(SNAPSHOTS.names)


def test_reading_touches_nothing_where_no_store_is(tmp_path):
    missing = tmp_path / "nothing"
    with pytest.raises(StoreNotFoundError, match=r"no store at .*nothing; check the path"):
        reach.open_history(missing)
    assert not missing.exists()


def test_other_things_in_the_directory_are_not_taken_for_a_store(tmp_path):
    (tmp_path / "letters.txt").write_text("dear")
    store = reach.Store(tmp_path)
    with pytest.raises(ForeignStoreError, match=r"letters\.txt"):
        store.tables()
    with pytest.raises(ForeignStoreError):
        store.append(*to_tables(some_looks(), minute(0)))
    assert [p.name for p in tmp_path.iterdir()] == ["letters.txt"]


def test_a_file_is_no_store(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ForeignStoreError, match="is a file"):
        reach.open_history(tmp_path / "file")


def test_a_delta_table_of_someone_else_is_not_taken_for_ours(tmp_path):
    write_deltalake(tmp_path / "snapshots", pa.table({"x": [1]}))
    with pytest.raises(ForeignStoreError, match="not one that reach_analytics made"):
        reach.open_history(tmp_path)


def test_a_store_of_a_newer_version_says_to_upgrade(store):
    store.append(*to_tables(some_looks(), minute(0)))
    table = DeltaTable(store.uri(OBSERVATIONS))
    table.alter.set_table_properties(
        {"reach_analytics.table_version": "99"}, raise_if_not_exists=False
    )
    with pytest.raises(StoreVersionError, match=r"version 99.*pip install -U reach-analytics"):
        reach.open_history(store)
    with pytest.raises(StoreVersionError):
        store.append(*to_tables(some_looks(), minute(0)))


def test_rows_of_another_shape_are_refused_before_anything_is_written(store):
    snapshots, observations = to_tables(some_looks(), minute(0))
    with pytest.raises(ValueError, match="status"):
        store.append(snapshots.drop_columns(["status"]), observations)
    nulls = observations.set_column(0, "run_id", pa.nulls(20, pa.string()))
    with pytest.raises(ValueError, match=r"run_id must not be null"):
        store.append(snapshots, nulls)
    assert not store.exists()


def test_a_place_that_cannot_be_written_is_a_store_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError):
        reach.Store(tmp_path / "file" / "store").append(*to_tables(some_looks(), minute(0)))


def test_a_store_that_is_gone_is_not_made_anew(store):
    tables = to_tables(some_looks(), minute(0))
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


def test_a_full_disk_is_said_to_be_full_and_nothing_is_half_written(small_disk):
    store = reach.Store(small_disk / "store")
    store.append(*to_tables(some_looks(), minute(99)))
    more = to_tables(some_looks(300, "second"), minute(99))
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


def test_a_read_only_disk_is_said_to_be_one_and_can_be_read(small_disk):
    store = reach.Store(small_disk / "store")
    store.append(*to_tables(some_looks(), minute(99)))
    assert _mounted(small_disk, "-o", "remount,ro")
    with pytest.raises(StoreError, match="no permission to write to"):
        store.append(*to_tables(some_looks(), minute(99)))
    assert rows(store) == (20, 20)


def _append_often(location: str, run_id: str) -> None:
    store = reach.Store(location)
    for start in range(6):
        looks = [look(batch(f"b{n}"), start * 100 + n, run_id=run_id) for n in range(30)]
        store.append(*to_tables(looks, minute(0)))


def test_processes_that_append_at_once_lose_and_double_nothing(store):
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=_append_often, args=(store.location, f"r{n}")) for n in range(3)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    # 30 states that every process saw, and 6 x 30 looks of each process
    assert rows(store) == (30, 3 * 6 * 30)


def test_a_store_that_another_process_makes_while_it_is_opened_is_whole(store):
    place = Place(store.location)

    def open_one(table):
        """Finds no looks; then all of the store is made before the states are opened."""
        found = open_table(place, table)
        if not asked:
            store.append(*to_tables(some_looks(), minute(99)))
        asked.append(table)
        return found

    asked: list = []
    opened = open_tables(place, open_one)
    assert set(opened) == {OBSERVATIONS, SNAPSHOTS}
    assert asked == [OBSERVATIONS, SNAPSHOTS, OBSERVATIONS]


def test_a_table_that_gets_its_first_rows_while_it_is_opened_has_a_log(store, monkeypatch):
    place, listing = Place(store.location), Place.data_files

    def made_meanwhile(self, table):
        monkeypatch.setattr(Place, "data_files", listing)
        store.append(*to_tables(some_looks(), minute(99)))
        return listing(self, table)

    monkeypatch.setattr(Place, "data_files", made_meanwhile)
    assert open_table(place, SNAPSHOTS) is not None


def _append_forever(location: str, acknowledged) -> None:
    store = reach.Store(location)
    for number in range(10_000):
        store.append(*to_tables([look(batch(f"b{number}"), number)], minute(0)))
        acknowledged.send(number)


def test_a_writer_killed_at_any_moment_leaves_every_acknowledged_look_once(store):
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


def test_the_store_that_ships_with_the_project_stays_readable():
    """Written by version 0.1.0; whatever changes, its answers do not."""
    place = Path(__file__).parent.parent / "data" / "demo"
    history = reach.open_history(place)
    assert history.looks()["run_id"].nunique() == 6
    assert history.health()["pending_resources"].sum() == 139
    assert history.bottlenecks().loc[0, ["external_id", "unlock"]].tolist() == ["LOC-023", 17]
