"""What the command line prints: tables, and foreign text made harmless."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table
    from rich.text import Text

    from reach_analytics.collector import RunSummary
    from reach_analytics.history import History


def print_health(history: History, health: pd.DataFrame) -> None:
    if health.empty:
        print("No batch had been seen by then.")
        return
    headings = ("batches", "failed\nbatches", "records", "landed", "lost", "of these\nexpired")
    table = new_table("Health", "tenant", *headings)
    for heading in ("waiting", "overdue", "expire\nin 1 h", f"next expiry\n({_zone(health)})"):
        table.add_column(heading, justify="right")
    for row in rows(health):
        low, high = count(row.expired_min), count(row.expired_max)
        table.add_row(
            cell(row.tenant_name),
            count(row.batches),
            count(row.failed_batches),
            count(row.total_records),
            count(row.successful_records),
            count(row.lost_records),
            low if low == high else f"{low}–{high}",
            count(row.pending_resources),
            count(row.overdue),
            count(row.expiring_soon),
            minute(row.next_expiry),
        )
    show(table)
    from reach_analytics.measures._shared.words import offer

    print(printable(history.age[:1].upper() + history.age[1:]) + ".")
    if told := offer(history.conventions()):
        print(told)


def print_missing(history: History) -> None:
    """Report on stderr what damaged files leave out of the output."""
    if history.missing:
        print(f"reach-analytics: {history.missing}", file=sys.stderr)


def print_bottlenecks(history: History, bottlenecks: pd.DataFrame, *, top: int) -> None:
    if bottlenecks.empty:
        print("Nothing is missing.")
        return
    title = f"Bottlenecks: {len(bottlenecks):,} missing dependencies, the worst {top}"
    needed = f"needed by\n({_zone(bottlenecks)})"
    table = new_table(title, "missing", "schema", "unlocks", "blocks", "direct", needed)
    table.add_column("must come from")
    table.add_column("tenant")
    for row in rows(bottlenecks.head(top)):
        table.add_row(
            cell(row.external_id),
            cell(row.schema_name),
            count(row.unlock),
            ("" if row.blocked_exact else "≈") + count(row.blocked),
            count(row.direct),
            minute(row.needed_by),
            "you" if row.is_root else "itself, waiting",
            cell(row.tenant_name),
        )
    show(table)
    nodes = history.dependency_graph().nodes
    stuck = nodes.loc[nodes["in_cycle"], "external_id"].tolist()
    if stuck:
        shown = ", ".join(printable(str(name)) for name in stuck[:6])
        more = f" and {len(stuck) - 6:,} more" if len(stuck) > 6 else ""
        print(f"In a deadlock, each waiting for another: {shown}{more}.")
        print("Only one way out: upload one of them again without its reference.")


_IN_VAIN = {"too late": "comes too late", "deadlock": "waits on a deadlock"}


def print_plan(plan: pd.DataFrame) -> None:
    if plan.empty:
        print("Nothing is missing that could be delivered.")
        return
    title = f"Upload plan ({plan['guarantee'].iloc[0]}): the first {len(plan)}"
    zone = _zone(plan)
    headings = ("schema", "block", "frees", "freed\nso far", f"needed by\n({zone})")
    table = new_table(title, "upload", *headings)
    table.add_column(f"at ({zone})")
    in_vain = plan["reason"].notna().any()
    if in_vain:
        table.add_column("frees nothing")
    table.add_column("tenant")
    for row in rows(plan):
        table.add_row(
            cell(row.external_id),
            cell(row.schema_name),
            count(row.block),
            count(row.frees),
            count(row.running_total),
            minute(row.needed_by),
            minute(row.deliver_at),
            *([cell(_IN_VAIN.get(row.reason, ""))] if in_vain else []),
            cell(row.tenant_name),
        )
    from reach_analytics.measures._shared.words import how_good

    show(table)
    print(how_good(plan))


def print_success(success: pd.DataFrame, *, groups: list[str]) -> None:
    if success.empty:
        print("No batch had been seen by then.")
        return
    headings = ("batches", "records", "landed", "failed", "waiting", "of settled", "95 %")
    heads = {**_GROUPS, "bucket": f"from ({_zone(success)})"}
    first, *others = [heads.get(name, name) for name in groups] or ["all"]
    table = new_table("Success", first, *others, *headings)
    for row in rows(success):
        low, high = percent(row.settled_low_fraction), percent(row.settled_high_fraction)
        table.add_row(
            *([_group(getattr(row, name)) for name in groups] or ["all"]),
            count(row.batches),
            count(row.total_records),
            count(row.successful_records),
            count(row.failed_records),
            count(row.pending_records),
            percent(row.settled_fraction),
            "–" if low == high == "–" else f"{low}–{high}",
        )
    show(table)


_GROUPS = {"tenant_name": "tenant", "schema_name": "schema", "batch_type": "batch type"}


def _group(value: Any) -> Text | str:
    return cell(value) if isinstance(value, str) else minute(value)


def print_expiring(expiring: pd.DataFrame, *, top: int) -> None:
    if expiring.empty:
        print("Nothing waits that expires by then.")
        return
    title = f"Expiring: {len(expiring):,} pending resources, the first {min(top, len(expiring))}"
    table = new_table(title, "waits", "schema", f"expires ({_zone(expiring)})", "in", "misses")
    table.add_column("tenant")
    for row in rows(expiring.head(top)):
        table.add_row(
            cell(row.external_id),
            cell(row.schema_name),
            minute(row.expires_at),
            "overdue" if row.overdue else length(row.time_left),
            count(row.missing_count),
            cell(row.tenant_name),
        )
    show(table)


def print_lost(lost: pd.DataFrame, *, top: int) -> None:
    if lost.empty:
        print("Nothing is known to be lost.")
        return
    certain = lost["records"].where(lost["certain"], 0).sum()
    open_ = lost["records"].sum() - certain
    perhaps = f", {count(open_)} more perhaps" if open_ else ""
    title = f"Lost: {count(certain)} records{perhaps}; the latest {min(top, len(lost))} rows"
    table = new_table(title, "record", "schema", "outcome", f"lost by\n({_zone(lost)})")
    table.add_column("cause", overflow="ellipsis", no_wrap=True)
    table.add_column("tenant")
    for row in rows(lost.head(top)):
        several = row.external_id if isinstance(row.external_id, str) else f"{count(row.records)} ×"
        table.add_row(
            cell(several),
            cell(row.schema_name),
            cell(row.outcome if row.certain else f"{row.outcome}?".replace("unknown?", "unknown")),
            minute(row.lost_by),
            cell(row.cause),
            cell(row.tenant_name),
        )
    show(table)


def print_changes(changes: pd.DataFrame) -> None:
    from reach_analytics.measures import changes_in_words

    print(printable(changes_in_words(changes)))


def as_json(frame: pd.DataFrame) -> str:
    """The rows as a JSON list: times in ISO 8601, lengths of time in seconds, absent ones null."""
    lengths = frame.select_dtypes("timedelta").columns
    told = frame.assign(**{name: frame[name].dt.total_seconds() for name in lengths})
    text = told.to_json(orient="records", date_format="iso", date_unit="us", indent=2)
    return str(text)


def values_as_json(values: dict[str, Any]) -> str:
    """Plain values as JSON, with all but ASCII escaped."""
    import json

    return json.dumps(values, indent=2)


def print_whereabouts(folder: Path, page: Path) -> None:
    print(
        f"\nReport   {page}\nExports  {folder / 'export'} (CSV and Parquet)"
        f"\nStore    {folder / 'store'} (Delta tables)\n\nNext, in Python or a notebook:\n\n"
        "  import reach_analytics as reach\n"
        f"  history = reach.open_history({str(folder / 'store')!r})\n"
        "  reach.plot_dependency_graph(history.dependency_graph(top=10))\n"
        "\nor: reach-analytics bottlenecks --store " + str(folder / "store")
    )


def rows(frame: pd.DataFrame) -> Iterator[Any]:
    """The rows, by name; typed Any, since the stubs of itertuples are too strict."""
    return iter(frame.itertuples())


def new_table(title: str, first: str, *others: str) -> Table:
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    table.add_column(first)
    for heading in others:
        table.add_column(heading, justify="left" if heading == "schema" else "right")
    return table


def show(table: Table | RunSummary) -> None:
    """Print a table; without a terminal, wide enough for its columns."""
    from rich.console import Console

    print()
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def printable(value: str) -> str:
    """Foreign text for a terminal, without control characters that could move its cursor."""
    return "".join(
        c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in value
    )


def cell(value: Any) -> Text:
    """Foreign text for a table; as `Text`, it is not parsed as rich markup."""
    from rich.text import Text

    return Text(printable(value) if isinstance(value, str) else "–")


def count(value: Any) -> str:
    import pandas as pd

    return "–" if pd.isna(value) else f"{int(value):,}"


def percent(value: Any) -> str:
    import pandas as pd

    return "–" if pd.isna(value) else f"{value:.1%}"


def length(value: Any) -> str:
    import pandas as pd

    from reach_analytics._time import in_words

    return "–" if pd.isna(value) else in_words(value)


def _zone(frame: pd.DataFrame) -> str:
    """The zone in which a frame has its times."""
    return next((str(frame[name].dt.tz) for name in frame.select_dtypes("datetimetz")), "UTC")


def minute(value: Any) -> str:
    import pandas as pd

    return "–" if pd.isna(value) else f"{value:%Y-%m-%d %H:%M}"
