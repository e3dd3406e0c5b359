"""The tables of measures about waits."""

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
from reach_analytics.tables.stored import BATCH_ID, BATCH_KEY, RESOURCE, TENANT_ID, WAIT_KEY

__all__ = [
    "ARRIVALS",
    "BACKLOG",
    "CONVENTIONS",
    "COVERAGE",
    "EXPIRING",
    "EXPIRY_CODES",
    "LOST",
    "RECONCILIATION",
    "RELEASE_RATES",
    "SURVIVAL",
    "WAIT_OUTCOMES",
    "WAIT_TIMES",
]

EXPIRING = Table(
    "expiring",
    "one row per pending resource, with the time it has left",
    ("tenant_id", "batch_id", "pending_id"),
    (
        TENANT_ID,
        BATCH_ID,
        *RESOURCE[3:],
        Column("time_left", LENGTH, "until it expires; negative or zero when overdue"),
        Column("overdue", BOOL, "whether it is still listed after its expiry", False),
        Column("missing_count", INT, "how many dependencies it waits for", False),
    ),
    get_it="history.expiring()",
    order=(
        "expires_at",
        *WAIT_KEY,
        "created_at",
        "schema_name",
        "missing_count",
    ),
)


WAIT_OUTCOMES = Table(
    "wait_outcomes",
    "one row per wait of a pending resource, with its outcome",
    ("tenant_id", "batch_id", "pending_id"),
    (
        TENANT_ID,
        BATCH_ID,
        *RESOURCE[3:],
        Column("first_seen", TIME, "when the first observation that lists it was sent", False),
        Column("last_seen", TIME, "when the last observation that lists it was sent", False),
        Column(
            "verdict", STRING, "`released`, `expired`, `unknown`, `pending` or `censored`", False
        ),
        Column("rule", STRING, "the rule that gave the verdict, such as `3`", False),
        Column(
            "departure", INT, "number of the observation without it, within its batch; null if none"
        ),
        Column("ended_after", TIME, "the wait ended after this; for an expiry, at it", False),
        Column("ended_by", TIME, "the wait ended at or before this; null if it may go on"),
        Column("sweep_lag_low", LENGTH, "if expired: gone no sooner than this after its expiry"),
        Column("sweep_lag_high", LENGTH, "and sooner than this after it"),
        Column(
            "unknown_together",
            INT,
            "unknown ones that left its batch between the same observations",
        ),
        Column("released_at_least", INT, "of these, released at least; null unless unknown"),
        Column("released_at_most", INT, "of these, released at most; null unless unknown"),
        Column("root_schema_definition_id", STRING, "schema of the dependency it last depended on"),
        Column("root_external_id", STRING, "your own id of that; null if it missed nothing"),
    ),
    get_it="history.wait_outcomes()",
    order=(
        *BATCH_KEY,
        "first_seen",
        *WAIT_KEY[2:],
    ),
)


ARRIVALS = Table(
    "arrivals",
    "one row per dependency that was ever seen missing, with when it arrived",
    ("tenant_id", "schema_definition_id", "external_id"),
    (
        TENANT_ID,
        Column("schema_definition_id", STRING, "schema definition of the dependency"),
        Column("external_id", STRING, "your own id of it"),
        Column("schema_name", STRING, "name of its schema definition"),
        Column("resources", INT, "pending resources ever seen to miss it", False),
        Column("created_at", TIME, "when the first of these began to wait"),
        Column(
            "first_seen",
            TIME,
            "when the first observation that lists it as missing was sent",
            False,
        ),
        Column(
            "last_seen", TIME, "when the last observation that lists it as missing was sent", False
        ),
        Column("verdict", STRING, "`arrived`, `missing` or `censored`", False),
        Column("ended_after", TIME, "it arrived after this", False),
        Column("ended_by", TIME, "it arrived at or before this; null if not known to have arrived"),
    ),
    get_it="history.arrivals()",
    order=("first_seen", "tenant_id", "schema_definition_id", "external_id"),
)


