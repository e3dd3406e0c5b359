"""Rows on their way into a stored table: checked, and only those that are not there yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from deltalake import DeltaTable

    from reach_analytics.columns import Table


def checked(rows: pa.Table, table: Table) -> pa.Table:
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


def not_in(opened: DeltaTable, table: Table, rows: pa.Table) -> pa.Table:
    """The rows that the Delta table does not hold, by their key or folded into another look."""
    if rows.num_rows == 0:
        return rows
    within = _days(table, rows)
    mine = rows.append_column("_row", pa.array(range(rows.num_rows), pa.int64()))
    stored = opened.scan(list(table.key), within)
    held = [f"FROM mine JOIN stored USING ({', '.join(table.key)})"]
    folded = None
    if "repeats" in names_of(opened) and "repeats" in table.names:
        found = opened.scan([*_FOLDED, "repeats"], _and(within, "repeats IS NOT NULL"))
        folded, same = found, ", ".join([*_FOLDED, "sent_at"])
        looks = f"SELECT {', '.join(_FOLDED)}, unnest(repeats) AS sent_at FROM folded"
        held.append(f"FROM mine JOIN ({looks}) USING ({same})")
    with duckdb.connect() as connection:
        connection.register("mine", mine)
        connection.register("stored", stored)
        if folded is not None:
            connection.register("folded", folded)
        query = " UNION ".join(f"SELECT _row {source}" for source in held)
        there = connection.sql(query).to_arrow_table()["_row"]
    fresh = pc.invert(pc.is_in(mine["_row"], value_set=there))
    return rows.filter(fresh)


# A folded look has lost the name of its pass, and nothing else of what tells it from others.
_FOLDED = ["tenant_id", "batch_id", "scope", "state_hash"]


def names_of(opened: DeltaTable) -> list[str]:
    """The columns of a Delta table, which an earlier version of this package may have made."""
    return [field.name for field in opened.schema().fields]


def fitted(rows: pa.Table, opened: DeltaTable) -> pa.Table:
    """The rows with the columns of a Delta table that another version of this package made."""
    schema = pa.schema(opened.schema().to_arrow())
    here = set(rows.column_names)
    columns = [
        rows[field.name] if field.name in here else pa.nulls(rows.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, names=schema.names)


def _days(table: Table, rows: pa.Table) -> str | None:
    """Which partitions can hold the rows' keys; None for all of them."""
    if table.partition is None or not table.partition_follows_key:
        return None
    days = pc.min_max(rows[table.partition]).as_py()
    return f"{table.partition} BETWEEN '{days['min']}' AND '{days['max']}'"


def _and(*conditions: str | None) -> str:
    return " AND ".join(condition for condition in conditions if condition)
