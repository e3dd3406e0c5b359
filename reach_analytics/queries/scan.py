"""A stored table's live files as a lazy Ibis table, on the engine that is to query them."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

import ibis
import pyarrow.dataset as ds

from reach_analytics.queries.engine import Engine
from reach_analytics.tables import STORED_SNAPSHOTS, Table

if TYPE_CHECKING:
    from deltalake import DeltaTable

__all__ = ["STATE_LOST", "Files", "scan", "without_lost_states"]


class Files(Protocol):
    """Where the files of the stored tables are."""

    @property
    def is_local(self) -> bool:
        """Whether they lie on this machine."""
        ...

    def uri(self, table: Table) -> str:
        """Where a table lies."""
        ...

    def files(self, table: Table) -> Any:
        """The table's directory as a pyarrow file system."""
        ...


STATE_LOST = "the state that was seen was lost with a damaged file"
"""The error of an observation whose state is gone."""


def scan(
    opened: DeltaTable,
    table: Table,
    files: list[str],
    backend: Any,
    location: Files,
    *,
    all_of_it: bool = True,
) -> ibis.Table:
    """The rows in these files, without the partition column, which they do not hold."""
    inside = [name for name in table.names if name != table.partition]
    if not files:
        return ibis.memtable(table.schema.empty_table()).select(inside)
    if backend.name == "pyspark":
        rows = _spark_table(backend, files, location.uri(table))
    elif location.is_local:
        # By name, since a later version may add columns: older files then give nulls.
        # Not by directory: a `name=value` anywhere above the store would become a column.
        name = backend.new_name(table.name) if isinstance(backend, Engine) else None
        rows = backend.read_parquet(
            files, table_name=name, hive_partitioning=False, union_by_name=True
        )
    elif all_of_it:
        rows = ibis.memtable(opened.to_pyarrow_dataset())
    else:
        relative = [file.removeprefix(location.uri(table) + "/") for file in files]
        rows = ibis.memtable(
            ds.dataset(relative, filesystem=location.files(table), format="parquet")
        )
    return rows.mutate(**_lacking(table, rows.columns)).select(inside)


def without_lost_states(stored: ibis.Table, snapshots: ibis.Table) -> ibis.Table:
    """The observations, those whose state is gone marked as failed."""
    present = snapshots.select(*STORED_SNAPSHOTS.key).mutate(_present=True)
    observations = stored.left_join(present, list(STORED_SNAPSHOTS.key))
    lost = observations.state_hash.notnull() & observations._present.isnull()
    return observations.mutate(
        ok=observations.ok & ~lost,
        complete=observations.complete & ~lost,
        error=ibis.ifelse(lost, STATE_LOST, observations.error),
        state_hash=ibis.ifelse(lost, ibis.null("string"), observations.state_hash),
    ).select(stored.columns)


def _spark_table(backend: Any, files: list[str], base: str) -> ibis.Table:
    """The files as a Spark view. Ibis' own reader takes one path only."""
    name = f"reach_{uuid.uuid4().hex}"
    reader = backend._session.read.option("basePath", base).option("mergeSchema", True)
    reader.parquet(*files).createOrReplaceTempView(name)
    return backend.table(name)


def _lacking(table: Table, present: Iterable[str]) -> dict[str, ibis.Value]:
    """Nulls for the columns that no file holds, since all are older than these columns."""
    missing = set(table.names) - set(present)
    types = {column.name: column.type for column in table.columns if column.name in missing}
    return {name: ibis.null(ibis.dtype(kind)) for name, kind in types.items()}
