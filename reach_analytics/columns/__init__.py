"""Every table of this package: what one row is, what identifies it, its columns and their units.

This is the one place where column names and types are decided. The two stored tables
(``SNAPSHOTS``, ``OBSERVATIONS``) are what the Parquet files hold; the others are the frames that
a user gets. Timestamps are UTC with microseconds. A column named ``*_fraction`` runs from 0 to 1;
the API's own ``success_rate`` runs from 0 to 100. Whatever the API left out is null.

A resource is identified by (tenant_id, schema_definition_id, external_id): external ids belong to
a tenant, and nothing is ever joined across tenants.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from reach_analytics.columns.batches import (
    CHANGE_POINT,
    DURATIONS,
    ERRORS,
    ETA,
    HEALTH,
    QUALITY,
    STATUS,
    STUCK,
    SUCCESS,
    SUCCESS_CHART,
    THROUGHPUT,
)
from reach_analytics.columns.collection import COLLECTION_HEALTH, POLLS
from reach_analytics.columns.frames import (
    BATCH_ID,
    BATCHES,
    DEPARTURES,
    DEPENDENCIES,
    ENDED,
    LOOKS,
    OBSERVATIONS,
    OBSERVED_AT,
    PENDING,
    SNAPSHOTS,
    SPELL_DEPENDENCIES,
    SPELLS,
    TENANT_ID,
)
from reach_analytics.columns.graph import (
    BOTTLENECKS,
    CHOKE_POINTS,
    DEADLOCKS,
    DECLARED,
    DEPTH,
    GRAPH_EDGES,
    GRAPH_NODES,
    SCHEMA_GRAPH,
    UPLOAD_PLAN,
    WHAT_IF,
)
from reach_analytics.columns.table import (
    BOOL,
    DATE,
    FLOAT,
    INT,
    LENGTH,
    MISSING_DEPENDENCY,
    PENDING_RESOURCE,
    PENDING_RESOURCES,
    STRING,
    TIME,
    TIMES,
    Column,
    Table,
    as_utc,
)
from reach_analytics.columns.waits import (
    ARRIVALS,
    BACKLOG,
    CONVENTIONS,
    COVERAGE,
    EXPIRING,
    EXPIRY_CODES,
    OUTCOMES,
    RECONCILIATION,
    SURVIVAL,
    WAIT_TIMES,
    WAITING,
)

__all__ = [
    "ARRIVALS",
    "BACKLOG",
    "BATCHES",
    "BATCH_ID",
    "BOOL",
    "BOTTLENECKS",
    "CHANGE_POINT",
    "CHOKE_POINTS",
    "COLLECTION_HEALTH",
    "CONVENTIONS",
    "COVERAGE",
    "DATE",
    "DEADLOCKS",
    "DECLARED",
    "DEPARTURES",
    "DEPENDENCIES",
    "DEPTH",
    "DURATIONS",
    "ENDED",
    "ERRORS",
    "ETA",
    "EXPIRING",
    "EXPIRY_CODES",
    "FLOAT",
    "FRAMES",
    "GRAPH_EDGES",
    "GRAPH_NODES",
    "HEALTH",
    "INT",
    "LENGTH",
    "LOOKS",
    "MEASURES",
    "MISSING_DEPENDENCY",
    "OBSERVATIONS",
    "OBSERVED_AT",
    "OUTCOMES",
    "PENDING",
    "PENDING_RESOURCE",
    "PENDING_RESOURCES",
    "POLLS",
    "QUALITY",
    "RECONCILIATION",
    "SCHEMA_GRAPH",
    "SNAPSHOTS",
    "SPELLS",
    "SPELL_DEPENDENCIES",
    "STATUS",
    "STORED",
    "STRING",
    "STUCK",
    "SUCCESS",
    "SUCCESS_CHART",
    "SURVIVAL",
    "TENANT_ID",
    "THROUGHPUT",
    "TIME",
    "TIMES",
    "UPLOAD_PLAN",
    "WAITING",
    "WAIT_TIMES",
    "WHAT_IF",
    "Column",
    "Table",
    "as_utc",
    "describe",
]

STORED = (SNAPSHOTS, OBSERVATIONS)

FRAMES = (BATCHES, LOOKS, PENDING, DEPENDENCIES, SPELLS, SPELL_DEPENDENCIES, DEPARTURES)

MEASURES = (
    HEALTH,
    SUCCESS,
    STATUS,
    SUCCESS_CHART,
    CHANGE_POINT,
    DURATIONS,
    THROUGHPUT,
    STUCK,
    ETA,
    ERRORS,
    QUALITY,
    EXPIRING,
    WAITING,
    EXPIRY_CODES,
    CONVENTIONS,
    RECONCILIATION,
    ARRIVALS,
    OUTCOMES,
    BACKLOG,
    SURVIVAL,
    WAIT_TIMES,
    COVERAGE,
    COLLECTION_HEALTH,
    BOTTLENECKS,
    CHOKE_POINTS,
    SCHEMA_GRAPH,
    DEADLOCKS,
    DEPTH,
    WHAT_IF,
    UPLOAD_PLAN,
)
OTHERS = (POLLS, GRAPH_NODES, GRAPH_EDGES, DECLARED)


def describe(table: Table | str) -> pd.DataFrame:
    """The columns of a table: ``column``, ``dtype``, ``meaning``.

    Parameters
    ----------
    table : Table or str
        One of this module's tables, or its name, as ``"pending"``.

    Raises
    ------
    ValueError
        If no table has this name.

    Examples
    --------
    >>> from reach_analytics import columns
    >>> columns.describe("pending").loc[3, "meaning"]
    'id of the pending resource'
    """
    if isinstance(table, str):
        known = {t.name: t for t in (*STORED, *FRAMES, *MEASURES, *OTHERS)}
        known["still_missing"] = DEPENDENCIES  # what is left of them
        if table not in known:
            raise ValueError(f"no table {table!r}; there are: {', '.join(known)}")
        table = known[table]
    rows: list[dict[str, Any]] = [
        {"column": c.name, "dtype": c.dtype, "meaning": c.doc} for c in table.columns
    ]
    return pd.DataFrame(rows, columns=["column", "dtype", "meaning"])
