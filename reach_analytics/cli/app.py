"""The application: what all commands share, and how errors end it."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from reach_analytics.cli.printing import printable

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
        print(f"reach-analytics: {printable(str(error))}", file=sys.stderr)
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