RELEASE_RATES = Table(
    "release_rates",
    "one row per group of waits",
    (),
    (
        Column("waits", INT, "waits seen", False),
        Column("mature", INT, "of these, begun so long ago that even the longest is over", False),
        Column("released", INT, "mature ones released", False),
        Column("expired", INT, "mature ones expired", False),
        Column("unknown", INT, "mature ones whose end was not seen", False),
        Column(
            "released_min_fraction",
            FLOAT,
            "of all mature, if as few unknown as possible were released, 0–1",
        ),
        Column(
            "released_max_fraction",
            FLOAT,
            "of all mature, if as many unknown as possible were released, 0–1",
        ),
        Column("released_fraction", FLOAT, "between these, 0–1; null where they are far apart"),
        Column("released_low_fraction", FLOAT, "lower end of the 95 % interval, 0–1"),
        Column("released_high_fraction", FLOAT, "upper end of the 95 % interval, 0–1"),
        Column("interval", STRING, "`adjusted` for roots, or `descriptive` only; null without"),
        Column("design_effect", FLOAT, "how much more the known ones vary than by chance"),
        Column(
            "expired_min", INT, "of all waits seen, immature ones too, certainly expired", False
        ),
        Column("expired_max", INT, "of all waits seen, expired at most", False),
    ),
    get_it="history.release_rates()",
)


BACKLOG = Table(
    "backlog",
    "one row per group and time bucket",
    (),
    (
        Column("bucket", TIME, "start of the bucket, UTC", False),
        Column("waiting_low", INT, "resources that certainly waited at its end", False),
        Column("waiting_high", INT, "resources that may have waited at its end", False),
        Column("began", INT, "waits that began in it", False),
        Column("released", INT, "waits known to be released by its end, not before it", False),
        Column("expired", INT, "waits that expired in it", False),
        Column("unknown", INT, "waits that were found gone in it, with unknown outcome", False),
        Column("earlier", INT, "waits of the group that began before its first bucket", False),
    ),
    get_it="history.backlog()",
)


SURVIVAL = Table(
    "survival",
    "one row per group and age at which the curve falls",
    (),
    (
        Column(
            "age_from", LENGTH, "age at which the curve starts to fall to this row's value", False
        ),
        Column("age", LENGTH, "age at which it has: time since the wait began", False),
        Column("at_risk", FLOAT, "waits under observation just before that age", False),
        Column("events", FLOAT, "of these, released at that age", False),
        Column("survival_fraction", FLOAT, "wait longer than this, if none expired, 0–1", False),
        Column("low_fraction", FLOAT, "lower end of its 95 % interval, 0–1"),
        Column("high_fraction", FLOAT, "upper end of its 95 % interval, 0–1"),
        Column(
            "released_incidence",
            FLOAT,
            "released by that age, with expiry as a competing risk, 0–1",
        ),
        Column("expired_incidence", FLOAT, "expired by that age, 0–1"),
        Column("method", STRING, "how the curve was estimated", False),
    ),
    get_it="history.survival()",
)


WAIT_TIMES = Table(
    "wait_times",
    "one row per group of waits",
    (),
    (
        Column("waits", INT, "waits that say something about their length", False),
        Column("events", INT, "of these, seen to be released (of dependencies, to arrive)", False),
        Column("clusters", INT, "roots behind these events", False),
        Column(
            "unseen_before", LENGTH, "youngest age that was seen; nothing is known of shorter waits"
        ),
        Column("per_hour", FLOAT, "events per hour of waiting, while it was observed"),
        Column("per_hour_low", FLOAT, "lower end of its 95 % interval"),
        Column("per_hour_high", FLOAT, "upper end of its 95 % interval"),
        Column("interval", STRING, "`adjusted` for roots, or `descriptive` with few of them"),
        Column("median_wait", LENGTH, "half are over by then; null if unknown"),
        Column("median_low", LENGTH, "lower end of its 95 % interval"),
        Column("median_high", LENGTH, "upper end of its 95 % interval; null if open"),
        Column("method", STRING, "how it was estimated; null if it was not"),
        Column("reason", STRING, "why there is no median; null if there is one"),
    ),
    get_it="history.wait_times()",
)


