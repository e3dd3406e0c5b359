"""How long resources wait, what became of them, and what dies next."""

from __future__ import annotations

from functools import cached_property
from typing import Literal

import pandas as pd

from reach_analytics import measures
from reach_analytics.columns import LOOKS
from reach_analytics.history.reading import Frames
from reach_analytics.measures.grouping import By, Freq


class Waits(Frames):
    """The measures of waits."""

    def expiring(self, within: str | pd.Timedelta | None = None) -> pd.DataFrame:
        """Pending resources and the time left to them, the first to expire on top.

        ``within`` leaves what expires in that time from this history's moment on, as ``"2h"``, and
        what is overdue; see `measures.expiring`.
        """
        return measures.expiring(self._pending, as_of=self.moment, within=within)

    def waiting(
        self,
        *,
        tolerance: str | pd.Timedelta = "5s",
        expired_counts_as_failed: bool | None = None,
        released_may_fail: bool | None = None,
    ) -> pd.DataFrame:
        """What became of every wait ever seen, and the rule that says so; see `measures.waiting`.

        `outcomes`, `backlog`, `survival`, `wait_times` and `arrivals` use it as it is by default;
        hand their measures your own, as ``measures.outcomes(history.waiting(…), as_of=…)``, for
        other assumptions. ``released_may_fail`` is what `open_history` was told, True by default.
        """
        if released_may_fail is None:
            released_may_fail = self.released_may_fail
        return measures.waiting(
            self._spells,
            self._spell_dependencies,
            self._departures,
            self._batches,
            tolerance=tolerance,
            expired_counts_as_failed=expired_counts_as_failed,
            released_may_fail=released_may_fail,
        )

    def expiry_codes(self) -> pd.DataFrame:
        """Which error codes of the batches count what expired; see `measures.expiry_codes`."""
        return measures.expiry_codes(self._waiting, self._departures)

    def conventions(self) -> pd.DataFrame:
        """How the API counts waits that end, as far as its counts show, and what saying so would
        settle; see `measures.conventions`."""
        return measures.conventions(self._waiting, self._departures)

    def reconciliation(self, by: By = None) -> pd.DataFrame:
        """Where every record of the batches is: landed, waiting, lost, and how surely; see
        `measures.reconciliation`."""
        return measures.reconciliation(self._batches, self._waiting, self._departures, by=by)

    def arrivals(self) -> pd.DataFrame:
        """When each dependency that was ever missing came; see `measures.arrivals`."""
        return measures.arrivals(self._waiting, self._spell_dependencies)

    def still_missing(self) -> pd.DataFrame:
        """`dependencies` without what later looks prove to have come; see
        `measures.still_missing`."""
        return measures.still_missing(self._dependencies, self.arrivals())

    def outcomes(self, by: By = None) -> pd.DataFrame:
        """How many waits are released, and how many lost; see `measures.outcomes`."""
        return measures.outcomes(self._waiting, by=by, as_of=self.moment)

    def backlog(self, freq: Freq = "1h", by: By = None) -> pd.DataFrame:
        """How many resources waited over time; see `measures.backlog`."""
        return measures.backlog(self._waiting, freq=freq, by=by, as_of=self.moment)

    def survival(
        self,
        by: By = None,
        *,
        of: Literal["records", "dependencies"] = "records",
        method: Literal["kaplan-meier", "turnbull"] | None = None,
        seed: int = 0,
    ) -> pd.DataFrame:
        """Which part still waits at each age; see `measures.survival`.

        ``of`` asks how long records wait, or how long dependencies take to come, each counted once
        however many wait for it.
        """
        return measures.survival(self._of(of), by=by, method=method, seed=seed)

    def wait_times(
        self,
        by: By = None,
        *,
        of: Literal["records", "dependencies"] = "records",
        method: Literal["kaplan-meier", "turnbull"] | None = None,
        seed: int = 0,
    ) -> pd.DataFrame:
        """The median wait, or why it is not known; see `measures.wait_times` and `survival`."""
        return measures.wait_times(self._of(of), by=by, method=method, seed=seed)

    def coverage(self, fresh: str | pd.Timedelta = "1h") -> pd.DataFrame:
        """How far the lists of what waits can be trusted; see `measures.coverage`."""
        last = self._read(self.tables.last_looks, LOOKS)  # no other look counts
        return measures.coverage(last, as_of=self.moment, fresh=fresh)

    def _of(self, what: str) -> pd.DataFrame:
        if what not in ("records", "dependencies"):
            raise ValueError(f"of must be 'records' or 'dependencies', found {what!r}")
        return self._waiting if what == "records" else self.arrivals()

    @cached_property
    def _waiting(self) -> pd.DataFrame:
        return self.waiting()
