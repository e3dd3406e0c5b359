"""Did it land: the measures of batches."""

from __future__ import annotations

from datetime import datetime

import pandas as pd

from reach_analytics import measures
from reach_analytics._time import parse_timestamp
from reach_analytics.history._state import Length, State
from reach_analytics.measures._shared.grouping import By, Freq
from reach_analytics.measures.batches.control_chart import Limits
from reach_analytics.measures.batches.health import health_of_counts
from reach_analytics.measures.waits.reconciliation import account_of_counts


class BatchMeasures(State):
    """The measures of batches."""

    def health(self) -> pd.DataFrame:
        """One row per tenant: what landed, what waits, what was lost, what expires next, and how
        old that is; see `measures.health`.

        Expiries and ages are measured from `moment`.
        """
        lost = account_of_counts(
            self._cache.batches, self._endings, self._cache.departures, by="tenant_id"
        )
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
            timezone=self.timezone,
        )

    def status(
        self, *, by: By = None, freq: Freq | None = None, time: str = "created_at"
    ) -> pd.DataFrame:
        """Batches per status, group and time bucket; see `measures.status`."""
        return measures.status(
            self._cache.batches, by=by, freq=freq, time=time, timezone=self.timezone
        )

    def control_chart(
        self,
        *,
        by: By = None,
        time: str = "created_at",
        baseline: int | str | pd.Timestamp = 20,
        limits: Limits = "beta-binomial",
    ) -> pd.DataFrame:
        """Which batches fare otherwise than usual; see `measures.control_chart`."""
        if isinstance(baseline, str | datetime):
            baseline = parse_timestamp(baseline, "baseline", self.timezone)
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
