"""`Store`: the memory. Two Delta tables, which are plain Parquet files and a transaction log.

Any tool that reads Delta or Parquet reads a store. Rows are only ever added, and a row that is
already there, by its key, is not added again: writing the same looks twice is writing them once,
from any number of processes.
"""

from __future__ import annotations

import os
import random
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, WriterProperties
from deltalake.exceptions import CommitFailedError, DeltaError

from reach_analytics.columns import OBSERVATIONS, SNAPSHOTS, Table
from reach_analytics.errors import (
    ForeignStoreError,
    StoreError,
    StoreNotFoundError,
    StoreVersionError,
)

if TYPE_CHECKING:
    import ibis

TABLE_VERSION = 1
"""Version of the stored tables' columns and meaning. It stands in each table's properties."""

_VERSION_PROPERTY = "reach_analytics.table_version"
_COMMIT_ATTEMPTS = 40


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
            self._refuse_foreign()
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
            If the place cannot be written, or holds something else.
        ValueError
            If a table has other columns or a null in a key.
        """
        checked = _checked(snapshots, SNAPSHOTS), _checked(observations, OBSERVATIONS)
        self._require_writable()
        self._create()
        try:
            states = self._append_new(SNAPSHOTS, checked[0])
            looks = self._append_new(OBSERVATIONS, checked[1])
        except (DeltaError, OSError, pa.ArrowException) as error:
            raise StoreError(
                f"cannot write to the store at {self.location}: {_first_line(error)}"
            ) from error
        return Appended(states, looks)

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
        if not self.exists():
            raise StoreNotFoundError(
                f"no store at {self.location}; check the path, or collect into it first: "
                "reach.collect(client, reach.Store(...)) or `reach-analytics collect --store ...`"
            )
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
        import ibis

        opened = self._open(table)
        files = [] if opened is None else self._files(opened)
        if not files:
            return ibis.memtable(table.schema.empty_table()).select(_inside(table))
        if backend.name == "pyspark":
            rows = _spark_table(backend, files, self.uri(table))
        elif self.is_local:
            # By name, since a later version may add columns: older files then give nulls.
            # Not by directory: a `name=value` anywhere above the store would become a column.
            rows = backend.read_parquet(files, hive_partitioning=False, union_by_name=True)
        else:
            assert opened is not None
            rows = ibis.memtable(opened.to_pyarrow_dataset())
        return rows.select(_inside(table))

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

    def _refuse_foreign(self) -> None:
        if not self.is_local:
            return
        place = Path(self.location)
        if place.exists() and not place.is_dir():
            raise ForeignStoreError(f"{place} is a file; a store is a directory")
        ours = {table.name for table in (SNAPSHOTS, OBSERVATIONS)}
        strangers = sorted(p.name for p in place.iterdir()) if place.is_dir() else []
        strangers = [name for name in strangers if name not in ours and not name.startswith(".")]
        if strangers:
            below = [name for name in strangers if (place / name / OBSERVATIONS.name).is_dir()]
            raise ForeignStoreError(
                f"{place} holds no store but other things, as {strangers[0]!r}; "
                + (
                    f"did you mean {place / below[0]}?"
                    if below
                    else "to write one, choose an empty or new directory"
                )
            )

    def _require_writable(self) -> None:
        """Say so before delta-rs does, with a backtrace, if a directory must not be written."""
        place = Path(self.location)
        nearest = next((p for p in (place, *place.absolute().parents) if p.exists()), place)
        if self.is_local and nearest.is_dir() and not os.access(nearest, os.W_OK):
            raise StoreError(f"no permission to write to {nearest}")

    def _create(self) -> None:
        if self.exists():
            return
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
                raise StoreError(
                    f"cannot create a store at {self.location}: {_first_line(error)}"
                ) from error

    def _append_new(self, table: Table, rows: pa.Table) -> int:
        """Add the rows whose key is not there, in one commit; how many that were.

        The merge commits only on top of the version it has read (no blind retries inside), so two
        writers that add the same key at once cannot both succeed.
        """
        for attempt in range(_COMMIT_ATTEMPTS):
            opened = self._open(table)
            assert opened is not None
            fresh = _not_in(opened, table, rows)
            if fresh.num_rows == 0:
                return 0
            try:
                merge = opened.merge(
                    fresh,
                    predicate=" AND ".join(f"t.{name} = s.{name}" for name in _matched_on(table)),
                    source_alias="s",
                    target_alias="t",
                    commit_properties=CommitProperties(max_commit_retries=0),
                    writer_properties=WriterProperties(compression="ZSTD"),
                )
                done = merge.when_not_matched_insert_all().execute()
                return int(done["num_target_rows_inserted"])
            except CommitFailedError:
                time.sleep(random.uniform(0, min(1.0, 0.02 * 2**attempt)))
        raise StoreError(
            f"cannot write to the store at {self.location}: other writers committed first, "
            f"{_COMMIT_ATTEMPTS} times in a row; try again when fewer write at once"
        )


def _inside(table: Table) -> list[str]:
    """The columns that the Parquet files themselves hold."""
    return [name for name in table.names if name != table.partition]


def _first_line(error: Exception) -> str:
    """What went wrong, without the backtrace that delta-rs appends."""
    return str(error).strip().partition("\n")[0]


def _duckdb() -> Any:
    import ibis

    return ibis.duckdb.connect()


def _spark_table(backend: Any, files: list[str], base: str) -> ibis.Table:
    """The files as a Spark view. Ibis' own reader takes one path only."""
    from pyspark.sql import SparkSession

    name = f"reach_{uuid.uuid4().hex}"
    reader = SparkSession.active().read.option("basePath", base).option("mergeSchema", True)
    reader.parquet(*files).createOrReplaceTempView(name)
    return backend.table(name)


