"""The application, and what all its commands share."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

__all__ = [
    "AsOf",
    "EngineOption",
    "MemoryLimit",
    "NeverFail",
    "SkipDamaged",
    "StoreOption",
    "Timezone",
    "Top",
    "app",
]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # its tracebacks would show local variables, including tokens
    help="See what landed in Reach, what waits, and what to upload next.",
)

StoreOption = Annotated[str, typer.Option("--store", "-s", help="Where the store is.")]
AsOf = Annotated[str | None, typer.Option(help="Show what was known then, as '2026-03-02 12:00'.")]
Timezone = Annotated[
    str, typer.Option(help="In whose time, as Europe/Berlin, times are shown and meant.")
]
NeverFail = Annotated[
    bool,
    typer.Option(
        "--released-never-fail",
        help="Your released records never fail their validation; far fewer ends stay unknown.",
    ),
]
SkipDamaged = Annotated[
    bool,
    typer.Option("--skip-damaged", help="Leave damaged files out, and report what they held."),
]
EngineOption = Annotated[
    Literal["duckdb", "spark"],
    typer.Option(help="What runs the queries: DuckDB in this process, or a Spark session."),
]
MemoryLimit = Annotated[
    str | None,
    typer.Option(help="The most memory that DuckDB may take, as 2GB; half of it by default."),
]
Top = Annotated[int, typer.Option("--top", "-n", min=1, help="How many rows.")]


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
