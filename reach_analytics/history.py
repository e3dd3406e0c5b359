"""`History`: what a store remembers, as DataFrames, measures, figures' frames and files."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from reach_analytics import measures
from reach_analytics.columns import BATCHES, DEPENDENCIES, LOOKS, PENDING, Table
from reach_analytics.frames import Tables
from reach_analytics.store import Store

if TYPE_CHECKING:
    import ibis

    from reach_analytics.measures import DependencyGraph


class History:
    """Everything a store knew at one moment.

    What is read is read once; every call answers from the same state of the store, so open a new
    history to see what was collected since. The frames are yours to change.

    Attributes
    ----------
    tables : Tables
        The frames as lazy Ibis tables: ``tables.batches``, ``.looks``, ``.pending``,
        ``.dependencies``.
    as_of : pandas.Timestamp or None
        Looks received after it do not count.
    location : str
        Where the store is.
    """

    def __init__(
        self, tables: Tables, *, location: str = "", as_of: datetime | None = None
    ) -> None:
        self.tables = tables
        self.location = location
        self._lock = threading.RLock()  # one connection answers one question at a time
        self.as_of = None if as_of is None else _moment(as_of)

    def batches(self) -> pd.DataFrame:
        """One row per batch: its last successful look, oldest batch first."""
        return self._batches.copy(deep=False)

    def looks(self, batch_id: str | None = None) -> pd.DataFrame:
        """One row per look, failed looks included, in the order they were sent.

        Parameters
        ----------
        batch_id : str, optional
            Only the looks at this batch.
        """
        table = self.tables.looks
        wanted = table if batch_id is None else table.filter(table.batch_id == batch_id)
        frame = self._read(wanted, LOOKS)
        return frame.sort_values(["sent_at", "tenant_id", "batch_id", "scope"], ignore_index=True)

    def pending(self) -> pd.DataFrame:
        """One row per (batch, pending resource), from each batch's last look with details."""
        return self._pending.copy(deep=False)

    def dependencies(self) -> pd.DataFrame:
        """One row per (batch, pending resource, missing dependency), from the same looks."""
        return self._dependencies.copy(deep=False)

    def health(self) -> pd.DataFrame:
        """One row per tenant: what landed, what waits, what expires next; see `measures.health`.

        Expiries are measured from ``as_of``, or from the last look.
        """
        return measures.health(self._batches, self._pending, as_of=self.moment)

    def success(
        self,
        by: str | Sequence[str] | None = None,
        freq: str | None = None,
        time: str = "created_at",
    ) -> pd.DataFrame:
        """Success fractions per group and time bucket; see `measures.success`."""
        return measures.success(self._batches, by=by, freq=freq, time=time)

    def status(
        self,
        by: str | Sequence[str] | None = None,
        freq: str | None = None,
        time: str = "created_at",
    ) -> pd.DataFrame:
        """Batches per status, group and time bucket; see `measures.status`."""
        return measures.status(self._batches, by=by, freq=freq, time=time)

    def errors(self) -> pd.DataFrame:
        """Every value in the batches' error objects; see `measures.errors`."""
        return measures.errors(self._batches)

    def quality(self) -> pd.DataFrame:
        """What is odd about the numbers that the API reported; see `measures.quality`."""
        return measures.quality(self.looks())

    def expiring(self, within: str | pd.Timedelta | None = None) -> pd.DataFrame:
        """Pending resources and the time left to them, the first to expire on top.

        ``within`` leaves what expires in that time from this history's moment on, as ``"2h"``, and
        what is overdue; see `measures.expiring`.
        """
        return measures.expiring(self._pending, as_of=self.moment, within=within)

    def bottlenecks(self) -> pd.DataFrame:
        """Missing dependencies, the one that would free the most first.

        ``query("is_root")`` leaves those that have to be delivered; the others are pending
        themselves. ``unlock`` counts what is freed if that one alone arrives, ``blocked`` what
        waits for it at all; see `measures.bottlenecks` for every column.
        """
        return self._bottlenecks.copy(deep=False)

    def deadlocks(self) -> pd.DataFrame:
        """Resources that wait for themselves through others; see `measures.deadlocks`."""
        return measures.deadlocks(self._dependencies, self._pending)

    def depth(self) -> pd.DataFrame:
        """How long a chain each pending resource hangs on; see `measures.depth`."""
        return measures.depth(self._dependencies, self._pending)

    def dependency_graph(self, top: int | None = None) -> DependencyGraph:
        """Who waits for whom; see `measures.dependency_graph`."""
        return measures.dependency_graph(self._dependencies, self._pending, top=top)

    def what_if(
        self,
        deliveries: Mapping[tuple[str, ...], Any] | Iterable[tuple[str, ...]] = (),
        force: Iterable[str] = (),
    ) -> pd.DataFrame:
        """What becomes of each pending resource if these keys are delivered.

        Parameters
        ----------
        deliveries : list or dict
            Keys as ``(schema, external_id)`` or ``(tenant_id, schema, external_id)``. A list
            arrives at once and nothing expires; a dict gives each key its time, and waits run out.
        force : list of str
            Pending ids that are uploaded anew without what they miss.

        Returns
        -------
        pandas.DataFrame
            One row per pending resource, with ``outcome`` and ``at``; see `measures.what_if`.
        """
        return measures.what_if(
            self._dependencies, self._pending, deliveries=deliveries, force=force
        )

    def upload_plan(
        self,
        *,
        top: int | None = 100,
        uploads_per_hour: float | None = None,
    ) -> pd.DataFrame:
        """What to upload next, in the order in which it frees the most the soonest.

        Parameters
        ----------
        top : int, optional
            About how many dependencies to list; all with None.
        uploads_per_hour : float, optional
            How many can be delivered an hour, from this history's moment on: then expiries count.

        Returns
        -------
        pandas.DataFrame
            One row per dependency, in order; see `measures.upload_plan`.
        """
        return measures.upload_plan(
            self._dependencies,
            self._pending,
            top=top,
            uploads_per_hour=uploads_per_hour,
            as_of=None if uploads_per_hour is None else self.moment,
        )

    def report(self, path: str | os.PathLike[str] = "report.html") -> Path:
        """Write everything worth a look into one HTML page that needs no network.

        Returns
        -------
        pathlib.Path
            The page.
        """
        from reach_analytics import report

        return report.write_report(self._report_frames(), path, as_of=self.moment)

    def export(
        self,
        directory: str | os.PathLike[str] = "export",
        format: Literal["parquet", "csv"] = "parquet",
    ) -> list[Path]:
        """Write the frames and measures as files, one each, for any other tool.

        Returns
        -------
        list of pathlib.Path
            ``batches``, ``looks``, ``pending``, ``dependencies``, ``health``, ``success`` (per
            schema), ``errors``, ``bottlenecks`` and ``upload_plan`` (all of it: what someone
            has to upload, in order).

        Raises
        ------
        ValueError
            If the format is neither ``"parquet"`` nor ``"csv"``.
        """
        from reach_analytics import report

        frames = {
            "batches": self._batches,
            "looks": self.looks(),
            "pending": self._pending,
            "dependencies": self._dependencies,
            "health": self.health(),
            "success": self.success(by="schema_name"),
            "errors": self.errors(),
            "bottlenecks": self._bottlenecks,
            "upload_plan": self.upload_plan(top=None),
        }
        return report.export(frames, directory, format)

    @cached_property
    def moment(self) -> pd.Timestamp:
        """The moment this history tells of: ``as_of``, or when the last look was received.

        1970 if there was none.
        """
        if self.as_of is not None:
            return self.as_of
        with self._lock:
            last = self.tables.observations.received_at.max().to_pyarrow().as_py()
        return _moment(last or datetime(1970, 1, 1))

    @cached_property
    def _batches(self) -> pd.DataFrame:
        frame = self._read(self.tables.batches, BATCHES)
        return frame.sort_values(["created_at", "tenant_id", "batch_id"], ignore_index=True)

    @cached_property
    def _pending(self) -> pd.DataFrame:
        return self._read(self.tables.pending, PENDING)

    @cached_property
    def _dependencies(self) -> pd.DataFrame:
        return self._read(self.tables.dependencies, DEPENDENCIES)

    @cached_property
    def _bottlenecks(self) -> pd.DataFrame:
        return measures.bottlenecks(self._dependencies, self._pending)

    def _read(self, table: ibis.Table, kind: Table) -> pd.DataFrame:
        with self._lock:
            rows = table.to_pyarrow()
        return kind.to_pandas(rows)

    def _report_frames(self) -> dict[str, Any]:
        missing = self._bottlenecks
        return {
            "health": self.health(),
            "success_overall": self.success(),
            "success": self.success(by="schema_name"),
            "success_over_time": self.success(by="schema_name", freq=self._width()),
            "status_over_time": self.status(freq=self._width()),
            "bottlenecks": missing[missing["is_root"]],
            "graph": self.dependency_graph(top=15),
            "errors": self.errors(),
        }

    def _width(self) -> str:
        """A width of time buckets that gives this history a few dozen."""
        created = self._batches["created_at"].dropna()
        span = created.max() - created.min() if len(created) else pd.Timedelta(0)
        return next(
            width
            for width, longest in (("1h", 2), ("6h", 14), ("D", 90), ("W", 700), ("Y", 10**9))
            if span.days < longest
        )

    def __repr__(self) -> str:
        until = "" if self.as_of is None else f", as of {self.as_of:%Y-%m-%d %H:%M:%S} UTC"
        return f"<History of {self.location or 'two tables'}{until}>"


