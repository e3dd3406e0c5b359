"""The stored tables, and the frames read from them."""

from __future__ import annotations

from reach_analytics.tables.base import (
    BOOL,
    DATE,
    FLOAT,
    INT,
    PENDING_RESOURCES,
    STRING,
    TIME,
    TIMES,
    Column,
    Table,
)

__all__ = [
    "BATCHES",
    "BATCH_ID",
    "BATCH_KEY",
    "DEPARTURES",
    "DEPENDENCIES",
    "DETAIL",
    "ENDED",
    "LIST",
    "MISSING_INTERVALS",
    "OBSERVATIONS",
    "OBSERVED_AT",
    "PENDING",
    "RESOURCE",
    "RESOURCE_KEY",
    "STATE",
    "STORED_OBSERVATIONS",
    "STORED_SNAPSHOTS",
    "TENANT_ID",
    "WAIT_INTERVALS",
    "WAIT_KEY",
]

BATCH_KEY = ["tenant_id", "batch_id"]
"""What identifies a batch."""

RESOURCE_KEY = ["tenant_id", "schema_definition_id", "external_id"]
"""What identifies a resource: external ids belong to a tenant."""

WAIT_KEY = [*BATCH_KEY, "pending_id", "external_id", "schema_definition_id"]
"""What identifies a resource that waits in a batch; some have no ``pending_id``."""

TENANT_ID = Column("tenant_id", STRING, "the tenant (business) the batch belongs to", False)


BATCH_ID = Column("batch_id", STRING, "id of the batch", False)


OBSERVED_AT = Column("observed_at", TIME, "when the observation behind this row was received")


DETAIL, LIST = "detail", "list"
"""Scopes of an observation: of the batch itself, or of its row in a listing."""

ENDED = ("success", "partial_success", "failure")
"""Statuses of a batch whose records have all been processed."""


