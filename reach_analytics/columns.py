"""Every table of this package: what one row is, what identifies it, its columns and their units.

This is the one place where column names and types are decided. The two stored tables
(``SNAPSHOTS``, ``OBSERVATIONS``) are what the Parquet files hold; the others are the frames that
a user gets. Timestamps are UTC with microseconds. A column named ``*_fraction`` runs from 0 to 1;
the API's own ``success_rate`` runs from 0 to 100. Whatever the API left out is null.

A resource is identified by (tenant_id, schema_definition_id, external_id): external ids belong to
a tenant, and nothing is ever joined across tenants.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd
import pyarrow as pa

from reach_analytics.errors import FrameError

STRING = pa.string()
INT = pa.int64()
FLOAT = pa.float64()
BOOL = pa.bool_()
TIME = pa.timestamp("us", tz="UTC")
DATE = pa.date32()
LENGTH = pa.duration("us")

MISSING_DEPENDENCY = pa.struct(
    [("schema_definition_id", STRING), ("external_id", STRING), ("schema_name", STRING)]
)
PENDING_RESOURCE = pa.struct(
    [
        ("id", STRING),
        ("resource_external_id", STRING),
        ("schema_definition_id", STRING),
        ("schema_name", STRING),
        ("created_at", TIME),
        ("expires_at", TIME),
        ("missing_dependencies", pa.list_(MISSING_DEPENDENCY)),
    ]
)
PENDING_RESOURCES = pa.list_(PENDING_RESOURCE)


def as_utc(times: pd.Series) -> pd.Series:
    """Times as UTC with microseconds; those without an offset count as UTC."""
    return pd.to_datetime(times, utc=True).dt.as_unit("us")


@dataclass(frozen=True)
class Column:
    """One column: its name, Arrow type, meaning with unit, and whether it may be null."""

    name: str
    type: pa.DataType
    doc: str
    nullable: bool = True

    @property
    def dtype(self) -> str:
        """The pandas dtype this column has in every frame, empty ones included."""
        if pa.types.is_int64(self.type):
            return "Int64" if self.nullable else "int64"
        if pa.types.is_boolean(self.type):
            return "boolean" if self.nullable else "bool"
        if pa.types.is_timestamp(self.type):
            return "datetime64[us, UTC]"
        plain = {STRING: "str", FLOAT: "float64", DATE: "datetime64[s]", LENGTH: "timedelta64[us]"}
        return plain.get(self.type, "object")


@dataclass(frozen=True)
class Table:
    """A table: its name, what one row is, the columns that identify a row, and all its columns."""

    name: str
    row: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    partition: str | None = None
    # Whether rows with one key lie in one partition, so that others need not be searched.
    partition_follows_key: bool = False
    get_it: str = field(default="", kw_only=True)

    @cached_property
    def names(self) -> list[str]:
        """Column names, in order."""
        return [column.name for column in self.columns]

    @cached_property
    def schema(self) -> pa.Schema:
        """The Arrow schema of this table."""
        return pa.schema([pa.field(c.name, c.type, c.nullable) for c in self.columns])

    def conform(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The frame with exactly this table's columns, order and dtypes, and a fresh index."""
        chosen = frame.reindex(columns=self.names).reset_index(drop=True)
        times = [c.name for c in self.columns if pa.types.is_timestamp(c.type)]
        chosen = chosen.assign(**{name: as_utc(chosen[name]) for name in times})
        return chosen.astype({column.name: column.dtype for column in self.columns})

    def empty(self) -> pd.DataFrame:
        """A frame of this table without rows."""
        return self.conform(pd.DataFrame(columns=self.names))

    def to_pandas(self, rows: pa.Table) -> pd.DataFrame:
        """Arrow rows as a frame with this table's columns, order and dtypes."""
        nullable = {INT: pd.Int64Dtype(), BOOL: pd.BooleanDtype()}
        typed = rows.select(self.names).cast(self.schema)
        frame: pd.DataFrame = typed.to_pandas(
            types_mapper=nullable.get, split_blocks=True, self_destruct=True
        )
        wanted = {c.name: c.dtype for c in self.columns if not c.nullable}
        return frame.astype({k: v for k, v in wanted.items() if str(frame[k].dtype) != v})

    def require(self, frame: pd.DataFrame, columns: Iterable[str], caller: str) -> None:
        """Raise a `FrameError` that names what to pass if ``frame`` lacks one of ``columns``."""
        if not isinstance(frame, pd.DataFrame):
            raise TypeError(
                f"{caller} takes a pandas DataFrame, found {type(frame).__name__}"
                + (f"; pass {self.get_it}" if self.get_it else "")
            )
        lacking = [name for name in columns if name not in frame.columns]
        if lacking:
            names = ", ".join(f"`{name}`" for name in lacking)
            raise FrameError(
                f"{caller} needs a `{self.name}` frame; found no column {names}"
                + (f"; pass {self.get_it}" if self.get_it else "")
            )