def _checked(rows: pa.Table, table: Table) -> pa.Table:
    """The rows in the table's schema, one for each key, the first of equals."""
    if set(rows.column_names) != set(table.names):
        odd = sorted(set(rows.column_names) ^ set(table.names))
        raise ValueError(f"{table.name} rows must have the columns of columns.py; differs: {odd}")
    for column in table.columns:
        if not column.nullable and rows[column.name].null_count:
            raise ValueError(f"{table.name}.{column.name} must not be null")
    typed = rows.select(table.names).cast(table.schema)
    position = pa.array(range(typed.num_rows), pa.int64())
    keys = typed.select(list(table.key)).append_column("_row", position)
    first = keys.group_by(list(table.key)).aggregate([("_row", "min")])["_row_min"]
    return typed if len(first) == typed.num_rows else typed.take(first.combine_chunks().sort())


def _matched_on(table: Table) -> list[str]:
    within = [table.partition] if table.partition and table.partition_follows_key else []
    return [*table.key, *within]


def _not_in(opened: DeltaTable, table: Table, rows: pa.Table) -> pa.Table:
    """The rows whose key the Delta table does not hold.

    Most looks find nothing new, and reading the key columns is several times cheaper than a merge
    that inserts nothing.
    """
    if rows.num_rows == 0:
        return rows
    keys, within = list(table.key), None
    if table.partition and table.partition_follows_key:
        days = pc.min_max(rows[table.partition]).as_py()
        within = f"{table.partition} BETWEEN '{days['min']}' AND '{days['max']}'"
    mine = rows.select(keys).append_column("_row", pa.array(range(rows.num_rows), pa.int64()))
    stored = _of_batches(opened.scan(keys, within), rows["batch_id"], mine.schema.remove(len(keys)))
    fresh = mine.join(stored, keys, join_type="left anti")["_row"].combine_chunks()
    return rows.take(fresh.sort())


def _of_batches(reader: Any, batch_ids: pa.ChunkedArray, schema: pa.Schema) -> pa.Table:
    """What a scan gives for these batches, read piece by piece."""
    wanted = batch_ids.unique()
    pieces = (pa.Table.from_batches([pa.record_batch(piece)]).cast(schema) for piece in reader)
    kept = [piece.filter(pc.is_in(piece["batch_id"], wanted)) for piece in pieces]
    return pa.concat_tables([schema.empty_table(), *kept])
