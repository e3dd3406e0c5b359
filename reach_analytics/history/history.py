"""`History`: the contents of a store as DataFrames, measures and files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pandas as pd

from reach_analytics.history._filters import Moment, Names, narrowed
from reach_analytics.history._frames import Frames
from reach_analytics.history._join import beside, only_tenant
from reach_analytics.history._overview import Overviews
from reach_analytics.history._state import tenants_of
from reach_analytics.history._stories import Stories
from reach_analytics.history._waits import WaitMeasures
from reach_analytics.tables import BATCHES

if TYPE_CHECKING:
    from reach_analytics.history._plots import Plots

__all__ = ["History"]

Format = Literal["parquet", "csv"]

_KINDS = BATCHES.only(["schema_definition_id", "schema_name", "batch_type", "status"])


class History(
    Frames,
    Overviews,
    WaitMeasures,
    Stories,
):
    """Everything a store knew at one moment.

    What is read is read once; every call answers from the same state of the store, so open a new
    history to see what was collected since. The frames are yours to change.

    How it stands: `overview`.

    Frames: `batches`, `observations`, `observation_log`, `pending`, `dependencies`,
    `wait_intervals`, `missing_intervals`, `departures`, `tenants`, `schemas`.

    Batches: `health`, `success`, `status`, `control_chart`, `change_point`, `durations`,
    `throughput`, `stuck`, `eta`, `errors`, `quality`.

    Waits: `wait_outcomes`, `reconciliation`, `lost`, `release_rates`, `backlog`, `survival`,
    `wait_times`, `arrivals`, `expiring`, `expiry_codes`, `conventions`.

    Dependencies: `bottlenecks`, `upload_plan`, `what_if`, `choke_points`, `dependency_graph`,
    `schema_graph`, `deadlocks`, `depth`, `still_missing`.

    Collection: `coverage`, `collection_health`.

    What changed: `changes`, `compare`.

    Charts: `plot`, as ``history.plot.success(by="schema_name")``.

    One thing: `explain`. Records of your own: `join`.

    Any other question: `sql`.

    Each measure takes the options of the function of its name in `reach_analytics.measures`, which
    documents them and its columns; the frames and ``as_of`` are the history's own. Frames with a
    ``tenant_id`` begin with ``tenant_name``, which ``by`` takes, too.

    Attributes
    ----------
    tables : Tables
        The frames as lazy Ibis tables: ``tables.batches``, ``.observations``, ``.pending``,
        ``.dependencies``, ``.wait_outcomes`` …
    as_of : pandas.Timestamp or None
        Observations received after it do not count.
    timezone : str
        In whose time frames and plots are, and a time without an offset is meant; `moment`,
        `tables` and the times within `sql` are UTC.
    location : str
        Where the store is.
    released_may_fail : bool
        Whether a released record may fail its validation, as `wait_outcomes` takes it.
    versions : mapping of str to int
        The version of each stored table that was read; empty without a store.
    damages : tuple of store.Damage
        Damaged files that are left out; what they held is missing from every answer.
    """

    def filter(
        self,
        *,
        tenant: Names = None,
        schema: Names = None,
        batch_type: Names = None,
        status: Names = None,
        since: Moment = None,
        until: Moment = None,
    ) -> History:
        """The history of a part, on which everything works as on the whole.

        A row counts by what it is about: batches and observations by the schema, type and status
        that the batch was last seen with, waits by the schema of the resource. What became of a
        wait is judged by all that was observed, and `moment` stays the same. The graph of what
        waits, and with it bottlenecks and plans, holds what the part waits for in turn, too, also
        where that is of another schema: its roots are what somebody has to deliver.

        Parameters
        ----------
        tenant, schema : str or iterable of str, optional
            Names or ids; a tenant's external id will do, too.
        batch_type, status : str or iterable of str, optional
            Of batches.
        since, until : str, datetime or timedelta, optional
            From the one on, and before the other: batches that were created, and observations that
            were sent; waits that began before ``until``, or of which that is unknown, and were not
            seen gone before ``since``. A time, as ``"2026-03-02 12:00"``, in `timezone` without an
            offset; or how long before `moment`, as ``"2h"``.

        Returns
        -------
        History

        Raises
        ------
        UnknownNameError
            If nothing has such a name or id.
        ValueError
            If a time is none, or ``since`` is not before ``until``.

        Examples
        --------
        >>> import tempfile
        >>> import reach_analytics as reach
        >>> with reach.sandbox.serve("demo") as sb, tempfile.TemporaryDirectory() as directory:
        ...     sb.advance(sb.scenario.moments[5])
        ...     store = reach.Store(directory + "/reach")
        ...     run = reach.collect(reach.Client(**sb.credentials), store, progress=False)
        ...     pine = reach.open_history(store).filter(tenant="Pine & Co", schema="transactions")
        ...     len(pine.batches()), set(pine.pending()["schema_name"])
        (2, {'transactions'})
        """
        tables = self.tables
        kinds = _KINDS.to_pandas(tables.read(tables.kinds))
        part = narrowed(
            tables.part,
            tenants_of(tables.whole or tables, self._catalog),
            pd.concat(
                [kinds, self._catalog.schemas[["schema_definition_id", "schema_name"]]],
                ignore_index=True,
            ),
            self.moment,
            self.timezone,
            tenant=tenant,
            schema=schema,
            batch_type=batch_type,
            status=status,
            since=since,
            until=until,
        )
        return History(
            tables.part_of(part),
            location=self.location,
            as_of=self.as_of,
            released_may_fail=self.released_may_fail,
            damages=self.damages,
            bar=self._bar,
            catalog=self._catalog,
            last_observation=self.last_observation,
            timezone=self.timezone,
            versions=self.versions,
        )

    def join(
        self,
        frame: pd.DataFrame,
        *,
        on: str = "external_id",
        tenant: str | None = None,
        schema: str | None = None,
    ) -> pd.DataFrame:
        """A frame of your own records, with what is known of each.

        All its rows and columns are kept, in their order; added are

        - ``reach_status``: ``waits``, ``missing`` (others wait for it), ``lost`` (for certain),
          ``landed``, ``unknown`` (its wait, or that of all that missed it, was over, and nobody saw
          how) or ``never seen``. The API names a record only while it waits, when another misses
          it, or if it failed: one that landed at once was never seen.
        - ``reach_at``: since when it waits or is missing, or by when it was lost or landed;
        - ``reach_expires_at``: when it, or the first that waits for it, is deleted;
        - ``reach_waits_for`` and ``reach_cause``: what it waits for, and why it was lost, in words;
        - ``reach_batch_id``: the batch that it came with.

        Columns that are called so already are replaced. ``attrs["matched"]`` of the frame is the
        number of rows of which something is known.

        Parameters
        ----------
        frame : pandas.DataFrame
        on : str
            The column with the external ids: texts, or whole numbers.
        tenant : str, optional
            Whose records they are, by name or id; needed where there are several tenants.
        schema : str, optional
            What they are, by name or id; needed where an id occurs in several schemas.

        Raises
        ------
        UnknownNameError
            If nothing is called as ``tenant`` or ``schema``.
        ValueError
            If the frame has no such column, an id is neither text nor whole number, or a tenant or
            schema has to be said.

        Examples
        --------
        >>> import tempfile
        >>> import pandas as pd
        >>> import reach_analytics as reach
        >>> with reach.sandbox.serve("demo") as sb, tempfile.TemporaryDirectory() as directory:
        ...     sb.advance(sb.scenario.moments[5])
        ...     store = reach.Store(directory + "/reach")
        ...     run = reach.collect(reach.Client(**sb.credentials), store, progress=False)
        ...     history = reach.open_history(store)
        ...     waits = history.filter(tenant="Pine & Co").pending()
        ...     mine = pd.DataFrame({"external_id": [waits["external_id"].iloc[0], "mine"]})
        ...     joined = history.join(mine, tenant="Pine & Co")
        ...     joined["reach_status"].tolist(), joined.attrs["matched"]
        (['waits', 'never seen'], 1)
        """
        own = self if tenant is None else self.filter(tenant=tenant)
        only_tenant(own)
        return beside(own, frame, on, schema)

    @property
    def plot(self) -> Plots:
        """The charts, one line each: ``history.plot.success(by="schema_name")``; see `Plots`."""
        from reach_analytics.history._plots import Plots

        return Plots(self)

    def report(
        self,
        path: str | os.PathLike[str] = "report.html",
        *,
        since: Moment = None,
        as_json: bool = False,
    ) -> Path:
        """Write how it stands into one HTML page that needs no network: a verdict, the figures that
        matter most, what to do now, and charts and tables for each question.

        Parameters
        ----------
        path : str or path
            The page. One of this store and part that is replaced leaves its key figures to the new
            one, which shows them as a small line of up to 30 reports.
        since : str, datetime or timedelta, optional
            The earlier moment that is compared with, or how long before `moment` it is. By default
            that of the report that is replaced, else a day.
        as_json : bool
            Whether to write every figure of the page into a file of the same name that ends in
            ``.json``, too, with what it means.

        Returns
        -------
        pathlib.Path
            The page.

        Raises
        ------
        ValueError
            If ``since`` is no time, or not before `moment`.
        """
        from reach_analytics import report

        return report.write_page(self, Path(path), since, as_json)

    def tenant_reports(
        self,
        directory: str | os.PathLike[str] = "reports",
        *,
        since: Moment = None,
        as_json: bool = False,
    ) -> list[Path]:
        """Write a `report` for each tenant, and a page that leads to them.

        Parameters
        ----------
        directory : str or path
            Created if needed. A page is called after its tenant, as ``pine-co.html``.
        since, as_json
            As `report` takes them.

        Returns
        -------
        list of pathlib.Path
            ``index.html``, which tells how each tenant stands, the most urgent first; then a page
            each.
        """
        from reach_analytics import report

        return report.write_tenant_pages(self, Path(directory), since, as_json)

    def export(
        self,
        directory: str | os.PathLike[str] = "export",
        *,
        format: Format | Sequence[Format] | None = None,
        for_spreadsheet: bool = False,
        since: Moment = "24h",
    ) -> list[Path]:
        """Write the frames and measures as files, one each, for any other tool, with what their
        columns mean.

        All files are put in place together: whatever happens while they are written, an earlier
        export stands. Times are UTC. In CSV every cell stands as it is: a spreadsheet may run one
        that begins with ``=``, ``+``, ``-``, ``@``, a tab or a carriage return as a formula.

        Parameters
        ----------
        directory : str or path
            One that exists must be empty or an earlier export, which is replaced.
        format : {"parquet", "csv"} or both, optional
            Parquet by default; for a spreadsheet, CSV.
        for_spreadsheet : bool
            Write CSV that a spreadsheet opens well: with a byte order mark, times in `timezone`
            without offset, and an apostrophe before what would run as a formula.
        since : str, datetime or timedelta
            From when on ``changes`` are told, or how long before `moment` that is.

        Returns
        -------
        list of pathlib.Path
            ``batches``, ``observations``, ``pending``, ``dependencies``, ``wait_outcomes``;
            ``key_figures`` and ``actions`` (the `overview`), ``health``, ``success`` (per schema),
            ``errors``, ``changes``, ``reconciliation`` (per tenant), ``lost``, ``release_rates``
            (per schema), ``expiring``, ``bottlenecks``, ``choke_points``, ``deadlocks``,
            ``upload_plan`` (all of it: what someone has to upload, in order) and ``coverage``;
            then ``columns.json`` and ``columns.md`` (column, unit, meaning) and ``manifest.json``
            (of which moment, part and version of the store, and the files with their rows and
            SHA-256).

        Raises
        ------
        ValueError
            If the format is neither ``"parquet"`` nor ``"csv"``, Parquet is wanted for a
            spreadsheet, or the directory holds something that no export wrote.
        """
        from reach_analytics import __version__, report

        return report.export(
            report.export_contents(self, since, self.timezone if for_spreadsheet else "UTC"),
            directory,
            format or ("csv" if for_spreadsheet else "parquet"),
            about={
                "version": __version__,
                "moment": self.moment.isoformat(),
                "part": self.part or None,
                "store_versions": dict(self.versions),
            },
            spreadsheet_timezone=self.timezone if for_spreadsheet else None,
        )

    def __repr__(self) -> str:
        until = ""
        if self.as_of is not None:
            until = f", as of {self.as_of.tz_convert(self.timezone):%Y-%m-%d %H:%M:%S %Z}"
        damaged = f", damaged files left out: {len(self.damages)}" if self.damages else ""
        part = f", {self.part}" if self.part else ""
        return f"<History of {self.location or 'two tables'}{part}{until}, {self.age}{damaged}>"