def _without(columns: Iterable[Column], *names: str) -> tuple[Column, ...]:
    return tuple(column for column in columns if column.name not in names)


TENANT_ID = Column("tenant_id", STRING, "the tenant (business) the batch belongs to", False)
BATCH_ID = Column("batch_id", STRING, "id of the batch", False)
OBSERVED_AT = Column("observed_at", TIME, "when the look that this row comes from was received")

_STATE = (
    Column("status", STRING, "`processing`, `success`, `partial_success`, `failure`, or a new one"),
    Column("batch_type", STRING, "kind of operation, as `PARTNER_RESOURCE_JSON_INGEST`"),
    Column("schema_name", STRING, "name of the schema definition the batch uploads"),
    Column("schema_definition_id", STRING, "id of that schema definition"),
    Column("created_at", TIME, "when the batch was created"),
    Column("started_at", TIME, "when its processing began"),
    Column("completed_at", TIME, "when every record had been looked at"),
    Column("total_records", INT, "records in the batch"),
    Column("processed_records", INT, "records looked at so far"),
    Column("successful_records", INT, "records stored"),
    Column("pending_records", INT, "records that wait for a missing dependency"),
    Column("failed_records", INT, "records that failed"),
    Column("success_rate", FLOAT, "percentage of successful records as the API reports it, 0–100"),
    Column("error_message", STRING, "the error of the batch as a whole"),
    Column("error_summary", STRING, "error summary, JSON as it came"),
    Column("error_details", STRING, "error details, JSON as it came"),
    Column("has_pending_details", BOOL, "whether the answer listed the pending resources"),
)
_EXTRA = Column("extra", STRING, "fields this package does not know, JSON")

SNAPSHOTS = Table(
    "snapshots",
    "one row per distinct state of a batch document",
    ("tenant_id", "batch_id", "state_hash"),
    (
        TENANT_ID,
        BATCH_ID,
        Column("state_hash", STRING, "fingerprint of the state", False),
        Column("first_received_at", TIME, "when this state was first received", False),
        *_STATE,
        Column("pending_resources", PENDING_RESOURCES, "the waiting resources, nested"),
        _EXTRA,
        Column("snapshot_date", DATE, "day of first_received_at (partition)", False),
    ),
    partition="snapshot_date",
)

OBSERVATIONS = Table(
    "observations",
    "one row per look at a batch, failed looks included",
    ("run_id", "tenant_id", "batch_id", "sent_at", "scope"),
    (
        Column("run_id", STRING, "the collecting pass the look belongs to", False),
        TENANT_ID,
        BATCH_ID,
        Column("sent_at", TIME, "when the request was sent", False),
        Column("received_at", TIME, "when its answer had arrived", False),
        Column("ingested_at", TIME, "when the look was written to the store", False),
        Column("scope", STRING, "`detail` (single batch) or `list` (a listing)", False),
        Column("ok", BOOL, "whether a readable answer arrived", False),
        Column("complete", BOOL, "whether the answer listed every pending resource", False),
        Column("http_status", INT, "status of the answer; null if none arrived"),
        Column("error", STRING, "why the look failed; null if it did not"),
        Column("state_hash", STRING, "the state that was seen; null if the look failed"),
        Column("observed_date", DATE, "day of sent_at (partition)", False),
    ),
    partition="observed_date",
    partition_follows_key=True,
)

