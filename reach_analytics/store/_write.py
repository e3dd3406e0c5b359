"""One commit on a stored table: its files are on disk before the log names them.

On a local disk the Parquet files are written and synced here, then delta-rs commits them, then the
log is synced. So after a power cut an acknowledged commit is there, and no commit names a missing
file. An object store has each object as a whole or not at all, so there delta-rs writes.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, WriterProperties, write_deltalake
from deltalake.transaction import AddAction

from reach_analytics.store._checksums import seal
from reach_analytics.store._location import Location
from reach_analytics.tables import Table

ON_TOP = CommitProperties(max_commit_retries=0)
"""Commit only if nothing was committed since the version that was read."""

_WRITER = WriterProperties(compression="ZSTD")
_TARGET = 128 * 2**20  # bytes of a file: large enough to read well, small enough to rewrite
_GROUP_ROWS, _GROUP_BYTES = 2**17, 2**26  # of a row group


@dataclass(frozen=True)
class Writer:
    """Commits rows to a stored table, on top of the version that was opened.

    Attributes
    ----------
    location : Location
    durable : bool
        Whether what was written is on disk when a commit returns.
    """

    location: Location
    durable: bool = True

    def append(self, opened: DeltaTable, table: Table, rows: pa.Table) -> None:
        """Add rows; `CommitFailedError` if another writer committed first."""
        if not self.location.is_local:
            write_deltalake(
                opened,
                rows,
                mode="append",
                commit_properties=ON_TOP,
                writer_properties=_WRITER,
            )
            return
        days = {None: rows} if table.partition is None else _by_day(rows, table.partition)
        files = [
            file
            for day, part in days.items()
            for file in self._write(table, day, part.to_batches(), part.schema)
        ]
        self._commit(opened, table, files, "append", None, ON_TOP)

    def replace_day(
        self,
        opened: DeltaTable,
        table: Table,
        day: date,
        rows: pa.Table | pa.RecordBatchReader,
        properties: CommitProperties = ON_TOP,
    ) -> None:
        """Replace a day's rows by these; `CommitFailedError` if another writer committed first."""
        if not self.location.is_local:
            write_deltalake(
                opened,
                rows,
                mode="overwrite",
                predicate=f"{table.partition} = '{day}'",
                target_file_size=_TARGET,
                commit_properties=properties,
                writer_properties=_WRITER,
            )
            return
        inside = pa.schema(opened.schema().to_arrow())
        typed = (batch.select(inside.names).cast(inside) for batch in _batches(rows))
        files = list(self._write(table, day, typed, inside))
        day_only = [(str(table.partition), "=", str(day))]
        self._commit(opened, table, files, "overwrite", day_only, properties)

    def sync_log(self, table: Table, versions: Iterable[int]) -> None:
        """Sync these versions of a local table's log to disk."""
        if not (self.durable and self.location.is_local):
            return
        log = self.location.log(table)
        for version in versions:
            for name in (f"{version:020}.json", f"{version:020}.checkpoint.parquet"):
                sync(log / name)
        sync(log / "_last_checkpoint")
        sync(log)

    def sync_new_table(self, table: Table) -> None:
        """Sync a newly created local table to disk, and the directories above it."""
        if not (self.durable and self.location.is_local):
            return
        self.sync_log(table, [0])
        folder = Path(self.location.uri(table)).absolute()
        for directory in (folder, *folder.parents):  # any of them may be new, too
            with suppress(PermissionError):  # then it existed before
                sync(directory)

    def _write(
        self, table: Table, day: date | None, batches: Any, schema: pa.Schema
    ) -> Iterator[AddAction]:
        """Write the rows into files of at most about the target size, which no log names yet."""
        folder = Path(self.location.uri(table))
        values = {} if day is None else {str(table.partition): str(day)}
        folder = folder.joinpath(*(f"{name}={value}" for name, value in values.items()))
        folder.mkdir(parents=True, exist_ok=True)
        inside = [name for name in schema.names if name not in values]
        pieces = _pieces(folder, (batch.select(inside) for batch in batches))
        for path, count in pieces:
            if self.durable:
                sync(path)
            found = path.stat()
            yield AddAction(
                path=path.relative_to(self.location.uri(table)).as_posix(),
                size=found.st_size,
                partition_values=values,
                modification_time=int(found.st_mtime * 1000),
                data_change=True,
                stats=json.dumps({"numRecords": count}),
            )
        if self.durable:
            sync(folder)
            sync(folder.parent)

    def _commit(
        self,
        opened: DeltaTable,
        table: Table,
        files: list[AddAction],
        mode: str,
        filters: Any,
        properties: CommitProperties,
    ) -> None:
        try:
            opened.create_write_transaction(
                [*files],
                mode,
                opened.schema(),
                [str(table.partition)] if table.partition else None,
                filters,
                commit_properties=properties,
            )
        except Exception:
            self._withdraw(table, files)
            raise
        self.sync_log(table, [opened.version() + 1])

    def _withdraw(self, table: Table, files: list[AddAction]) -> None:
        """Delete what was written for a failed commit, unless the log names it after all."""
        named = {
            Path(unquote(uri)).name for uri in DeltaTable(self.location.uri(table)).file_uris()
        }
        for file in files:
            path = Path(self.location.uri(table)) / file.path
            if path.name not in named:
                path.unlink(missing_ok=True)


def _pieces(folder: Path, batches: Iterator[pa.RecordBatch]) -> Iterator[tuple[Path, int]]:
    """Files with the rows of the batches, and how many rows each has."""
    groups = _row_groups(batches)
    first = next(groups, None)
    while first is not None:
        name, count = f"part-{uuid.uuid4()}", 0
        unfinished = folder / f".{name}.tmp"
        try:
            with pq.ParquetWriter(unfinished, first.schema, compression="zstd") as writer:
                for rows in chain([first], groups):
                    writer.write_table(rows)
                    count += rows.num_rows
                    if unfinished.stat().st_size >= _TARGET:
                        break
            yield seal(unfinished, name, "zstd.parquet"), count
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
        first = next(groups, None)


def _row_groups(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The batches joined to groups that compress well and fit in memory."""
    held: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        held.append(batch)
        rows, size = rows + batch.num_rows, size + batch.nbytes
        if rows >= _GROUP_ROWS or size >= _GROUP_BYTES:
            yield pa.Table.from_batches(held)
            held, rows, size = [], 0, 0
    if rows:
        yield pa.Table.from_batches(held)


def _batches(rows: Any) -> Iterator[pa.RecordBatch]:
    """The batches of a table, or of what delta-rs and DuckDB stream."""
    found = pa.table(rows).to_batches() if isinstance(rows, pa.Table) else None
    return iter(found if found is not None else pa.RecordBatchReader.from_stream(rows))


def _by_day(rows: pa.Table, partition: str) -> dict[date | None, pa.Table]:
    days = pc.unique(rows[partition]).to_pylist()
    if len(days) == 1:
        return {days[0]: rows}
    return {day: rows.filter(pc.equal(rows[partition], day)) for day in days}


def sync(path: Path) -> None:
    """Sync a file, or the names in a directory, to disk, if it exists."""
    if path.is_dir() and os.name != "posix":
        return  # elsewhere a directory cannot be opened, and its names are journalled
    try:
        handle = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    except FileNotFoundError:
        return  # not every version has a checkpoint, and old entries are deleted
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
