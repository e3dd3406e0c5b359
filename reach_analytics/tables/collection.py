"""The tables about the collection itself."""

from __future__ import annotations

from reach_analytics.tables.base import BOOL, FLOAT, INT, LENGTH, TIME, Column, Table
from reach_analytics.tables.stored import BATCH_ID, STORED_OBSERVATIONS, TENANT_ID

__all__ = ["COLLECTION_HEALTH", "OBSERVATION_LOG"]

_OF_OBSERVATION = {column.name: column for column in STORED_OBSERVATIONS.columns}

OBSERVATION_LOG = Table(
    "observation_log",
    "one row per observation of a batch, including those folded into another one",
    ("tenant_id", "batch_id", "run_id", "sent_at", "scope"),
    (
        TENANT_ID,
        BATCH_ID,
        Column(
            "run_id",
            _OF_OBSERVATION["run_id"].type,
            "the pass of the row that holds the observation",
            False,
        ),
        _OF_OBSERVATION["sent_at"],
        _OF_OBSERVATION["scope"],
        _OF_OBSERVATION["ok"],
        Column("state", INT, "number of the state that was seen, within its batch; null if none"),
        Column("core", INT, "the same, ignoring what a listing leaves out"),
        Column("finished", BOOL, "whether it had ended with nothing pending; null if failed"),
        Column("waits", BOOL, "whether something of it was pending; null if failed"),
        Column("created_at", TIME, "when the batch was created"),
    ),
    get_it="history.observation_log()",
    order=("sent_at", "tenant_id", "batch_id", "scope", "run_id"),
)


COLLECTION_HEALTH = Table(
    "collection_health",
    "one row per group and time bucket of observations",
    (),
    (
        Column("observations", INT, "observations of batches: each row of a listing is one", False),
        Column("failed_observations", INT, "of these, without a readable answer", False),
        Column(
            "detail_observations",
            INT,
            "observations of a single batch, with what is pending",
            False,
        ),
        Column(
            "requests", INT, "detail observations and pages of listings; without retries", False
        ),
        Column("batches", INT, "distinct batches observed", False),
        Column("changes", INT, "successful observations that saw a change of their batch", False),
        Column("requests_per_change", FLOAT, "requests / changes; null without a change"),
        Column(
            "unchanged_fraction",
            FLOAT,
            "successful observations without a change / all successful ones, 0–1",
        ),
        Column(
            "distances",
            INT,
            "intervals between successful observations of batches not yet ended",
            False,
        ),
        Column("staleness_mean", LENGTH, "mean age of the last known state, over time"),
        Column(
            "staleness_p50", LENGTH, "half of the time the last known state was younger than this"
        ),
        Column(
            "staleness_p95", LENGTH, "95 % of the time the last known state was younger than this"
        ),
        Column(
            "staleness_p95_fraction", FLOAT, "the same as a fraction of the batch's own age, 0–1"
        ),
        Column("gaps", INT, "intervals longer than the limit", False),
        Column("longest_gap", LENGTH, "the longest interval; null if there is none"),
        Column("brackets", INT, "waits found gone; null if unknown for the group"),
        Column(
            "bracket_p50",
            LENGTH,
            "median interval between the observations that bracket the end of a wait",
        ),
        Column("bracket_p95", LENGTH, "95 % are bracketed more closely than this"),
        Column("ended_waits", INT, "waits that are over; null if unknown for the group"),
        Column("unknown_waits", INT, "of these, the ones whose outcome is unknown"),
        Column("unknown_fraction", FLOAT, "unknown / ended, 0–1; null if none ended"),
    ),
    get_it="history.collection_health()",
)
