"""The commands that call the API and maintain the store."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reach_analytics.cli._output import printable, show
from reach_analytics.cli._signals import interrupt
from reach_analytics.cli.app import StoreOption, app

if TYPE_CHECKING:
    from reach_analytics.collector import RunSummary

__all__ = ["AsJson", "Ids", "IdsFile", "Rate", "Tenants", "collect", "compact", "repair", "watch"]

Ids = Annotated[list[str] | None, typer.Argument(help="Observe only these batches; - reads stdin.")]
IdsFile = Annotated[
    Path | None, typer.Option("--file", "-f", help="Read batch ids from a file, too.")
]
Tenants = Annotated[
    list[str] | None, typer.Option(help="Only this tenant; may be given several times.")
]
Rate = Annotated[float | None, typer.Option(help="Most requests per second.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")]


@app.command()
def collect(
    batch_ids: Ids = None,
    store: StoreOption = "data/reach",
    tenant: Tenants = None,
    file: IdsFile = None,
    rate: Rate = None,
    give_up_after: Annotated[
        str, typer.Option(help="End the pass once the API has been down for this long.")
    ] = "2min",
    as_json: AsJson = False,
) -> None:
    """Observe every batch once and write the observations to the store.

    The token comes from REACH_TOKEN, or REACH_SHARED_SECRET and REACH_PARTNER_ID. Exits with 1 if
    something could not be observed.
    """
    import reach_analytics as reach

    ids = _ids(batch_ids, file)
    with reach.Client(requests_per_second=rate) as client:
        run = reach.collect(
            client,
            reach.Store(store),
            batch_ids=ids,
            tenants=tenant or None,
            give_up_after=give_up_after,
        )
    _print(run, as_json)
    if not run.ok:
        raise typer.Exit(1)


@app.command()
def watch(
    batch_ids: Ids = None,
    store: StoreOption = "data/reach",
    tenant: Tenants = None,
    file: IdsFile = None,
    every: Annotated[
        str, typer.Option(help="Shortest interval between two requests for a listing.")
    ] = "60s",
    until: Annotated[
        str | None, typer.Option(help="When to end, or after how long: '8h'. Never by default.")
    ] = None,
    rate: Rate = None,
    per_day: Annotated[
        int | None, typer.Option(min=1, help="Most requests in any 24 hours.")
    ] = None,
    keep_retrying: Annotated[
        bool,
        typer.Option("--keep-retrying", help="Try again when the token or the store fails."),
    ] = False,
    compact: Annotated[
        bool, typer.Option(help="Compact the store now and then, in the background.")
    ] = True,
    log: Annotated[
        Path | None, typer.Option(help="Append a line of JSON for each event to this file.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Observe batches over time, each as often as is useful, until Ctrl-C or SIGTERM.

    With batch ids it ends when all of them have ended. The token comes from REACH_TOKEN, or
    REACH_SHARED_SECRET and REACH_PARTNER_ID. Exits with 0 when it is stopped, and with 1 if the
    token is no longer accepted or the store cannot be written.
    """
    import reach_analytics as reach
    from reach_analytics.cli._logs import logged

    ids = _ids(batch_ids, file)
    with (
        _ended_by_sigterm(),
        logged(log),
        reach.Client(requests_per_second=rate) as client,
    ):
        run = reach.watch(
            client,
            reach.Store(store),
            every,
            until,
            batch_ids=ids,
            tenants=tenant or None,
            requests_per_day=per_day,
            keep_retrying=keep_retrying,
            compact=compact,
        )
    _print(run, as_json)


@app.command()
def compact(
    store: StoreOption = "data/reach",
    retention: Annotated[
        str, typer.Option(help="How long replaced files are kept for readers, as '12h' or '7d'.")
    ] = "7d",
    as_json: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
) -> None:
    """Make the store small and fast again; collectors and readers may keep running."""
    import reach_analytics as reach

    done = reach.Store(store).compact(retention=retention)
    if as_json:
        print(json.dumps(asdict(done), indent=2))
    else:
        print(done)


@app.command()
def repair(
    store: StoreOption = "data/reach",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")] = False,
) -> None:
    """Show what is damaged in a store and what can be done, and do it if you say so.

    Nothing is deleted: what is removed is set aside in the store's own directory. Exits with 1 if
    something is damaged and nothing was done.
    """
    import reach_analytics as reach

    opened = reach.Store(store)
    found = opened.repair()
    print(printable(str(found)))
    if not found.is_needed:
        return
    if not yes and not (sys.stdin.isatty() and typer.confirm("Do it?")):
        print("To do it: --yes", file=sys.stderr)
        raise typer.Exit(1)
    print(printable(str(opened.repair(apply=True))))


def _ids(given: list[str] | None, file: Path | None) -> list[str] | None:
    """The batch ids from arguments, stdin and a file; None if none were asked for."""
    if not given and file is None:
        return None
    ids = [i for one in given or () for i in (sys.stdin.read().split() if one == "-" else [one])]
    if file is not None:
        ids += file.read_text(encoding="utf-8").split()
    if not ids:
        raise ValueError("no batch ids were given; leave - and --file out to observe all")
    return ids


def _print(run: RunSummary, as_json: bool) -> None:
    if as_json:
        print(json.dumps(run.as_dict(), indent=2))
    else:
        show(run)


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM acts as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
