"""Folding: of many observations that saw the same, those are kept that can matter to a measure.

Within a day and a batch, a *stretch* is a series of observations in the order they were sent, none
of them failed or overlapping with another, in which neither the batch itself nor its row in the
listings was seen to change, and which shows it ended. All that a stretch holds is when its
observations were sent. So the first two and the last two of each kind are kept, the times of the
others go into ``repeats`` of the second, and these are kept too:

- where one kind follows another for the first time (`measures.quality` compares such pairs);
- an observation of the batch itself right after a listing that is kept: `measures.stuck` and
  similar measures ignore the listing because of it.

Of batches that have not ended, measures count observations (`measures.stuck`, `eta`,
`throughput`), so all of them are kept. An ended batch here is one that
`measures.batches.durations.unfinished` could never call unfinished.
"""

from __future__ import annotations

from typing import Any

KEPT = 2
"""How many observations are kept at either end of a stretch."""

STATE_COLUMNS = [
    *("tenant_id", "batch_id", "state_hash"),
    *("status", "completed_at", "processed_records", "total_records"),
]
"""The columns of `snapshots` that folding reads."""

_ENDED = """
    CREATE TEMP TABLE ended AS
    SELECT row_number() OVER () AS state, *
    FROM (
        SELECT DISTINCT tenant_id, batch_id, state_hash
        FROM states SEMI JOIN day USING (tenant_id, batch_id, state_hash)
        WHERE status <> 'processing' AND (
            completed_at IS NOT NULL OR status = 'failure' OR processed_records >= total_records
        )
    )
"""

# From here on numbers replace texts: they sort several times as fast.
_OBSERVATIONS = """
    CREATE TEMP TABLE observations AS
    WITH
        batches AS (
            SELECT row_number() OVER () AS batch, *
            FROM (SELECT tenant_id, batch_id FROM day GROUP BY ALL)
            LEFT JOIN (
                SELECT tenant_id, batch_id, max(received_at) AS busy_until FROM earlier GROUP BY ALL
            ) USING (tenant_id, batch_id)
        ),
        runs AS (SELECT row_number() OVER () AS run, run_id FROM day GROUP BY run_id)
    SELECT
        day.rowid AS id, batch, run, state, busy_until, sent_at, received_at,
        scope = 'list' AS listing, ok, complete, http_status,
        row_number() OVER (
            PARTITION BY batch ORDER BY sent_at, received_at, scope DESC, run_id, state_hash
        ) AS number
    FROM day
    JOIN batches USING (tenant_id, batch_id)
    JOIN runs USING (run_id)
    LEFT JOIN ended USING (tenant_id, batch_id, state_hash)
"""

# An observation is plain if it shows an ended state and overlaps no other one of its batch.
_PLAIN = """
    CREATE TEMP TABLE plain AS
    SELECT
        * EXCLUDE (run, ok, busy_until, sent_at, received_at),
        coalesce(
            ok
            AND state IS NOT NULL
            AND sent_at <= received_at
            AND coalesce(sent_at > lag(sent_at) OVER own, true)
            AND coalesce(lead(sent_at) OVER own > sent_at, true)
            AND coalesce(lead(sent_at) OVER own >= received_at, true)
            AND coalesce(sent_at >= busy_until, true)
            AND coalesce(sent_at >= max(received_at) OVER before, true),
            false
        ) AS plain,
        CASE
            WHEN NOT listing THEN 'detail'
            WHEN NOT lead(listing) OVER own AND lead(run) OVER own = run THEN 'listed before detail'
            ELSE 'list'
        END AS kind
    FROM observations
    WINDOW
        own AS (PARTITION BY batch ORDER BY number),
        before AS (
            PARTITION BY batch ORDER BY number ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        )
"""

_STRETCHES = """
    CREATE TEMP TABLE stretches AS
    SELECT
        id, batch, number, listing, kind,
        count_if(begins) OVER (PARTITION BY batch ORDER BY number) AS stretch
    FROM (
        SELECT
            *,
            NOT plain
            OR NOT lag(plain, 1, true) OVER own
            OR (row_number() OVER alike > 1 AND (
                lag(state) OVER alike IS DISTINCT FROM state
                OR lag(complete) OVER alike IS DISTINCT FROM complete
                OR lag(http_status) OVER alike IS DISTINCT FROM http_status
            )) AS begins
        FROM plain
        WINDOW
            own AS (PARTITION BY batch ORDER BY number),
            alike AS (PARTITION BY batch, listing ORDER BY number)
    )
"""

_PLACED = f"""
    CREATE TEMP TABLE placed AS
    WITH
        placed AS (
            SELECT
                *,
                lag(kind) OVER (PARTITION BY batch, stretch ORDER BY number) AS kind_before,
                row_number() OVER (PARTITION BY batch, stretch, kind ORDER BY number) AS place,
                count(*) OVER (PARTITION BY batch, stretch, kind) AS places
            FROM stretches
        ),
        ends AS (
            SELECT
                *,
                place <= {KEPT}
                OR places - place < {KEPT}
                OR (kind <> kind_before AND row_number() OVER (
                    PARTITION BY batch, stretch, kind, kind_before ORDER BY number
                ) = 1) AS kept
            FROM placed
        )
    SELECT
        id, batch, stretch, kind, place,
        kept OR (NOT listing AND lag(listing AND kept, 1, false) OVER (
            PARTITION BY batch ORDER BY number
        )) AS kept
    FROM ends
"""

# A duplicate time was written again after its observation had been folded.
_FOLDED = f"""
    WITH folded AS (
        SELECT
            batch, stretch, kind,
            flatten(list(list_prepend(sent_at, coalesce(repeats, [])))) AS times
        FROM placed JOIN day ON day.rowid = id
        WHERE NOT kept
        GROUP BY ALL
    )
    SELECT day.* REPLACE (
        CASE WHEN times IS NULL OR place <> {KEPT} THEN repeats
        ELSE list_sort(list_distinct(list_concat(coalesce(repeats, []), times))) END AS repeats
    )
    FROM placed
    JOIN day ON day.rowid = id
    LEFT JOIN folded USING (batch, stretch, kind)
    WHERE kept
    ORDER BY tenant_id, batch_id, scope, sent_at, run_id
"""


def folded(connection: Any) -> Any:
    """The rows that replace those of a day, as a DuckDB relation.

    The connection has the table ``day`` (all observations of the day), ``earlier`` (those of the
    days before that were answered on it or later) and ``states`` (the `STATE_COLUMNS` of the stored
    snapshots). The latter two are read once.
    """
    for step in (_ENDED, _OBSERVATIONS, _PLAIN, _STRETCHES, _PLACED):
        connection.execute(step)
    return connection.sql(_FOLDED)
