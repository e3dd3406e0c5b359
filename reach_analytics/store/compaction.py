"""Compaction: past days folded and sorted, small files joined, old ones deleted.

Every step is one commit on one table, so a process that dies leaves the store as it was before the
step or after it. Readers keep the files they opened for as long as ``retention``. A day is
rewritten only on top of the version that was read: if another process commits first, nothing is
written, and the day is read again.
"""

from __future__ import annotations

import logging
import math
import random
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import takewhile
from threading import Event
from typing import Any, Protocol, TypeVar

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError

from reach_analytics.store._folding import STATE_COLUMNS, folded
from reach_analytics.store._rows import add_columns, names_of
from reach_analytics.store._write import Writer
from reach_analytics.tables import STORED_OBSERVATIONS, STORED_SNAPSHOTS, Table

__all__ = ["SMALL", "Compactable", "CompactionResult", "compact", "small_files"]

logger = logging.getLogger("reach_analytics.store")

T = TypeVar("T")

SMALL = 16 * 2**20
_ATTEMPTS = 10
_CONCURRENT = 2  # attempts before other threads of this process have to wait
_KEPT = "delta.deletedFileRetentionDuration"
_MIN_RETENTION = timedelta(hours=1)  # a file that no commit names may belong to a writer at work


class Compactable(Protocol):
    """What a compaction needs of a store."""

    @property
    def writer(self) -> Writer:
        """What writes to it."""
        ...

    def opened(self, table: Table) -> DeltaTable:
        """A stored table at its newest version."""
        ...

    def has(self, table: Table, path: str) -> bool:
        """Whether a file of a stored table exists, named as in its log."""
        ...

    def require_sound(self) -> None:
        """Raise a `DamagedStoreError` if a data file is gone or was changed."""
        ...

    def alone(self) -> AbstractContextManager[None]:
        """Inside, no other thread of this process adds rows."""
        ...


@dataclass(frozen=True)
class CompactionResult:
    """What a compaction did.

    Attributes
    ----------
    files_before, files_after : int
        Live files of both tables.
    bytes_before, bytes_after : int
        Their size.
    observations_folded : int
        Observations that saw nothing new and are now a time in another row.
    days_skipped : int
        Days that other processes kept writing to; they are left to the following compaction.
    files_deleted : int
        Files that no version within the retention needs.
    """

    files_before: int
    files_after: int
    bytes_before: int
    bytes_after: int
    observations_folded: int
    days_skipped: int
    files_deleted: int

    def __str__(self) -> str:
        text = (
            f"{self.files_before:,} files became {self.files_after:,}, "
            f"{self.bytes_before / 1e6:,.1f} MB became {self.bytes_after / 1e6:,.1f} MB; "
            f"{self.observations_folded:,} observations folded, "
            f"{self.files_deleted:,} old files deleted"
        )
        skipped = f"; {self.days_skipped} days left for later, others were writing to them"
        return text + (skipped if self.days_skipped else "")


def compact(
    store: Compactable, *, now: datetime, retention: timedelta, fold: bool, stop: Event
) -> CompactionResult:
    """See `Store.compact`."""
    if retention < _MIN_RETENTION:
        raise ValueError(
            f"retention must be at least an hour, found {retention}: readers and writers at "
            "work still need younger files"
        )
    store.require_sound()  # or damage would be rewritten and seem intact
    before = _extent(store)
    done = _fold_days(store, _utc_day(now), stop) if fold else {}
    skipped = sum(count is None for count in done.values())
    for table in (STORED_OBSERVATIONS, STORED_SNAPSHOTS):
        for day in _unless(stop, _crowded(store.opened(table))):
            step = partial(_join_small_files, writer=store.writer, table=table, day=day)
            joined = _on_newest(store, table, step)
            skipped += joined is None
    tables = _unless(stop, (STORED_OBSERVATIONS, STORED_SNAPSHOTS))
    deleted = sum(_clean_up(store, table, retention) for table in tables)
    after = _extent(store)
    return CompactionResult(
        files_before=before[0],
        files_after=after[0],
        bytes_before=before[1],
        bytes_after=after[1],
        observations_folded=sum(count or 0 for count in done.values()),
        days_skipped=skipped,
        files_deleted=deleted,
    )


def small_files(opened: DeltaTable) -> int:
    """How many fewer files joining would leave, by the log alone."""
    files = _live(opened)
    few = files.filter(pc.less(files["size_bytes"], SMALL))
    days = pc.value_counts(few["day"].combine_chunks()).field("counts")
    return int(few.num_rows) - len(days)


def _live(opened: DeltaTable) -> pa.Table:
    """The live files: size_bytes, num_records, day."""
    actions = pa.table(opened.get_add_actions(flatten=True))
    [partition] = opened.metadata().partition_columns
    return actions.select(["size_bytes", "num_records", f"partition.{partition}"]).rename_columns(
        ["size_bytes", "num_records", "day"]
    )


def _extent(store: Compactable) -> tuple[int, int]:
    files = [
        _live(store.opened(table))["size_bytes"]
        for table in (STORED_OBSERVATIONS, STORED_SNAPSHOTS)
    ]
    return sum(map(len, files)), sum(pc.sum(sizes).as_py() or 0 for sizes in files)


def _utc_day(now: datetime) -> date:
    return (now if now.tzinfo is None else now.astimezone(UTC)).date()


def _unless(stop: Event, things: Iterable[T]) -> Iterator[T]:
    """The things, until ``stop`` is set."""
    return takewhile(lambda _: not stop.is_set(), things)