_COUNT = Column("pending_resources_count", INT, "length of the pending list; null if not listed")
_BATCH_STATE = (*_STATE, _EXTRA, _COUNT)

BATCHES = Table(
    "batches",
    "one row per batch: its last successful look",
    ("tenant_id", "batch_id"),
    (TENANT_ID, BATCH_ID, OBSERVED_AT, *_BATCH_STATE),
    get_it="history.batches()",
)

LOOKS = Table(
    "looks",
    "one row per look at a batch",
    ("run_id", "tenant_id", "batch_id", "sent_at", "scope"),
    (
        TENANT_ID,
        BATCH_ID,
        OBSERVED_AT,
        *OBSERVATIONS.columns[:1],
        *(c for c in OBSERVATIONS.columns if c.name in {"sent_at", "received_at", "scope"}),
        *(c for c in OBSERVATIONS.columns if c.name in {"ok", "complete", "http_status", "error"}),
        Column("state_hash", STRING, "the state that was seen; null if the look failed"),
        Column("changed", BOOL, "differs from the last good look of its scope; null if failed"),
        *_BATCH_STATE,
    ),
    get_it="history.looks()",
)

_RESOURCE = (
    TENANT_ID,
    BATCH_ID,
    OBSERVED_AT,
    Column("pending_id", STRING, "id of the pending resource"),
    Column("resource_external_id", STRING, "your own id of the waiting resource"),
    Column("schema_definition_id", STRING, "schema definition of the waiting resource"),
    Column("schema_name", STRING, "name of that schema definition"),
    Column("created_at", TIME, "when the wait began"),
    Column("expires_at", TIME, "when the resource is deleted if it still waits"),
)

PENDING = Table(
    "pending",
    "one row per (batch, pending resource)",
    ("tenant_id", "batch_id", "pending_id"),
    (*_RESOURCE, Column("missing_count", INT, "how many dependencies it waits for", False)),
    get_it="history.pending()",
)

DEPENDENCIES = Table(
    "dependencies",
    "one row per (batch, pending resource, missing dependency)",
    ("tenant_id", "batch_id", "pending_id", "missing_schema_definition_id", "missing_external_id"),
    (
        *_RESOURCE,
        Column("missing_schema_definition_id", STRING, "schema definition of what is missing"),
        Column("missing_external_id", STRING, "your own id of what is missing"),
        Column("missing_schema_name", STRING, "name of its schema definition"),
    ),
    get_it="history.dependencies()",
)

BOTTLENECKS = Table(
    "bottlenecks",
    "one row per missing dependency",
    ("tenant_id", "schema_definition_id", "external_id"),
    (
        TENANT_ID,
        Column("schema_definition_id", STRING, "schema definition of what is missing"),
        Column("external_id", STRING, "your own id of what is missing"),
        Column("schema_name", STRING, "name of its schema definition"),
        Column("is_root", BOOL, "whether nothing that waits would bring it: it must come", False),
        Column("direct", INT, "pending resources that name it as missing", False),
        Column("direct_sole", INT, "of these, the ones that miss nothing else", False),
        Column("blocked", INT, "pending resources that wait for it directly or in a chain", False),
        Column("blocked_exact", BOOL, "whether `blocked` is exact", False),
        Column(
            "unlock", INT, "pending resources freed if it alone arrives, chains included", False
        ),
        Column("needed_by", TIME, "earliest expiry among the ones that name it as missing"),
    ),
    get_it="history.bottlenecks()",
)

_TALLY = (
    Column("batches", INT, "batches in the group", False),
    Column("total_records", INT, "records in them; null if none reported"),
    Column("processed_records", INT, "records looked at"),
    Column("successful_records", INT, "records stored"),
    Column("pending_records", INT, "records that wait"),
    Column("failed_records", INT, "records that failed"),
)

SUCCESS = Table(
    "success",
    "one row per group and time bucket",
    (),
    (
        *_TALLY,
        Column("settled_fraction", FLOAT, "successful / (successful + failed), pooled, 0–1"),
        Column("strict_fraction", FLOAT, "successful / total, pooled, 0–1"),
        Column("batch_mean_fraction", FLOAT, "mean over batches of successful / total, 0–1"),
        Column("design_effect", FLOAT, "how much more settled_fraction varies than by chance"),
        Column("settled_low_fraction", FLOAT, "lower end of its 95 % interval, 0–1"),
        Column("settled_high_fraction", FLOAT, "upper end of its 95 % interval, 0–1"),
        Column("interval", STRING, "`adjusted` for batches, or `descriptive` only; null without"),
    ),
    get_it="history.success()",
)