EXPIRY_CODES = Table(
    "expiry_codes",
    "one row per error code that names expiry",
    ("code",),
    (
        Column("code", STRING, "its path in the batches' summaries of errors", False),
        Column(
            "departures", INT, "whose outcomes are all certain, some expired, and it agrees", False
        ),
        Column("expired", INT, "waits that expired in these", False),
        Column("contradictions", INT, "departures where it cannot count what expired", False),
        Column("used", BOOL, "whether it is used as a count of what expired", False),
    ),
    get_it="history.expiry_codes()",
    order=("-expired", "code"),
)


CONVENTIONS = Table(
    "conventions",
    "one row: how the API counts waits that end, as far as its counts show",
    (),
    (
        Column("expired_counts_as_failed", BOOL, "whether it does; null while unknown"),
        Column("released", INT, "released ones whose counts are known for certain", False),
        Column("released_failed", INT, "of these, failed nevertheless", False),
        Column(
            "failed_high_fraction",
            FLOAT,
            "upper 95 % bound on the fraction of them that fails, 0–1",
        ),
        Column(
            "contradictions", INT, "departures that contradict that no released one fails", False
        ),
        Column("none_fails", BOOL, "whether all counts agree that no released one fails", False),
        Column("unknown", INT, "waits whose outcome is unknown", False),
        Column("would_settle", INT, "of these, decided if no released one fails", False),
    ),
    get_it="history.conventions()",
)


RECONCILIATION = Table(
    "reconciliation",
    "one row per group and part of its records",
    (),
    (
        Column(
            "part",
            STRING,
            "`landed`, `waiting`, `unprocessed`, `expired`, `unknown`, `failed` or `unreconciled`",
            False,
        ),
        Column("rule", STRING, "how the expired are known: a rule of `wait_outcomes`, or `counts`"),
        Column("records", INT, "records in this part", False),
    ),
    get_it="history.reconciliation()",
)


LOST = Table(
    "lost",
    "one row per record that was lost, or per number of them of which nobody says which",
    (),
    (
        TENANT_ID,
        BATCH_ID,
        *RESOURCE[3:7],
        Column("outcome", STRING, "`expired`, `failed`, or `unknown`: perhaps not lost", False),
        Column("certain", BOOL, "whether it was lost for certain", False),
        Column("records", INT, "how many; null where a batch failed and counts nothing"),
        Column("cause", STRING, "what it waited for, or the error, in words"),
        Column("error_code", STRING, "the code that the batch's error details give it"),
        Column("error_message", STRING, "their message, or else the batch's own"),
        Column("rule", STRING, "the rule of `wait_outcomes` by which its end is known"),
        Column("lost_after", TIME, "it was lost after this; for an expiry, at it"),
        Column("lost_by", TIME, "it was lost at or before this"),
        Column("root_schema_name", STRING, "schema of what it waited for in the end"),
        Column("root_external_id", STRING, "your own id of that; null if it missed nothing"),
        Column(
            "unknown_together",
            INT,
            "unknown ones that left its batch between the same observations",
        ),
        Column("expired_at_least", INT, "of these, expired at least; null unless unknown"),
        Column("expired_at_most", INT, "of these, expired at most; null unless unknown"),
        Column("root_schema_definition_id", STRING, "schema definition of the root"),
    ),
    get_it="history.lost()",
    order=("-lost_by", *BATCH_KEY, "schema_name", "external_id", "pending_id", "outcome"),
)


COVERAGE = Table(
    "coverage",
    "one row per tenant: how complete and fresh its lists of waits are",
    ("tenant_id",),
    (
        TENANT_ID,
        Column("batches_waiting", INT, "batches that count records as pending", False),
        Column("batches_covered", INT, "of these, with a full and fresh list", False),
        Column("coverage_fraction", FLOAT, "covered / waiting, 0–1; null if none waits"),
        Column("resources_counted", INT, "pending records by the batches' counts", False),
        Column("resources_listed", INT, "pending resources in the last lists", False),
        Column("oldest_list", LENGTH, "age of the oldest list in use; null if there is none"),
        Column("batches_stale", INT, "batches whose list is older than the limit", False),
        Column("batches_partial", INT, "batches whose list is not full, or that have none", False),
    ),
    get_it="history.coverage()",
    order=("tenant_id",),
)
