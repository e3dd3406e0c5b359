"""Damaged stores: damage is named, the rest is read, a repair keeps what it can."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from typer.testing import CliRunner

import reach_analytics as reach
from reach_analytics.cli._run import app
from reach_analytics.collector._observe.rows import to_tables
from reach_analytics.errors import DamagedStoreError, StoreError, StoreNotFoundError
from reach_analytics.store._delta import only_one
from reach_analytics.store._explain import cause
from reach_analytics.store._location import Location
from reach_analytics.tables import STORED_OBSERVATIONS, STORED_SNAPSHOTS
from tests.support.answers import FRAMES, answers, assert_same
from tests.support.effort import some
from tests.support.observations import batch, minute, observation

ONLY = [*FRAMES, "observations", "health", "bottlenecks"]
TABLES = [STORED_OBSERVATIONS, STORED_SNAPSHOTS]


@pytest.fixture(scope="module")
def before(demo):
    """What the demo's store tells while it is sound."""
    return everything(demo[1])


@pytest.fixture
def copied(store, tmp_path):
    """A copy of the demo's store, to be broken."""
    shutil.copytree(store.location, tmp_path / "store")
    return reach.Store(tmp_path / "store")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def deleted(path: Path) -> None:
    path.unlink()


def flipped(path: Path) -> None:
    """30 bytes in the middle of its pages."""
    content = bytearray(path.read_bytes())
    start = len(content) // 4
    for at in range(start, start + 30):
        content[at] ^= 0xFF
    path.write_bytes(bytes(content))


BREAKS = [cut, emptied, deleted, flipped]


def everything(store: reach.Store, **options) -> dict[str, pd.DataFrame]:
    return answers(reach.open_history(store, **options), ONLY)


def collected(sandbox, store, **options) -> reach.RunSummary:
    with reach.Client(**sandbox.credentials) as client:
        return reach.collect(client, store, progress=False, **options)


