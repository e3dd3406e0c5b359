"""The tables about the collecting itself."""

from __future__ import annotations

from reach_analytics.columns.frames import BATCH_ID, OBSERVATIONS, TENANT_ID
from reach_analytics.columns.table import BOOL, FLOAT, INT, LENGTH, TIME, Column, Table

_OF_LOOK = {column.name: column for column in OBSERVATIONS.columns}

POLLS = Table(
    "polls",
    "one row per look at a batch, those that the store keeps folded into another one too",
    ("tenant_id", "batch_id", "run_id", "sent_at", "scope"),
    (
        TENANT_ID,
        BATCH_ID,
        Column("run_id", _OF_LOOK["run_id"].type, "the pass of the row that holds the look", False),
        _OF_LOOK["sent_at"],
        _OF_LOOK["scope"],
        _OF_LOOK["ok"],
        Column("state", INT, "number of the state that was seen, within its batch; null if none"),
        Column("core", INT, "the same for states that differ only in what a listing leaves out"),
        Column("settled", BOOL, "whether the batch had ended with nothing pending; null if failed"),
        Column("waits", BOOL, "whether something of it was pending; null if failed"),
        Column("created_at", TIME, "when the batch was created"),
    ),
    get_it="history.polls()",
)


COLLECTION_HEALTH = Table(
    "collection_health",
    "one row per group and time bucket of looks",
    (),
    (
        Column("looks", INT, "looks at batches: each row of a listing is one", False),
        Column("failed_looks", INT, "of these, without a readable answer", False),
        Column("detail_looks", INT, "looks at a single batch, with what is pending", False),
        Column(
            "requests", INT, "detail looks, and pages of listings; retries are not known", False
        ),
        Column("batches", INT, "different batches looked at", False),
        Column("changes", INT, "good looks that saw something new of their batch", False),
        Column("requests_per_change", FLOAT, "requests / changes; null without a change"),
        Column("unchanged_fraction", FLOAT, "good looks that saw nothing new / good looks, 0–1"),
        Column("distances", INT, "times from one good look to the next, at unsettled ones", False),
        Column("staleness_mean", LENGTH, "mean age of what was known, over time"),
        Column("staleness_p50", LENGTH, "what was known was younger than this half of the time"),
        Column("staleness_p95", LENGTH, "what was known was younger than this 95 % of the time"),
        Column("staleness_p95_fraction", FLOAT, "the same as part of the batch's own age, 0–1"),
        Column("gaps", INT, "distances that are longer than the limit", False),
        Column("longest_gap", LENGTH, "the longest distance; null if there is none"),
        Column("brackets", INT, "waits found gone; null if not known for the group"),
        Column("bracket_p50", LENGTH, "median of how closely looks bracket the end of a wait"),
        Column("bracket_p95", LENGTH, "95 % are bracketed more closely than this"),
        Column("ended_waits", INT, "waits that are over; null if not known for the group"),
        Column("unknown_waits", INT, "of these, the ones that nobody knows how they ended"),
        Column("unknown_fraction", FLOAT, "unknown / ended, 0–1; null if none ended"),
    ),
    get_it="history.collection_health()",
)
