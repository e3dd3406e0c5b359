"""The Delta tables of a store: opened, and checked to be ours and complete."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from deltalake import DeltaTable

from reach_analytics.errors import (
    DamagedStoreError,
    ForeignStoreError,
    StoreError,
    StoreVersionError,
)
from reach_analytics.store._explain import explained
from reach_analytics.store._location import LOG, Location
from reach_analytics.store._write import sync
from reach_analytics.tables import STORED_OBSERVATIONS, STORED_SNAPSHOTS, Table

if sys.platform == "win32":
    fcntl = None
else:
    import fcntl

# Still 1 with the column `repeats`: an older reader selects the other columns by name, and finds
# fewer observations of what did not change, but only true ones.
TABLE_VERSION = 1
"""Version of the stored tables' columns and meaning, kept in each table's properties."""

VERSION_PROPERTY = "reach_analytics.table_version"

_NOT_WHOLE = {
    "deletionVectors": "by which rows of a file may be deleted",
    "columnMapping": "by which columns have other names in the files",
}


def open_table(location: Location, table: Table) -> DeltaTable | None:
    """The Delta table at its newest version; None if nothing of it exists.

    Raises
    ------
    DamagedStoreError
        If its files exist but its log does not, or an entry of the log is empty.
    ForeignStoreError, StoreVersionError
        If it is not ours, or of a newer version of this package.
    """
    uri = location.uri(table)
    with explained(location, "read"):
        if not DeltaTable.is_deltatable(uri, location.storage_options):
            files = location.data_files(table)
            # With files, another process is creating it just now, or it has lost its log.
            if not (files and DeltaTable.is_deltatable(uri, location.storage_options)):
                _require_no_data(location, table, files)
                return None
        _require_full_entries(location, table)
        opened = DeltaTable(uri, storage_options=location.storage_options)
    require_ours(opened, location, table)
    return opened


class Newest:
    """A stored table, kept open: updating it costs a fifth of opening it again."""

    def __init__(self, location: Location, table: Table) -> None:
        self._location, self._table = location, table
        self._opened: DeltaTable | None = None
        self._mark: tuple[int, ...] | None = None

    def __call__(self) -> DeltaTable | None:
        """The table at its newest version, as `open_table`; the next call updates it in place."""
        before = self._opened
        if before is None or self._mark is None or self._mark != self._entry(before.version()):
            self._opened = open_table(self._location, self._table)
        else:
            since = before.version()
            with explained(self._location, "read"):
                before.update_incremental()
            for version in range(since + 1, before.version() + 1):
                if (entry := self._entry(version)) is not None and entry[-1] == 0:
                    _require_full_entries(self._location, self._table)
            require_ours(before, self._location, self._table)
        if self._opened is not None:
            self._mark = self._entry(self._opened.version())
        return self._opened

    def _entry(self, version: int) -> tuple[int, ...] | None:
        """What identifies a log entry's file, to notice a replacement; None for object stores."""
        if not self._location.is_local:
            return None
        try:
            found = (self._location.log(self._table) / f"{version:020}.json").stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size


def open_tables(
    location: Location, open_one: Callable[[Table], DeltaTable | None]
) -> dict[Table, DeltaTable]:
    """Both opened tables; empty if there is no store, or only half of a new one.

    Raises
    ------
    DamagedStoreError
        If only one of them is gone.
    """
    _require_finished(location)
    # Observations are opened first: states are written before them, so each one finds its state.
    found = {table: open_one(table) for table in (STORED_OBSERVATIONS, STORED_SNAPSHOTS)}
    if len({opened is None for opened in found.values()}) > 1:
        # Another process may have created the store in between, so the missing table is opened
        # once more.
        found = {
            table: open_one(table) if opened is None else opened for table, opened in found.items()
        }
    present = {table: opened for table, opened in found.items() if opened is not None}
    if len(present) == 1:
        _require_new(location, present)
    return present if len(present) == len(found) else {}


_LOCK = ".repair-lock"
_UNFINISHED = ".repair-unfinished"


@contextmanager
def marked_unfinished(location: Location, lost_logs: Iterable[str]) -> Iterator[None]:
    """Mark a local store, so that a repair under way is not read as the whole store."""
    if not location.is_local:
        yield
        return
    mark = Path(location.root) / _UNFINISHED
    mark.write_text("\n".join(lost_logs), encoding="utf-8")
    sync(mark)
    sync(mark.parent)
    yield
    mark.unlink(missing_ok=True)
    sync(mark.parent)


