"""What the report shows, gathered from a history."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd
import pyarrow as pa

from reach_analytics import measures
from reach_analytics.measures._shared.grouping import in_bulk
from reach_analytics.report.export import Rows
from reach_analytics.tables import (
    BATCHES,
    DEPENDENCIES,
    OBSERVATIONS,
    PENDING,
    WAIT_OUTCOMES,
    Table,
    as_utc,
    shown,
)

RowsOf = Callable[[], Rows]

__all__ = ["export_contents", "report_frames"]


def report_frames(
    history: Any, since: Any = "24h", before: Mapping[str, float] | None = None
) -> dict[str, Any]:
    """The frames that `write_report` draws, of a `History`.

    Charts over time show where the batches are; the page says how many lie elsewhere.

    Parameters
    ----------
    history : History
    since : str, datetime or timedelta
        The earlier moment that is compared with.
    before : mapping of str to float, optional
        The key figures at that moment, as a report had them; by default as they are known now.
    """
    batches = history.batches()
    missing = history.bottlenecks()
    changes = history.changes(since, top=100)
    created = batches["created_at"]
    bulk = in_bulk(created) | created.isna()
    dated = batches[bulk]
    width, zone = _width(created[bulk]), history.timezone
    tables = history.tables
    began = as_utc(tables.read(tables.beginnings)["began"].to_pandas())
    of_waits = _width(pd.concat([began[in_bulk(began)], pd.Series([history.moment])]))
    return {
        "overview": history._overview(since, changes, before),
        "changes": changes,
        "lost": history.lost(),
        "failed_batches": batches[batches["status"] == "failure"]
        .sort_values("created_at", ascending=False, kind="stable")
        .reset_index(drop=True),
        "health": history.health(),
        "reconciliation": history.reconciliation(),
        "conventions": history.conventions(),
        "success_overall": history.success(),
        "success": history.success(by="schema_name"),
        "success_over_time": measures.success(
            dated,
            by="schema_name",
            freq=width,
            as_of=history.moment,
            longest_wait=history.longest_wait,
            timezone=zone,
        ).pipe(_in_zone, zone),
        "status_over_time": measures.status(dated, freq=width, timezone=zone).pipe(_in_zone, zone),
        "oddly_dated": batches[~bulk],
        "backlog": history.backlog(freq=of_waits),
        "expiring": _expiries(history),
        "release_rates": history.release_rates(by="schema_name"),
        "coverage": history.coverage(),
        "bottlenecks": missing[missing["is_root"]],
        "plan": history.upload_plan(),
        "graph": history.dependency_graph(top=15),
        "errors": history.errors(),
    }


def export_contents(
    history: Any, since: Any = "24h", timezone: str = "UTC"
) -> dict[str, pd.DataFrame | RowsOf]:
    """What an export writes, of a `History`: frames, and what gives rows that are never in memory
    together; with all times in UTC. Changes are those from ``since`` on; the sentences of
    ``actions`` tell times of ``timezone``."""

    def rows(name: str, table: Table) -> RowsOf:
        like = replace(table, columns=shown(table))

        def give() -> Rows:
            parts = history.tables.stream(getattr(history.tables, name), table)
            return Rows(like, _named(parts, table, like, history.named))

        return give

    changes = history.changes(since, top=None)
    overview = history._overview(since, changes, None, timezone)
    contents: dict[str, pd.DataFrame | RowsOf] = {
        "batches": rows("batches", BATCHES),
        "observations": rows("observations", OBSERVATIONS),
        "pending": rows("pending", PENDING),
        "dependencies": rows("dependencies", DEPENDENCIES),
        "wait_outcomes": rows("wait_outcomes", WAIT_OUTCOMES),
        "key_figures": overview.figures,
        "actions": overview.actions,
        "health": history.health(),
        "success": history.success(by="schema_name"),
        "errors": history.errors(),
        "changes": changes,
        "reconciliation": history.reconciliation(by="tenant_id"),
        "lost": history.lost(),
        "release_rates": history.release_rates(by="schema_name"),
        "expiring": history.expiring(),
        "bottlenecks": history.bottlenecks(),
        "choke_points": history.choke_points(),
        "deadlocks": history.deadlocks(),
        "upload_plan": history.upload_plan(top=None),
        "coverage": history.coverage(),
    }
    return {
        name: _in_zone(content, "UTC") if isinstance(content, pd.DataFrame) else content
        for name, content in contents.items()
    }


def _in_zone(frame: pd.DataFrame, zone: str) -> pd.DataFrame:
    """The frame with its times in a zone."""
    times = frame.select_dtypes("datetimetz").columns
    return frame.assign(**{name: frame[name].dt.tz_convert(zone) for name in times})


def _named(
    parts: Iterable[pa.Table],
    table: Table,
    like: Table,
    named: Callable[[pd.DataFrame], pd.DataFrame],
) -> Iterator[pa.Table]:
    """Rows of a table as rows with names."""
    for part in parts:
        yield like.to_arrow(named(table.to_pandas(part)))


def _expiries(history: Any) -> pd.DataFrame:
    """Of `history.expiring()` what its chart shows; what it names stays in the engine."""
    own = history.tables.current.own.select("schema_name", "expires_at")
    known = PENDING.only(own.columns).to_pandas(history.tables.read(own))
    expires = known["expires_at"].dt.tz_convert(history.timezone)
    return known.assign(expires_at=expires, time_left=expires - history.moment)


def _width(times: pd.Series) -> str:
    """A width of time buckets that gives a few dozen from the first to the last."""
    known = times.dropna()
    span = known.max() - known.min() if len(known) else pd.Timedelta(0)
    return next(
        width
        for width, longest in (("1h", 2), ("6h", 14), ("D", 90), ("W", 700), ("Y", 10**9))
        if span.days < longest
    )
