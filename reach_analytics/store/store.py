"""`Store`: the memory. Two Delta tables, which are plain Parquet files and a transaction log.

Any tool that reads Delta or Parquet reads a store. What was seen is only ever added to, and a row
that is already there, by its key, is not added again: writing the same looks twice is writing them
once, from any number of processes. `Store.compact` writes rows anew and says the same with fewer.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import duckdb
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError

from reach_analytics.columns import OBSERVATIONS, SNAPSHOTS, Table
from reach_analytics.errors import (
    ForeignStoreError,
    StoreError,
    StoreNotFoundError,
    StoreVersionError,
)
from reach_analytics.store.place import refuse_foreign, require_writable
from reach_analytics.store.rows import checked, fitted, not_in
from reach_analytics.store.scanning import scan

if TYPE_CHECKING:
    import ibis

    from reach_analytics.store.compaction import Compacted

# Still 1 with the column `repeats`: who does not know it selects the other columns by name, and
# finds fewer looks at what did not change, which were at least true ones.
TABLE_VERSION = 1
"""Version of the stored tables' columns and meaning. It stands in each table's properties."""

_VERSION_PROPERTY = "reach_analytics.table_version"
_COMMIT_ATTEMPTS = 40
_DISK_FULL = "No space left on device"

ON_TOP = CommitProperties(max_commit_retries=0)
"""Commit only if nothing was committed since the version that was read."""

WRITER = WriterProperties(compression="ZSTD")


@dataclass(frozen=True)
class Appended:
    """How many rows an `Store.append` added; rows that were there already do not count."""

    snapshots: int
    observations: int


class Store:
    """A place that remembers batch states: a local directory or an object store.

    Making a ``Store`` touches nothing; the tables are created by the first `append`.

    Parameters
    ----------
    location : str or path
        A directory, or ``s3://…``, ``gs://…``, ``az://…``.
    storage_options : mapping, optional
        Credentials and endpoints for an object store, as delta-rs takes them.

    Examples
    --------
    >>> import reach_analytics as reach
    >>> reach.Store("data/reach")
    Store('data/reach')
    """

    def __init__(
        self, location: str | os.PathLike[str], *, storage_options: Mapping[str, str] | None = None
    ) -> None:
        given = os.fspath(location)
        if not given:
            raise ValueError("a store's location is empty; pass a directory")
        local = "://" not in given
        self.location = (os.path.expanduser(given) if local else given).rstrip("/") or "/"
        self._options = dict(storage_options or {}) or None
        self._seen = False  # whether this object has found its tables before
        if self.is_local and os.sep == "/" and ("\\" in self.location or self._has_escapes):
            raise ValueError(
                f"delta-rs cannot write to {self.location}: a store's path must not have a "
                "backslash or a percent escape like %20 in it; choose another directory"
            )

    @property
    def is_local(self) -> bool:
        """Whether the store is a directory of this machine."""
        return "://" not in self.location

    @property
    def _has_escapes(self) -> bool:
        return unquote(self.location) != self.location

    def exists(self) -> bool:
        """Whether there is a store here.

        Raises
        ------
        ForeignStoreError, StoreVersionError
            If something else is here, or a store that this version cannot read.
        """
        found = [self._open(table) is not None for table in (OBSERVATIONS, SNAPSHOTS)]
        if not any(found):
            self._check(refuse_foreign)
        self._seen = self._seen or all(found)
        return all(found)

    def append(self, snapshots: pa.Table, observations: pa.Table) -> Appended:
        """Add what is not there yet: states first, then the looks that saw them.

        Each table is written in one atomic commit. A crash between the two leaves states without a
        look, which changes no answer, and appending the same rows again completes them.

        Parameters
        ----------
        snapshots, observations : pyarrow.Table
            Rows with exactly the columns of ``columns.SNAPSHOTS`` and ``columns.OBSERVATIONS``.

        Raises
        ------
        StoreError
            If the place cannot be written, or holds something else; or if this object has found a
            store there before, and now there is none: a second one would hide the first.
        ValueError
            If a table has other columns or a null in a key.
        """
        new = checked(snapshots, SNAPSHOTS), checked(observations, OBSERVATIONS)
        self._check(require_writable)
        self._create()
        try:
            states = self._append_new(SNAPSHOTS, new[0])
            looks = self._append_new(OBSERVATIONS, new[1])
        except (DeltaError, OSError, pa.ArrowException, duckdb.Error) as error:
            raise self._unwritable(error) from error
        return Appended(states, looks)

    def compact(
        self, *, now: datetime, retention: timedelta = timedelta(days=7), fold: bool = True
    ) -> Compacted:
        """Make the store small and fast again, beside whatever reads and writes it.

        Looks of days that are over and saw nothing new are folded into the look before them, as
        times in its ``repeats``; small files become large ones; files that no version since
        ``retention`` needs are deleted, and the log is brought up to date. What was seen, and what
        every measure says of it, stays as it was; see `Compacted` for what was done.

        Parameters
        ----------
        now : datetime
            The moment; days before its UTC day are over. Without an offset it counts as UTC.
        retention : timedelta
            How long replaced files stay for whoever opened the store before. At least an hour.
        fold : bool
            Whether to fold looks, and not only files.

        Raises
        ------
        StoreNotFoundError
            If there is no store here.
        StoreError
            If it cannot be written.
        ValueError
            If ``retention`` is shorter than an hour.

        Examples
        --------
        >>> import tempfile
        >>> from datetime import UTC, datetime
        >>> import reach_analytics as reach
        >>> with reach.sandbox.serve("demo") as sb, tempfile.TemporaryDirectory() as place:
        ...     store = reach.Store(place + "/reach")
        ...     for moment in sb.scenario.moments[:3]:
        ...         sb.advance(moment)
        ...         run = reach.collect(reach.Client(**sb.credentials), store, progress=False)
        ...     done = store.compact(now=datetime.now(UTC))
        >>> done.files_before > done.files_after
        True
        """
        from reach_analytics.store.compaction import compact

        self._require_store()
        self._check(require_writable)
        try:
            return compact(self, now=now, retention=retention, fold=fold)
        except (DeltaError, OSError, pa.ArrowException, duckdb.Error) as error:
            raise self._unwritable(error) from error

    def small_files(self) -> int:
        """How many live files are smaller than 16 MB, beyond one for each day: what `compact`
        would spare every reader. 0 without a store."""
        from reach_analytics.store.compaction import small_files

        found = [self._open(table) for table in (OBSERVATIONS, SNAPSHOTS)]
        return sum(small_files(opened) for opened in found if opened is not None)

    def wants_compaction(self, threshold: int = 500) -> bool:
        """Whether there are so many `small_files` that it is time to `compact`."""
        return self.small_files() > threshold

    def tables(self, engine: Any = None) -> tuple[ibis.Table, ibis.Table]:
        """The two stored tables as lazy Ibis tables: (snapshots, observations).

        Without the partition columns, which stand in the directories' names and repeat a time that
        is a column. Only the live files are read. Both are pinned to what was committed when this
        was called.

        Parameters
        ----------
        engine : Ibis backend, optional
            DuckDB in this process by default.

        Raises
        ------
        StoreNotFoundError
            If there is no store here.
        """
        self._require_store()
        backend = engine or _duckdb()
        # Looks are opened first: states are written before them, so every look finds its state.
        observations = self._scan(OBSERVATIONS, backend)
        return self._scan(SNAPSHOTS, backend), observations

    def files(self, table: Table) -> list[str]:
        """The live Parquet files of a stored table, for any other tool."""
        opened = self._open(table)
        return [] if opened is None else self._files(opened)

    def _files(self, opened: DeltaTable) -> list[str]:
        """The live files; delta-rs percent-encodes local paths too."""
        uris = opened.file_uris()
        return [unquote(uri) for uri in uris] if self.is_local else uris

    def uri(self, table: Table) -> str:
        """Where a stored table lies; any Delta reader opens it."""
        return f"{self.location}/{table.name}"

    def __repr__(self) -> str:
        return f"Store({self.location!r})"

    def _scan(self, table: Table, backend: Any) -> ibis.Table:
        opened = self._open(table)
        files = [] if opened is None else self._files(opened)
        return scan(opened, table, files, backend, uri=self.uri(table), local=self.is_local)

    def _open(self, table: Table) -> DeltaTable | None:
        """The Delta table, checked to be ours and readable; None if it is not there."""
        uri = self.uri(table)
        try:
            if not DeltaTable.is_deltatable(uri, self._options):
                return None
            opened = DeltaTable(uri, storage_options=self._options)
        except (DeltaError, OSError) as error:
            raise StoreError(
                f"cannot read the store at {self.location}: {_first_line(error)}"
            ) from error
        version = opened.metadata().configuration.get(_VERSION_PROPERTY)
        if version is None or not (version.isascii() and version.isdigit()):
            raise ForeignStoreError(
                f"{self.uri(table)} is a Delta table, but not one that reach_analytics made; "
                "choose another directory for the store"
            )
        if int(version) > TABLE_VERSION:
            raise StoreVersionError(
                f"the store at {self.location} has table version {version}, and this "
                f"reach_analytics reads up to {TABLE_VERSION}; upgrade the package "
                "(pip install -U reach-analytics)"
            )
        return opened

    def opened(self, table: Table) -> DeltaTable:
        """A stored table at its newest version, for what works on files and log.

        Raises
        ------
        StoreError
            If it is not there any more.
        """
        found = self._open(table)
        if found is None:
            raise self._gone()
        return found

    def _gone(self) -> StoreError:
        return StoreError(
            f"the store that was at {self.location} is gone; is its disk still mounted? "
            "Nothing was written, lest a new store hide the old one"
        )

    def _unwritable(self, error: Exception) -> StoreError:
        """What keeps the store from being written, with what to do about it."""
        if _DISK_FULL in str(error):
            return StoreError(
                f"the disk of the store at {self.location} is full; make room and write the same "
                "rows again: what is there already is not added twice"
            )
        return StoreError(f"cannot write to the store at {self.location}: {_first_line(error)}")

    def _check(self, check: Callable[[Path], None]) -> None:
        """Look at the place itself, if it is on this machine."""
        if self.is_local:
            check(Path(self.location))

    def _require_store(self) -> None:
        if not self.exists():
            raise StoreNotFoundError(
                f"no store at {self.location}; check the path, or collect into it first: "
                "reach.collect(client, reach.Store(...)) or `reach-analytics collect --store ...`"
            )

    def _create(self) -> None:
        seen = self._seen
        if self.exists():
            return
        if seen:
            raise self._gone()
        for table in (SNAPSHOTS, OBSERVATIONS):
            try:
                DeltaTable.create(
                    self.uri(table),
                    schema=table.schema,
                    mode="ignore",
                    partition_by=[table.partition] if table.partition else None,
                    name=f"reach_analytics.{table.name}",
                    description=f"{table.row}; key: {', '.join(table.key)}",
                    configuration={_VERSION_PROPERTY: str(TABLE_VERSION)},
                    storage_options=self._options,
                    raise_if_key_not_exists=False,
                )
            except CommitFailedError:
                pass  # another process made the same table at the same moment
            except (DeltaError, OSError) as error:
                raise self._unwritable(error) from error
        self._seen = True

    def _append_new(self, table: Table, rows: pa.Table) -> int:
        """Add the rows whose key is not there, in one commit; how many that were.

        It commits only on top of the version it has read (no blind retries inside), so two writers
        that add the same key at once cannot both succeed.
        """
        for attempt in range(_COMMIT_ATTEMPTS):
            opened = self.opened(table)
            fresh = not_in(opened, table, rows)
            if fresh.num_rows == 0:
                return 0
            try:
                write_deltalake(
                    opened,
                    fitted(fresh, opened),
                    mode="append",
                    commit_properties=ON_TOP,
                    writer_properties=WRITER,
                )
                return int(fresh.num_rows)
            except CommitFailedError as error:
                if _DISK_FULL in str(error):
                    raise
                time.sleep(random.uniform(0, min(1.0, 0.02 * 2**attempt)))
        raise StoreError(
            f"cannot write to the store at {self.location}: other writers committed first, "
            f"{_COMMIT_ATTEMPTS} times in a row; try again when fewer write at once"
        )


def _first_line(error: Exception) -> str:
    """What went wrong, without the backtrace that delta-rs appends."""
    return str(error).strip().partition("\n")[0]


def _duckdb() -> Any:
    import ibis

    return ibis.duckdb.connect()
