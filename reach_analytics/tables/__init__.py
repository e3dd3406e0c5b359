"""Every table of this package: what one row is, what identifies it, its columns and their units.

This is the one place where column names and types are decided. The two stored tables
(``STORED_SNAPSHOTS``, ``STORED_OBSERVATIONS``) are what the Parquet files hold; the others are the
frames that a user gets. Timestamps are UTC with microseconds. A column named ``*_fraction`` runs
from 0 to 1; the API's own ``success_rate`` runs from 0 to 100. Whatever the API left out is null.

A resource is identified by (tenant_id, schema_definition_id, external_id): external ids belong to
a tenant, and nothing is ever joined across tenants.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from reach_analytics.tables.answer import frame_of
from reach_analytics.tables.base import (
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
    Frame,
    Table,
    as_utc,
)
from reach_analytics.tables.batches import (
    CHANGE_POINT,
    CONTROL_CHART,
    DURATIONS,
    ERRORS,
    ETA,
    HEALTH,
    QUALITY,
    STATUS,
    STUCK,
    SUCCESS,
    THROUGHPUT,
)
from reach_analytics.tables.catalog import (
    SCHEMAS,
    STORED_SCHEMAS,
    STORED_TENANTS,
    TENANT_NAME,
    TENANTS,
)
from reach_analytics.tables.changes import CHANGES, STANDINGS
from reach_analytics.tables.collection import COLLECTION_HEALTH, OBSERVATION_LOG
from reach_analytics.tables.dependencies import (
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
from reach_analytics.tables.overview import ACTIONS, KEY_FIGURES
from reach_analytics.tables.stored import (
    BATCH_ID,
    BATCH_KEY,
    BATCHES,
    DEPARTURES,
    DEPENDENCIES,
    DETAIL,
    ENDED,
    LIST,
    MISSING_INTERVALS,
    OBSERVATIONS,
    OBSERVED_AT,
    PENDING,
    RESOURCE_KEY,
    STORED_OBSERVATIONS,
    STORED_SNAPSHOTS,
    TENANT_ID,
    WAIT_INTERVALS,
    WAIT_KEY,
)
from reach_analytics.tables.waits import (
    ARRIVALS,
    BACKLOG,
    CONVENTIONS,
    COVERAGE,
    EXPIRING,
    EXPIRY_CODES,
    LOST,
    RECONCILIATION,
    RELEASE_RATES,
    SURVIVAL,
    WAIT_OUTCOMES,
    WAIT_TIMES,
)

__all__ = [
    "ACTIONS",
    "ARRIVALS",
    "BACKLOG",
    "BATCHES",
    "BATCH_ID",
    "BATCH_KEY",
    "BOOL",
    "BOTTLENECKS",
    "CATALOG",
    "CHANGES",
    "CHANGE_POINT",
    "CHOKE_POINTS",
    "COLLECTION_HEALTH",
    "CONTROL_CHART",
    "CONVENTIONS",
    "COVERAGE",
    "DATE",
    "DEADLOCKS",
    "DECLARED",
    "DEPARTURES",
    "DEPENDENCIES",
    "DEPTH",
    "DETAIL",
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
    "KEY_FIGURES",
    "LENGTH",
    "LIST",
    "LOST",
    "MEASURES",
    "MISSING_DEPENDENCY",
    "MISSING_INTERVALS",
    "OBSERVATIONS",
    "OBSERVATION_LOG",
    "OBSERVED_AT",
    "PENDING",
    "PENDING_RESOURCE",
    "PENDING_RESOURCES",
    "QUALITY",
    "RECONCILIATION",
    "RELEASE_RATES",
    "RESOURCE_KEY",
    "SCHEMAS",
    "SCHEMA_GRAPH",
    "STANDINGS",
    "STATUS",
    "STORED",
    "STORED_OBSERVATIONS",
    "STORED_SCHEMAS",
    "STORED_SNAPSHOTS",
    "STORED_TENANTS",
    "STRING",
    "STUCK",
    "SUCCESS",
    "SURVIVAL",
    "TENANTS",
    "TENANT_ID",
    "TENANT_NAME",
    "THROUGHPUT",
    "TIME",
    "TIMES",
    "UPLOAD_PLAN",
    "WAIT_INTERVALS",
    "WAIT_KEY",
    "WAIT_OUTCOMES",
    "WAIT_TIMES",
    "WHAT_IF",
    "Column",
    "Frame",
    "Table",
    "as_utc",
    "describe",
    "frame_of",
    "shown",
]

CATALOG = (STORED_TENANTS, STORED_SCHEMAS)

STORED = (STORED_SNAPSHOTS, STORED_OBSERVATIONS, *CATALOG)

FRAMES = (
    BATCHES,
    OBSERVATIONS,
    PENDING,
    DEPENDENCIES,
    TENANTS,
    SCHEMAS,
    WAIT_INTERVALS,
    MISSING_INTERVALS,
    DEPARTURES,
)

MEASURES = (
    HEALTH,
    SUCCESS,
    STATUS,
    CONTROL_CHART,
    CHANGE_POINT,
    DURATIONS,
    THROUGHPUT,
    STUCK,
    ETA,
    ERRORS,
    QUALITY,
    EXPIRING,
    WAIT_OUTCOMES,
    EXPIRY_CODES,
    CONVENTIONS,
    RECONCILIATION,
    LOST,
    ARRIVALS,
    RELEASE_RATES,
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
    CHANGES,
    KEY_FIGURES,
    ACTIONS,
)
OTHERS = (OBSERVATION_LOG, GRAPH_NODES, GRAPH_EDGES, DECLARED, STANDINGS)


def shown(table: Table) -> tuple[Column, ...]:
    """The columns with which a `History` shows a table: where a row has a tenant, its name too."""
    has_tenant = table.get_it and "tenant_id" in table.names
    return (TENANT_NAME, *table.columns) if has_tenant else table.columns


def describe(table: Table | str) -> pd.DataFrame:
    """The columns of a table: ``column``, ``dtype``, ``meaning``.

    Parameters
    ----------
    table : Table or str
        One of this module's tables, or its name, such as ``"pending"``.

    Raises
    ------
    ValueError
        If no table has this name.

    Examples
    --------
    >>> from reach_analytics import tables
    >>> tables.describe("pending").loc[2, "meaning"]
    'your own id of the waiting resource'
    """
    if isinstance(table, str):
        by_name = {t.name: t for t in (*STORED, *FRAMES, *MEASURES, *OTHERS)}
        by_name["still_missing"] = DEPENDENCIES  # a subset of their rows
        if table not in by_name:
            raise ValueError(f"no table {table!r}; there are: {', '.join(by_name)}")
        table = by_name[table]
    rows: list[dict[str, Any]] = [
        {"column": c.name, "dtype": c.dtype, "meaning": c.doc} for c in shown(table)
    ]
    return pd.DataFrame(rows, columns=["column", "dtype", "meaning"])
