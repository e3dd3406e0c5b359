"""Adding rows to the stored tables: those that are not there yet, from any number of writers."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

from reach_analytics.columns import OBSERVATIONS, SNAPSHOTS, Table
from reach_analytics.errors import StoreError
from reach_analytics.store.delta import TABLE_VERSION, VERSION_PROPERTY, Newest, gone, open_tables
from reach_analytics.store.explaining import is_disk_full
from reach_analytics.store.keys import Keys
from reach_analytics.store.rows import fitted
from reach_analytics.store.writing import Writer

_ATTEMPTS = 40
_TABLES = (SNAPSHOTS, OBSERVATIONS)  # states are written before the looks that saw them
_PROPERTIES = {
    VERSION_PROPERTY: str(TABLE_VERSION),
    "delta.logRetentionDuration": "interval 7 days",
    # To open a table, delta-rs starts a thread for each entry since the last checkpoint.
    "delta.checkpointInterval": "20",
}


class Appender:
    """Adds rows, and remembers between two calls what it has read of the store."""

    def __init__(self, writer: Writer) -> None:
        self._writer, self._place = writer, writer.place
        self._newest = {table: Newest(self._place, table) for table in _TABLES}
        self._keys = {table: Keys(self._place, table) for table in _TABLES}
        self._lock = threading.Lock()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Inside, nothing else of this process adds rows."""
        with self._lock:
            yield

    def append(self, states: pa.Table, looks: pa.Table, *, was_there: bool) -> tuple[int, int]:
        """Add what is not there yet; how many states and looks that were.

        ``was_there`` says that there has been a store, which must not be begun anew.
        """
        with self._lock:
            if not open_tables(self._place, lambda table: self._newest[table]()):
                if was_there:
                    raise gone(self._place)
                self._create()
            return self.add(SNAPSHOTS, states), self.add(OBSERVATIONS, looks)

    def _create(self) -> None:
        for table in _TABLES:
            create(self._writer, table)

    def add(self, table: Table, rows: pa.Table) -> int:
        """Add the rows whose key is not there, in one commit; how many that were.

        It commits only on top of the version it has read (no blind retries inside), so two writers
        that add the same key at once cannot both succeed.
        """
        if rows.num_rows == 0:
            return 0
        for attempt in range(_ATTEMPTS):
            opened = self._newest[table]()
            if opened is None:
                raise gone(self._place)
            fresh = self._keys[table].not_in(_paths(opened), rows)
            if fresh.num_rows == 0:
                return 0
            try:
                self._writer.append(opened, table, fitted(fresh, opened))
                return int(fresh.num_rows)
            except CommitFailedError as error:
                if is_disk_full(error):
                    raise
                time.sleep(random.uniform(0, min(1.0, 0.02 * 2**attempt)))
        raise StoreError(
            f"cannot write to the store at {self._place.location}: other writers committed first, "
            f"{_ATTEMPTS} times in a row; try again when fewer write at once"
        )


def create(writer: Writer, table: Table) -> None:
    """Make a table, unless another process makes it at the same moment."""
    try:
        DeltaTable.create(
            writer.place.uri(table),
            schema=table.schema,
            mode="ignore",
            partition_by=[table.partition] if table.partition else None,
            name=f"reach_analytics.{table.name}",
            description=f"{table.row}; key: {', '.join(table.key)}",
            configuration=_PROPERTIES,
            storage_options=writer.place.storage_options,
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
