"""What became of what waited: the measures of waits."""

from __future__ import annotations

from typing import Literal

import pandas as pd

from reach_analytics import measures
from reach_analytics.history._state import Length, State
from reach_analytics.measures._shared.grouping import Buckets, By, Freq, group_names
from reach_analytics.measures.batches.failed_records import failed_records
from reach_analytics.measures.waits.conventions import conventions_of_counts
from reach_analytics.measures.waits.expiry_codes import codes_of_counts
from reach_analytics.measures.waits.lost import lost_in_part, lost_of_counts
from reach_analytics.measures.waits.reconciliation import account_of_counts
from reach_analytics.measures.waits.release_rates import rates_of_counts
from reach_analytics.measures.waits.survival import curves, medians
from reach_analytics.tables import (
    BACKLOG,
    RELEASE_RATES,
    SURVIVAL,
    WAIT_OUTCOMES,
    WAIT_TIMES,
    Table,
)

Method = Literal["kaplan-meier", "turnbull"]
Waiting = Literal["records", "dependencies"]


class WaitMeasures(State):
    """The measures of waits."""

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

    def lost(self) -> pd.DataFrame:
        """Which records were lost, or may have been, why, and how sure that is; see
        `measures.lost`."""
        every = self._of_whole  # by which it is judged what became of a wait
        named = failed_records(every.batches)
        found = lost_of_counts(
            every.batches,
            every.lost_waits(self._conventions(), named),
            every.endings(self._conventions()),
            every.departures,
            every.errors_said(named),
            self._schema_names,
        )
        if every is self._cache:
            return found
        waits = self._cache.lost_waits(self._conventions(), named)
        return lost_in_part(found, waits, self._cache.batches)

    def release_rates(self, *, by: By = None) -> pd.DataFrame:
        """How many waits are released, and how many expire; see `measures.release_rates`."""
        names = _of_waits(by, RELEASE_RATES, "release_rates")
        return rates_of_counts(
            self._cache.release_counts(self._conventions(), names, self.moment), names
        )

    def backlog(self, *, by: By = None, freq: Freq = "1h", fresh: Length = "15min") -> pd.DataFrame:
        """How many resources waited over time; see `measures.backlog`."""
        names = _of_waits(by, BACKLOG, "backlog")
        buckets = Buckets(freq, self.timezone)
        return self._cache.backlog(
            self._conventions(), names, buckets=buckets, as_of=self.moment, fresh=fresh
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


def _of_waits(by: By, of: Table, caller: str) -> list[str]:
    """The columns of the waits to group by."""
    names = group_names(by, of.names, "the waits")
    WAIT_OUTCOMES.check(WAIT_OUTCOMES.empty(), names, caller)
    return names


def _is_of_records(what: str) -> bool:
    if what not in ("records", "dependencies"):
        raise ValueError(f"of must be 'records' or 'dependencies', found {what!r}")
    return what == "records"