@contextmanager
def only_one(location: Location) -> Iterator[None]:
    """Prevent a second repair at the same time; on a local disk of a POSIX system."""
    if not location.is_local or fcntl is None:
        yield
        return
    with (Path(location.root) / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError(f"another repair of {location.root} is running") from None
        yield


def unfinished(location: Location) -> list[str] | None:
    """The tables whose logs an interrupted repair was rebuilding; None if there was none."""
    mark = Path(location.root) / _UNFINISHED
    return mark.read_text("utf-8").split() if location.is_local and mark.exists() else None


def _require_finished(location: Location) -> None:
    if unfinished(location) is not None:
        raise DamagedStoreError(
            f"the store at {location.root} is being repaired, or a repair was interrupted; if "
            f"none is running, start it again: `reach-analytics repair --store {location.root}`",
            damages=("a repair is not finished",),
        )


def _require_new(location: Location, present: dict[Table, DeltaTable]) -> None:
    """One table without the other: a store being created, or one that lost the other."""
    [(table, opened)] = present.items()
    if opened.version() == 0 and not opened.file_uris():
        return
    [gone] = {STORED_OBSERVATIONS, STORED_SNAPSHOTS} - {table}
    raise DamagedStoreError(
        f"the store at {location.root} has lost its table {gone.name}, while {table.name} is "
        "present; restore it from a backup. Without one, move the store elsewhere and start a new "
        "one: one table is of no use without the other. Nothing was written",
        damages=(f"{gone.name} is gone",),
    )


def _require_no_data(location: Location, table: Table, files: Sequence[object]) -> None:
    if files:
        raise DamagedStoreError(
            f"the store at {location.root} has lost {table.name}/{LOG}, which describes "
            f"the {len(files):,} Parquet files beside it; restore it (some backups leave out "
            f"names that begin with _), or see what `reach-analytics repair --store "
            f"{location.root}` can do: it rebuilds the log from the files. Nothing was written",
            damages=(f"{table.name}/{LOG} is gone",),
        )


def _require_full_entries(location: Location, table: Table) -> None:
    """delta-rs skips an empty log entry, and the loss of what it named would go unnoticed."""
    if not location.is_local:
        return  # an object is written as a whole or not at all
    empty = empty_entries(location, table)
    if empty:
        raise DamagedStoreError(
            f"the store at {location.root} has an empty log entry, {empty[0]}, as a power cut "
            "leaves it: what was written with it would be missing. `reach-analytics repair "
            f"--store {location.root}` shows what can be done",
            damages=tuple(f"{name} is empty" for name in empty),
        )


def empty_entries(location: Location, table: Table) -> list[str]:
    """The entries of a local table's log that are empty, relative to the store."""
    with os.scandir(location.log(table)) as entries:
        return sorted(
            f"{table.name}/{LOG}/{entry.name}"
            for entry in entries
            if entry.name.endswith((".json", ".checkpoint.parquet")) and entry.stat().st_size == 0
        )


def require_ours(opened: DeltaTable, location: Location, table: Table) -> None:
    """Raise unless this package made the table, in a version that this one reads."""
    version = opened.metadata().configuration.get(VERSION_PROPERTY)
    if version is None or not (version.isascii() and version.isdigit()):
        raise ForeignStoreError(
            f"{location.uri(table)} is a Delta table, but not one that reach_analytics made; "
            "choose another directory for the store"
        )
    if int(version) > TABLE_VERSION:
        raise StoreVersionError(
            f"the store at {location.root} has table version {version}, and this "
            f"reach_analytics reads up to {TABLE_VERSION}; upgrade the package "
            "(pip install -U reach-analytics)"
        )
    _require_whole_files(opened, location, table)


def _require_whole_files(opened: DeltaTable, location: Location, table: Table) -> None:
    """Raise if rows of live files do not count, or their columns have other names: another writer
    has turned that on."""
    turned_on = {*(opened.protocol().reader_features or ()), *_mapped(opened)} & {*_NOT_WHOLE}
    for feature in sorted(turned_on):
        raise StoreError(
            f"the table at {location.uri(table)} has Delta's feature {feature}, "
            f"{_NOT_WHOLE[feature]}: reach_analytics reads whole files by their own columns, and "
            "never turns it on. Drop it with the tool that did, such as Spark's ALTER TABLE … DROP "
            "FEATURE"
        )


def _mapped(opened: DeltaTable) -> list[str]:
    mode = opened.metadata().configuration.get("delta.columnMapping.mode", "none")
    return [] if mode == "none" else ["columnMapping"]


def gone(location: Location) -> StoreError:
    """The error for a store that existed before and is now gone."""
    return StoreError(
        f"the store that was at {location.root} is gone; is its disk still mounted? "
        "Nothing was written, lest a new store hide the old one"
    )
