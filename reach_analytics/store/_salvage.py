"""Rows recovered from files outside the log, and observations that have lost their state."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from reach_analytics.queries.scan import STATE_LOST
from reach_analytics.store._delta import gone, open_table
from reach_analytics.store._explain import cause
from reach_analytics.store._location import Location
from reach_analytics.store._rows import checked
from reach_analytics.store._write import Writer
from reach_analytics.store.damage import problem_of
from reach_analytics.tables import STORED_OBSERVATIONS, STORED_SNAPSHOTS, Table

logger = logging.getLogger("reach_analytics.store")

_AT_ONCE = 64 * 2**20  # bytes of files that are read together


def read_again(location: Location, table: Table, files: list[Any]) -> Iterator[pa.Table]:
    """The rows of these files with the table's columns, files with folded observations first."""
    system = location.files(table)
    readable = [file for file in files if problem_of(system, file.path) is None]
    for folded in (True, False):
        group: list[pa.Table] = []
        size = 0
        for file in readable:
            rows = _rows_of(system, file.path, table)
            if rows is None or _holds_folded(rows) != folded:
                continue
            group.append(rows)
            size += file.size
            if size >= _AT_ONCE:
                yield checked(pa.concat_tables(group), table)
                group, size = [], 0
        if group:
            yield checked(pa.concat_tables(group), table)


def _rows_of(system: Any, path: str, table: Table) -> pa.Table | None:
    """The rows of a file; None, with a warning, if they are not of this table."""
    try:
        with system.open_input_file(path) as opened:
            rows = _shaped(pq.ParquetFile(opened).read(), table)
        return None if rows is None else checked(rows, table)
    except (ValueError, KeyError, pa.ArrowException) as error:
        logger.warning("%s/%s is not read: %s", table.name, path, cause(error))
        return None


def _holds_folded(rows: pa.Table) -> bool:
    return "repeats" in rows.column_names and rows["repeats"].null_count < rows.num_rows


def _shaped(rows: pa.Table, table: Table) -> pa.Table | None:
    """The rows with the table's columns, the day included; None if they have no such key."""
    if not {*table.key} <= {*rows.column_names}:
        return None
    when = {STORED_OBSERVATIONS.name: "sent_at", STORED_SNAPSHOTS.name: "first_received_at"}[
        table.name
    ]
    columns = [
        pc.cast(rows[when], pa.date32())
        if field.name == table.partition
        else rows[field.name].cast(field.type)
        if field.name in rows.column_names
        else pa.nulls(rows.num_rows, field.type)
        for field in table.schema
    ]
    return pa.table(columns, schema=table.schema)


def observations_without_state(location: Location) -> pa.Table:
    """(tenant_id, batch_id, state_hash, observed_date) of observations whose state is lost."""
    key, day = list(STORED_SNAPSHOTS.key), str(STORED_OBSERVATIONS.partition)
    plain = pa.schema([*(pa.field(name, pa.string()) for name in key), pa.field(day, pa.date32())])
    states = open_table(location, STORED_SNAPSHOTS)
    observations = open_table(location, STORED_OBSERVATIONS)
    if states is None or observations is None:
        return plain.empty_table()
    # delta-rs returns string views, which Arrow cannot join on.
    stored = pa.table(states.scan(key)).cast(plain.remove(len(key)))
    seen = pa.table(observations.scan([*key, day], "state_hash IS NOT NULL")).cast(plain)
    return seen.join(stored, key, join_type="left anti")


def fail_day(writer: Writer, day: date, lost: pa.Table) -> int:
    """Turn a day's observations without their state into failed ones; return how many."""
    opened = open_table(writer.location, STORED_OBSERVATIONS)
    if opened is None:
        raise gone(writer.location)
    key = list(STORED_SNAPSHOTS.key)
    schema = pa.schema(opened.schema().to_arrow())
    rows = pa.table(opened.scan(None, f"{STORED_OBSERVATIONS.partition} = '{day}'")).cast(schema)
    keyed = rows.select(key).append_column("_row", pa.array(range(len(rows))))
    hit = keyed.join(lost.group_by(key).aggregate([]), key, join_type="inner")["_row"]
    mask = pc.is_in(pa.array(range(len(rows))), value_set=hit.combine_chunks())
    failed = {"ok": False, "complete": False, "error": STATE_LOST, "state_hash": None}
    for name, value in failed.items():
        constant = pa.scalar(value, schema.field(name).type)
        rows = _with(rows, name, pc.if_else(mask, constant, rows[name]))
    writer.replace_day(opened, STORED_OBSERVATIONS, day, rows)
    return int(pc.sum(mask).as_py() or 0)


def _with(rows: pa.Table, name: str, values: Any) -> pa.Table:
    at = rows.schema.get_field_index(name)
    return rows.set_column(at, rows.schema.field(at), values)
