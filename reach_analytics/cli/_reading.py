"""Commands that read a store: the options that they share, and the history that these describe."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from reach_analytics.cli._output import print_missing
from reach_analytics.cli.app import (
    AsOf,
    EngineOption,
    MemoryLimit,
    NeverFail,
    SkipDamaged,
    StoreOption,
    Timezone,
)
from reach_analytics.errors import MissingExtraError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from reach_analytics.history import History

__all__ = ["reading"]

Named = list[str] | None
Tenant = Annotated[
    Named, typer.Option(help="Only this tenant: its name or id. May be given several times.")
]
Schema = Annotated[
    Named, typer.Option(help="Only this schema: its name or id. May be given several times.")
]
Since = Annotated[
    str | None,
    typer.Option(
        help="Only batches created, and waits not over, since then: as 2h, or '2026-03-02 12:00'."
    ),
]
Until = Annotated[str | None, typer.Option(help="Only what began before then.")]


def reading(command: Callable[..., None]) -> Callable[..., None]:
    """A command that takes a history, as one that takes the options which say what to read; but for
    those whose name it gives a meaning of its own."""
    own = _parameters(command)
    common = [one for one in _parameters(_opened) if one.name not in {each.name for each in own}]

    @wraps(command)
    def run(**options: Any) -> None:
        history = _opened(**{one.name: options.pop(one.name) for one in common})
        command(history, **options)
        print_missing(history)

    every = [*own, *common]
    run.__signature__ = inspect.Signature(every)  # type: ignore[attr-defined]  # Typer reads it
    run.__annotations__ = {one.name: one.annotation for one in every}
    del run.__wrapped__
    return run


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """Those that are options, with their annotations."""
    hints = get_type_hints(function, localns={"History": object}, include_extras=True)
    found = inspect.signature(function).parameters.values()
    return [one.replace(annotation=hints[one.name]) for one in found if one.name != "history"]


def _opened(
    store: StoreOption = "data/reach",
    as_of: AsOf = None,
    tenant: Tenant = None,
    schema: Schema = None,
    since: Since = None,
    until: Until = None,
    timezone: Timezone = "UTC",
    released_never_fail: NeverFail = False,
    skip_damaged: SkipDamaged = False,
    engine: EngineOption = "duckdb",
    memory_limit: MemoryLimit = None,
) -> History:
    import reach_analytics as reach

    history = reach.open_history(
        store,
        as_of=as_of,
        timezone=timezone,
        engine=_spark() if engine == "spark" else None,
        memory_limit=memory_limit,
        released_may_fail=not released_never_fail,
        damaged="skip" if skip_damaged else "raise",
    )
    asked = {"tenant": tenant, "schema": schema, "since": since, "until": until}
    wanted: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    return history.filter(**wanted) if wanted else history


def _spark() -> SparkSession:
    """The Spark session that the environment configures."""
    try:
        from pyspark.sql import SparkSession
    except ModuleNotFoundError:
        raise MissingExtraError("--engine spark", "PySpark", "spark") from None
    import warnings

    # PySpark says of pandas 3 that it is not supported in full yet; what is used here is.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"pyspark\.")
    session = SparkSession.builder.appName("reach-analytics").getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return session
