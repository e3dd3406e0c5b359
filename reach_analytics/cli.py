"""The command line: parsing and printing only."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table
    from rich.text import Text

    from reach_analytics.history import History
    from reach_analytics.sandbox import Sandbox

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # its tracebacks would show local variables, tokens too
    help="See what landed in Reach, what waits, and what to upload next.",
)

StoreOption = Annotated[str, typer.Option("--store", "-s", help="Where the store is.")]
AsOf = Annotated[str | None, typer.Option(help="Show what was known then, as '2026-03-02 12:00'.")]
Top = Annotated[int, typer.Option("--top", "-n", min=1, help="How many rows.")]


def main() -> None:
    """Entry point: errors that a user can mend become one line on stderr and exit code 1."""
    from reach_analytics.errors import ReachError

    try:
        app()
    except (ReachError, ValueError, OSError) as error:
        print(f"reach-analytics: {_printable(str(error))}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _version(wanted: bool) -> None:
    if wanted:
        from reach_analytics import __version__

        print(__version__)
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command()
def demo(
    out: Annotated[
        Path | None, typer.Option(help="Directory to write to; a new reach-demo by default.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed plays the same story.")] = 0,
) -> None:
    """Play eight hours of uploads in the sandbox, collect them, and show what came out.

    Needs no token and no network.
    """
    from tqdm.auto import tqdm

    import reach_analytics as reach

    place = _new_directory(Path("reach-demo")) if out is None else _empty_directory(out)
    store = reach.Store(place / "store")
    with reach.sandbox.serve("demo", seed=seed) as sandbox:
        print(f"Sandbox at {sandbox.url}, playing 8 hours of uploads by 3 tenants")
        with reach.Client(**sandbox.credentials) as client:
            for moment in tqdm(sandbox.scenario.moments, "collect", unit=" passes", disable=None):
                sandbox.advance(moment)
                reach.collect(client, store, progress=False)
    history = reach.open_history(store)
    names = {tenant.id: tenant.name for tenant in sandbox.world.tenants.values()}
    _print_health(history.health(), names)
    _print_bottlenecks(history, names, top=10)
    page = history.report(place / "report.html")
    for format in ("csv", "parquet"):
        history.export(place / "export", format=format)
    _print_whereabouts(place, page)


@app.command()
def sandbox(
    scenario: Annotated[
        str,
        typer.Option(
            help="What to play: demo, healthy, late_dependencies, deadlock, expiry_storm, year, "
            "or a .toml file of your own."
        ),
    ] = "demo",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 0,
    speed: Annotated[
        float, typer.Option(min=0, max=1e6, help="Virtual seconds a second; 0 stands.")
    ] = 60,
    seed: Annotated[int, typer.Option(min=0, help="The same seed plays the same story.")] = 0,
    host: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Let --host be other than loopback.")
    ] = False,
) -> None:
    """Run the emulated API until Ctrl-C, and say how to reach it."""
    from reach_analytics.sandbox import serve

    with serve(
        scenario, seed=seed, host=host, port=port, speed=speed, allow_remote=allow_remote
    ) as running:
        moments = running.scenario.moments
        running.advance(moments[len(moments) // 4])  # where the first dependencies are missing
        print(f"Sandbox {_printable(running.scenario.name)!r} at {running.url}")
        print(
            f"It is {running.world.time:%Y-%m-%d %H:%M} there, {speed:g} virtual seconds a second;"
        )
        print(f"uploads end at {moments[-1]:%Y-%m-%d %H:%M}. In another shell:\n")
        for name, value in running.environment.items():
            print(f"  export {name}={value}")
        print("  reach-analytics collect --store data/sandbox\n")
        tenants = ", ".join(_printable(tenant.id) for tenant in running.world.tenants.values())
        print(f"Tenants for the header reach-tenant-id: {tenants}")
        print(f"The contract is at {running.url}/openapi.json. Ctrl-C stops it.", flush=True)
        _wait_for_the_end(running)
    print("\nstopped")


@app.command()
def collect(
    batch_ids: Annotated[
        list[str] | None, typer.Argument(help="Look at these batches only; - reads stdin.")
    ] = None,
    store: StoreOption = "data/reach",
    tenant: Annotated[
        list[str] | None, typer.Option(help="Only this tenant; may be given several times.")
    ] = None,
    rate: Annotated[float | None, typer.Option(help="Most requests a second.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Look once at every batch and remember what was seen.

    The token comes from REACH_TOKEN, or REACH_SHARED_SECRET and REACH_PARTNER_ID. Exits with 1 if
    something could not be seen.
    """
    import reach_analytics as reach

    ids = batch_ids or None
    if ids == ["-"]:
        ids = sys.stdin.read().split()
    with reach.Client(requests_per_second=rate) as client:
        run = reach.collect(client, reach.Store(store), batch_ids=ids, tenants=tenant or None)
    if as_json:
        print(json.dumps({**asdict(run), "ok": run.ok}, default=_isoformat, indent=2))
    else:
        print(_printable(str(run)))
    if not run.ok:
        raise typer.Exit(1)