def _fold_days(store: Compactable, today: date, stop: Event) -> dict[date, int | None]:
    """By past day, how many observations were folded; None if others kept writing to it."""
    due = [day for day in _due(store.opened(STORED_OBSERVATIONS)) if day < today]
    if due:
        _on_newest(store, STORED_OBSERVATIONS, _add_column)
    return {
        day: _on_newest(store, STORED_OBSERVATIONS, partial(_fold, store=store, day=day))
        for day in _unless(stop, due)
    }


def _due(opened: DeltaTable) -> list[date]:
    """The days that hold other rows than a compaction left there.

    A compaction records their number with its commit. Rows are only ever added, so an equal number
    means the same rows.
    """
    days = _live(opened).group_by("day").aggregate([("num_records", "sum")]).to_pylist()
    return sorted(
        row["day"]
        for row in days
        if opened.transaction_version(_mark(row["day"])) != row["num_records_sum"]
    )


def _mark(day: date) -> str:
    return f"reach_analytics.folded/{day}"


def _on_newest(store: Compactable, table: Table, step: Callable[[DeltaTable], int]) -> int | None:
    """Do a step on the newest version, retried if others commit first; None if they always do."""
    for attempt in range(_ATTEMPTS):
        try:
            with store.alone() if attempt >= _CONCURRENT else nullcontext():
                return step(store.opened(table))
        except CommitFailedError as error:
            reason = str(error)
            time.sleep(random.uniform(0, min(1.0, 0.05 * 2**attempt)))
    logger.warning("%s: other writers committed first, left for later: %s", store, reason)
    return None


def _add_column(opened: DeltaTable) -> int:
    """Add the column for folding to a table that is older than it."""
    if "repeats" in names_of(opened):
        return 0
    add_columns(opened, STORED_OBSERVATIONS, ["repeats"])
    return 1


def _fold(opened: DeltaTable, *, store: Compactable, day: date) -> int:
    """Rewrite a day with what folding keeps, sorted, in one commit; return how many were folded."""
    if day not in _due(opened):
        return 0  # another compaction did it
    with _duckdb(opened, store.opened(STORED_SNAPSHOTS), day) as connection:
        rows = folded(connection).to_arrow_table()
        [(count,)] = connection.sql("SELECT count(*) FROM observations").fetchall()
    mark = Transaction(_mark(day), rows.num_rows, None)
    typed = rows.cast(pa.schema(opened.schema().to_arrow()))
    done = CommitProperties(max_commit_retries=0, app_transactions=[mark])
    store.writer.replace_day(opened, STORED_OBSERVATIONS, day, typed, done)
    return int(count - rows.num_rows)


@contextmanager
def _duckdb(observations: DeltaTable, states: DeltaTable, day: date) -> Iterator[Any]:
    """A connection with what `folded` reads. What does not fit in memory goes to disk."""
    start, when = datetime.combine(day, datetime.min.time()), STORED_OBSERVATIONS.partition
    overlapping = f"{when} < '{day}' AND received_at >= TIMESTAMP '{start}Z'"
    with tempfile.TemporaryDirectory() as spill, duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"SET temp_directory = '{spill.replace(chr(39), chr(39) * 2)}'")
        connection.register("stream", observations.scan(None, f"{when} = '{day}'"))
        connection.execute("CREATE TEMP TABLE day AS FROM stream")
        # These two are streams, and can be read once.
        earlier = observations.scan(["tenant_id", "batch_id", "received_at"], overlapping)
        connection.register("earlier", earlier)
        connection.register("states", states.scan(STATE_COLUMNS))
        yield connection


def _crowded(opened: DeltaTable) -> list[date]:
    """The days that have more than one small file."""
    files = _live(opened)
    small = files.filter(pc.less(files["size_bytes"], SMALL))
    days = small.group_by("day").aggregate([([], "count_all")]).to_pylist()
    return sorted(row["day"] for row in days if row["count_all"] > 1)


def _join_small_files(opened: DeltaTable, *, writer: Writer, table: Table, day: date) -> int:
    """Rewrite a day's rows into few files; return by how many files there are now fewer.

    Not with delta-rs' own ``optimize``: it retries by itself and misses that another one has
    already joined the same files, after which each of their rows is stored twice (seen in 1.6.6).
    """
    before = _live(opened).num_rows
    rows = opened.scan(None, f"{table.partition} = '{day}'")
    writer.replace_day(opened, table, day, rows)
    opened.update_incremental()
    return int(before - _live(opened).num_rows)


def _clean_up(store: Compactable, table: Table, retention: timedelta) -> int:
    """Delete files that the log says were replaced, and old log entries.

    Files that no log names are kept. They may be all that is left of a table whose log was lost.
    """
    opened = store.opened(table)
    hours = math.ceil(retention / timedelta(hours=1))  # never less than asked for
    read = opened.version()
    _remember_replaced(opened, hours)
    vacuum = partial(
        opened.vacuum, retention_hours=hours, enforce_retention_duration=False, full=False
    )
    # The log also lists what was deleted before.
    gone = [path for path in vacuum(dry_run=True) if store.has(table, path)]
    if gone:
        vacuum(dry_run=False)
    opened.create_checkpoint()
    store.writer.sync_log(table, range(read, opened.version() + 1))
    opened.cleanup_metadata()
    return len(gone)


def _remember_replaced(opened: DeltaTable, hours: int) -> None:
    """Have the log list replaced files for as long as they are kept, or they are never deleted."""
    present = opened.metadata().configuration.get(_KEPT, f"interval {7 * 24} hours")
    if f"interval {hours} hours" != present and hours > 7 * 24:
        opened.alter.set_table_properties({_KEPT: f"interval {hours} hours"})
