"""The stored tables, and the frames that are read of them."""

from __future__ import annotations

from reach_analytics.columns.table import (
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

TENANT_ID = Column("tenant_id", STRING, "the tenant (business) the batch belongs to", False)


BATCH_ID = Column("batch_id", STRING, "id of the batch", False)


OBSERVED_AT = Column("observed_at", TIME, "when the look that this row comes from was received")


ENDED = ("success", "partial_success", "failure")
"""Statuses of a batch whose records have all been gone through."""


STATE = (
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
        *STATE,
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
        Column(
            "repeats",
            TIMES,
            "when later looks were sent that saw the same and were folded into this one",
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


RESOURCE = (
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
    (*RESOURCE, Column("missing_count", INT, "how many dependencies it waits for", False)),
    get_it="history.pending()",
)


DEPENDENCIES = Table(
    "dependencies",
    "one row per (batch, pending resource, missing dependency)",
    ("tenant_id", "batch_id", "pending_id", "missing_schema_definition_id", "missing_external_id"),
    (
        *RESOURCE,
        Column("missing_schema_definition_id", STRING, "schema definition of what is missing"),
        Column("missing_external_id", STRING, "your own id of what is missing"),
        Column("missing_schema_name", STRING, "name of its schema definition"),
    ),
    get_it="history.dependencies()",
)


SPELLS = Table(
    "spells",
    "one row per (batch, pending resource): when it was seen to wait, and when it was gone",
    ("tenant_id", "batch_id", "pending_id"),
    (
        TENANT_ID,
        BATCH_ID,
        *RESOURCE[3:],
        Column("first_seen", TIME, "when the first look that lists it was sent", False),
        Column("last_seen", TIME, "when the last look that lists it was sent", False),
        Column("missing_count", INT, "what it missed at last; null if its list was left out"),
        Column("gone_by", TIME, "when the first full list after that had come; null if none did"),
        Column("looked_at", TIME, "when the last look at its batch was sent, failed ones too"),
        Column("departure", INT, "number of the look without it, within its batch; null if none"),
    ),
    get_it="history.spells()",
)


DEPARTURES = Table(
    "departures",
    "one row per look without waits that earlier ones list, with what its batch counted meanwhile",
    ("tenant_id", "batch_id", "departure"),
    (
        TENANT_ID,
        BATCH_ID,
        Column("departure", INT, "number of that look within its batch, as in `spells`", False),
        Column("base", INT, "number of the look that the counts run from; null if there is none"),
        Column("gone_by", TIME, "when its answer had come", False),
        Column("overlapping", INT, "waits last seen by looks sent before its answer came", False),
        Column("settled_before", BOOL, "whether every record had been looked at by the base"),
        Column("successes", INT, "how much the batch's successful count rose from there on"),
        Column("failures", INT, "how much the batch's failed count rose from there on"),
        Column("errors_before", STRING, "the batch's summary of errors at the base, JSON"),
        Column("errors_after", STRING, "its summary of errors at the look without them, JSON"),
    ),
    get_it="history.departures()",
)


SPELL_DEPENDENCIES = Table(
    "spell_dependencies",
    "one row per (batch, pending resource, dependency that it was ever seen to miss)",
    ("tenant_id", "batch_id", "pending_id", "missing_schema_definition_id", "missing_external_id"),
    (
        TENANT_ID,
        BATCH_ID,
        *RESOURCE[3:6],
        *DEPENDENCIES.columns[-3:],
        Column("first_missing", TIME, "when the first look that lists it was sent", False),
        Column("last_missing", TIME, "when the last look that lists it was sent", False),
        Column("last_missing_by", TIME, "when the answer to that look had come", False),
        Column(
            "there_by",
            TIME,
            "when a look had come that lists the resource without it; null if none did",
        ),
    ),
    get_it="history.spell_dependencies()",
)