@app.command()
def health(store: StoreOption = "data/reach", as_of: AsOf = None) -> None:
    """Did it land, what waits, what expires next: a row per tenant."""
    import reach_analytics as reach

    _print_health(reach.open_history(store, as_of=as_of).health(), {})


@app.command()
def bottlenecks(store: StoreOption = "data/reach", as_of: AsOf = None, top: Top = 10) -> None:
    """The missing dependencies that would free the most."""
    import reach_analytics as reach

    _print_bottlenecks(reach.open_history(store, as_of=as_of), {}, top=top)


@app.command()
def plan(
    store: StoreOption = "data/reach",
    as_of: AsOf = None,
    top: Top = 20,
    per_hour: Annotated[
        float | None, typer.Option(help="Uploads an hour; then expiries count.")
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(help="Write the list there too, for whoever uploads it.")
    ] = None,
) -> None:
    """What to upload next, in the order that frees the most the soonest."""
    import reach_analytics as reach
    from reach_analytics.report import export as write_files

    history = reach.open_history(store, as_of=as_of)
    found = history.upload_plan(top=top, uploads_per_hour=per_hour)
    _print_plan(found)
    if csv is not None:
        print(*write_files({csv.stem: found}, csv.parent, "csv"))


@app.command()
def report(
    path: Annotated[Path, typer.Argument(help="The page to write.")] = Path("report.html"),
    store: StoreOption = "data/reach",
    as_of: AsOf = None,
) -> None:
    """Write the HTML report."""
    import reach_analytics as reach

    print(reach.open_history(store, as_of=as_of).report(path))


@app.command()
def export(
    directory: Annotated[Path, typer.Argument(help="Where to write the files.")] = Path("export"),
    store: StoreOption = "data/reach",
    format: Annotated[str, typer.Option(help="parquet or csv.")] = "parquet",
    as_of: AsOf = None,
) -> None:
    """Write the frames and measures as files."""
    import reach_analytics as reach

    history = reach.open_history(store, as_of=as_of)
    for path in history.export(directory, format=format):  # type: ignore[arg-type]
        print(path)


def _wait_for_the_end(running: Sandbox) -> None:
    """Keep the sandbox's clock going until Ctrl-C or SIGTERM."""
    import signal
    import threading

    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    while not ended.wait(0.2):
        running.now()


def _new_directory(wanted: Path) -> Path:
    """``wanted``, or the first of ``wanted-2``, ``wanted-3``, … that is not there yet."""
    number, place = 1, wanted
    while True:
        try:
            place.mkdir(parents=True)
            return place
        except FileExistsError:
            number += 1
            place = wanted.with_name(f"{wanted.name}-{number}")


def _empty_directory(place: Path) -> Path:
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise ValueError(f"{place} is not an empty directory; choose another for --out")
    place.mkdir(parents=True, exist_ok=True)
    return place


def _print_health(health: pd.DataFrame, names: dict[str, str]) -> None:
    if health.empty:
        print("No batch had been seen by then.")
        return
    table = _table(
        "Health", "tenant", "batches", "failed\nbatches", "records", "succeeded", "failed"
    )
    for heading in ("waiting", "overdue", "expire\nin 1 h", "next expiry\n(UTC)"):
        table.add_column(heading, justify="right")
    for row in _rows(health):
        table.add_row(
            _cell(names.get(row.tenant_id, row.tenant_id)),
            _count(row.batches),
            _count(row.failed_batches),
            _count(row.total_records),
            _count(row.successful_records),
            _count(row.failed_records),
            _count(row.pending_resources),
            _count(row.overdue),
            _count(row.expiring_soon),
            _minute(row.next_expiry),
        )
    _show(table)


