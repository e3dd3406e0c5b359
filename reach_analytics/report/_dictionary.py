"""What the columns of exported files mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pyarrow as pa

from reach_analytics.tables import FRAMES, MEASURES, Table, shown
from reach_analytics.tables.base import LENGTH, TIME

__all__ = ["column_rows", "dictionary_page"]

_TABLES: dict[str, Table] = {table.name: table for table in (*FRAMES, *MEASURES)}
_OF_GROUPS = {"bucket": "beginning of the time bucket"}


def column_rows(name: str, columns: Iterable[str], zone: str) -> list[dict[str, str]]:
    """Column, unit and meaning of each column of a file."""
    table = _TABLES.get(name)
    known = {} if table is None else {column.name: column for column in shown(table)}
    own = {column.name: column for each in FRAMES for column in shown(each)}  # groups by these
    rows = []
    for one in columns:
        column = known.get(one) or own.get(one)
        unit = "" if column is None else _unit(column.type, one, zone)
        meaning = _OF_GROUPS.get(one, "") if column is None else column.doc
        rows.append({"column": one, "unit": unit, "meaning": meaning})
    return rows


def dictionary_page(described: Mapping[str, list[dict[str, str]]]) -> str:
    """The same as a page to read."""
    lines = ["# What the columns mean", ""]
    for name, rows in described.items():
        table = _TABLES.get(name)
        lines += [f"## {name}", ""]
        if table is not None:
            lines += [f"{table.row[:1].upper()}{table.row[1:]}.", ""]
        lines += ["| column | unit | meaning |", "| --- | --- | --- |"]
        lines += [
            f"| `{row['column']}` | {row['unit']} | {row['meaning'].replace('|', '/')} |"
            for row in rows
        ]
        lines.append("")
    return "\n".join(lines)


def _unit(type: pa.DataType, name: str, zone: str) -> str:
    if type == TIME:
        return f"time, {zone}"
    if type == LENGTH:
        return "hours:minutes:seconds in CSV"
    if name.endswith("_fraction"):
        return "0–1"
    if name.endswith("seconds"):
        return "seconds"
    if pa.types.is_integer(type):
        return "count"
    if pa.types.is_boolean(type):
        return "yes or no"
    return "text" if pa.types.is_string(type) else ""
