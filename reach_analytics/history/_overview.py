"""How it stands, at a look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

import pandas as pd

from reach_analytics import measures
from reach_analytics._time import parse_timestamp
from reach_analytics.history._batches import BatchMeasures
from reach_analytics.history._changes import Comparison
from reach_analytics.history._collection import CollectionMeasures
from reach_analytics.history._dependencies import DependencyMeasures
from reach_analytics.history._filters import Moment
from reach_analytics.measures.batches.durations import unfinished
from reach_analytics.measures.overview.figures import counted_figures
from reach_analytics.measures.overview.glance import Glance
from reach_analytics.measures.overview.overview import Overview, overview_of
from reach_analytics.measures.waits.reconciliation import account_of_counts
from reach_analytics.queries.part import Part
from reach_analytics.tables import STUCK


class Overviews(BatchMeasures, DependencyMeasures, CollectionMeasures, Comparison):
    """The overview."""

    def overview(self, since: Moment = "24h", *, now: datetime | None = None) -> Overview:
        """How it stands: a verdict in a few sentences, the figures that matter most beside those of
        an earlier moment, and what to do now.

        Its severity is

        - ``unknown`` where no batch was ever observed, or where something waits or runs and nobody
          looked for an hour, or where all else is well but counts leave open what became of
          records;
        - ``critical`` where records die within the hour, batches failed or success fell by more
          than chance since then, or batches are stuck;
        - ``warning`` where anything waits, or anything else is to be done;
        - ``good`` where nothing is.

        All is judged at `moment`, which without ``as_of`` is that of the last observation. If that
        is more than an hour ago and something waited or ran, it says so, and is never ``good``.

        Parameters
        ----------
        since : str, datetime or timedelta
            The earlier moment, or how long before `moment` it is.
        now : datetime, optional
            What a clock shows; by default the present, unless the history is of an ``as_of``.

        Returns
        -------
        Overview
            With ``verdict``, ``severity``, ``figures``, ``actions``; it prints as text, and shows
            as HTML in a notebook.

        Raises
        ------
        ValueError
            If ``since`` is no time, or not before `moment`.

        Examples
        --------
        >>> import tempfile
        >>> import reach_analytics as reach
        >>> with reach.sandbox.serve("demo") as sb, tempfile.TemporaryDirectory() as directory:
        ...     sb.advance(sb.scenario.moments[5])
        ...     store = reach.Store(directory + "/reach")
        ...     run = reach.collect(reach.Client(**sb.credentials), store, progress=False)
        ...     overview = reach.open_history(store).overview()
        ...     overview.severity, overview.sentences[0]
        ('warning', 'None of the 17 batches failed.')
        """
        if now is None and self.as_of is None:
            now = datetime.now(UTC)
        clock = None if now is None else parse_timestamp(now, "now", self.timezone)
        return self._overview(since, self.changes(since), None, clock=clock)

    def _overview(
        self,
        since: Moment,
        changes: pd.DataFrame,
        before: Mapping[str, float] | None,
        timezone: str | None = None,
        clock: pd.Timestamp | None = None,
    ) -> Overview:
        """The overview, with the changes since then, and the key figures as a report had them."""
        then = self._earlier_moment(since)
        seen = self._glance(then, changes, before, timezone or self.timezone)
        return overview_of(replace(seen, clock=clock))

    def _glance(
        self,
        then: pd.Timestamp,
        changes: pd.DataFrame,
        before: Mapping[str, float] | None,
        zone: str,
    ) -> Glance:
        found = self.bottlenecks()
        return Glance(
            now=self.moment.tz_convert(zone),
            last_observation=self.last_observation,
            since=then.tz_convert(zone),
            health=self.health(),
            success=self.success(),
            coverage=self.coverage(),
            plan=self.upload_plan(),
            deadlocks=self.deadlocks(),
            stuck=self._stuck_ones(),
            changes=changes,
            missing=int(found["is_root"].sum()),
            of_tenants=replace(self.tables.part, tenants=None) == Part(),
            unreconciled=self._unreconciled(),
            before=self._figures_at(then) if before is None else before,
        )

    def _stuck_ones(self) -> pd.DataFrame:
        """`stuck`, which reads all observations, if any batch runs."""
        return self.stuck() if unfinished(self._cache.batches).any() else STUCK.empty()

    def _unreconciled(self) -> int:
        """How many records are in batches whose counts contradict each other."""
        account = account_of_counts(self._cache.batches, self._endings, self._cache.departures)
        return int(account.loc[account["part"] == "unreconciled", "records"].sum())

    def _figures_at(self, then: pd.Timestamp) -> dict[str, float]:
        """The key figures at an earlier moment; none where nothing had been observed."""
        earlier = self._at(then)
        if earlier.last_observation is None:
            return {}
        batches = earlier._cache.batches
        return counted_figures(
            batches,
            earlier._cache.pending_counts(then),
            measures.success(batches),
            int(earlier._bottlenecks["is_root"].sum()),
        )
