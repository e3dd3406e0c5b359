"""The commands that read the store, and those that need no API."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reach_analytics.cli._output import (
    as_json,
    print_bottlenecks,
    print_changes,
    print_expiring,
    print_health,
    print_lost,
    print_plan,
    print_success,
    print_whereabouts,
    printable,
    values_as_json,
)
from reach_analytics.cli._reading import reading
from reach_analytics.cli.app import Top, app

if TYPE_CHECKING:
    from threading import Event

    import pandas as pd

    from reach_analytics.history import History
    from reach_analytics.sandbox import Sandbox

__all__ = ["bottlenecks", "changes", "demo", "expiring", "explain", "export", "health", "lost"]
__all__ += ["overview", "plan", "report", "sandbox", "success"]

AsJson = Annotated[bool, typer.Option("--json", help="Print it as JSON, for programs.")]
CsvFile = Annotated[Path | None, typer.Option(help="Write it to this CSV file, too.")]


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
    import reach_analytics as reach
    from reach_analytics._progress import progress_bar

    folder = _new_directory(Path("reach-demo")) if out is None else _empty_directory(out)
    store = reach.Store(folder / "store")
    with reach.sandbox.serve("demo", seed=seed) as sandbox:
        print(f"Sandbox at {sandbox.url}, playing 8 hours of uploads by 3 tenants")
        with reach.Client(**sandbox.credentials) as client:
            moments = sandbox.scenario.moments
            for moment in progress_bar(moments, "collect", unit=" passes", disable=None):
                sandbox.advance(moment)
                reach.collect(client, store, progress=False)
    history = reach.open_history(store)
    print_health(history, history.health())
    print_bottlenecks(history, history.bottlenecks(), top=10)
    page = history.report(folder / "report.html")
    history.export(folder / "export", format=("csv", "parquet"))
    print_whereabouts(folder, page)


@app.command()
def sandbox(
    scenario: Annotated[
        str,
        typer.Option(
            help="What to play: demo, healthy, late_dependencies, deadlock, expiry_storm, year, "
            "or a .toml file of your own."
        ),
    ] = "demo",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free port.")] = 0,
    speed: Annotated[
        float, typer.Option(min=0, max=1e6, help="Virtual seconds per second; 0 stops the clock.")
    ] = 60,
    seed: Annotated[int, typer.Option(min=0, help="The same seed plays the same story.")] = 0,
    host: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Permit a --host other than loopback.")
    ] = False,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            help="Answer to this name as well as to localhost and addresses; may be given several "
            "times."
        ),
    ] = None,
) -> None:
    """Run the emulated API until Ctrl-C, and say how to reach it."""
    from reach_analytics.sandbox import serve

    with serve(
        scenario,
        seed=seed,
        host=host,
        port=port,
        speed=speed,
        allow_remote=allow_remote,
        allow_hosts=allow_host or (),
    ) as running:
        moments = running.scenario.moments
        running.advance(moments[len(moments) // 4])  # where the first dependencies are missing
        print(f"Sandbox {printable(running.scenario.name)!r} at {running.url}")
        print(f"It is {running.world.time:%Y-%m-%d %H:%M} there, at {speed:g} times real time;")
        print(f"uploads end at {moments[-1]:%Y-%m-%d %H:%M}. In another shell:\n")
        for name, value in running.environment.items():
            print(f"  export {name}={value}")
        print("  reach-analytics collect --store data/sandbox\n")
        tenants = ", ".join(printable(tenant.id) for tenant in running.world.tenants.values())
        print(f"Tenants for the header reach-tenant-id: {tenants}")
        ended = _end_requested()  # before announcing Ctrl-C, which may follow at once
        print(f"The contract is at {running.url}/openapi.json. Ctrl-C stops it.", flush=True)
        _wait_for_the_end(running, ended)
    print("\nstopped")


@app.command()
@reading
def health(history: History, json: AsJson = False, csv: CsvFile = None) -> None:
    """Did it land, what waits, what was lost, what expires next: a row per tenant."""
    _tell(history.health(), partial(print_health, history), json, csv)


@app.command()
@reading
def success(
    history: History,
    by: Annotated[
        str | None,
        typer.Option(help="tenant_name, schema_name, batch_type or status; several with commas."),
    ] = None,
    freq: Annotated[
        str | None, typer.Option(help="Over time, in buckets as 1h, 7D, W or M.")
    ] = None,
    json: AsJson = False,
    csv: CsvFile = None,
) -> None:
    """How much of what was sent landed, with its 95 % interval."""
    names = [name.strip() for name in by.split(",")] if by else []
    groups = [*names, *(["bucket"] if freq else [])]
    found = history.success(by=names, freq=freq)
    _tell(found, partial(print_success, groups=groups), json, csv)


@app.command()
@reading
def expiring(
    history: History,
    within: Annotated[
        str | None, typer.Option(help="Only what expires in that time, as 2h, or is overdue.")
    ] = None,
    top: Top = 20,
    json: AsJson = False,
    csv: CsvFile = None,
) -> None:
    """What waits, the first to expire on top. JSON and CSV hold all of it."""
    _tell(history.expiring(within=within), partial(print_expiring, top=top), json, csv)


@app.command()
@reading
def lost(
    history: History,
    top: Top = 20,
    json: AsJson = False,
    csv: CsvFile = None,
) -> None:
    """Which records expired or failed, and why, the latest first. JSON and CSV hold all of them."""
    _tell(history.lost(), partial(print_lost, top=top), json, csv)


@app.command()
@reading
def changes(
    history: History,
    since: Annotated[
        str, typer.Option(help="Compared with then: as 24h, or '2026-03-02 12:00'.")
    ] = "24h",
    json: AsJson = False,
    csv: CsvFile = None,
) -> None:
    """What changed since then. JSON and CSV hold each change, with its size."""
    _tell(history.changes(since=since), print_changes, json, csv)


@app.command()
@reading
def explain(
    history: History,
    name: Annotated[
        str, typer.Argument(help="An external id, or the id of a pending resource or a batch.")
    ],
    json: AsJson = False,
) -> None:
    """What something is, why it waits, and what would free it."""
    found = history.explain(name)
    if json:
        print(values_as_json(found.to_dict()))
    else:
        print(found)


@app.command()
@reading
def bottlenecks(history: History, top: Top = 10, json: AsJson = False, csv: CsvFile = None) -> None:
    """The missing dependencies that would free the most. JSON and CSV hold all of them."""
    _tell(history.bottlenecks(), partial(print_bottlenecks, history, top=top), json, csv)


@app.command()
@reading
def plan(
    history: History,
    top: Top = 20,
    per_hour: Annotated[
        float | None, typer.Option(help="Uploads per hour; then expiries count.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Write the uploads there, too: CSV and JSON files, in order."),
    ] = None,
    json: AsJson = False,
    csv: CsvFile = None,
) -> None:
    """What to upload next, in the order that frees the most the soonest.

    In CSV every cell is written as is: a spreadsheet may run one that begins with = + - or @ (or a
    tab or carriage return) as a formula. Import its columns as text.
    """
    found = history.upload_plan(top=top, uploads_per_hour=per_hour)
    _tell(found, print_plan, json, csv)
    if out is not None:
        from reach_analytics.report import write_upload_files

        readme, *_ = write_upload_files(found, out)
        print(readme, file=sys.stderr if json else sys.stdout)


@app.command()
@reading
def report(
    history: History,
    path: Annotated[Path, typer.Argument(help="The page to write.")] = Path("report.html"),
    changes_since: Annotated[
        str | None,
        typer.Option(
            help="Compared with then: as 24h, or '2026-03-02 12:00'. By default with the report "
            "that is replaced, else a day ago."
        ),
    ] = None,
    per_tenant: Annotated[
        Path | None, typer.Option(help="Write a report for each tenant there, and an index.")
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Write all figures beside it as JSON, too.")
    ] = False,
) -> None:
    """Write the HTML report: a verdict, what to do now, and charts and tables for each question."""
    if per_tenant is not None:
        index, *_ = history.tenant_reports(per_tenant, since=changes_since, as_json=json)
        print(index)
    else:
        print(history.report(path, since=changes_since, as_json=json))


@app.command()
@reading
def overview(
    history: History,
    changes_since: Annotated[
        str, typer.Option(help="Compared with then: as 24h, or '2026-03-02 12:00'.")
    ] = "24h",
    json: AsJson = False,
) -> None:
    """How it stands: a verdict, the figures that matter most, and what to do now."""
    found = history.overview(since=changes_since)
    print(values_as_json(found.to_dict()) if json else found)


@app.command()
@reading
def export(
    history: History,
    directory: Annotated[Path, typer.Argument(help="Where to write the files.")] = Path("export"),
    format: Annotated[
        str | None, typer.Option(help="parquet or csv, or both with a comma; parquet by default.")
    ] = None,
    for_: Annotated[
        str | None,
        typer.Option("--for", help="spreadsheet: CSV that one opens well and runs nothing of."),
    ] = None,
) -> None:
    """Write the tables and measures as files, with what their columns mean.

    In CSV every cell is written as is: a spreadsheet may run one that begins with = + - or @ (or a
    tab or carriage return) as a formula. Import its columns as text, take Parquet, or have the
    files made for a spreadsheet.
    """
    if for_ not in (None, "spreadsheet"):
        raise typer.BadParameter(f"must be spreadsheet, found {printable(str(for_))}")
    formats = [part.strip() for part in format.split(",")] if format else None
    paths = history.export(
        directory,
        format=formats,  # type: ignore[arg-type]
        for_spreadsheet=for_ is not None,
    )
    for path in paths:
        print(path)


def _tell(
    frame: pd.DataFrame, show: Callable[[pd.DataFrame], None], json: bool, csv: Path | None
) -> None:
    """Print a frame, as a table or as JSON, and write it to a file."""
    if json:
        print(as_json(frame))
    else:
        show(frame)
    if csv is not None:
        from reach_analytics.report import write_csv

        print(write_csv(frame, csv), file=sys.stderr if json else sys.stdout)


def _end_requested() -> Event:
    """An event that is set by Ctrl-C and SIGTERM from now on."""
    import signal
    import threading

    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    return ended


def _wait_for_the_end(running: Sandbox, ended: Event) -> None:
    """Keep the sandbox's clock running until the end is requested."""
    while not ended.wait(0.2):
        running.now()


def _new_directory(wanted: Path) -> Path:
    """``wanted``, or the first of ``wanted-2``, ``wanted-3``, … that does not exist yet."""
    number, path = 1, wanted
    while True:
        try:
            path.mkdir(parents=True)
            return path
        except FileExistsError:
            number += 1
            path = wanted.with_name(f"{wanted.name}-{number}")


def _empty_directory(path: Path) -> Path:
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ValueError(f"{path} is not an empty directory; choose another for --out")
    path.mkdir(parents=True, exist_ok=True)
    return path
