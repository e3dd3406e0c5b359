"""`History`: the contents of a store as DataFrames, measures and files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pandas as pd

from reach_analytics import measures
from reach_analytics._progress import SlowBar
from reach_analytics._time import in_words, parse_timestamp
from reach_analytics.history._bar import named_on_a_bar
from reach_analytics.history._cache import FrameCache
from reach_analytics.history._catalog import NO_CATALOG, Catalog
from reach_analytics.history._filters import Moment, Names, narrowed, with_ids_of, words_for
from reach_analytics.history._named import with_names
from reach_analytics.measures._shared.grouping import By, Freq, group_names
from reach_analytics.measures.batches.control_chart import Limits
from reach_analytics.measures.batches.health import health_of_counts
from reach_analytics.measures.dependencies.what_if import Deliveries
from reach_analytics.measures.waits.conventions import conventions_of_counts
from reach_analytics.measures.waits.expiry_codes import codes_of_counts
from reach_analytics.measures.waits.reconciliation import account_of_counts
from reach_analytics.measures.waits.release_rates import rates_of_counts
from reach_analytics.measures.waits.survival import curves, medians
from reach_analytics.measures.waits.wait_outcomes import conventions_of
from reach_analytics.queries.sql import Sql
from reach_analytics.queries.tables import Tables
from reach_analytics.tables import (
    ARRIVALS,
    BACKLOG,
    BATCHES,
    DECLARED,
    OBSERVATION_LOG,
    RELEASE_RATES,
    SCHEMAS,
    STRING,
    SURVIVAL,
    TENANTS,
    WAIT_OUTCOMES,
    WAIT_TIMES,
    Table,
    frame_of,
)

if TYPE_CHECKING:
    from reach_analytics.client import SchemaDefinition
    from reach_analytics.measures import DependencyGraph
    from reach_analytics.measures._verdicts.endings import Endings
    from reach_analytics.queries.departed import Conventions
    from reach_analytics.store import Damage

__all__ = ["History", "Length", "Method", "Waiting"]

_KINDS = BATCHES.only(["schema_definition_id", "schema_name", "batch_type", "status"])
Length = str | pd.Timedelta
Method = Literal["kaplan-meier", "turnbull"]
Waiting = Literal["records", "dependencies"]


@named_on_a_bar
@with_names
class History:
    """Everything a store knew at one moment.

    What is read is read once; every call answers from the same state of the store, so open a new
    history to see what was collected since. The frames are yours to change.

    Frames: `batches`, `observations`, `observation_log`, `pending`, `dependencies`,
    `wait_intervals`, `missing_intervals`, `departures`, `tenants`, `schemas`.

    Batches: `health`, `success`, `status`, `control_chart`, `change_point`, `durations`,
    `throughput`, `stuck`, `eta`, `errors`, `quality`.

    Waits: `wait_outcomes`, `reconciliation`, `release_rates`, `backlog`, `survival`, `wait_times`,
    `arrivals`, `expiring`, `expiry_codes`, `conventions`.

    Dependencies: `bottlenecks`, `upload_plan`, `what_if`, `choke_points`, `dependency_graph`,
    `schema_graph`, `deadlocks`, `depth`, `still_missing`.

    Collection: `coverage`, `collection_health`.

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
    location : str
        Where the store is.
    released_may_fail : bool
        Whether a released record may fail its validation, as `wait_outcomes` takes it.
    damages : tuple of store.Damage
        Damaged files that are left out; what they held is missing from every answer.
    """

    def __init__(
        self,
        tables: Tables,
        *,
        location: str = "",
        as_of: datetime | None = None,
        released_may_fail: bool = True,
        damages: tuple[Damage, ...] = (),
        bar: SlowBar | None = None,
        catalog: Catalog = NO_CATALOG,
        last_observation: pd.Timestamp | None = None,
    ) -> None:
        self._bar = SlowBar(shown=False) if bar is None else bar
        self._catalog = catalog
        self.tables = replace(tables, conventions=conventions_of("5s", None, released_may_fail))
        self.damages = damages
        self.location = location
        self.released_may_fail = released_may_fail
        self.as_of = None if as_of is None else parse_timestamp(as_of)
        self._cache = FrameCache(self.tables)
        if last_observation is not None:  # a part is of the moment of the whole
            vars(self)["last_observation"] = last_observation
        at_hand: dict[Table, Callable[[], pd.DataFrame]] = {
            TENANTS: partial(_tenants, self.tables, catalog),
            SCHEMAS: lambda: catalog.schemas,
        }
        self._sql = Sql(self.tables, self._conventions(), at_hand, catalog.names_of)

    # -- parts --------------------------------------------------------------------------------

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
            were sent; waits that began before ``until`` and were not seen gone before ``since``. A
            time, as ``"2026-03-02 12:00"``, in UTC without an offset; or how long before `moment`,
            as ``"2h"``.

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
            _tenants(tables.whole or tables, self._catalog),
            pd.concat(
                [kinds, self._catalog.schemas[["schema_definition_id", "schema_name"]]],
                ignore_index=True,
            ),
            self.moment,
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
        )

    # -- frames -------------------------------------------------------------------------------

    def batches(self) -> pd.DataFrame:
        """One row per batch: its last successful observation; the oldest batch first."""
        return self._cache.batches.copy(deep=False)

    def observations(self, batch_id: str | None = None) -> pd.DataFrame:
        """One row per observation, failed ones included, in the order they were sent.

        Parameters
        ----------
        batch_id : str, optional
            Only the observations of this batch.
        """
        if batch_id is None:
            return self._cache.observations.copy(deep=False)
        return self._cache.observations_of(batch_id)

    def observation_log(self) -> pd.DataFrame:
        """One row per observation, folded ones included, with few columns."""
        texts = {c.name: c.dtype for c in OBSERVATION_LOG.columns if c.type == STRING}
        log = self._cache.observation_log.astype(texts)
        return OBSERVATION_LOG.in_order(log).reset_index(drop=True)

    def pending(self) -> pd.DataFrame:
        """One row per (batch, pending resource), from each batch's last detail observation; by
        tenant, batch and resource."""
        return self._cache.pending.copy(deep=False)

    def dependencies(self) -> pd.DataFrame:
        """One row per (batch, pending resource, missing dependency), from the same observations, in
        the same order."""
        return self._cache.dependencies.copy(deep=False)

    def wait_intervals(self) -> pd.DataFrame:
        """One row per (batch, pending resource) ever seen: when it was listed, and when gone."""
        return self._cache.wait_intervals.copy(deep=False)

    def missing_intervals(self) -> pd.DataFrame:
        """One row per (batch, pending resource, dependency that it was ever seen to miss)."""
        return self._cache.missing_intervals.copy(deep=False)

    def departures(self) -> pd.DataFrame:
        """One row per observation that lacks waits listed before, with its batch's counts."""
        return self._cache.departures.copy(deep=False)

    def tenants(self) -> pd.DataFrame:
        """One row per tenant that the API named or a batch belongs to, by name.

        What was known at this moment; of one named later, what was said first.
        """
        return _tenants(self.tables, self._catalog)

    def schemas(self) -> pd.DataFrame:
        """One row per schema definition that the API described, by name, with what it declares
        references to."""
        return self._catalog.schemas.copy(deep=False)

    def named(self, frame: pd.DataFrame) -> pd.DataFrame:
        """A frame with a ``tenant_id``, such as one of your own or of `tables`, with the names of
        its tenants in front, and those of schemas in ``schema_name`` where it is null."""
        return self._catalog.named(frame)

    def sql(self, query: str) -> pd.DataFrame:
        """What an SQL query over the frames gives, in DuckDB's dialect.

        It can name `batches`, `observations`, `observation_log`, `pending`, `dependencies`,
        `wait_intervals`, `missing_intervals`, `departures`, `wait_outcomes`, `arrivals`, `tenants`
        and `schemas`, with the columns that ``reach.tables.describe`` lists; only what it names is
        read. It can reach
        nothing else: no file, no network, no setting and no variable, and it changes nothing.

        Parameters
        ----------
        query : str
            One SELECT, which may begin with WITH, or FROM, VALUES, DESCRIBE or SUMMARIZE.

        Returns
        -------
        pandas.DataFrame
            Its rows, in the order that it asks for; without ORDER BY in any. Times are UTC, also
            those written without an offset. Whole numbers are ``Int64`` and others ``float64``,
            lengths of time ``timedelta64[us]``, where a month is 30 days.

        Raises
        ------
        QueryError
            If it is no query that reads, or names a table or column that there is not.

        Examples
        --------
        >>> import tempfile
        >>> import reach_analytics as reach
        >>> with reach.sandbox.serve("demo") as sb, tempfile.TemporaryDirectory() as directory:
        ...     sb.advance(sb.scenario.moments[5])
        ...     store = reach.Store(directory + "/reach")
        ...     run = reach.collect(reach.Client(**sb.credentials), store, progress=False)
        ...     history = reach.open_history(store)
        ...     history.sql(
        ...         "SELECT status, count(*) AS batches FROM batches GROUP BY ALL ORDER BY ALL"
        ...     )
                    status  batches
        0  partial_success        8
        1          success        9
        """
        return frame_of(self._sql.answer(query))

    # -- batches ------------------------------------------------------------------------------

    def health(self) -> pd.DataFrame:
        """One row per tenant: what landed, what waits, what was lost, what expires next, and how
        old that is; see `measures.health`.

        Expiries and ages are measured from `moment`.
        """
        lost = self.reconciliation(by="tenant_id")
        waits = self._cache.pending_counts(self.moment)
        return health_of_counts(self._cache.batches, waits, lost, as_of=self.moment)

    def success(
        self,
        *,
        by: By = None,
        freq: Freq | None = None,
        time: str = "created_at",
        longest_wait: Length | None = None,
    ) -> pd.DataFrame:
        """Success fractions per group and time bucket; see `measures.success`.

        Cohorts are immature for as long as ``longest_wait``, by default the longest wait that was
        ever seen, would last.
        """
        cohorts = freq is not None and time == "created_at"
        longest = self.longest_wait if longest_wait is None and cohorts else longest_wait
        return measures.success(
            self._cache.batches,
            by=by,
            freq=freq,
            time=time,
            as_of=self.moment if cohorts else None,
            longest_wait="0s" if longest is None else longest,
        )

    def status(
        self, *, by: By = None, freq: Freq | None = None, time: str = "created_at"
    ) -> pd.DataFrame:
        """Batches per status, group and time bucket; see `measures.status`."""
        return measures.status(self._cache.batches, by=by, freq=freq, time=time)

    def control_chart(
        self,
        *,
        by: By = None,
        time: str = "created_at",
        baseline: int | str | pd.Timestamp = 20,
        limits: Limits = "beta-binomial",
    ) -> pd.DataFrame:
        """Which batches fare otherwise than usual; see `measures.control_chart`."""
        return measures.control_chart(
            self._cache.batches, by=by, time=time, baseline=baseline, limits=limits
        )

    def change_point(
        self,
        *,
        by: By = None,
        time: str = "created_at",
        n_resamples: int = 9999,
        seed: int = 0,
        min_batches: int = 8,
    ) -> pd.DataFrame:
        """When success changed, and whether by chance; see `measures.change_point`."""
        return measures.change_point(
            self._cache.batches,
            by=by,
            time=time,
            n_resamples=n_resamples,
            seed=seed,
            min_batches=min_batches,
        )

    def durations(self) -> pd.DataFrame:
        """How long each batch queued and was processed; see `measures.durations`."""
        return measures.durations(self._cache.batches, as_of=self.moment)

    def throughput(self) -> pd.DataFrame:
        """Records a second between two observations of a batch; see `measures.throughput`."""
        return measures.throughput(self._cache.observations)

    def stuck(self, *, after: Length = "1h", p: float = 0.01) -> pd.DataFrame:
        """Running batches, and whether they have been silent for too long; see
        `measures.stuck`."""
        return measures.stuck(self._cache.observations, as_of=self.moment, after=after, p=p)

    def eta(self) -> pd.DataFrame:
        """When each running batch will be done, or why that is unknown; see `measures.eta`."""
        return measures.eta(self._cache.observations, as_of=self.moment)

    def errors(self) -> pd.DataFrame:
        """Every value in the batches' error objects; see `measures.errors`."""
        return measures.errors(self._cache.batches)

    def quality(self) -> pd.DataFrame:
        """What is odd about the numbers that the API reported; see `measures.quality`."""
        return measures.quality(self._cache.observations)

    # -- waits --------------------------------------------------------------------------------

    def wait_outcomes(
        self,
        *,
        tolerance: Length = "5s",
        expired_counts_as_failed: bool | None = None,
        released_may_fail: bool | None = None,
    ) -> pd.DataFrame:
        """The outcome of every wait ever seen, and the rule that decided it; see
        `measures.wait_outcomes`.

        `release_rates`, `backlog`, `survival`, `wait_times` and `arrivals` use its defaults; for
        other assumptions pass your own to their measures, as in
        ``measures.release_rates(history.wait_outcomes(…), as_of=…)``. ``released_may_fail`` is that
        of `open_history` by default.
        """
        stated = self._conventions(tolerance, expired_counts_as_failed, released_may_fail)
        return self._cache.read(self.tables.wait_outcomes_under(stated), WAIT_OUTCOMES)

    def reconciliation(self, *, by: By = None) -> pd.DataFrame:
        """Where every record of the batches is: landed, waiting or lost, and how certainly; see
        `measures.reconciliation`."""
        return account_of_counts(self._cache.batches, self._endings, self._cache.departures, by=by)

    def release_rates(self, *, by: By = None) -> pd.DataFrame:
        """How many waits are released, and how many expire; see `measures.release_rates`."""
        names = _of_waits(by, RELEASE_RATES, "release_rates")
        return rates_of_counts(
            self._cache.release_counts(self._conventions(), names, self.moment), names
        )

    def backlog(self, *, by: By = None, freq: Freq = "1h", fresh: Length = "15min") -> pd.DataFrame:
        """How many resources waited over time; see `measures.backlog`."""
        names = _of_waits(by, BACKLOG, "backlog")
        return self._cache.backlog(
            self._conventions(), names, freq=freq, as_of=self.moment, fresh=fresh
        )

    def survival(
        self,
        *,
        by: By = None,
        of: Waiting = "records",
        method: Method | None = None,
        min_events: int = 10,
        min_clusters: int = 5,
        min_at_risk: int = 5,
        n_resamples: int = 1000,
        seed: int = 0,
    ) -> pd.DataFrame:
        """The fraction that still waits at each age; see `measures.survival`.

        ``of`` is how long records wait, or how long dependencies take to arrive, each counted once
        however many resources wait for it.
        """
        if _is_of_records(of):
            names = _of_waits(by, SURVIVAL, "survival")
            rows = self._cache.lifetimes(self._conventions(), names)
            guards = (min_events, min_clusters, min_at_risk)
            return curves(rows, names, guards, method, n_resamples, seed)
        return measures.survival(
            self.arrivals(),
            by=by,
            method=method,
            min_events=min_events,
            min_clusters=min_clusters,
            min_at_risk=min_at_risk,
            n_resamples=n_resamples,
            seed=seed,
        )

    def wait_times(
        self,
        *,
        by: By = None,
        of: Waiting = "records",
        method: Method | None = None,
        min_events: int = 10,
        min_clusters: int = 5,
        min_at_risk: int = 5,
        n_resamples: int = 1000,
        seed: int = 0,
    ) -> pd.DataFrame:
        """The median wait, or why it is unknown; see `measures.wait_times` and `survival`."""
        if _is_of_records(of):
            names = _of_waits(by, WAIT_TIMES, "wait_times")
            rows = self._cache.lifetimes(self._conventions(), names)
            guards = (min_events, min_clusters, min_at_risk)
            return medians(rows, names, guards, method, n_resamples, seed)
        return measures.wait_times(
            self.arrivals(),
            by=by,
            method=method,
            min_events=min_events,
            min_clusters=min_clusters,
            min_at_risk=min_at_risk,
            n_resamples=n_resamples,
            seed=seed,
        )

    def arrivals(self) -> pd.DataFrame:
        """When each dependency that was ever missing arrived; see `measures.arrivals`."""
        return self._arrivals.copy(deep=False)

    def expiring(self, *, within: Length | None = None) -> pd.DataFrame:
        """Pending resources and the time they have left, the first to expire on top.

        ``within`` keeps what expires in that time from `moment` on, as ``"2h"``, and what is
        overdue; see `measures.expiring`.
        """
        return measures.expiring(self._cache.pending, as_of=self.moment, within=within)

    def expiry_codes(self) -> pd.DataFrame:
        """Which error codes of the batches count what expired; see `measures.expiry_codes`."""
        return codes_of_counts(self._endings.departures, self._cache.departures)

    def conventions(self) -> pd.DataFrame:
        """How the API counts waits that end, as far as its counts show, and what saying so would
        decide; see `measures.conventions`."""
        return conventions_of_counts(self._endings.departures, self._cache.departures)

    # -- dependencies -------------------------------------------------------------------------

    def bottlenecks(self) -> pd.DataFrame:
        """Missing dependencies, the one that would free the most first.

        ``query("is_root")`` leaves those that have to be delivered; the others are pending
        themselves. ``unlock`` counts what is freed if that one alone arrives, ``blocked`` what
        waits for it at all; see `measures.bottlenecks` for every column.
        """
        return self._bottlenecks.copy(deep=False)

    def upload_plan(
        self,
        *,
        top: int | None = 100,
        uploads_per_hour: float | None = None,
        max_roots: int = 64,
        effort: int = 100,
    ) -> pd.DataFrame:
        """What to upload next, in the order in which it frees the most the soonest.

        With ``uploads_per_hour`` the uploads begin at `moment`, and expiries count; see
        `measures.upload_plan`.
        """
        return measures.upload_plan(
            self._cache.pending_graph,
            top=top,
            uploads_per_hour=uploads_per_hour,
            as_of=None if uploads_per_hour is None else self.moment,
            max_roots=max_roots,
            effort=effort,
        )

    def what_if(self, deliveries: Deliveries = (), *, force: Iterable[str] = ()) -> pd.DataFrame:
        """What becomes of each pending resource if these keys are delivered.

        A list arrives at once and nothing expires; a dict gives each key its time, and waits run
        out. Rows of `bottlenecks`, `upload_plan` or `dependencies` will do too, and so will a
        tenant's name for its id; see `measures.what_if`.
        """
        ids = {name: one for one, name in self._catalog.tenant_names.items()}
        meant = with_ids_of(deliveries, ids)
        return measures.what_if(self._cache.pending_graph, deliveries=meant, force=force)

    def choke_points(self) -> pd.DataFrame:
        """Resources that wait and hold up others; see `measures.choke_points`."""
        return measures.choke_points(self._cache.pending_graph)

    def dependency_graph(self, *, top: int | None = None) -> DependencyGraph:
        """What waits for what; see `measures.dependency_graph`."""
        graph = measures.dependency_graph(self._cache.pending_graph, top=top)
        return replace(graph, nodes=self._catalog.named(graph.nodes))

    def schema_graph(self, definitions: Iterable[SchemaDefinition] | None = None) -> pd.DataFrame:
        """Which schemas wait for which, beside what they declare; see `measures.schema_graph`.

        Parameters
        ----------
        definitions : iterable of SchemaDefinition, optional
            As from ``client.schema_definitions()``; by default those of `schemas`, if any.
        """
        from reach_analytics.client._references import declared_references

        declared = self._declared if definitions is None else declared_references(definitions)
        return measures.schema_graph(self._cache.dependencies, declared)

    def deadlocks(self) -> pd.DataFrame:
        """Resources that wait for themselves through others; see `measures.deadlocks`."""
        return measures.deadlocks(self._cache.pending_graph)

    def depth(self) -> pd.DataFrame:
        """How long a chain each pending resource hangs on; see `measures.depth`."""
        return measures.depth(self._cache.pending_graph)

    def still_missing(self) -> pd.DataFrame:
        """`dependencies` without those that later observations prove to have arrived; see
        `measures.still_missing`."""
        whole = self.tables.whole or self.tables  # whatever shows that something came
        arrivals = self._arrivals
        if whole is not self.tables:
            arrivals = self._cache.read(whole.arrivals(self._conventions()), ARRIVALS)
        return measures.still_missing(self._cache.dependencies, arrivals)

    # -- collection ---------------------------------------------------------------------------

    def coverage(self, *, fresh: Length = "1h") -> pd.DataFrame:
        """How complete and fresh the lists of what waits are; see `measures.coverage`."""
        return measures.coverage(self._cache.last_observations, as_of=self.moment, fresh=fresh)

    def collection_health(
        self, *, by: By = None, freq: Freq | None = None, gap: Length = "20min"
    ) -> pd.DataFrame:
        """What observing cost, what it found, and how old the last known state got; see
        `measures.collection_health`."""
        waits = self._cache.wait_times(self._conventions(), group_names(by, [], "the observations"))
        return measures.collection_health(
            self._cache.observation_log, waits, waits, by=by, freq=freq, gap=gap
        )

    # -- for others ---------------------------------------------------------------------------

    def report(self, path: str | os.PathLike[str] = "report.html") -> Path:
        """Write what matters most into one HTML page that needs no network.

        Returns
        -------
        pathlib.Path
            The page.
        """
        from reach_analytics import report

        return report.write_report(
            report.report_frames(self),
            path,
            as_of=self.moment,
            last_observation=self.last_observation,
            missing=self.missing,
            part=self.part,
        )

    def export(
        self,
        directory: str | os.PathLike[str] = "export",
        *,
        format: Literal["parquet", "csv"] = "parquet",
    ) -> list[Path]:
        """Write the frames and measures as files, one each, for any other tool.

        In CSV every cell stands as it is: a spreadsheet may run one that begins with ``=``, ``+``,
        ``-``, ``@``, a tab or a carriage return as a formula. Import its columns as text, or
        write Parquet.

        Returns
        -------
        list of pathlib.Path
            ``batches``, ``observations``, ``pending``, ``dependencies``, ``health``, ``success``
            (per schema), ``errors``, ``wait_outcomes``, ``reconciliation`` (per tenant),
            ``bottlenecks`` and ``upload_plan`` (all of it: what someone has to upload, in order).

        Raises
        ------
        ValueError
            If the format is neither ``"parquet"`` nor ``"csv"``.
        """
        from reach_analytics import report

        return report.export(report.export_contents(self), directory, format)

    # -- when, and how well -------------------------------------------------------------------

    @cached_property
    def moment(self) -> pd.Timestamp:
        """The moment of this history: ``as_of``, or when the last observation was received.

        1970 if there was none.
        """
        if self.as_of is not None:
            return self.as_of
        return self.last_observation or parse_timestamp(datetime(1970, 1, 1))

    @cached_property
    def last_observation(self) -> pd.Timestamp | None:
        """When the last answer that counts had been received; None if there was none.

        It may lie well before ``as_of``: what happened since then is not known.
        """
        last = self.tables.read(self.tables.last_received)[0][0].as_py()
        return None if last is None else parse_timestamp(last)

    @property
    def longest_wait(self) -> pd.Timedelta:
        """The longest time that a record was ever given to wait; 0 if none ever waited."""
        return self._cache.longest_wait

    @property
    def missing(self) -> str:
        """What damaged files keep out of every answer, in a sentence; empty if none do."""
        from reach_analytics.store.damage import summary

        return summary(self.damages)

    @property
    def part(self) -> str:
        """What `filter` left, in words; empty for all of it."""
        part = self.tables.part
        ids = pd.Series([*(part.tenants or ())], dtype="str")
        return words_for(part, self._catalog.names_of(ids))

    @property
    def age(self) -> str:
        """When the last observation was, in words, and how long before ``as_of``."""
        if self.last_observation is None:
            return f"no observation {'yet' if self.as_of is None else 'before'}"
        when = f"last observation at {self.last_observation:%Y-%m-%d %H:%M:%S} UTC"
        if self.as_of is None:
            return when
        return f"{when}, {in_words(self.as_of - self.last_observation)} before"

    def __repr__(self) -> str:
        until = "" if self.as_of is None else f", as of {self.as_of:%Y-%m-%d %H:%M:%S} UTC"
        damaged = f", damaged files left out: {len(self.damages)}" if self.damages else ""
        part = f", {self.part}" if self.part else ""
        return f"<History of {self.location or 'two tables'}{part}{until}, {self.age}{damaged}>"

    def _conventions(
        self,
        tolerance: Length = "5s",
        expired_counts_as_failed: bool | None = None,
        released_may_fail: bool | None = None,
    ) -> Conventions:
        if released_may_fail is None:
            released_may_fail = self.released_may_fail
        return conventions_of(tolerance, expired_counts_as_failed, released_may_fail)

    @cached_property
    def _declared(self) -> pd.DataFrame | None:
        """What the schemas of the catalog refer to, as `tables.DECLARED`; None without one."""
        schemas = self._catalog.schemas
        each = schemas.explode("references").rename(columns={"references": "references_schema"})
        return DECLARED.conform(each) if len(each) else None

    @cached_property
    def _endings(self) -> Endings:
        return self._cache.endings(self._conventions())

    @cached_property
    def _arrivals(self) -> pd.DataFrame:
        return self._cache.read(self.tables.arrivals(self._conventions()), ARRIVALS)

    @cached_property
    def _bottlenecks(self) -> pd.DataFrame:
        return measures.bottlenecks(self._cache.pending_graph)


def _tenants(tables: Tables, catalog: Catalog) -> pd.DataFrame:
    seen = tables.read(tables.tenant_ids)["tenant_id"].to_pandas()
    named = catalog.named(catalog.tenants(seen))
    if tables.part.tenants is not None:
        named = named[named["tenant_id"].isin(tables.part.tenants)]
    return named.sort_values([*TENANTS.order], ignore_index=True)


def _of_waits(by: By, of: Table, caller: str) -> list[str]:
    """The columns of the waits to group by."""
    names = group_names(by, of.names, "the waits")
    WAIT_OUTCOMES.check(WAIT_OUTCOMES.empty(), names, caller)
    return names


def _is_of_records(what: str) -> bool:
    if what not in ("records", "dependencies"):
        raise ValueError(f"of must be 'records' or 'dependencies', found {what!r}")
    return what == "records"
