"""The sections of the page, each a question: what its texts, charts and tables are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from reach_analytics.measures import changes_in_words
from reach_analytics.measures._shared.words import how_good, offer
from reach_analytics.measures.stories.phrases import listed, many, named
from reach_analytics.plots import (
    _theme,
    plot_backlog,
    plot_bottlenecks,
    plot_changes,
    plot_dependency_graph,
    plot_expiring,
    plot_lost,
    plot_release_rates,
    plot_status,
    plot_success,
    plot_upload_plan,
)
from reach_analytics.report._page import columns as shown
from reach_analytics.report._page.cells import Column, PageTable, page_table
from reach_analytics.report._page.figures import PageFigure, page_figure
from reach_analytics.tables import (
    BATCH_KEY,
    BATCHES,
    BOTTLENECKS,
    CHANGES,
    COVERAGE,
    HEALTH,
    LOST,
    SUCCESS,
    UPLOAD_PLAN,
    Table,
)

__all__ = ["Note", "Section", "sections_of"]

_MANY = 10  # names in a note


@dataclass(frozen=True)
class Note:
    """A paragraph; ``tone`` is empty or ``warn``."""

    text: str
    tone: str = ""


@dataclass(frozen=True)
class Section:
    """A section: its anchor, the question that it answers, and what stands in it."""

    name: str
    question: str
    parts: list[Note | PageFigure | PageTable] = field(default_factory=list)

    def add(self, *parts: PageFigure | PageTable) -> None:
        """Add charts and tables."""
        self.parts.extend(parts)

    def note(self, text: str, tone: str = "") -> None:
        """Add a paragraph, if there is something to say."""
        if text:
            self.parts.append(Note(text, tone))


def sections_of(frames: Mapping[str, Any], now: pd.Timestamp) -> list[Section]:
    """All sections, in the order of the page; ``now`` is in its zone."""
    return [make(frames, now) for make in _SECTIONS]


def _landed(frames: Mapping[str, Any], now: pd.Timestamp) -> Section:
    section = Section("landed", "Did it land?")
    health = frames["health"].assign(
        expired=_theme.ranges(frames["health"]["expired_min"], frames["health"]["expired_max"])
    )
    section.add(
        _chart("status", plot_status(frames["status_over_time"])),
        _chart("success", plot_success(frames["success_over_time"])),
        _table("health", "Each tenant", health, shown.HEALTH, HEALTH, now, "No batches yet."),
        _table(
            "success-by-schema",
            "Each schema",
            frames["success"],
            shown.SUCCESS,
            SUCCESS,
            now,
            "No batches yet.",
        ),
    )
    section.note(_oddly_dated(frames["oddly_dated"], now), "warn")
    failed = frames["failed_batches"]
    if len(failed):
        section.add(
            _table("failed-batches", "Batches that failed", failed, shown.BATCHES, BATCHES, now, "")
        )
    return section


def _changed(frames: Mapping[str, Any], now: pd.Timestamp) -> Section:
    section = Section("changed", "What changed?")
    changes = frames["changes"]
    since = frames["overview"].since
    section.note(f"Since {since.tz_convert(now.tz):%Y-%m-%d %H:%M %Z}.")
    for line in changes_in_words(changes).splitlines():
        section.note(line)
    section.add(
        _chart("changes", plot_changes(changes)),
        _table(
            "changes-table",
            "Each change",
            changes,
            shown.CHANGES,
            CHANGES,
            now,
            "Nothing changed.",
        ),
    )
    return section


def _waits(frames: Mapping[str, Any], now: pd.Timestamp) -> Section:
    section = Section("waits", "What waits, and what was lost?")
    section.note(_uncovered(frames["coverage"]), "warn")
    section.add(
        _chart("expiry", plot_expiring(frames["expiring"])),
        _chart("backlog", plot_backlog(frames["backlog"])),
        _table(
            "reconciliation",
            "Where every record of the batches is, each once",
            account(frames["reconciliation"]),
            shown.RECONCILIATION,
            None,
            now,
            "No batches yet.",
        ),
    )
    section.note(offer(frames["conventions"]), "warn")
    section.add(
        _chart("release-rates", plot_release_rates(frames["release_rates"])),
        _chart("lost", plot_lost(frames["lost"])),
        _table(
            "lost-records",
            "What was lost, and why",
            frames["lost"],
            shown.LOST,
            LOST,
            now,
            "Nothing was lost.",
        ),
    )
    return section


def _upload(frames: Mapping[str, Any], now: pd.Timestamp) -> Section:
    section = Section("upload", "What to upload next?")
    missing, plan = frames["bottlenecks"], frames["plan"]
    count = many(len(missing), "dependency is missing and has", "dependencies are missing and have")
    section.note(f"{count} to be delivered: no waiting record provides them.")
    section.note(how_good(plan) if len(plan) else "")
    section.add(
        _chart("plan", plot_upload_plan(plan)),
        _table(
            "upload-plan",
            "The plan, in order: what to upload, and how many waiting records each frees",
            plan,
            shown.PLAN,
            UPLOAD_PLAN,
            now,
            "Nothing is missing that could be delivered.",
        ),
    )
    if len(plan):
        section.add(
            _table(
                "plan-by-tenant",
                "The plan by tenant and schema",
                by_tenant(plan),
                shown.PLAN_BY_TENANT,
                None,
                now,
                "",
            )
        )
    section.add(
        _chart("bottlenecks", plot_bottlenecks(missing, top=15)),
        _table(
            "bottlenecks-table",
            "Each missing dependency that has to be delivered",
            missing,
            shown.BOTTLENECKS,
            BOTTLENECKS,
            now,
            "Nothing is missing.",
        ),
    )
    return section


def _graph(frames: Mapping[str, Any], now: pd.Timestamp) -> Section:
    section = Section("graph", "Who waits for whom?")
    nodes = frames["graph"].nodes
    own = nodes[nodes["in_cycle"]]
    if len(own):
        names = [named(row.schema_name, row.external_id) for row in own.head(_MANY).itertuples()]
        section.note(
            f"Deadlock: {listed(names, len(own))} wait for each other. No delivery frees them but "
            "one of themselves, uploaded again without its reference.",
            "warn",
        )
    section.add(_chart("dependency-graph", plot_dependency_graph(frames["graph"])))
    return section


def _wrong(frames: Mapping[str, Any], now: pd.Timestamp) -> Section:
    section = Section("errors", "What went wrong?")
    section.add(
        _table(
            "common-errors",
            "What the batches report, the most frequent first",
            common_errors(frames["errors"]),
            shown.ERRORS,
            None,
            now,
            "No batch reports an error.",
        )
    )
    return section


def _known(frames: Mapping[str, Any], now: pd.Timestamp) -> Section:
    section = Section("known", "How well do we know?")
    last = frames["overview"].last_observation
    if last is None:
        section.note("Nothing was observed.")
    else:
        section.note(f"The last observation was at {last.tz_convert(now.tz):%Y-%m-%d %H:%M:%S %Z}.")
    rates = frames["release_rates"]
    ended, unknown = (int(rates[name].sum()) for name in ("mature", "unknown"))
    if ended:
        share = _theme.share(unknown, ended)
        section.note(f"Of {ended:,} mature waits it is unknown how {unknown:,} ended ({share}).")
    section.add(
        _table(
            "coverage",
            "What is known of what waits, by tenant",
            frames["coverage"],
            shown.COVERAGE,
            COVERAGE,
            now,
            "Nothing waits.",
        )
    )
    return section


_SECTIONS: tuple[Callable[[Mapping[str, Any], pd.Timestamp], Section], ...] = (
    *(_landed, _changed, _waits, _upload, _graph, _wrong, _known),
)


def _chart(name: str, figure: Any) -> PageFigure:
    return page_figure(name, figure)


def _table(
    name: str,
    caption: str,
    frame: pd.DataFrame,
    columns: tuple[Column, ...],
    of: Table | None,
    now: pd.Timestamp,
    empty: str,
) -> PageTable:
    return page_table(name, caption, frame, columns, of=of, now=now, empty=empty)


_ACCOUNT = {
    "landed": "landed",
    "waiting": "waiting: too young to tell",
    "unprocessed": "not yet processed",
    "expired": "lost: certainly expired",
    "unknown": "lost: expired or failed otherwise, unknown which",
    "failed": "lost: failed otherwise, or in a wait that was not seen",
    "unreconciled": "in batches whose counts contradict each other",
}


def account(reconciled: pd.DataFrame) -> pd.DataFrame:
    """The account of all records, in words, with the total."""
    known = reconciled[(reconciled["records"] > 0) | (reconciled["part"] != "unreconciled")]
    table = known.assign(part=known["part"].map(_ACCOUNT))
    total = {"part": "all records", "records": int(table["records"].sum())}
    return pd.concat([table, pd.DataFrame([total])], ignore_index=True)


def by_tenant(plan: pd.DataFrame) -> pd.DataFrame:
    """How many uploads of each tenant and schema a plan has, and what they free."""
    names = [name for name in ("tenant_name", "tenant_id", "schema_name") if name in plan]
    groups = plan.groupby(names, dropna=False, sort=False)
    table = groups.agg(
        uploads=("external_id", "size"), frees=("frees", "sum"), needed_by=("needed_by", "min")
    ).reset_index()
    return table.sort_values("frees", ascending=False, kind="stable", ignore_index=True)


def common_errors(errors: pd.DataFrame) -> pd.DataFrame:
    """The most common error values, numbers summed and texts counted, with an example of each."""
    own = errors[errors["source"] != "details"]
    own = own.assign(batch=own.groupby(BATCH_KEY, dropna=False).ngroup())
    value = own["value"].where(own["number"].isna())
    grouped = own.assign(value=value).groupby(["source", "pattern", "value"], dropna=False)
    table = grouped.agg(
        batches=("batch", "nunique"), total=("number", _sum), example=("batch_id", "first")
    )
    order = ["total", "batches"]
    return table.reset_index().sort_values(order, ascending=False, kind="stable")


def _sum(numbers: pd.Series) -> float:
    """The sum of what can be a count; null if none can."""
    return float(numbers[numbers.abs() < _TOO_MANY].sum(min_count=1))


_TOO_MANY = 2**53  # from here on a float is not exact


def _oddly_dated(batches: pd.DataFrame, now: pd.Timestamp) -> str:
    """A note on batches that the charts over time do not show, if there are any."""
    if batches.empty:
        return ""
    ends = [batches["created_at"].min(), batches["created_at"].max()]
    first, last = _theme.moments(end if pd.isna(end) else end.tz_convert(now.tz) for end in ends)
    when = f"at {first}" if first == last else f"from {first} to {last}"
    return (
        f"Not in the charts over time: {len(batches):,} of the batches, whose dates are far from "
        f"all others, created {when}."
    )


def _uncovered(coverage: pd.DataFrame) -> str:
    """A note on batches whose waits are not well known, if there are any."""
    names = ["batches_waiting", "batches_covered", "batches_stale", "batches_partial"]
    sums = coverage[names].sum()
    if sums["batches_covered"] == sums["batches_waiting"]:
        return ""
    return (
        f"{sums['batches_covered']:,} of {sums['batches_waiting']:,} batches with something "
        f"pending have a full list from the last hour ({sums['batches_stale']:,} have an older "
        f"one, {sums['batches_partial']:,} none or an incomplete one)."
    )
