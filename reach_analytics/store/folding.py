"""Folding: of many looks that saw the same, those stay that a measure could tell from the others.

Within a day and a batch, a *stretch* is a series of looks in the order they were sent, none of them
failed or under way together with another, in which neither the batch itself nor its row in the
listings was seen to change, and which shows it settled. In a stretch there is nothing to tell but
when the looks were sent. So the first two and the last two looks of each kind stay, the times of
the others go into ``repeats`` of the second, and these stay too:

- where one kind follows another for the first time (`measures.quality` compares such pairs);
- a look at the batch itself right after a listing that stays: the listing is passed over by
  `measures.stuck` and its like because of that look.

Batches that are not settled count looks (`measures.stuck`, `eta`, `throughput`), so all of theirs
stay. A settled batch is one that `measures.duration.unfinished` could never call unfinished.
"""

from __future__ import annotations

from typing import Any

STAY = 2
"""How many looks stay at either end of a stretch."""

STATE_COLUMNS = [
    *("tenant_id", "batch_id", "state_hash"),
    *("status", "completed_at", "processed_records", "total_records"),
]
"""The columns of `snapshots` that are needed."""

_SETTLED = """
    CREATE TEMP TABLE settled AS
    SELECT row_number() OVER () AS state, *
    FROM (
        SELECT DISTINCT tenant_id, batch_id, state_hash
        FROM states SEMI JOIN day USING (tenant_id, batch_id, state_hash)
        WHERE status <> 'processing' AND (
            completed_at IS NOT NULL OR status = 'failure' OR processed_records >= total_records
        )
    )
"""

# From here on there are numbers instead of texts, which are several times as fast to sort.
_LOOKS = """
    CREATE TEMP TABLE looks AS
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
    LEFT JOIN settled USING (tenant_id, batch_id, state_hash)
"""

# A look is plain if it brought a settled state, and no other look at its batch was under way.
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
            WHEN NOT lead(listing) OVER own AND lead(run) OVER own = run THEN 'looked closer'
            ELSE 'list'
        END AS kind
    FROM looks
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
                place <= {STAY}
                OR places - place < {STAY}
                OR (kind <> kind_before AND row_number() OVER (
                    PARTITION BY batch, stretch, kind, kind_before ORDER BY number
                ) = 1) AS stays
            FROM placed
        )
    SELECT
        id, batch, stretch, kind, place,
        stays OR (NOT listing AND lag(listing AND stays, 1, false) OVER (
            PARTITION BY batch ORDER BY number
        )) AS stays
    FROM ends
"""

# A time that is there twice was written again after its look had been folded.
_FOLDED = f"""
    WITH folded AS (
        SELECT
            batch, stretch, kind,
            flatten(list(list_prepend(sent_at, coalesce(repeats, [])))) AS times
        FROM placed JOIN day ON day.rowid = id
        WHERE NOT stays
        GROUP BY ALL
    )
    SELECT day.* REPLACE (
        CASE WHEN times IS NULL OR place <> {STAY} THEN repeats
        ELSE list_sort(list_distinct(list_concat(coalesce(repeats, []), times))) END AS repeats
    )
    FROM placed
    JOIN day ON day.rowid = id
    LEFT JOIN folded USING (batch, stretch, kind)
    WHERE stays
    ORDER BY tenant_id, batch_id, scope, sent_at, run_id
"""


def folded(connection: Any) -> Any:
    """The rows that are to stand for a day, as a DuckDB relation.

    The connection has the table ``day`` (all looks of the day), ``earlier`` (looks of the days
    before that were answered on it or later) and ``states`` (of the stored snapshots, the
    `STATE_COLUMNS`). The latter two are read once.
    """
    for step in (_SETTLED, _LOOKS, _PLAIN, _STRETCHES, _PLACED):
        connection.execute(step)
    return connection.sql(_FOLDED)
