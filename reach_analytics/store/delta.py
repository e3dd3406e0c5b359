"""The Delta tables of a place: opened, checked to be ours, and told from what is left of one."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from deltalake import DeltaTable

from reach_analytics.columns import OBSERVATIONS, SNAPSHOTS, Table
from reach_analytics.errors import (
    DamagedStoreError,
    ForeignStoreError,
    StoreError,
    StoreVersionError,
)
from reach_analytics.store.explaining import explained
from reach_analytics.store.place import LOG, Place
from reach_analytics.store.writing import sync

if sys.platform == "win32":
    fcntl = None
else:
    import fcntl

# Still 1 with the column `repeats`: who does not know it selects the other columns by name, and
# finds fewer looks at what did not change, which were at least true ones.
TABLE_VERSION = 1
"""Version of the stored tables' columns and meaning. It stands in each table's properties."""

VERSION_PROPERTY = "reach_analytics.table_version"


def open_table(place: Place, table: Table) -> DeltaTable | None:
    """The Delta table at its newest version; None if nothing of it is there.

    Raises
    ------
    DamagedStoreError
        If its files are there and its log is not, or an entry of the log is empty.
    ForeignStoreError, StoreVersionError
        If it is not ours, or of a newer version of this package.
    """
    uri = place.uri(table)
    with explained(place, "read"):
        if not DeltaTable.is_deltatable(uri, place.storage_options):
            files = place.data_files(table)
            # With files, it is made at this moment by another process, or it has lost its log.
            if not (files and DeltaTable.is_deltatable(uri, place.storage_options)):
                _require_no_data(place, table, files)
                return None
        _require_full_entries(place, table)
        opened = DeltaTable(uri, storage_options=place.storage_options)
    require_ours(opened, place, table)
    return opened


class Newest:
    """A stored table, kept open: to bring it up to date costs a fifth of opening it anew."""

    def __init__(self, place: Place, table: Table) -> None:
        self._place, self._table = place, table
        self._opened: DeltaTable | None = None
        self._mark: tuple[int, ...] | None = None

    def __call__(self) -> DeltaTable | None:
        """The table at its newest version, as `open_table`. It moves on with the next call."""
        before = self._opened
        if before is None or self._mark is None or self._mark != self._entry(before.version()):
            self._opened = open_table(self._place, self._table)
        else:
            since = before.version()
            with explained(self._place, "read"):
                before.update_incremental()
            for version in range(since + 1, before.version() + 1):
                if (entry := self._entry(version)) is not None and entry[-1] == 0:
                    _require_full_entries(self._place, self._table)
            require_ours(before, self._place, self._table)
        if self._opened is not None:
            self._mark = self._entry(self._opened.version())
        return self._opened

    def _entry(self, version: int) -> tuple[int, ...] | None:
        """What tells a log entry from another one in its place; None where nothing does."""
        if not self._place.is_local:
            return None
        try:
            found = (self._place.log(self._table) / f"{version:020}.json").stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size


def open_tables(
    place: Place, open_one: Callable[[Table], DeltaTable | None]
) -> dict[Table, DeltaTable]:
    """Both tables by what they are; none of them where there is no store, or half of a new one.

    Raises
    ------
    DamagedStoreError
        If one of them is gone and the other is not.
    """
    _require_finished(place)
    # Looks are opened first: states are written before them, so every look finds its state.
    found = {table: open_one(table) for table in (OBSERVATIONS, SNAPSHOTS)}
    if len({opened is None for opened in found.values()}) > 1:
        # Another process may have made the store between the two: what it wrote into one table
        # says nothing of the other one until that is asked again.
        found = {
            table: open_one(table) if opened is None else opened for table, opened in found.items()
        }
    there = {table: opened for table, opened in found.items() if opened is not None}
    if len(there) == 1:
        _require_new(place, there)
    return there if len(there) == len(found) else {}


_LOCK = ".repair-lock"
_UNFINISHED = ".repair-unfinished"


@contextmanager
def marked_unfinished(place: Place, lost_logs: Iterable[str]) -> Iterator[None]:
    """While a repair is under way nobody takes half of it for the store; a local one only."""
    if not place.is_local:
        yield
        return
    mark = Path(place.location) / _UNFINISHED
    mark.write_text("\n".join(lost_logs), encoding="utf-8")
    sync(mark)
    sync(mark.parent)
    yield
    mark.unlink(missing_ok=True)
    sync(mark.parent)


@contextmanager
def only_one(place: Place) -> Iterator[None]:
    """While a repair is under way no other one is begun; on a local disk of a POSIX system."""
    if not place.is_local or fcntl is None:
        yield
        return
    with (Path(place.location) / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError(f"another repair of {place.location} is running") from None
        yield


def unfinished(place: Place) -> list[str] | None:
    """Whose logs a repair that was interrupted was making anew; None if there was none."""
    mark = Path(place.location) / _UNFINISHED
    return mark.read_text("utf-8").split() if place.is_local and mark.exists() else None


def _require_finished(place: Place) -> None:
    if unfinished(place) is not None:
        raise DamagedStoreError(
            f"the store at {place.location} is being repaired, or a repair was interrupted; if "
            f"none is running, begin it again: `reach-analytics repair --store {place.location}`",
            damages=("a repair is not finished",),
        )


def _require_new(place: Place, there: dict[Table, DeltaTable]) -> None:
    """One table without the other is a store that is being made, or one that lost the other."""
    [(table, opened)] = there.items()
    if opened.version() == 0 and not opened.file_uris():
        return
    [gone] = {OBSERVATIONS, SNAPSHOTS} - {table}
    raise DamagedStoreError(
        f"the store at {place.location} has lost its table {gone.name}, while {table.name} is "
        "there; restore it from a backup. Without one, move the store elsewhere and begin anew: "
        "the one is of no use without the other. Nothing was written",
        damages=(f"{gone.name} is gone",),
    )


def _require_no_data(place: Place, table: Table, files: Sequence[object]) -> None:
    if files:
        raise DamagedStoreError(
            f"the store at {place.location} has lost {table.name}/{LOG}, which tells what "
            f"the {len(files):,} Parquet files beside it are; restore it (some backups leave out "
            f"names that begin with _), or see what `reach-analytics repair --store "
            f"{place.location}` can do: it makes a log anew from the files. Nothing was written",
            damages=(f"{table.name}/{LOG} is gone",),
        )


def _require_full_entries(place: Place, table: Table) -> None:
    """delta-rs passes over an empty entry of the log, and what it named would not be missed."""
    if not place.is_local:
        return  # what is put into an object store is there as a whole
    empty = empty_entries(place, table)
    if empty:
        raise DamagedStoreError(
            f"the store at {place.location} has an empty log entry, {empty[0]}, as a power cut "
            "leaves it: what was written with it would be missing. `reach-analytics repair "
            f"--store {place.location}` shows what can be done",
            damages=tuple(f"{name} is empty" for name in empty),
        )


def empty_entries(place: Place, table: Table) -> list[str]:
    """The entries of a local table's log that are empty, relative to the store."""
    with os.scandir(place.log(table)) as entries:
        return sorted(
            f"{table.name}/{LOG}/{entry.name}"
            for entry in entries
            if entry.name.endswith((".json", ".checkpoint.parquet")) and entry.stat().st_size == 0
        )


def require_ours(opened: DeltaTable, place: Place, table: Table) -> None:
    """Raise unless this package made the table, in a version that this one reads."""
    version = opened.metadata().configuration.get(VERSION_PROPERTY)
    if version is None or not (version.isascii() and version.isdigit()):
        raise ForeignStoreError(
            f"{place.uri(table)} is a Delta table, but not one that reach_analytics made; "
            "choose another directory for the store"
        )
    if int(version) > TABLE_VERSION:
        raise StoreVersionError(
            f"the store at {place.location} has table version {version}, and this "
            f"reach_analytics reads up to {TABLE_VERSION}; upgrade the package "
            "(pip install -U reach-analytics)"
        )


def gone(place: Place) -> StoreError:
    """What to say where a store was found before, and now there is none."""
    return StoreError(
        f"the store that was at {place.location} is gone; is its disk still mounted? "
        "Nothing was written, lest a new store hide the old one"
    )
