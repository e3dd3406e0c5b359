"""A stored table's live files as a lazy Ibis table, on the engine that is to query them."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ibis
    from deltalake import DeltaTable

    from reach_analytics.columns import Table


def scan(
    opened: DeltaTable | None,
    table: Table,
    files: list[str],
    backend: Any,
    *,
    uri: str,
    local: bool,
) -> ibis.Table:
    """The rows in these files, without the partition column, which they do not hold."""
    import ibis

    inside = [name for name in table.names if name != table.partition]
    if opened is None or not files:
        return ibis.memtable(table.schema.empty_table()).select(inside)
    if backend.name == "pyspark":
        rows = _spark_table(backend, files, uri)
    elif local:
        # By name, since a later version may add columns: older files then give nulls.
        # Not by directory: a `name=value` anywhere above the store would become a column.
        rows = backend.read_parquet(files, hive_partitioning=False, union_by_name=True)
    else:
        rows = ibis.memtable(opened.to_pyarrow_dataset())
    return rows.mutate(**_lacking(table, rows.columns)).select(inside)


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
