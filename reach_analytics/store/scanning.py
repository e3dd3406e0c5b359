"""A stored table's live files as a lazy Ibis table, on the engine that is to query them."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pyarrow.dataset as ds

from reach_analytics.columns import SNAPSHOTS, Table
from reach_analytics.store.place import Place

if TYPE_CHECKING:
    import ibis
    from deltalake import DeltaTable

STATE_LOST = "the state that was seen was lost with a damaged file"
"""What stands as the error of a look whose state is gone."""


def scan(
    opened: DeltaTable,
    table: Table,
    files: list[str],
    backend: Any,
    place: Place,
    *,
    all_of_it: bool = True,
) -> ibis.Table:
    """The rows in these files, without the partition column, which they do not hold."""
    import ibis

    inside = [name for name in table.names if name != table.partition]
    if not files:
        return ibis.memtable(table.schema.empty_table()).select(inside)
    if backend.name == "pyspark":
        rows = _spark_table(backend, files, place.uri(table))
    elif place.is_local:
        # By name, since a later version may add columns: older files then give nulls.
        # Not by directory: a `name=value` anywhere above the store would become a column.
        rows = backend.read_parquet(files, hive_partitioning=False, union_by_name=True)
    elif all_of_it:
        rows = ibis.memtable(opened.to_pyarrow_dataset())
    else:
        relative = [file.removeprefix(place.uri(table) + "/") for file in files]
        rows = ibis.memtable(ds.dataset(relative, filesystem=place.files(table), format="parquet"))
    return rows.mutate(**_lacking(table, rows.columns)).select(inside)


def without_lost_states(observations: ibis.Table, snapshots: ibis.Table) -> ibis.Table:
    """The looks, those whose state is not there any more as failed ones."""
    import ibis

    there = snapshots.select(*SNAPSHOTS.key).mutate(_there=True)
    looks = observations.left_join(there, list(SNAPSHOTS.key))
    lost = looks.state_hash.notnull() & looks._there.isnull()
    return looks.mutate(
        ok=looks.ok & ~lost,
        complete=looks.complete & ~lost,
        error=ibis.ifelse(lost, STATE_LOST, looks.error),
        state_hash=ibis.ifelse(lost, ibis.null("string"), looks.state_hash),
    ).select(observations.columns)


def _spark_table(backend: Any, files: list[str], base: str) -> ibis.Table:
    """The files as a Spark view. Ibis' own reader takes one path only."""
    from pyspark.sql import SparkSession

    name = f"reach_{uuid.uuid4().hex}"
    reader = SparkSession.active().read.option("basePath", base).option("mergeSchema", True)
    reader.parquet(*files).createOrReplaceTempView(name)
    return backend.table(name)


def _lacking(table: Table, present: Iterable[str]) -> dict[str, ibis.Value]:
    """Nulls for the columns that no file holds, since all are older than these columns."""
    import ibis

    missing = set(table.names) - set(present)
    types = {column.name: column.type for column in table.columns if column.name in missing}
    return {name: ibis.null(ibis.dtype(kind)) for name, kind in types.items()}