def open_history(
    location: str | os.PathLike[str] | Store,
    *,
    as_of: str | datetime | None = None,
    engine: Any = None,
    storage_options: Mapping[str, str] | None = None,
) -> History:
    """Open what a store remembers.

    Parameters
    ----------
    location : str, path or Store
        Where the store is.
    as_of : str or datetime, optional
        Show what was known then: only looks received up to this moment count. Without an offset it
        is UTC. Everything by default.
    engine : Ibis backend, optional
        What runs the queries; DuckDB in this process by default.
    storage_options : mapping, optional
        For an object store, as in `Store`.

    Returns
    -------
    History

    Raises
    ------
    StoreNotFoundError, ForeignStoreError, StoreVersionError
        If there is no store there, something else, or one of a newer version.

    Examples
    --------
    >>> import tempfile
    >>> import reach_analytics as reach
    >>> with reach.sandbox.serve("demo") as sb, tempfile.TemporaryDirectory() as place:
    ...     sb.advance(sb.scenario.moments[5])
    ...     store = reach.Store(place + "/reach")
    ...     run = reach.collect(reach.Client(**sb.credentials), store, progress=False)
    ...     history = reach.open_history(store)
    ...     len(history.batches()), len(history.looks())
    (17, 22)
    """
    store = (
        location
        if isinstance(location, Store)
        else Store(location, storage_options=storage_options)
    )
    moment = None if as_of is None else _moment(as_of)
    snapshots, observations = store.tables(engine)
    tables = Tables(snapshots, observations, None if moment is None else moment.to_pydatetime())
    return History(tables, location=store.location, as_of=moment)


def _moment(value: str | datetime) -> pd.Timestamp:
    """A moment in UTC, to the microsecond; without an offset it counts as UTC."""
    wrong = f"as_of must be a time like '2026-03-02 12:00', found {value!r}"
    if not isinstance(value, datetime) and not (isinstance(value, str) and value[:4].isdigit()):
        raise ValueError(wrong)  # so that neither "now" nor a number is taken for a moment
    try:
        moment = pd.Timestamp(value)
    except ValueError as error:
        raise ValueError(wrong) from error
    if pd.isna(moment):
        raise ValueError(wrong)
    aware = moment.tz_localize("UTC") if moment.tzinfo is None else moment.tz_convert("UTC")
    return aware.as_unit("us")