def _print_bottlenecks(history: History, names: dict[str, str], *, top: int) -> None:
    bottlenecks = history.bottlenecks()
    if bottlenecks.empty:
        print("Nothing is missing.")
        return
    title = f"Bottlenecks: {len(bottlenecks):,} missing dependencies, the worst {top}"
    table = _table(title, "missing", "schema", "unlocks", "blocks", "direct", "needed by\n(UTC)")
    table.add_column("must come from")
    table.add_column("tenant")
    for row in _rows(bottlenecks.head(top)):
        table.add_row(
            _cell(row.external_id),
            _cell(row.schema_name),
            _count(row.unlock),
            ("" if row.blocked_exact else "≈") + _count(row.blocked),
            _count(row.direct),
            _minute(row.needed_by),
            "you" if row.is_root else "itself, waiting",
            _cell(names.get(row.tenant_id, row.tenant_id)),
        )
    _show(table)
    nodes = history.dependency_graph().nodes
    stuck = nodes.loc[nodes["in_cycle"], "external_id"].tolist()
    if stuck:
        shown = ", ".join(_printable(str(name)) for name in stuck[:6])
        more = f" and {len(stuck) - 6:,} more" if len(stuck) > 6 else ""
        print(f"In a deadlock, each waiting for another: {shown}{more}.")
        print("Nothing else frees these: upload one of them anew without its reference.")


def _print_plan(plan: pd.DataFrame) -> None:
    if plan.empty:
        print("Nothing is missing that could be delivered.")
        return
    title = f"Upload plan ({plan['guarantee'].iloc[0]}): the first {len(plan)}"
    table = _table(title, "upload", "schema", "block", "frees", "freed\nso far", "needed by\n(UTC)")
    table.add_column("at (UTC)")
    table.add_column("tenant")
    for row in _rows(plan):
        table.add_row(
            _cell(row.external_id),
            _cell(row.schema_name),
            _count(row.block),
            _count(row.frees),
            _count(row.running_total),
            _minute(row.needed_by),
            _minute(row.deliver_at),
            _cell(row.tenant_id),
        )
    _show(table)


def _print_whereabouts(place: Path, page: Path) -> None:
    print(
        f"\nReport   {page}\nExports  {place / 'export'} (CSV and Parquet)"
        f"\nStore    {place / 'store'} (two Delta tables)\n\nNext, in Python or a notebook:\n\n"
        "  import reach_analytics as reach\n"
        f"  history = reach.open_history({str(place / 'store')!r})\n"
        "  reach.plot_dependency_graph(history.dependency_graph(top=10))\n"
        "\nor: reach-analytics bottlenecks --store " + str(place / "store")
    )


def _rows(frame: pd.DataFrame) -> Iterator[Any]:
    """The rows, by name; of any type, which the stubs of itertuples are too careful for."""
    return iter(frame.itertuples())


def _table(title: str, first: str, *others: str) -> Table:
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    table.add_column(first)
    for heading in others:
        table.add_column(heading, justify="left" if heading == "schema" else "right")
    return table


def _show(table: Table) -> None:
    from rich.console import Console

    print()
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def _printable(value: str) -> str:
    """Foreign text for a terminal: control characters could move its cursor or worse."""
    return "".join(
        c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in value
    )


def _cell(value: Any) -> Text:
    """Foreign text for a table; as `Text`, it is not taken for rich's markup."""
    from rich.text import Text

    return Text(_printable(value) if isinstance(value, str) else "–")


def _count(value: Any) -> str:
    import pandas as pd

    return "–" if pd.isna(value) else f"{int(value):,}"


def _minute(value: Any) -> str:
    import pandas as pd

    return "–" if pd.isna(value) else f"{value:%Y-%m-%d %H:%M}"


def _isoformat(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"cannot write {type(value).__name__} as JSON")


if __name__ == "__main__":
    main()
