"""`History`: what a store remembers, as DataFrames, measures, figures' frames and files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from reach_analytics import measures
from reach_analytics._time import in_words
from reach_analytics.history.graph import Graph
from reach_analytics.history.waits import Waits
from reach_analytics.measures.grouping import By, Freq, in_bulk


class History(Waits, Graph):
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

    def health(self) -> pd.DataFrame:
        """One row per tenant: what landed, what waits, what was lost, what expires next, and how
        old that is; see `measures.health`.

        Expiries and ages are measured from ``as_of``, or from the last look.
        """
        lost = self.reconciliation("tenant_id")
        return measures.health(self._batches, self._pending, lost, as_of=self.moment)

    def success(
        self,
        by: By = None,
        freq: Freq | None = None,
        time: str = "created_at",
    ) -> pd.DataFrame:
        """Success fractions per group and time bucket; see `measures.success`.

        Cohorts are immature for as long as the longest wait that was ever seen would last.
        """
        cohorts = freq is not None and time == "created_at"
        return measures.success(
            self._batches,
            by=by,
            freq=freq,
            time=time,
            as_of=self.moment if cohorts else None,
            longest_wait=self._longest_wait if cohorts else "0s",
        )

    def status(
        self,
        by: By = None,
        freq: Freq | None = None,
        time: str = "created_at",
    ) -> pd.DataFrame:
        """Batches per status, group and time bucket; see `measures.status`."""
        return measures.status(self._batches, by=by, freq=freq, time=time)

    def success_chart(
        self,
        by: By = None,
        time: str = "created_at",
        baseline: int | str | pd.Timestamp = 20,
        *,
        limits: Literal["beta-binomial", "laney", "laney-strict", "p"] = "beta-binomial",
    ) -> pd.DataFrame:
        """Which batches fared as they used not to; see `measures.success_chart`."""
        return measures.success_chart(
            self._batches,
            by=by,
            time=time,
            baseline=baseline,
            limits=limits,
        )

    def change_point(
        self,
        by: By = None,
        time: str = "created_at",
        *,
        permutations: int = 9999,
        seed: int = 0,
    ) -> pd.DataFrame:
        """When success changed, and whether by chance; see `measures.change_point`."""
        return measures.change_point(
            self._batches, by=by, time=time, permutations=permutations, seed=seed
        )

    def durations(self) -> pd.DataFrame:
        """How long each batch queued and was processed; see `measures.durations`."""
        return measures.durations(self._batches, as_of=self.moment)

    def throughput(self) -> pd.DataFrame:
        """Records a second between two looks at a batch; see `measures.throughput`."""
        return measures.throughput(self._looks)

    def stuck(self, after: str | pd.Timedelta = "1h", p: float = 0.01) -> pd.DataFrame:
        """Batches that run, and whether they have been silent for too long; see
        `measures.stuck`."""
        return measures.stuck(self._looks, as_of=self.moment, after=after, p=p)

    def eta(self) -> pd.DataFrame:
        """When each running batch will be through, or why nobody knows; see `measures.eta`."""
        return measures.eta(self._looks, as_of=self.moment)

    def errors(self) -> pd.DataFrame:
        """Every value in the batches' error objects; see `measures.errors`."""
        return measures.errors(self._batches)

    def quality(self) -> pd.DataFrame:
        """What is odd about the numbers that the API reported; see `measures.quality`."""
        return measures.quality(self._looks)

    def collection_health(
        self,
        freq: Freq | None = None,
        by: By = None,
        *,
        gap: str | pd.Timedelta = "20min",
    ) -> pd.DataFrame:
        """What the looks cost, what they saw, and how old knowledge got between them; see
        `measures.collection_health`."""
        return measures.collection_health(
            self._polls, self._spells, self._waiting, freq=freq, by=by, gap=gap
        )

    def report(self, path: str | os.PathLike[str] = "report.html") -> Path:
        """Write everything worth a look into one HTML page that needs no network.

        Returns
        -------
        pathlib.Path
            The page.
        """
        from reach_analytics import report

        return report.write_report(
            self._report_frames(),
            path,
            as_of=self.moment,
            last_look=self.last_look,
            missing=self.missing,
        )

    def export(
        self,
        directory: str | os.PathLike[str] = "export",
        format: Literal["parquet", "csv"] = "parquet",
    ) -> list[Path]:
        """Write the frames and measures as files, one each, for any other tool.

        In CSV every cell stands as it is: a spreadsheet may run one that begins with ``=``, ``+``,
        ``-``, ``@``, a tab or a carriage return as a formula. Import its columns as text, or
        write Parquet.

        Returns
        -------
        list of pathlib.Path
            ``batches``, ``looks``, ``pending``, ``dependencies``, ``health``, ``success`` (per
            schema), ``errors``, ``waiting``, ``reconciliation`` (per tenant), ``bottlenecks`` and
            ``upload_plan`` (all of it: what someone has to upload, in order).

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
            "waiting": self.waiting(),
            "reconciliation": self.reconciliation("tenant_id"),
            "bottlenecks": self._bottlenecks,
            "upload_plan": self.upload_plan(top=None),
        }
        return report.export(frames, directory, format)

    def _report_frames(self) -> dict[str, Any]:
        missing = self._bottlenecks
        created = self._batches["created_at"]
        # Charts over time show where the batches are; the page says how many are elsewhere.
        bulk = in_bulk(created) | created.isna()
        dated = self._batches[bulk]
        width = _width(created[bulk])
        longest = self._longest_wait
        began = self._waiting["created_at"].fillna(self._waiting["first_seen"])
        of_waits = _width(pd.concat([began[in_bulk(began)], pd.Series([self.moment])]))
        return {
            "health": self.health(),
            "reconciliation": self.reconciliation(),
            "conventions": self.conventions(),
            "success_overall": self.success(),
            "success": self.success(by="schema_name"),
            "success_over_time": measures.success(
                dated, by="schema_name", freq=width, as_of=self.moment, longest_wait=longest
            ),
            "status_over_time": measures.status(dated, freq=width),
            "oddly_dated": self._batches[~bulk],
            "backlog": self.backlog(of_waits),
            "expiring": self.expiring(),
            "outcomes": self.outcomes(by="schema_name"),
            "coverage": self.coverage(),
            "bottlenecks": missing[missing["is_root"]],
            "graph": self.dependency_graph(top=15),
            "errors": self.errors(),
        }

    def __repr__(self) -> str:
        until = "" if self.as_of is None else f", as of {self.as_of:%Y-%m-%d %H:%M:%S} UTC"
        damaged = f", damaged files left out: {len(self.damages)}" if self.damages else ""
        return f"<History of {self.location or 'two tables'}{until}, {self.age}{damaged}>"

    @property
    def age(self) -> str:
        """When the last look was, in words, and how long before ``as_of``."""
        if self.last_look is None:
            return "no look before" if self.as_of is not None else "no look yet"
        when = f"last look at {self.last_look:%Y-%m-%d %H:%M:%S} UTC"
        return (
            when
            if self.as_of is None
            else f"{when}, {in_words(self.as_of - self.last_look)} before"
        )


def _width(times: pd.Series) -> str:
    """A width of time buckets that gives a few dozen from the first to the last."""
    known = times.dropna()
    span = known.max() - known.min() if len(known) else pd.Timedelta(0)
    return next(
        width
        for width, longest in (("1h", 2), ("6h", 14), ("D", 90), ("W", 700), ("Y", 10**9))
        if span.days < longest
    )