def command(*arguments: str):
    """Run a command, and check that it ended with its own exit code and no traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "reach_analytics.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | {"COLUMNS": "200"},
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


# -- a missing log or table ------------------------------------------------------------------------


@pytest.mark.parametrize("table", some(TABLES[::-1], 1), ids=lambda table: table.name)
def test_a_store_without_a_log_is_not_recreated_and_is_repaired_from_its_files(
    table, copied, sandbox, before
):
    files = {path: path.read_bytes() for path in Path(copied.location).rglob("*.parquet")}
    shutil.rmtree(Path(copied.uri(table)) / "_delta_log")
    broken = reach.Store(copied.location)
    for act in (
        lambda: collected(sandbox, broken),
        lambda: reach.open_history(broken),
        lambda: broken.compact(),
        lambda: copied.append(
            *to_tables([observation(batch("b"))], minute(9))
        ),  # had it open before
    ):
        with pytest.raises(DamagedStoreError, match=rf"has lost {table.name}/_delta_log.*repair"):
            act()
    assert {path: path.read_bytes() for path in files} == files
    shown = command("repair", "--store", broken.location)
    assert shown.returncode == 1
    assert f"{table.name}: the log is lost" in shown.stdout
    assert "nothing has been changed yet" in shown.stdout
    assert not (Path(copied.uri(table)) / "_delta_log").exists()
    done = command("repair", "--yes", "--store", broken.location)
    assert done.returncode == 0, done.stderr
    assert "set aside in" in done.stdout
    assert_same(before, everything(broken))
    aside = {p.read_bytes() for p in Path(copied.location, ".set-aside").rglob("*.parquet")}
    assert aside == {content for path, content in files.items() if table.name in path.parts}
    assert not broken.repair().is_needed


def test_a_rebuilt_log_of_a_compacted_store_has_no_observation_twice(copied, before):
    copied.compact(now=minute(99_999))  # the files of before are there, too
    shutil.rmtree(Path(copied.uri(STORED_OBSERVATIONS)) / "_delta_log")
    copied.repair(apply=True)
    after = everything(copied)
    assert_same({name: before[name] for name in FRAMES}, after)
    observations = reach.open_history(copied).observation_log()
    assert len(observations) == len(before["observations"])
    assert not observations.duplicated(["tenant_id", "batch_id", "sent_at", "scope"]).any()


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_store_without_a_whole_table_says_so_and_is_left_unchanged(table, copied, sandbox):
    shutil.rmtree(copied.uri(table))
    broken = reach.Store(copied.location)
    for act in (lambda: collected(sandbox, broken), lambda: reach.open_history(broken)):
        with pytest.raises(DamagedStoreError, match=rf"has lost its table {table.name}"):
            act()
    with pytest.raises(DamagedStoreError, match=rf"{table.name} nothing is left"):
        broken.repair(apply=True)
    assert not Path(copied.uri(table)).exists()


def test_a_store_with_one_table_made_before_a_crash_is_completed(tmp_path):
    store = reach.Store(tmp_path / "store")
    store.append(*to_tables([observation(batch("b"))], minute(9)))
    DeltaTable.create(
        str(tmp_path / "half" / STORED_SNAPSHOTS.name),
        schema=STORED_SNAPSHOTS.schema,
        partition_by=["snapshot_date"],
        configuration={"reach_analytics.table_version": "1"},
        raise_if_key_not_exists=False,
    )
    half = reach.Store(tmp_path / "half")
    assert not half.exists()
    half.append(*to_tables([observation(batch("b"))], minute(9)))
    assert len(reach.open_history(half).batches()) == 1


def test_without_a_store_there_is_nothing_to_repair(tmp_path):
    with pytest.raises(StoreNotFoundError, match="nothing that is left of one"):
        reach.Store(tmp_path / "nothing").repair()


# -- damaged files ---------------------------------------------------------------------------------


# Of a few, each breaks another table in another way.
DAMAGES = [(harm, TABLES[(n + more) % 2]) for more in (0, 1) for n, harm in enumerate(BREAKS)]


@pytest.mark.parametrize(
    ("harm", "table"),
    some(DAMAGES, 2),
    ids=lambda value: getattr(value, "name", getattr(value, "__name__", None)),
)
def test_a_damaged_file_is_named_and_blocks_nothing_else(harm, table, copied, sandbox, before):
    hurt = Path(sorted(copied.files(table))[0])
    rows, original = pq.ParquetFile(hurt).metadata.num_rows, hurt.read_bytes()
    harm(hurt)
    broken = reach.Store(copied.location)

    told = command("health", "--store", broken.location)
    assert told.returncode == 1
    line = told.stderr.splitlines()[-1]
    assert hurt.name in line
    assert f"{rows:,} rows of {before['observations']['sent_at'].iloc[0].date()}" in line
    assert "repair" in line
    assert "--skip-damaged" in line

    run = collected(sandbox, broken)
    assert run.observations > 0
    assert [p.message for p in run.problems if hurt.name in p.message]

    history = reach.open_history(broken, damaged="skip")
    assert history.missing.startswith("A damaged file is left out")
    assert f"{rows:,}" in history.missing
    assert set(history.batches()["batch_id"]) == set(sandbox.world.batches)
    assert "damaged file" in history.report(Path(broken.location).parent / "r.html").read_text()
    skipped = command("health", "--store", broken.location, "--skip-damaged")
    assert skipped.returncode == 0, skipped.stderr
    assert f"{rows:,}" in skipped.stderr

    done = broken.repair(apply=True)
    assert len(done.damaged) == 1
    assert reach.Store(broken.location).damages() == []
    assert everything(broken).keys() == before.keys()
    kept = [p.read_bytes() for p in Path(broken.location, ".set-aside").rglob(hurt.name)]
    assert len(kept) == (harm is not deleted)
    assert not kept or kept[0] != original
    assert collected(sandbox, broken).ok


def test_lost_states_are_stored_again_when_they_are_observed_again(copied, sandbox):
    """Otherwise an unchanged batch would never be known again."""
    for file in copied.files(STORED_SNAPSHOTS):
        cut(Path(file))
    copied.repair(apply=True)
    observations = reach.open_history(copied).observations()
    assert not observations["ok"].any()
    assert set(observations["error"].dropna()) >= {
        "the state that was seen was lost with a damaged file"
    }
    collected(sandbox, copied)
    batches = reach.open_history(copied).batches()
    assert set(batches["batch_id"]) == set(sandbox.world.batches)
    assert batches["status"].notna().all()


@pytest.mark.parametrize("table", some(TABLES, 1), ids=lambda table: table.name)
def test_rows_of_a_damaged_file_are_recovered_from_the_files_it_replaced(table, copied, before):
    copied.compact(now=minute(99_999), fold=False)
    [compacted] = copied.files(table)
    cut(Path(compacted))
    done = copied.repair(apply=True)
    assert done.rows_back[table.name] == len(
        {
            "observations": before["observations"],
            "snapshots": before["observations"].drop_duplicates(
                ["tenant_id", "batch_id", "state_hash"]
            ),
        }[table.name]
    )
    assert_same(before, everything(copied))


def test_damage_that_shows_only_when_rows_are_read_is_named_too(copied):
    """Half a row group is readable until the rest is needed."""
    hurt = Path(sorted(copied.files(STORED_SNAPSHOTS))[0])
    history = reach.open_history(copied)
    content = bytearray(hurt.read_bytes())
    content[100:-2000] = bytes(len(content) - 2100)
    hurt.write_bytes(bytes(content))
    with pytest.raises(DamagedStoreError, match=hurt.name):
        history.pending()
    with pytest.raises(DamagedStoreError, match=hurt.name):
        copied.compact(now=minute(99_999))


# -- the log ---------------------------------------------------------------------------------------


UNREADABLE = [b"", b"\0" * 4096, b'{"add": {"path']
ENTRIES = [(which, content) for which in (-1, 2) for content in UNREADABLE]


@pytest.mark.parametrize(("which", "content"), some(ENTRIES[::2] + ENTRIES[1::2], 2))
def test_an_unreadable_log_entry_is_an_error_and_its_observations_are_recovered(
    content, which, copied, before
):
    log = Path(copied.uri(STORED_OBSERVATIONS)) / "_delta_log"
    entry = sorted(log.glob("*.json"))[which]
    entry.write_bytes(content)
    with pytest.raises(StoreError, match=r"empty log entry.*repair|cannot read the store"):
        reach.open_history(copied)
    with pytest.raises(StoreError):
        copied.append(*to_tables([observation(batch("b"))], minute(9)))
    done = copied.repair(apply=True)
    assert done.bad_entries == (f"observations/_delta_log/{entry.name}",)
    assert done.rows_back["observations"] > 0
    assert_same(before, everything(copied))


def test_an_unreadable_first_log_entry_makes_a_repair_rebuild_the_log(copied, before):
    (Path(copied.uri(STORED_SNAPSHOTS)) / "_delta_log" / f"{0:020}.json").write_bytes(b"")
    copied.repair(apply=True)
    assert_same(before, everything(copied))


def test_an_empty_checkpoint_is_set_aside(copied, before):
    DeltaTable(copied.uri(STORED_SNAPSHOTS)).create_checkpoint()
    [checkpoint] = (Path(copied.uri(STORED_SNAPSHOTS)) / "_delta_log").glob("*.checkpoint.parquet")
    checkpoint.write_bytes(b"")
    with pytest.raises(StoreError, match="repair"):
        reach.open_history(copied)
    copied.repair(apply=True)
    assert_same(before, everything(copied))


def test_an_interrupted_repair_is_not_taken_for_the_store(copied, monkeypatch, before):
    from reach_analytics.store import _repair

    shutil.rmtree(Path(copied.uri(STORED_OBSERVATIONS)) / "_delta_log")

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_repair, "_recover", killed)
        with pytest.raises(KeyboardInterrupt):
            copied.repair(apply=True)
    with pytest.raises(DamagedStoreError, match="repair was interrupted"):
        reach.open_history(copied)
    copied.repair(apply=True)
    assert_same(before, everything(copied))


def test_repair_asks_for_confirmation_and_finds_nothing_in_a_sound_store(copied):
    done = CliRunner().invoke(app, ["repair", "--store", copied.location])
    assert done.exit_code == 0
    assert done.output.strip() == "nothing is damaged"


# -- missing permissions ---------------------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="must become another user")
def test_missing_permissions_are_named_with_what_to_do(copied, tmp_path):
    """As another user, in a process that becomes one."""
    for path in [tmp_path, *tmp_path.parents][:-1]:
        path.chmod(path.stat().st_mode | 0o755)
    for path in [Path(copied.location), *Path(copied.location).rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.forbidden", copied.location],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert len(told) == 7
    for name, (kind, message) in told.items():
        assert kind == "StoreError", (name, kind, message)
        assert "no permission to" in message, (name, message)
        assert "run this as root, or let root grant it" in message, (name, message)


# -- an object store -------------------------------------------------------------------------------


def test_an_object_store_that_does_not_answer_says_why_and_shows_no_key():
    options = {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "an-access-key",
        "AWS_SECRET_ACCESS_KEY": "a-secret-key",
        "AWS_REGION": "us-east-1",
        "max_retries": "0",
    }
    store = reach.Store("s3://bucket/store", storage_options=options)
    rows = to_tables([observation(batch("b"))], minute(9))
    for act in (store.exists, store.tables, lambda: store.append(*rows), store.repair):
        with pytest.raises(StoreError, match=r"Connection refused.*storage_options") as raised:
            act()
        assert "key" not in str(raised.value)
    assert "key" not in repr(store)


def test_the_root_cause_of_an_error_is_given_without_a_backtrace():
    nested = (
        "Generic S3 error\n  \x1b[31m↳\x1b[0m Error performing GET https://x in 1s\n"
        "   \x1b[31m↳\x1b[0m dns error: no such host\n   0: <unknown>\n   1: start_thread\n"
    )
    assert cause(OSError(nested)) == "Generic S3 error: dns error: no such host"
    refusal = (
        'Generic S3 error\n ↳ Server returned 404 <?xml version="1.0"?><Error>'
        "<Code>NoSuchBucket</Code><Message>The bucket does not exist</Message>"
        "<AWSAccessKeyId>an-access-key</AWSAccessKeyId></Error>"
    )
    assert cause(OSError(refusal)) == "NoSuchBucket: The bucket does not exist"


# -- found in an adversarial review ----------------------------------------------------------------


def small(tmp_path, count: int = 5) -> reach.Store:
    store = reach.Store(tmp_path / "store")
    store.append(*some(count))
    return store


def some(count: int, start: int = 0, at: float = 0):
    observations = [
        observation(batch(f"b{n}", {"A": "x"}), at + n) for n in range(start, start + count)
    ]
    return to_tables(observations, minute(99))


def counts(store: reach.Store) -> tuple[int, int]:
    history = reach.open_history(store)
    return len(history.observations()), history.tables.stored_snapshots.count().to_pyarrow().as_py()


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_restored_file_is_known_again_to_a_running_collector(table, tmp_path):
    store = small(tmp_path)
    running, file = reach.Store(store.location), Path(store.files(table)[0])
    kept = file.read_bytes()
    file.unlink()
    running.append(*some(1, start=30))
    file.write_bytes(kept)
    added = running.append(*some(5))
    assert (added.snapshots, added.observations) == (0, 0)
    assert counts(store) == (6, 6)


def test_rows_duplicated_by_a_restored_file_are_kept_once_by_a_repair(tmp_path):
    store = small(tmp_path)
    file = Path(store.files(STORED_SNAPSHOTS)[0])
    kept = file.read_bytes()
    file.write_bytes(b"")
    reach.Store(store.location).append(*some(5, at=50))
    file.write_bytes(kept)
    found = store.repair()
    assert found.doubled == {"snapshots": 5}
    assert "5 duplicate rows" in str(found)
    store.repair(apply=True)
    assert counts(store) == (10, 5)
    assert not store.repair().is_needed


def test_a_bad_entry_of_a_compaction_without_a_checkpoint_duplicates_nothing(tmp_path):
    store = reach.Store(tmp_path / "store")
    joins = []
    for round_ in range(2):
        for part in range(3):
            store.append(*some(5, start=15 * round_ + 5 * part))
        joins.append(DeltaTable(store.uri(STORED_OBSERVATIONS)).version() + 1)
        store.compact(now=minute(10), fold=False)
    log = Path(store.uri(STORED_OBSERVATIONS)) / "_delta_log"
    for checkpoint in log.glob("*.checkpoint.parquet"):
        checkpoint.write_bytes(b"")
    (log / f"{joins[0]:020}.json").write_bytes(b"")
    store.repair(apply=True)
    assert counts(store) == (30, 30)


def test_a_log_of_a_newer_delta_is_not_called_damaged(tmp_path):
    store = small(tmp_path)
    entry = Path(store.uri(STORED_OBSERVATIONS)) / "_delta_log" / f"{0:020}.json"
    lines = [json.loads(line) for line in entry.read_text().splitlines()]
    for line in lines:
        if "protocol" in line:
            line["protocol"] = {
                "minReaderVersion": 3,
                "minWriterVersion": 7,
                "readerFeatures": ["someNewFeature"],
                "writerFeatures": ["someNewFeature"],
            }
    entry.write_text("\n".join(map(json.dumps, lines)) + "\n")
    before = tree_of(store)
    with pytest.raises(StoreError, match="upgrade it"):
        store.repair(apply=True)
    assert tree_of(store) == before


def tree_of(store: reach.Store) -> dict[Path, bytes]:
    return {p: p.read_bytes() for p in Path(store.location).rglob("*") if p.is_file()}


def test_a_damaged_file_beside_a_bad_entry_is_named_too(tmp_path):
    store = reach.Store(tmp_path / "store")
    for part in range(4):
        store.append(*some(5, start=5 * part))
    log = Path(store.uri(STORED_OBSERVATIONS)) / "_delta_log"
    hurt = Path(sorted(store.files(STORED_OBSERVATIONS))[0])
    sorted(log.glob("*.json"))[3].write_bytes(b"")
    hurt.write_bytes(b"")
    for found in (store.repair(), store.repair(apply=True)):
        assert hurt.name in str(found)
    assert counts(store)[0] == 15


def test_a_foreign_parquet_file_does_not_prevent_opening_a_store(tmp_path):
    store = small(tmp_path)
    file = Path(store.files(STORED_OBSERVATIONS)[0])
    rows = pq.ParquetFile(file).read()
    at = rows.schema.get_field_index("tenant_id")
    nameless = rows.set_column(at, "tenant_id", pa.nulls(len(rows), pa.string()))
    pq.write_table(nameless, file.with_name("mine.parquet"))
    file.write_bytes(b"")
    done = store.repair(apply=True)
    assert done.rows_back["observations"] == 0
    assert counts(store) == (0, 5)


def test_text_with_line_breaks_in_the_log_is_no_damage(tmp_path):
    store = small(tmp_path)
    entry = sorted((Path(store.uri(STORED_SNAPSHOTS)) / "_delta_log").glob("*.json"))[-1]
    entry.write_text(entry.read_text().replace("numRecords", "\u2028numRecords"), encoding="utf-8")
    assert not store.repair().is_needed


def test_two_simultaneous_repairs_act_as_one(tmp_path):
    store = small(tmp_path)
    with only_one(Location(store.location)):
        Path(store.files(STORED_OBSERVATIONS)[0]).write_bytes(b"")
        with pytest.raises(StoreError, match="another repair of"):
            store.repair(apply=True)
