"""The HTML report: one page that needs no network."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from reach_analytics._time import in_words
from reach_analytics.measures._shared.words import how_good, offer
from reach_analytics.plots import (
    _theme,
    plot_backlog,
    plot_bottlenecks,
    plot_dependency_graph,
    plot_expiry,
    plot_release_rates,
    plot_status,
    plot_success,
)
from reach_analytics.report.export import write_whole
from reach_analytics.tables import BATCH_KEY

__all__ = ["write_report"]

_CONFIG = {"displaylogo": False, "responsive": True}
_ROWS = 20


def write_report(
    frames: Mapping[str, Any],
    path: str | os.PathLike[str],
    *,
    as_of: datetime,
    last_observation: datetime | None = None,
    missing: str = "",
    part: str = "",
) -> Path:
    """Write the report.

    Everything from the API is escaped, and the page's own policy forbids it to load or send
    anything.

    Parameters
    ----------
    frames : mapping
        ``health``, ``reconciliation``, ``conventions``, ``success_overall``, ``success``,
        ``success_over_time``, ``status_over_time``, ``backlog``, ``expiring``, ``release_rates``,
        ``coverage``, ``bottlenecks``, ``plan``, ``errors`` (frames of the measures),
        ``oddly_dated`` (the batches that the two over time leave out) and ``graph`` (a
        `DependencyGraph`).
    path : str or path
        The page; its directory is created if needed. An existing page is replaced when the new
        one is complete.
    as_of : datetime
        The moment the page shows.
    last_observation : datetime, optional
        When the last answer before it was received.
    missing : str
        What is left out of the page, as a sentence, shown at the top.
    part : str
        What the page is of, in words, if not of all.

    Returns
    -------
    pathlib.Path
        The page.
    """
    page = _template().render(
        as_of=f"{as_of:%Y-%m-%d %H:%M %Z}",
        age=_age(as_of, last_observation),
        missing=missing,
        part=part,
        plotly=get_plotlyjs(),
        tiles=_tiles(frames["health"], frames["success_overall"]),
        health=_table(_with_ranges(frames["health"]), _HEALTH),
        reconciled=_table(_account(frames["reconciliation"]), _RECONCILED),
        offer=offer(frames["conventions"]),
        success=_table(frames["success"], _SUCCESS),
        bottlenecks=_table(frames["bottlenecks"], _BOTTLENECKS),
        bottleneck_count=len(frames["bottlenecks"]),
        planned=how_good(frames["plan"]) if len(frames["plan"]) else "",
        errors=_table(_common_errors(frames["errors"]), _ERRORS),
        charts=_charts(
            {
                "status": plot_status(frames["status_over_time"]),
                "success": plot_success(frames["success_over_time"]),
                "backlog": plot_backlog(frames["backlog"]),
                "expiry": plot_expiry(frames["expiring"]),
                "release_rates": plot_release_rates(frames["release_rates"]),
                "bottlenecks": plot_bottlenecks(frames["bottlenecks"], top=15),
                "graph": plot_dependency_graph(frames["graph"]).update_layout(title=None),
            }
        ),
        oddly_dated=_oddly_dated(frames["oddly_dated"]),
        uncovered=_uncovered(frames["coverage"]),
        deadlocked=_deadlocked(frames["graph"].nodes),
    )
    return write_whole(Path(path), lambda draft: draft.write_text(page, encoding="utf-8"))


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("reach_analytics.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2")


def _charts(figures: dict[str, go.Figure]) -> dict[str, str]:
    """The figures as HTML, each with its name as id: one history always gives one page."""
    shape = {"full_html": False, "include_plotlyjs": False, "config": _CONFIG}
    return {
        name: figure.to_html(div_id=f"chart-{name.replace('_', '-')}", **shape)
        for name, figure in figures.items()
    }


def _with_ranges(health: pd.DataFrame) -> pd.DataFrame:
    """What expired, as a range in one text column."""
    return health.assign(expired=_theme.ranges(health["expired_min"], health["expired_max"]))


def _age(as_of: datetime, last_observation: datetime | None) -> str:
    """When the last observation was."""
    if last_observation is None:
        return "no observation before"
    ago = in_words(as_of - last_observation)
    last = last_observation.astimezone(as_of.tzinfo)
    return f"last observation {last:%Y-%m-%d %H:%M:%S %Z}, {ago} before"


_WORDS = {
    "landed": "landed",
    "waiting": "waiting: too young to tell",
    "unprocessed": "not yet processed",
    "expired": "lost: certainly expired",
    "unknown": "lost: expired or failed otherwise, unknown which",
    "failed": "lost: failed otherwise, or in a wait that was not seen",
    "unreconciled": "in batches whose counts contradict each other",
}


def _account(reconciled: pd.DataFrame) -> pd.DataFrame:
    """The account of all records, in words, with the total."""
    shown = reconciled[(reconciled["records"] > 0) | (reconciled["part"] != "unreconciled")]
    table = shown.assign(part=shown["part"].map(_WORDS))
    total = {"part": "all records", "records": int(table["records"].sum())}
    return pd.concat([table, pd.DataFrame([total])], ignore_index=True)


def _oddly_dated(batches: pd.DataFrame) -> str:
    """A note on batches that the charts over time do not show, if there are any."""
    if batches.empty:
        return ""
    first, last = _theme.moments([batches["created_at"].min(), batches["created_at"].max()])
    when = f"at {first}" if first == last else f"from {first} to {last}"
    return (
        f"Not in the charts over time: {len(batches):,} of the batches, whose dates are far from "
        f"all others, created {when}."
    )


def _uncovered(coverage: pd.DataFrame) -> str:
    """A note on batches whose waits are not well known, if there are any."""
    sums = coverage[
        ["batches_waiting", "batches_covered", "batches_stale", "batches_partial"]
    ].sum()
    if sums["batches_covered"] == sums["batches_waiting"]:
        return ""
    return (
        f"{sums['batches_covered']:,} of {sums['batches_waiting']:,} batches with something "
        f"pending have a full list from the last hour ({sums['batches_stale']:,} have an older "
        f"one, {sums['batches_partial']:,} none or an incomplete one)."
    )


def _deadlocked(nodes: pd.DataFrame) -> str:
    """The resources that wait for each other, named."""
    names = nodes.loc[nodes["in_cycle"], "external_id"].tolist()
    more = f" and {len(names) - 10:,} more" if len(names) > 10 else ""
    return ", ".join(map(_plain, names[:10])) + more


def _tiles(health: pd.DataFrame, overall: pd.DataFrame) -> list[tuple[str, str, str]]:
    """(label, figure, tone) of the row at the top."""
    fraction = overall["settled_fraction"].iloc[0] if len(overall) else float("nan")
    sums = health[["batches", "failed_batches", "pending_resources", "expiring_soon"]].sum()
    [settled_text] = _theme.percents([fraction])
    return [
        ("batches", f"{sums['batches']:,}", ""),
        ("failed batches", f"{sums['failed_batches']:,}", "bad" if sums["failed_batches"] else ""),
        ("of settled records succeeded", settled_text, ""),
        ("records wait", f"{sums['pending_resources']:,}", "warn" if sums.iloc[2] else ""),
        ("expire within the hour", f"{sums['expiring_soon']:,}", "bad" if sums.iloc[3] else ""),
    ]


# column → (heading, how to write it)
_HEALTH = {
    "tenant_name": ("Tenant", "text"),
    "batches": ("Batches", "count"),
    "processing_batches": ("Processing", "count"),
    "failed_batches": ("Failed batches", "count"),
    "total_records": ("Records", "count"),
    "successful_records": ("Succeeded", "count"),
    "lost_records": ("Lost", "count"),
    "expired": ("Expired", "range"),
    "settled_fraction": ("Of settled", "percent"),
    "pending_resources": ("Waiting", "count"),
    "overdue": ("Overdue", "count"),
    "expiring_soon": ("Expire in 1 h", "count"),
    "next_expiry": ("Next expiry", "moment"),
}
_RECONCILED = {
    "part": ("Records", "text"),
    "rule": ("Known by rule", "text"),
    "records": ("Count", "count"),
}
_SUCCESS = {
    "schema_name": ("Schema", "text"),
    "batches": ("Batches", "count"),
    "total_records": ("Records", "count"),
    "successful_records": ("Succeeded", "count"),
    "failed_records": ("Failed", "count"),
    "pending_records": ("Waiting", "count"),
    "settled_fraction": ("Of settled", "percent"),
    "strict_fraction": ("Of all", "percent"),
}
_BOTTLENECKS = {
    "external_id": ("Missing", "text"),
    "schema_name": ("Schema", "text"),
    "tenant_name": ("Tenant", "text"),
    "unlock": ("Unlocks", "count"),
    "blocked": ("Blocks", "count"),
    "direct": ("Direct", "count"),
    "needed_by": ("Needed by", "moment"),
}
_ERRORS = {
    "source": ("Source", "text"),
    "pattern": ("Path", "text"),
    "value": ("Value", "text"),
    "batches": ("Batches", "count"),
    "total": ("Sum", "count"),
}


def _common_errors(errors: pd.DataFrame) -> pd.DataFrame:
    """The most common error values: numbers summed, texts counted."""
    shown = errors[errors["source"] != "details"]
    shown = shown.assign(batch=shown.groupby(BATCH_KEY, dropna=False).ngroup())
    value = shown["value"].where(shown["number"].isna())
    grouped = shown.assign(value=value).groupby(["source", "pattern", "value"], dropna=False)
    table = grouped.agg(batches=("batch", "nunique"), total=("number", _sum)).reset_index()
    return table.sort_values(["total", "batches"], ascending=False)


def _sum(numbers: pd.Series) -> float:
    """The sum of what can be a count; null if none can."""
    return float(numbers[numbers.abs() < _TOO_MANY].sum(min_count=1))


_TOO_MANY = 2**53  # from here on a float is not exact
_WRITE: dict[str, Callable[[pd.Series], list[str]]] = {
    "text": lambda values: [_plain(value) for value in values],
    "count": _theme.counts,
    "range": list,
    "percent": _theme.percents,
    "moment": _theme.moments,
}


def _plain(value: object) -> str:
    """Foreign text, not yet escaped: the template does that."""
    return "–" if pd.isna(value) else str(value)  # type: ignore[call-overload]


def _table(frame: pd.DataFrame, shown: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    """The first rows of a frame, as headings and cells of text."""
    first = frame.head(_ROWS)
    columns = [_WRITE[kind](first[name]) for name, (_, kind) in shown.items()]
    return {
        "headings": [
            {"text": heading, "numeric": kind in {"count", "percent", "range"}}
            for heading, kind in shown.values()
        ],
        "rows": list(zip(*columns, strict=True)),
        "more": len(frame) - len(first),
        "narrow": len(shown) > 9,
    }