HEALTH = Table(
    "health",
    "one row per tenant",
    ("tenant_id",),
    (
        TENANT_ID,
        Column("batches", INT, "batches seen", False),
        Column("processing_batches", INT, "batches not yet looked through by the API", False),
        Column("failed_batches", INT, "batches with status `failure`", False),
        *_TALLY[1:],
        Column("settled_fraction", FLOAT, "successful / (successful + failed), pooled, 0–1"),
        Column("pending_resources", INT, "resources that wait, as listed", False),
        Column("expiring_soon", INT, "of these, the ones that expire within the hour", False),
        Column("overdue", INT, "of these, the ones already past their expiry", False),
        Column("next_expiry", TIME, "the first expiry to come"),
    ),
    get_it="history.health()",
)

STATUS = Table(
    "status",
    "one row per group, time bucket and status",
    (),
    (
        Column("status", STRING, "the batch status as reported; null if never seen"),
        Column("batches", INT, "batches with this status", False),
        *_TALLY[1:],
    ),
    get_it="history.status()",
)

ERRORS = Table(
    "errors",
    "one row per leaf value of a batch's error object",
    ("tenant_id", "batch_id", "source", "path"),
    (
        TENANT_ID,
        BATCH_ID,
        OBSERVED_AT,
        Column("schema_name", STRING, "name of the batch's schema definition"),
        Column("source", STRING, "`message`, `summary` or `details`", False),
        Column("path", STRING, "place of the value, as `records[3].message`", False),
        Column("pattern", STRING, "the path with list positions left out, to group by", False),
        Column("value", STRING, "the value as text; null for a JSON null"),
        Column("number", FLOAT, "the value, where it is a number"),
    ),
    get_it="history.errors()",
)

GRAPH_NODES = Table(
    "nodes",
    "one row per missing dependency, waiting resource, or group of alike waiting resources",
    ("node",),
    (
        Column("node", INT, "number of the node", False),
        TENANT_ID,
        Column("kind", STRING, "`missing` (must come), `waiting`, or `group`", False),
        Column("schema_definition_id", STRING, "schema definition of the resource"),
        Column("external_id", STRING, "your own id of it; null if it stands for several"),
        Column("schema_name", STRING, "name of its schema definition"),
        Column("keys", INT, "missing keys it stands for; 0 for a group", False),
        Column("count", INT, "pending resources it stands for; 0 for a missing one", False),
        Column("depth", INT, "longest chain of dependencies below it; 0 for a root", False),
        Column("unlock", INT, "pending resources freed if it alone arrives; null if several"),
        Column("in_cycle", BOOL, "whether it waits for itself through others", False),
        Column("expires_at", TIME, "earliest expiry among what it stands for"),
    ),
    get_it="history.dependency_graph().nodes",
)

GRAPH_EDGES = Table(
    "edges",
    "one row per (dependency, dependent); the edge points from the dependency to the dependent",
    ("source", "target"),
    (
        Column("source", INT, "node of the dependency", False),
        Column("target", INT, "node of what waits for it", False),
        Column("count", INT, "pending resources behind the edge", False),
    ),
    get_it="history.dependency_graph().edges",
)

WHAT_IF = Table(
    "what_if",
    "one row per pending resource, with what becomes of it under the deliveries",
    ("tenant_id", "batch_id", "pending_id"),
    (
        TENANT_ID,
        BATCH_ID,
        *_without(_RESOURCE[3:], "created_at"),
        Column("outcome", STRING, "`released`, `expired` or `waiting`", False),
        Column("at", TIME, "when that happens; null if it waits on, or no times were given"),
    ),
    get_it="history.what_if([...])",
)

