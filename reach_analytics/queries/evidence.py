"""The evidence on waits: of a store, or of frames at hand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import ibis
import pyarrow as pa

from reach_analytics.queries.arrivals import arrivals
from reach_analytics.queries.backlog_counts import BacklogCounts
from reach_analytics.queries.current import pending_counts
from reach_analytics.queries.departed import Conventions
from reach_analytics.queries.endings import departure_counts, ending_counts
from reach_analytics.queries.engine import PLAIN, connect, in_order, numbered
from reach_analytics.queries.numbered import Numbered
from reach_analytics.queries.releases import release_counts
from reach_analytics.queries.verdicts import Evidence, judged, outcomes
from reach_analytics.queries.wait_intervals import (
    dated_links,
    departures_by_number,
    last_observations,
    with_ids,
)
from reach_analytics.tables import ARRIVALS, BATCH_KEY, WAIT_KEY, WAIT_OUTCOMES

__all__ = [
    "arrivals_of_rows",
    "backlog_counts_of_rows",
    "departure_counts_of_rows",
    "ending_counts_of_rows",
    "evidence_of",
    "outcomes_of_rows",
    "pending_counts_of_rows",
    "release_counts_of_rows",
]

_KEY = ["tenant_id", "missing_schema_definition_id", "missing_external_id"]


def evidence_of(seen: Numbered, batches: ibis.Table) -> Evidence:
    """What a store shows of its waits; ``batches`` as `tables.BATCHES`."""
    last = last_observations(seen.stored).inner_join(seen.batches, BATCH_KEY)
    last = seen.run.keep(last.select("batch", "tenant", "last_sent_at"))
    waits = with_ids(seen.waits)
    joined = waits.inner_join(last, "batch")
    return Evidence(
        seen.batches,
        joined.select(*waits.columns, *last.columns[1:]),
        dated_links(seen).select("wait", "key", "last_missing", "last_missing_by", "there_by"),
        seen.keys,
        departures_by_number(seen),
        batches,
    )


def outcomes_of_rows(
    waits: pa.Table,
    missing: pa.Table,
    departures: pa.Table,
    batches: pa.Table | None,
    conventions: Conventions,
) -> pa.Table:
    """`tables.WAIT_OUTCOMES` of rows as `tables.WAIT_INTERVALS`, `MISSING_INTERVALS`, `DEPARTURES`
    and `BATCHES`, by DuckDB."""
    table = _Tables()
    evidence = _numbered(
        table("waits", waits),
        table("missing", missing),
        table("departures", departures),
        None if batches is None else table("batches", batches),
    )
    rows = outcomes(evidence, judged(evidence, conventions, PLAIN))
    return in_order(rows, WAIT_OUTCOMES).to_pyarrow()


def release_counts_of_rows(waits: pa.Table, names: Sequence[str], now: datetime) -> pa.Table:
    """As `release_counts`, of rows at hand."""
    return release_counts(_Tables()("waits", waits), names, now, PLAIN).to_pyarrow()


def backlog_counts_of_rows(
    waits: pa.Table, names: Sequence[str], now: datetime, fresh: timedelta
) -> BacklogCounts:
    """As `BacklogCounts`, of rows at hand."""
    return BacklogCounts(_Tables()("waits", waits), names, now, fresh, PLAIN)


def departure_counts_of_rows(waits: pa.Table) -> pa.Table:
    """As `departure_counts`, of rows at hand."""
    return departure_counts(_Tables()("waits", waits), BATCH_KEY).to_pyarrow()


def ending_counts_of_rows(waits: pa.Table, batches: pa.Table) -> dict[str, pa.Table]:
    """As `ending_counts`, of rows at hand; ``batches`` are `BATCH_KEY` and observed_at."""
    table = _Tables()
    counts = ending_counts(table("waits", waits), BATCH_KEY, table("batches", batches))
    return {name: rows.to_pyarrow() for name, rows in counts.items()}


def arrivals_of_rows(waits: pa.Table, missing: pa.Table) -> pa.Table:
    """`tables.ARRIVALS` of rows as `tables.WAIT_OUTCOMES` and `MISSING_INTERVALS`."""
    table = _Tables()
    own = table("waits", waits)
    own = own.select(*_renamed(own, WAIT_KEY), "created_at", "last_seen", "verdict", "ended_by")
    rows = table("missing", missing)
    links = rows.inner_join(own, [rows[n].identical_to(own[f"own_{n}"]) for n in WAIT_KEY])
    named = links.filter([links[name].notnull() for name in _KEY])
    found = arrivals(named, _KEY, PLAIN).rename(schema_definition_id=_KEY[1], external_id=_KEY[2])
    return in_order(found.select(ARRIVALS.names), ARRIVALS).to_pyarrow()


def pending_counts_of_rows(pending: pa.Table, now: datetime) -> pa.Table:
    """As `pending_counts`, of rows at hand."""
    return pending_counts(_Tables()("pending", pending), now).to_pyarrow()


class _Tables:
    """Rows at hand as tables of a DuckDB of their own."""

    def __init__(self) -> None:
        self._engine = connect()

    def __call__(self, name: str, rows: pa.Table) -> ibis.Table:
        self._engine.con.register(name, rows)
        return self._engine.table(name)


def _numbered(
    waits: ibis.Table, missing: ibis.Table, departures: ibis.Table, deleting: ibis.Table | None
) -> Evidence:
    """The evidence of tables that name everything."""
    keep = PLAIN.keep
    names = waits.select(BATCH_KEY).distinct()
    tenants = waits.select("tenant_id").distinct()
    tenants = keep(tenants.select("tenant_id", tenant=ibis.row_number()))  # once, for all
    joined = names.select(*BATCH_KEY, batch=ibis.row_number()).inner_join(tenants, "tenant_id")
    batches = keep(joined.select("batch", "tenant", *BATCH_KEY))
    own = waits.inner_join(batches, BATCH_KEY).select(*waits.columns, "batch", "tenant")
    own = numbered(own, "wait", PLAIN)
    keys = missing.select(_KEY).distinct()
    in_order = [keys[name].asc(nulls_first=False) for name in _KEY]
    keys = keys.mutate(key=ibis.row_number().over(order_by=in_order))
    keys = keep(keys.inner_join(tenants, "tenant_id").select(*keys.columns, "tenant"))
    of_wait = own.select("wait", *_renamed(own, WAIT_KEY))
    wide = missing.inner_join(
        of_wait, [missing[n].identical_to(of_wait[f"own_{n}"]) for n in WAIT_KEY]
    )
    wide = wide.select(*missing.columns, "wait")
    of_key = keys.select("key", *_renamed(keys, _KEY))
    links = wide.inner_join(of_key, [wide[n].identical_to(of_key[f"own_{n}"]) for n in _KEY])
    links = links.select("wait", "key", "last_missing", "last_missing_by", "there_by")
    told = departures.inner_join(batches, BATCH_KEY).select(*departures.columns, "batch")
    told = keep(told.drop(*BATCH_KEY))
    return Evidence(batches, own.drop(*BATCH_KEY), keep(links), keys, told, deleting)


def _renamed(table: ibis.Table, names: list[str]) -> list[ibis.Value]:
    return [table[name].name(f"own_{name}") for name in names]
