"""The tables of measures about batches."""

from __future__ import annotations

from reach_analytics.tables.base import (
    BOOL,
    FLOAT,
    INT,
    LENGTH,
    STRING,
    TIME,
    Column,
    Table,
)
from reach_analytics.tables.stored import BATCH_ID, OBSERVED_AT, STATE, TENANT_ID

__all__ = [
    "CHANGE_POINT",
    "CONTROL_CHART",
    "DURATIONS",
    "ERRORS",
    "ETA",
    "HEALTH",
    "QUALITY",
    "STATUS",
    "STUCK",
    "SUCCESS",
    "THROUGHPUT",
]

_TALLY = (
    Column("batches", INT, "batches in the group", False),
    Column("total_records", INT, "records in them; null if none reported"),
    Column("processed_records", INT, "records processed"),
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
        Column("immature", BOOL, "whether waits of its cohort may go on; null if it is none"),
    ),
    get_it="history.success()",
)


CONTROL_CHART = Table(
    "control_chart",
    "one row per batch with settled records, by group and time",
    ("chart", "tenant_id", "batch_id"),
    (
        Column("chart", INT, "number of the control chart, from 1: each group has its own", False),
        TENANT_ID,
        BATCH_ID,
        Column("at", TIME, "the time of the batch, as chosen by `time`", False),
        Column("settled_records", INT, "successful + failed records of the batch", False),
        Column("settled_fraction", FLOAT, "successful / (successful + failed), 0–1", False),
        Column("centre_fraction", FLOAT, "pooled fraction of the baseline, 0–1; null if no chart"),
        Column("low_fraction", FLOAT, "lower control limit, 0–1"),
        Column("high_fraction", FLOAT, "upper control limit, 0–1"),
        Column("sigma_z", FLOAT, "how much the baseline's batches vary, 1 as much as by chance"),
        Column("in_baseline", BOOL, "whether the batch belongs to the baseline", False),
        Column("signal", STRING, "`above` or `below` the limits; null if within them"),
        Column("basis", STRING, "kind of limits: `beta-binomial`, `p'`, `p` or `exact`"),
        Column("reason", STRING, "why the group has no limits; null if it has"),
    ),
    get_it="history.control_chart()",
    order=("chart", "at", "tenant_id", "batch_id"),
)


CHANGE_POINT = Table(
    "change_point",
    "one row per group, with the time at which its settled fraction changed most",
    (),
    (
        Column("batches", INT, "batches with settled records in the group", False),
        Column("changed_at", TIME, "time of the first batch after the change"),
        Column("before_fraction", FLOAT, "successful / (successful + failed) before it, 0–1"),
        Column("after_fraction", FLOAT, "the same from it on, 0–1"),
        Column("statistic", FLOAT, "largest standardised difference between before and after"),
        Column("p_value", FLOAT, "chance of one as large if the order of batches meant nothing"),
        Column("adjusted_p_value", FLOAT, "p_value adjusted for the number of groups"),
        Column("autocorrelation", FLOAT, "of neighbouring batches, the change removed"),
        Column("autocorrelation_p_value", FLOAT, "chance of one as large if there is none"),
        Column("autocorrelated", BOOL, "whether neighbours resemble each other, so that p is off"),
        Column("reason", STRING, "why there is no test; null if there is"),
    ),
    get_it="history.change_point()",
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
    order=("status",),
)


HEALTH = Table(
    "health",
    "one row per tenant",
    ("tenant_id",),
    (
        TENANT_ID,
        Column("batches", INT, "batches seen", False),
        Column("processing_batches", INT, "batches not yet fully processed", False),
        Column("failed_batches", INT, "batches with status `failure`", False),
        *_TALLY[1:],
        Column("settled_fraction", FLOAT, "successful / (successful + failed), pooled, 0–1"),
        Column("pending_resources", INT, "resources that wait, as listed", False),
        Column("expiring_soon", INT, "of these, the ones that expire within the hour", False),
        Column("overdue", INT, "of these, the ones already past their expiry", False),
        Column("next_expiry", TIME, "the next expiry"),
        Column("lost_records", INT, "records expired or failed; null if not reconciled"),
        Column("expired_min", INT, "of these, certainly expired"),
        Column("expired_max", INT, "of these, expired at most, among the waits seen"),
        Column("last_observed_at", TIME, "when the last answer about its batches arrived", False),
        Column("observation_age", LENGTH, "its age at the moment of the frame", False),
    ),
    get_it="history.health()",
    order=("tenant_id",),
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
        Column("path", STRING, "path of the value, such as `records[3].message`", False),
        Column("pattern", STRING, "the path without list positions, to group by", False),
        Column("value", STRING, "the value as text; null for a JSON null"),
        Column("number", FLOAT, "the value, where it is a number"),
    ),
    get_it="history.errors()",
    order=("tenant_id", "batch_id"),  # then as they stand in the object
)


