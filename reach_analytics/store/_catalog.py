"""The catalog: what the API says of tenants and schema definitions, a row for each change.

It is small and read as a whole. Nothing else rests on it: a store may have none.
"""

from __future__ import annotations

import pyarrow as pa

from reach_analytics.errors import DamagedStoreError
from reach_analytics.store._delta import open_table
from reach_analytics.store._explain import ENGINE_ERRORS
from reach_analytics.store._location import Location
from reach_analytics.tables import Table


def read(location: Location, table: Table) -> pa.Table:
    """Every stored row of a table of the catalog; none if it is not there.

    Raises
    ------
    DamagedStoreError
        If it is damaged.
    StoreError
        If it may not be read, or is of a newer version.
    """
    try:
        opened = open_table(location, table)
        if opened is None:
            return table.schema.empty_table()
        rows = pa.table(opened.scan())
    except (DamagedStoreError, *ENGINE_ERRORS) as error:
        raise DamagedStoreError(
            f"{location.uri(table)} cannot be read ({error}); nothing but names rests on it: "
            "restore it from a backup, or delete it, and the next collection makes it anew",
            damages=(f"{table.name} cannot be read",),
        ) from error
    found = {
        name: rows[name] if name in rows.column_names else pa.nulls(len(rows))
        for name in table.names
    }
    return pa.table(found).cast(table.schema)


def newest(rows: pa.Table, table: Table) -> pa.Table:
    """Of each tenant or schema definition, the row that was received last."""
    name, since = table.key
    place = pa.array(range(len(rows)), pa.int64())
    in_order = rows.append_column("_place", place).sort_by([(since, "ascending")])
    grouped = in_order.group_by(name, use_threads=False)
    last = grouped.aggregate([("_place", "last")])["_place_last"]
    return rows.take(last.combine_chunks())


def changed(rows: pa.Table, stored: pa.Table, table: Table) -> pa.Table:
    """Those of the rows that say something else than the newest stored ones."""
    told = [name for name in table.names if name != table.key[1]]
    known = {_text(row) for row in newest(stored, table).select(told).to_pylist()}
    other = [_text(row) not in known for row in rows.select(told).to_pylist()]
    return rows.filter(pa.array(other, pa.bool_()))


def _text(row: dict[str, object]) -> str:
    return repr(sorted(row.items()))
