"""Opening a store's history."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from reach_analytics._progress import SlowBar
from reach_analytics._time import parse_timestamp, parse_timezone
from reach_analytics.history._catalog import Catalog
from reach_analytics.history.history import History
from reach_analytics.queries.engine import as_backend, connect
from reach_analytics.queries.tables import Tables
from reach_analytics.store import Store

__all__ = ["open_history"]


def open_history(
    location: str | os.PathLike[str] | Store,
    *,
    as_of: str | datetime | None = None,
    engine: Any = None,
    storage_options: Mapping[str, str] | None = None,
    released_may_fail: bool = True,
    damaged: Literal["raise", "skip"] = "raise",
    timezone: str = "UTC",
    memory_limit: str | None = None,
    threads: int | None = None,
    spill_directory: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> History:
    """Open the history of a store.

    Parameters
    ----------
    location : str, path or Store
        Where the store is.
    as_of : str or datetime, optional
        Show what was known then: only observations received up to this moment count. Without an
        offset it is of ``timezone``. Everything by default.
    engine : SparkSession or Ibis backend, optional
        What runs the queries; DuckDB in this process by default. Ibis sets a Spark session's time
        zone to UTC.
    storage_options : mapping, optional
        For an object store, as in `Store`.
    released_may_fail : bool
        Whether a released record may fail its validation. If you know that yours never do, say so:
        far fewer outcomes stay unknown. ``history.conventions()`` says what the counts show.
    damaged : str
        What to do about damaged files: ``"raise"`` names them, ``"skip"`` leaves them out and says
        in every report, and in ``history.missing``, what they held; it reads the whole store once.
    timezone : str
        In whose time, as ``"Europe/Berlin"``, frames, plots and the report are: buckets follow its
        clocks and calendar, so that a day may have 23 or 25 hours, and times that you write without
        an offset are its own. The store, `History.tables` and exports are always UTC.
    memory_limit : str, optional
        The most memory that queries may take, as ``"2GB"``; what does not fit goes to disk. By
        default half of the machine's, or of the container's where that is less. Frames that you ask
        for come on top.
    threads : int, optional
        How many threads run a query; one per processor by default.
    spill_directory : str or path, optional
        Where rows go that do not fit in memory; the system's temporary files by default.
    progress : bool
        Show a bar for what takes more than two seconds, on a terminal or in a notebook.

    Returns
    -------
    History

    Raises
    ------
    TypeError
        If ``engine`` is neither of the two.
    ValueError
        If an option cannot be used, or one for DuckDB is given with another ``engine``.
    StoreNotFoundError, ForeignStoreError, StoreVersionError
        If there is no store there, something else, or one of a newer version.
    DamagedStoreError
        If part of it is lost or damaged. Files may also turn out to be damaged when they are read.

    Examples
    --------
    >>> import tempfile
    >>> import reach_analytics as reach
    >>> with reach.sandbox.serve("demo") as sb, tempfile.TemporaryDirectory() as directory:
    ...     sb.advance(sb.scenario.moments[5])
    ...     store = reach.Store(directory + "/reach")
    ...     run = reach.collect(reach.Client(**sb.credentials), store, progress=False)
    ...     history = reach.open_history(store)
    ...     len(history.batches()), len(history.observations())
    (17, 22)
    """
    store = (
        location
        if isinstance(location, Store)
        else Store(location, storage_options=storage_options)
    )
    zone = parse_timezone(timezone)
    until = None if as_of is None else parse_timestamp(as_of, timezone=zone)
    if damaged not in ("raise", "skip"):
        raise ValueError(f'damaged must be "raise" or "skip", found {damaged!r}')
    damages = tuple(store.damages()) if damaged == "skip" else ()
    limits = memory_limit, threads, spill_directory
    if engine is not None and limits != (None, None, None):
        raise ValueError("memory_limit, threads and spill_directory are DuckDB's: not with engine=")

    def backend() -> Any:
        return connect(*limits) if engine is None else as_backend(engine)

    bar = SlowBar(shown=progress)
    tables = Tables(
        *store.tables(backend, without=damages),
        None if until is None else until.to_pydatetime(),
        run=store.reader(bar),
    )
    return History(
        tables,
        location=store.location,
        as_of=until,
        released_may_fail=released_may_fail,
        damages=damages,
        bar=bar,
        catalog=Catalog(store.catalog, until),
        timezone=zone,
        versions=store.versions_read,
    )