STATE = (
    Column("status", STRING, "`processing`, `success`, `partial_success`, `failure`, or a new one"),
    Column("batch_type", STRING, "kind of operation, such as `PARTNER_RESOURCE_JSON_INGEST`"),
    Column("schema_name", STRING, "name of the schema definition the batch uploads"),
    Column("schema_definition_id", STRING, "id of that schema definition"),
    Column("created_at", TIME, "when the batch was created"),
    Column("started_at", TIME, "when its processing began"),
    Column("completed_at", TIME, "when every record had been processed"),
    Column("total_records", INT, "records in the batch"),
    Column("processed_records", INT, "records processed so far"),
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


STORED_SNAPSHOTS = Table(
    "snapshots",
    "one row per distinct state of a batch document",
    ("tenant_id", "batch_id", "state_hash"),
    (
        TENANT_ID,
        BATCH_ID,
        Column("state_hash", STRING, "fingerprint of the state", False),
        Column("first_received_at", TIME, "when this state was first received", False),
        *STATE,
        Column("pending_resources", PENDING_RESOURCES, "the waiting resources, nested"),
        _EXTRA,
        Column("snapshot_date", DATE, "day of first_received_at (partition)", False),
    ),
    partition="snapshot_date",
)


STORED_OBSERVATIONS = Table(
    "observations",
    "one row per observation of a batch, failed ones included",
    ("run_id", "tenant_id", "batch_id", "sent_at", "scope"),
    (
        Column("run_id", STRING, "the collecting pass the observation belongs to", False),
        TENANT_ID,
        BATCH_ID,
        Column("sent_at", TIME, "when the request was sent", False),
        Column("received_at", TIME, "when its answer arrived", False),
        Column("ingested_at", TIME, "when the observation was written to the store", False),
        Column("scope", STRING, "`detail` (single batch) or `list` (a listing)", False),
        Column("ok", BOOL, "whether a readable answer arrived", False),
        Column("complete", BOOL, "whether the answer listed every pending resource", False),
        Column("http_status", INT, "status of the answer; null if none arrived"),
        Column("error", STRING, "why the observation failed; null if it did not"),
        Column("state_hash", STRING, "the state that was seen; null if the observation failed"),
        Column(
            "repeats",
            TIMES,
            "when later observations were sent that saw the same and were folded into this one",
        ),
        Column("observed_date", DATE, "day of sent_at (partition)", False),
    ),
    partition="observed_date",
    partition_follows_key=True,
)


_COUNT = Column("pending_resources_count", INT, "length of the pending list; null if not listed")


_BATCH_STATE = (*STATE, _EXTRA, _COUNT)


BATCHES = Table(
    "batches",
    "one row per batch: its last successful observation",
    ("tenant_id", "batch_id"),
    (TENANT_ID, BATCH_ID, OBSERVED_AT, *_BATCH_STATE),
    get_it="history.batches()",
    order=("created_at", "tenant_id", "batch_id"),
)


OBSERVATIONS = Table(
    "observations",
    "one row per observation of a batch",
    ("run_id", "tenant_id", "batch_id", "sent_at", "scope"),
    (
        TENANT_ID,
        BATCH_ID,
        OBSERVED_AT,
        *STORED_OBSERVATIONS.columns[:1],
        *(c for c in STORED_OBSERVATIONS.columns if c.name in {"sent_at", "received_at", "scope"}),
        *(
            c
            for c in STORED_OBSERVATIONS.columns
            if c.name in {"ok", "complete", "http_status", "error"}
        ),
        Column("state_hash", STRING, "the state that was seen; null if the observation failed"),
        Column(
            "changed", BOOL, "differs from the last successful one of its scope; null if failed"
        ),
        *_BATCH_STATE,
    ),
    get_it="history.observations()",
    order=("sent_at", "tenant_id", "batch_id", "scope", "run_id"),
)


RESOURCE = (
    TENANT_ID,
    BATCH_ID,
    OBSERVED_AT,
    Column("pending_id", STRING, "id of the pending resource"),
    Column("external_id", STRING, "your own id of the waiting resource"),
    Column("schema_definition_id", STRING, "schema definition of the waiting resource"),
    Column("schema_name", STRING, "name of that schema definition"),
    Column("created_at", TIME, "when the wait began"),
    Column("expires_at", TIME, "when the resource is deleted if it still waits"),
)


PENDING = Table(
    "pending",
    "one row per (batch, pending resource)",
    ("tenant_id", "batch_id", "pending_id"),
    (*RESOURCE, Column("missing_count", INT, "how many dependencies it waits for", False)),
    get_it="history.pending()",
    order=(
        *WAIT_KEY,
        "schema_name",
        "created_at",
        "expires_at",
        "missing_count",
    ),
)


_MISSING = (
    Column("missing_schema_definition_id", STRING, "schema definition of what is missing"),
    Column("missing_external_id", STRING, "your own id of what is missing"),
    Column("missing_schema_name", STRING, "name of its schema definition"),
)


DEPENDENCIES = Table(
    "dependencies",
    "one row per (batch, pending resource, missing dependency)",
    ("tenant_id", "batch_id", "pending_id", "missing_schema_definition_id", "missing_external_id"),
    (
        *RESOURCE,
        *_MISSING,
    ),
    get_it="history.dependencies()",
    order=(
        *WAIT_KEY,
        "missing_schema_definition_id",
        "missing_external_id",
        "missing_schema_name",
        "schema_name",
        "created_at",
        "expires_at",
    ),
)


WAIT_INTERVALS = Table(
    "wait_intervals",
    "one row per (batch, pending resource): when it was seen to wait, and when it was gone",
    ("tenant_id", "batch_id", "pending_id"),
    (
        TENANT_ID,
        BATCH_ID,
        *RESOURCE[3:],
        Column("first_seen", TIME, "when the first observation that lists it was sent", False),
        Column("last_seen", TIME, "when the last observation that lists it was sent", False),
        Column("missing_count", INT, "dependencies it last missed; null if its list was left out"),
        Column("gone_by", TIME, "when the first full list after that arrived; null if none did"),
        Column(
            "last_sent_at", TIME, "when the last observation of its batch was sent, failed ones too"
        ),
        Column(
            "departure", INT, "number of the observation without it, within its batch; null if none"
        ),
    ),
    get_it="history.wait_intervals()",
    order=(
        *BATCH_KEY,
        "first_seen",
        *WAIT_KEY[2:],
    ),
)


DEPARTURES = Table(
    "departures",
    "one row per observation that lacks waits listed before, with its batch's counts meanwhile",
    ("tenant_id", "batch_id", "departure"),
    (
        TENANT_ID,
        BATCH_ID,
        Column(
            "departure",
            INT,
            "number of that observation within its batch, as in `wait_intervals`",
            False,
        ),
        Column("base", INT, "number of the observation the counts run from; null if there is none"),
        Column("gone_by", TIME, "when its answer arrived", False),
        Column(
            "overlapping",
            INT,
            "waits last seen by observations sent before its answer arrived",
            False,
        ),
        Column("settled_before", BOOL, "whether every record had been processed by the base"),
        Column("successes", INT, "increase of the batch's successful count since the base"),
        Column("failures", INT, "increase of the batch's failed count since the base"),
        Column("errors_before", STRING, "the batch's summary of errors at the base, JSON"),
        Column(
            "errors_after", STRING, "its summary of errors at the observation without them, JSON"
        ),
    ),
    get_it="history.departures()",
    order=("tenant_id", "batch_id", "departure"),
)


MISSING_INTERVALS = Table(
    "missing_intervals",
    "one row per (batch, pending resource, dependency that it was ever seen to miss)",
    ("tenant_id", "batch_id", "pending_id", "missing_schema_definition_id", "missing_external_id"),
    (
        TENANT_ID,
        BATCH_ID,
        *RESOURCE[3:6],
        *_MISSING,
        Column("first_missing", TIME, "when the first observation that lists it was sent", False),
        Column("last_missing", TIME, "when the last observation that lists it was sent", False),
        Column("last_missing_by", TIME, "when the answer to that observation arrived", False),
        Column(
            "there_by",
            TIME,
            "when an observation arrived that lists the resource without it; null if none did",
        ),
    ),
    get_it="history.missing_intervals()",
    order=(
        *WAIT_KEY,
        "missing_schema_definition_id",
        "missing_external_id",
    ),
)