QUALITY = Table(
    "quality",
    "one row per finding about the reported numbers",
    (),
    (
        Column("tenant_id", STRING, "the batch's tenant; null where a finding is about all"),
        Column("batch_id", STRING, "id of the batch; null where a finding is about all"),
        Column("observed_at", TIME, "when the look that shows it was received"),
        Column("finding", STRING, "what was found, as `count_went_back`", False),
        Column("evidence", STRING, "the numbers that show it", False),
    ),
    get_it="history.quality()",
)

EXPIRING = Table(
    "expiring",
    "one row per pending resource, with the time that is left to it",
    ("tenant_id", "batch_id", "pending_id"),
    (
        TENANT_ID,
        BATCH_ID,
        *_RESOURCE[3:],
        Column("time_left", LENGTH, "until it expires; negative or zero when overdue"),
        Column("overdue", BOOL, "whether its expiry has passed, and it is listed yet", False),
        Column("missing_count", INT, "how many dependencies it waits for", False),
    ),
    get_it="history.expiring()",
)

DEADLOCKS = Table(
    "deadlocks",
    "one row per member of a deadlock",
    ("tenant_id", "schema_definition_id", "external_id"),
    (
        Column("deadlock", INT, "number of the deadlock, from 1, the most tainting first", False),
        TENANT_ID,
        Column("schema_definition_id", STRING, "schema definition of the member"),
        Column("external_id", STRING, "your own id of it"),
        Column("schema_name", STRING, "name of its schema definition"),
        Column("members", INT, "members of its deadlock", False),
        Column("tainted", INT, "pending resources in or behind it, freed by no delivery", False),
        Column("unlock", INT, "pending resources freed if this member is there", False),
        Column("needed_by", TIME, "earliest expiry among the ones that name it as missing"),
    ),
    get_it="history.deadlocks()",
)

DEPTH = Table(
    "depth",
    "one row per pending resource, with the length of its chain of dependencies",
    ("tenant_id", "batch_id", "pending_id"),
    (
        TENANT_ID,
        BATCH_ID,
        *_without(_RESOURCE[3:], "created_at"),
        Column("depth", INT, "links to the farthest root, 0 if it misses nothing; null if stuck"),
        Column("critical_schema_definition_id", STRING, "schema of what is on its longest chain"),
        Column("critical_external_id", STRING, "your own id of that"),
    ),
    get_it="history.depth()",
)

UPLOAD_PLAN = Table(
    "upload_plan",
    "one row per missing dependency to deliver, in order",
    ("position",),
    (
        Column("position", INT, "place in the order, from 1", False),
        Column("block", INT, "dependencies to deliver together share one, from 1", False),
        TENANT_ID,
        Column("schema_definition_id", STRING, "schema definition of what is missing"),
        Column("external_id", STRING, "your own id of what is missing"),
        Column("schema_name", STRING, "name of its schema definition"),
        Column("frees", INT, "pending resources freed by it after those before it", False),
        Column("running_total", INT, "pending resources freed so far", False),
        Column("block_frees", INT, "pending resources freed by its block", False),
        Column("needed_by", TIME, "earliest expiry among the ones that name it as missing"),
        Column("deliver_at", TIME, "when it is delivered at the given pace; null without one"),
        Column("guarantee", STRING, "how good the order is known to be", False),
    ),
    get_it="history.upload_plan()",
)

STORED = (SNAPSHOTS, OBSERVATIONS)
FRAMES = (BATCHES, LOOKS, PENDING, DEPENDENCIES)
MEASURES = (
    HEALTH,
    SUCCESS,
    STATUS,
    ERRORS,
    QUALITY,
    EXPIRING,
    BOTTLENECKS,
    DEADLOCKS,
    DEPTH,
    WHAT_IF,
    UPLOAD_PLAN,
)


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
        known = {t.name: t for t in (*STORED, *FRAMES, *MEASURES, GRAPH_NODES, GRAPH_EDGES)}
        if table not in known:
            raise ValueError(f"no table {table!r}; there are: {', '.join(known)}")
        table = known[table]
    rows: list[dict[str, Any]] = [
        {"column": c.name, "dtype": c.dtype, "meaning": c.doc} for c in table.columns
    ]
    return pd.DataFrame(rows, columns=["column", "dtype", "meaning"])