QUALITY = Table(
    "quality",
    "one row per finding about the reported numbers",
    (),
    (
        Column("tenant_id", STRING, "the batch's tenant; null where a finding is about all"),
        Column("batch_id", STRING, "id of the batch; null where a finding is about all"),
        Column("observed_at", TIME, "when the observation that shows it was received"),
        Column("finding", STRING, "what was found, such as `count_went_back`", False),
        Column("evidence", STRING, "the numbers that show it", False),
    ),
    get_it="history.quality()",
    order=("finding", "tenant_id", "batch_id", "observed_at", "evidence"),
)


_SCHEMA = (
    Column("schema_name", STRING, "name of the batch's schema definition"),
    Column("schema_definition_id", STRING, "id of that schema definition"),
)

DURATIONS = Table(
    "durations",
    "one row per batch, with how long it queued and took",
    ("tenant_id", "batch_id"),
    (
        TENANT_ID,
        BATCH_ID,
        *_SCHEMA,
        *(c for c in STATE if c.name in {"created_at", "started_at", "completed_at"}),
        Column("queue_time", LENGTH, "from created to started"),
        Column("processing_time", LENGTH, "from started to completed; null while it runs"),
        Column("total_time", LENGTH, "from created to completed; null while it runs"),
        Column("running", BOOL, "whether its status is `processing`", False),
        Column("elapsed", LENGTH, "from started to the given moment; null unless it runs"),
        Column("records_per_second", FLOAT, "processed records per second of processing_time"),
    ),
    get_it="history.durations()",
    order=("created_at", "tenant_id", "batch_id"),
)


THROUGHPUT = Table(
    "throughput",
    "one row per pair of consecutive successful observations of a batch",
    ("tenant_id", "batch_id", "from_at"),
    (
        TENANT_ID,
        BATCH_ID,
        *_SCHEMA,
        Column("from_at", TIME, "when the earlier observation was sent", False),
        Column("to_at", TIME, "when the later observation was sent", False),
        Column("running", BOOL, "whether records were still unprocessed at the earlier one", False),
        Column("records", INT, "increase of the processed count; negative if it fell", False),
        Column("seconds", FLOAT, "seconds from the earlier to the later observation", False),
        Column("records_per_second", FLOAT, "records / seconds; null if the count fell"),
    ),
    get_it="history.throughput()",
    order=("tenant_id", "batch_id", "from_at", "to_at"),
)


STUCK = Table(
    "stuck",
    "one row per running batch, with how long it has not changed",
    ("tenant_id", "batch_id"),
    (
        TENANT_ID,
        BATCH_ID,
        *_SCHEMA,
        Column("last_observed_at", TIME, "when the last successful observation was sent", False),
        Column("last_change_at", TIME, "when the present counts were first seen", False),
        Column("silence", LENGTH, "from last_change_at to last_observed_at", False),
        Column(
            "unchanged_observations", INT, "consecutive observations with the present counts", False
        ),
        Column("comparable", INT, "silences that are over, of the same tenant and schema"),
        Column("p_value", FLOAT, "chance of one as long, running ones counted as censored"),
        Column("min_p_value", FLOAT, "the same without the running ones"),
        Column("basis", STRING, "`conformal`, `fixed threshold` or `longest silence`"),
        Column(
            "verdict",
            STRING,
            "`stuck`, `moving`, `waiting`, `too few observations` or `cannot tell`",
            False,
        ),
    ),
    get_it="history.stuck()",
    order=("-silence", "tenant_id", "batch_id"),
)


ETA = Table(
    "eta",
    "one row per running batch, with when it is expected to be processed",
    ("tenant_id", "batch_id"),
    (
        TENANT_ID,
        BATCH_ID,
        *_SCHEMA,
        Column(
            "last_observed_at", TIME, "when the last observation with a processed count was sent"
        ),
        Column("processed_records", INT, "records processed by then"),
        Column("total_records", INT, "records in the batch"),
        Column("records_per_second", FLOAT, "pace over the last observations"),
        Column("eta", TIME, "when every record will be processed, at that pace"),
        Column("eta_low", TIME, "the same at the fastest pace between two of these"),
        Column("eta_high", TIME, "the same at the slowest nonzero pace between two"),
        Column("reason", STRING, "why no time is given; null if one is"),
    ),
    get_it="history.eta()",
    order=("eta", "tenant_id", "batch_id"),
)
