"""`Store`: two Delta tables, which are plain Parquet files and a transaction log, and two of names.

Any tool that reads Delta or Parquet reads a store. Rows are only ever added, and a row whose key is
already stored is not added again: writing the same observations twice, from any number of
processes, is writing them once. `Store.compact` rewrites them as fewer rows with the same content.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pyarrow as pa
from deltalake import DeltaTable
from pyarrow.fs import FileType

from reach_analytics._time import parse_duration, parse_timestamp
from reach_analytics.errors import StoreNotFoundError
from reach_analytics.queries.scan import scan, without_lost_states
from reach_analytics.store import _catalog
from reach_analytics.store._append import Appender
from reach_analytics.store._checksums import unsound
from reach_analytics.store._delta import TABLE_VERSION, gone, open_table, open_tables
from reach_analytics.store._explain import explain, explained
from reach_analytics.store._location import (
    Location,
    refuse_foreign,
    require_readable,
    require_writable,
)
from reach_analytics.store._rows import checked
from reach_analytics.store._write import Writer
from reach_analytics.store.damage import Damage, damaged, find_damage
from reach_analytics.tables import (
    STORED_OBSERVATIONS,
    STORED_SCHEMAS,
    STORED_SNAPSHOTS,
    STORED_TENANTS,
    Table,
)

if TYPE_CHECKING:
    from reach_analytics._progress import SlowBar
    from reach_analytics.queries.tables import LazyTable
    from reach_analytics.store._findings import Repair
    from reach_analytics.store._reader import Reader
    from reach_analytics.store.compaction import CompactionResult

__all__ = ["TABLE_VERSION", "AppendResult", "Store"]


@dataclass(frozen=True)
class AppendResult:
    """How many rows a `Store.append` added; rows that were already stored do not count."""

    snapshots: int
    observations: int


class Store:
    """Observations of batches and their states, in a local directory or an object store.

    Making a ``Store`` touches nothing; the tables are created by the first `append`.

    Parameters
    ----------
    location : str or path
        A directory, or ``s3://…``, ``gs://…``, ``az://…``.
    storage_options : mapping, optional
        Credentials and endpoints for an object store, as delta-rs takes them.
    durable : bool
        Whether what an `append` acknowledges is on disk, so that it survives a power cut. It costs
        a few syncs for each append; ``False`` leaves them to the system. It does not apply to
        object stores.

    Examples
    --------
    >>> import reach_analytics as reach
    >>> reach.Store("data/reach")
    Store('data/reach')
    """

    def __init__(
        self,
        location: str | os.PathLike[str],
        *,
        storage_options: Mapping[str, str] | None = None,
        durable: bool = True,
    ) -> None:
        given = os.fspath(location)
        if not given:
            raise ValueError("a store's location is empty; pass a directory")
        given = given.removeprefix("file://")
        local = "://" not in given
        self.location = (os.path.expanduser(given) if local else given).rstrip("/") or "/"
        self._location = Location(self.location, dict(storage_options or {}) or None)
        self.writer = Writer(self._location, durable)
        self._appender = Appender(self.writer)
        self._seen = False  # whether this object has found its tables before
        self.versions_read: dict[str, int] = {}  # of each table, when `tables` was last called
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
        DamagedStoreError
            If part of one is gone.
        ForeignStoreError, StoreVersionError
            If something else is here, or a store that this version cannot read.
        """
        if not self._open_all():
            return False
        self._seen = True
        return True

    def append(self, snapshots: pa.Table, observations: pa.Table) -> AppendResult:
        """Add what is not yet stored: states first, then the observations that saw them.

        Each table is written in one atomic commit. A crash between the two leaves states without
        an observation, which changes no answer, and appending the same rows again completes them.

        Parameters
        ----------
        snapshots, observations : pyarrow.Table
            Rows with exactly the columns of ``tables.STORED_SNAPSHOTS`` and
            ``tables.STORED_OBSERVATIONS``.

        Raises
        ------
        StoreError
            If the location cannot be written, or holds something else; or if this object has found
            a store there before, and now there is none: a new one would hide the first.
        ValueError
            If a table has other columns or a null in a key.
        """
        new = checked(snapshots, STORED_SNAPSHOTS), checked(observations, STORED_OBSERVATIONS)
        self._check(require_writable)
        if not self._seen:
            self._seen = self.exists()  # refuses what is not ours
        with explained(self._location, "write to"):
            added = self._appender.append(*new, was_there=self._seen)
        self._seen = True
        return AppendResult(*added)

    def append_catalog(self, tenants: pa.Table, schema_definitions: pa.Table) -> int:
        """Add what the API says of tenants and schema definitions, where it says something new.

        Parameters
        ----------
        tenants, schema_definitions : pyarrow.Table
            Rows with exactly the columns of ``tables.STORED_TENANTS`` and
            ``tables.STORED_SCHEMAS``.

        Returns
        -------
        int
            How many rows were added.

        Raises
        ------
        StoreNotFoundError
            If there is no store here.
        StoreError
            If it cannot be written.
        ValueError
            If a table has other columns or a null in a key.
        """
        given = {STORED_TENANTS: tenants, STORED_SCHEMAS: schema_definitions}
        new = {table: checked(rows, table) for table, rows in given.items()}
        self._require_store()
        self._check(require_writable)
        with explained(self._location, "write to"):
            return sum(self._appender.append_changed(*each) for each in new.items())

    def catalog(self, table: Table) -> pa.Table:
        """All that the API ever said of tenants (``tables.STORED_TENANTS``) or schema definitions
        (``tables.STORED_SCHEMAS``); no rows if nothing was kept.

        Raises
        ------
        DamagedStoreError
            If it is damaged.
        StoreError
            If it may not be read, or is of a newer version.
        """
        return _catalog.read(self._location, table)

    def compact(
        self,
        *,
        now: str | datetime | None = None,
        retention: str | timedelta = "7d",
        fold: bool = True,
        stop: Event | None = None,
    ) -> CompactionResult:
        """Make the store small and fast again, while others read and write it.

        Observations of past days that saw nothing new are folded into the one before them, as times
        in its ``repeats``; small files become large ones; files that no version within
        ``retention`` needs are deleted, and the log is shortened. What was seen, and the result of
        every measure, stays the same; see `CompactionResult` for what was done.

        Parameters
        ----------
        now : str or datetime, optional
            The present by default; days before its UTC day are past. Without an offset it counts as
            UTC.
        retention : str or timedelta
            How long replaced files are kept for readers that opened the store before, as ``"12h"``.
            At least an hour.
        fold : bool
            Whether to fold observations, or only to join files.
        stop : threading.Event, optional
            Once it is set, no further step is started; what was done stays done.

        Raises
        ------
        StoreNotFoundError
            If there is no store here.
        StoreError
            If it cannot be written.
        ValueError
            If ``retention`` is no length of time, or shorter than an hour.

        Examples
        --------
        >>> import tempfile
        >>> import reach_analytics as reach
        >>> with reach.sandbox.serve("demo") as sb, tempfile.TemporaryDirectory() as directory:
        ...     store = reach.Store(directory + "/reach")
        ...     for moment in sb.scenario.moments[:3]:
        ...         sb.advance(moment)
        ...         run = reach.collect(reach.Client(**sb.credentials), store, progress=False)
        ...     done = store.compact()
        >>> done.files_before > done.files_after
        True
        """
        from reach_analytics.store.compaction import compact

        moment = datetime.now(UTC) if now is None else parse_timestamp(now, "now").to_pydatetime()
        kept = parse_duration(retention, "retention").to_pytimedelta()
        self._require_store()
        self._check(require_writable)
        with self._explained("write to"):
            return compact(self, now=moment, retention=kept, fold=fold, stop=stop or Event())

    def alone(self) -> AbstractContextManager[None]:
        """While this is held, no other thread of this process adds rows through this object."""
        return self._appender.alone()

    def small_files(self) -> int:
        """How many live files are smaller than 16 MB, beyond one for each day: those that
        `compact` would save. 0 without a store."""
        from reach_analytics.store.compaction import small_files

        return sum(small_files(opened) for opened in self._open_all().values())

    def wants_compaction(self, threshold: int = 500) -> bool:
        """Whether there are so many `small_files` that it is time to `compact`."""
        return self.small_files() > threshold

    def tables(
        self, engine: Callable[[], Any] | None = None, *, without: Collection[Damage] = ()
    ) -> tuple[LazyTable, LazyTable]:
        """The two stored tables as lazy Ibis tables: (snapshots, observations).

        Without the partition columns, which are in the directories' names and repeat a time that
        is a column. Only the live files are read. Both are pinned to what was committed when this
        was called.

        Parameters
        ----------
        engine : callable, optional
            Makes the Ibis backend that is to query them, once the store is found to be whole; by
            default DuckDB in this process.
        without : collection of Damage
            Damaged files to leave out, as from `damages`. An observation whose state was in one of
            them becomes a failed one.

        Raises
        ------
        StoreNotFoundError
            If there is no store here.
        DamagedStoreError
            If part of it is gone or cannot be read.
        """
        opened = self._require_store()
        if not without:
            self._require_sound(opened)
        backend = (engine or _duckdb)()
        self.versions_read = {table.name: known.version() for table, known in opened.items()}
        with self._explained("read"):
            observations = self._scan(STORED_OBSERVATIONS, opened, backend, without)
            snapshots = self._scan(STORED_SNAPSHOTS, opened, backend, without)
        if any(damage.table == STORED_SNAPSHOTS.name for damage in without):
            observations = without_lost_states(observations, snapshots)
        return snapshots, observations

    def require_sound(self) -> None:
        """Raise a `DamagedStoreError` if a local data file is gone or was changed.

        Each file is read once, as long as it does not change.
        """
        self._require_sound(self._require_store())

    def reader(self, bar: SlowBar | None = None) -> Reader:
        """What runs queries over `tables`, and explains why one fails; ``bar`` shows a slow one."""
        from reach_analytics.store._reader import Reader

        return Reader(self._location, self._what_is_wrong, bar)

    def damages(self) -> list[Damage]:
        """The files that cannot be read. Every file is read from its first byte to its last.

        Raises
        ------
        StoreNotFoundError
            If there is no store here.
        DamagedStoreError
            If not even its log can be read.
        """
        opened = self._require_store()
        with explained(self._location, "read"):
            return find_damage(self._location, opened)

    def repair(self, *, apply: bool = False, now: datetime | None = None) -> Repair:
        """Say what is damaged, and what can be done; do it with ``apply``.

        Nothing is deleted: what is removed from the store is set aside in its own directory. Rows
        of damaged files are lost, unless a file that a compaction replaced, or that no log names,
        still holds them: such files are read, and missing rows are recovered.

        Parameters
        ----------
        apply : bool
            Whether to do it, rather than only say it.
        now : datetime, optional
            Names the directory for what is set aside; the present by default.

        Raises
        ------
        StoreNotFoundError
            If there is no store here, nor remains of one.
        StoreError
            If it cannot be written.

        Examples
        --------
        >>> import tempfile
        >>> import reach_analytics as reach
        >>> with reach.sandbox.serve("demo") as sb, tempfile.TemporaryDirectory() as directory:
        ...     store = reach.Store(directory + "/reach")
        ...     sb.advance(sb.scenario.moments[3])
        ...     run = reach.collect(reach.Client(**sb.credentials), store, progress=False)
        ...     print(store.repair())
        nothing is damaged
        """
        from reach_analytics.store._repair import repair

        self._check(require_writable if apply else require_readable)
        with explained(self._location, "write to" if apply else "read"):
            return repair(self.writer, now=now or datetime.now(UTC), apply=apply)

    def files(self, table: Table) -> list[str]:
        """The live Parquet files of a stored table, for other tools."""
        opened = open_table(self._location, table)
        return [] if opened is None else self._files(opened)

    def uri(self, table: Table) -> str:
        """Where a stored table is; any Delta reader opens it."""
        return self._location.uri(table)

    def has(self, table: Table, path: str) -> bool:
        """Whether a file of a stored table exists, named as in its log."""
        relative = unquote(path).removeprefix(self.uri(table)).lstrip("/")
        found = self._location.files(table).get_file_info(relative)
        return bool(found.type == FileType.File)

    def opened(self, table: Table) -> DeltaTable:
        """A stored table at its newest version, for code that works on files and log.

        Raises
        ------
        StoreError
            If it is gone.
        """
        found = open_table(self._location, table)
        if found is None:
            raise gone(self._location)
        return found

    def __repr__(self) -> str:
        return f"Store({self.location!r})"

    def _files(self, opened: DeltaTable) -> list[str]:
        """The live files; delta-rs percent-encodes local paths too."""
        uris = opened.file_uris()
        return [unquote(uri) for uri in uris] if self.is_local else uris

    def _scan(
        self,
        table: Table,
        opened: Mapping[Table, DeltaTable],
        backend: Any,
        without: Collection[Damage],
    ) -> LazyTable:
        left_out = {damage.path for damage in without if damage.table == table.name}
        files = self._files(opened[table])
        sound = [uri for uri in files if not any(uri.endswith("/" + path) for path in left_out)]
        return scan(opened[table], table, sound, backend, self._location, all_of_it=not left_out)

    def _open_all(self) -> dict[Table, DeltaTable]:
        """Both tables at their newest versions; empty if there is no store."""
        self._check(require_readable)
        found = open_tables(self._location, lambda table: open_table(self._location, table))
        if not found:
            self._check(refuse_foreign)
        return found

    def _require_store(self) -> dict[Table, DeltaTable]:
        found = self._open_all()
        if not found:
            raise StoreNotFoundError(
                f"no store at {self.location}; check the path, or collect into it first: "
                "reach.collect(client, reach.Store(...)) or `reach-analytics collect --store ...`"
            )
        self._seen = True
        return found

    def _require_sound(self, opened: Mapping[Table, DeltaTable]) -> None:
        if self.is_local:
            files = [file for table in opened.values() for file in self._files(table)]
            with explained(self._location, "read"):
                if unsound(files) and (found := find_damage(self._location, opened)):
                    raise damaged(self._location, found)

    def _check(self, check: Callable[[Path], None]) -> None:
        """Check the directory itself, if the store is on this machine."""
        if self.is_local:
            check(Path(self.location))

    def _explained(self, doing: str) -> AbstractContextManager[None]:
        """As `explained`, with damaged files named."""
        return explained(self._location, doing, self._what_is_wrong)

    def _what_is_wrong(self, error: Exception) -> Exception:
        """The error to raise for an engine's: the damaged files, or else what it says."""
        found = self.damages()
        return damaged(self._location, found) if found else explain(error, self._location, "read")


def _duckdb() -> Any:
    from reach_analytics.queries.engine import connect

    return connect()
