"""Adding rows to the stored tables: only those not yet stored, from any number of writers."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

from reach_analytics.errors import StoreError
from reach_analytics.store._catalog import changed, read
from reach_analytics.store._delta import TABLE_VERSION, VERSION_PROPERTY, Newest, gone, open_tables
from reach_analytics.store._explain import is_disk_full
from reach_analytics.store._keys import Keys
from reach_analytics.store._rows import add_columns, fitted, lacking
from reach_analytics.store._write import Writer
from reach_analytics.tables import STORED, STORED_OBSERVATIONS, STORED_SNAPSHOTS, Table

_ATTEMPTS = 40
# States are written before the observations that saw them.
_TABLES = (STORED_SNAPSHOTS, STORED_OBSERVATIONS)
_PROPERTIES = {
    VERSION_PROPERTY: str(TABLE_VERSION),
    "delta.logRetentionDuration": "interval 7 days",
    # When opening a table, delta-rs starts a thread for each entry since the last checkpoint.
    "delta.checkpointInterval": "20",
}


class Appender:
    """Adds rows, and remembers between calls what it has read of the store."""

    def __init__(self, writer: Writer) -> None:
        self._writer, self._location = writer, writer.location
        self._newest = {table: Newest(self._location, table) for table in STORED}
        self._keys = {table: Keys(self._location, table) for table in STORED}
        self._lock = threading.Lock()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While this is held, no other thread of this process adds rows."""
        with self._lock:
            yield

    def append(
        self, states: pa.Table, observations: pa.Table, *, was_there: bool
    ) -> tuple[int, int]:
        """Add what is not yet stored; return how many states and observations were added.

        ``was_there`` says that a store existed before, so that no new one may be created.
        """
        with self._lock:
            if not open_tables(self._location, lambda table: self._newest[table]()):
                if was_there:
                    raise gone(self._location)
                self._create()
            return self.add(STORED_SNAPSHOTS, states), self.add(STORED_OBSERVATIONS, observations)

    def append_changed(self, table: Table, rows: pa.Table) -> int:
        """Add what differs from the newest rows of a table of the catalog; return how many."""
        with self._lock:
            fresh = changed(rows, read(self._location, table), table)
            if len(fresh) and self._newest[table]() is None:
                create(self._writer, table)
            return self.add(table, fresh)

    def _create(self) -> None:
        for table in _TABLES:
            create(self._writer, table)

    def add(self, table: Table, rows: pa.Table) -> int:
        """Add the rows whose key is not stored, in one commit; return how many were added.

        It commits only on top of the version it has read (without blind retries), so two writers
        that add the same key at once cannot both succeed. A table of an earlier version gets the
        columns that the rows fill.
        """
        if rows.num_rows == 0:
            return 0
        for attempt in range(_ATTEMPTS):
            opened = self._newest[table]()
            if opened is None:
                raise gone(self._location)
            fresh = self._keys[table].not_in(_paths(opened), rows)
            if fresh.num_rows == 0:
                return 0
            try:
                if absent := lacking(opened, fresh):
                    add_columns(opened, table, absent)
                    self._writer.sync_log(table, [opened.version()])
                    continue
                self._writer.append(opened, table, fitted(fresh, opened))
                return int(fresh.num_rows)
            except CommitFailedError as error:
                if is_disk_full(error):
                    raise
                time.sleep(random.uniform(0, min(1.0, 0.02 * 2**attempt)))
        raise StoreError(
            f"cannot write to the store at {self._location.root}: other writers committed first, "
            f"{_ATTEMPTS} times in a row; try again when fewer write at once"
        )


def create(writer: Writer, table: Table) -> None:
    """Create a table, unless another process creates it at the same moment."""
    try:
        DeltaTable.create(
            writer.location.uri(table),
            schema=table.schema,
            mode="ignore",
            partition_by=[table.partition] if table.partition else None,
            name=f"reach_analytics.{table.name}",
            description=f"{table.row}; key: {', '.join(table.key)}",
            configuration=_PROPERTIES,
            storage_options=writer.location.storage_options,
            raise_if_key_not_exists=False,
        )
    except CommitFailedError as error:
        if is_disk_full(error):
            raise
    writer.sync_new_table(table)


def _paths(opened: DeltaTable) -> list[str]:
    """The live files, relative to the table."""
    found: list[str] = pa.table(opened.get_add_actions())["path"].to_pylist()
    return found
