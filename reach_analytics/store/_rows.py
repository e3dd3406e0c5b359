"""Rows to be stored, checked and made to fit their table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pyarrow as pa
from deltalake import DeltaTable, Schema

if TYPE_CHECKING:
    from reach_analytics.tables import Table


def checked(rows: pa.Table, table: Table) -> pa.Table:
    """The rows in the table's schema, one for each key, the first of equals."""
    if set(rows.column_names) != set(table.names):
        odd = sorted(set(rows.column_names) ^ set(table.names))
        raise ValueError(f"{table.name} rows must have the columns of `tables`; differs: {odd}")
    for column in table.columns:
        if not column.nullable and rows[column.name].null_count:
            raise ValueError(f"{table.name}.{column.name} must not be null")
    typed = rows.select(table.names).cast(table.schema)
    position = pa.array(range(typed.num_rows), pa.int64())
    keys = typed.select(list(table.key)).append_column("_row", position)
    first = keys.group_by(list(table.key)).aggregate([("_row", "min")])["_row_min"]
    return typed if len(first) == typed.num_rows else typed.take(first.combine_chunks().sort())


def names_of(opened: DeltaTable) -> list[str]:
    """The columns of a Delta table, which an earlier version of this package may have created."""
    return [field.name for field in opened.schema().fields]


def lacking(opened: DeltaTable, rows: pa.Table) -> list[str]:
    """The columns in which the rows hold something, and which a Delta table does not have."""
    present = set(names_of(opened))
    held = (name for name in rows.column_names if rows[name].null_count < rows.num_rows)
    return [name for name in held if name not in present]


def add_columns(opened: DeltaTable, table: Table, names: Iterable[str]) -> None:
    """Add columns to a Delta table that an earlier version of this package created."""
    added = pa.schema([table.schema.field(name).with_nullable(True) for name in names])
    opened.alter.add_columns([*Schema.from_arrow(added).fields])


def fitted(rows: pa.Table, opened: DeltaTable) -> pa.Table:
    """The rows with the columns of a Delta table that another version of this package created."""
    schema = pa.schema(opened.schema().to_arrow())
    present = set(rows.column_names)
    columns = [
        rows[field.name] if field.name in present else pa.nulls(rows.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, names=schema.names)
