"""What changed: two moments of one store, side by side."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd

from reach_analytics.history._filters import Moment, moment_of
from reach_analytics.history._state import State
from reach_analytics.measures.changes.changes import changes_between
from reach_analytics.tables import ARRIVALS, RESOURCE_KEY

if TYPE_CHECKING:
    from reach_analytics.history.history import History


class Comparison(State):
    """What changed between two moments."""

    _earlier: State | None = None

    def changes(
        self,
        since: Moment = "24h",
        *,
        top: int | None = 20,
        n_resamples: int = 9999,
        seed: int = 0,
    ) -> pd.DataFrame:
        """What changed from then until `moment`, one row a change.

        - ``batches``: ``new`` ones, ``settled`` ones (all their records are processed) and, of
          these, ``failed`` ones.
        - ``records``: so many more ``landed`` or ``failed`` by the batches' counts; so many began
          to be listed as ``waiting``, and so many waits were found over: ``released``,
          ``expired``, or ``unknown``. What both began and ended in between counts as both.
        - ``dependencies``: keys that are missing now and were not (``new``); that were, and have
          ``arrived``; or that nothing waits for any longer, and of which that is not known
          (``gone``).
        - ``bottleneck``: keys that more waits for than before, directly or in a chain (``grew``),
          or less (``shrank``).
        - ``success``: the settled fraction of the batches created since then, beside that of those
          created in as long a time before, each as known at the end of its time: for all tenants
          (a row without ``tenant_id``) and for each. ``beyond_chance`` is whether they differ by
          more than chance, and null where so few batches cannot tell.
        - ``deadlock``: ``new`` and ``gone``; those that ``grew`` or ``shrank``.

        How a wait ended, and what arrived, is judged by the batches that were observed since then:
        `wait_outcomes` and `arrivals`, which ask all batches, may decide more. Of a part, batches
        count by the type and status that they have now.

        Parameters
        ----------
        since : str, datetime or timedelta
            The earlier moment, or how long before `moment` it is.
        top : int, optional
            How many bottlenecks that grew to list, and how many that shrank; all with None.
        n_resamples : int
            How many random orders of the batches stand for chance, where there are few.
        seed : int
            The same seed draws the same ones.

        Returns
        -------
        pandas.DataFrame
            `tables.CHANGES`: about, change, size, before and after, and whose. Only what changed
            has a row, the largest of a kind first; and success, wherever any is known.

        Raises
        ------
        ValueError
            If ``since`` is no time, or not before `moment`, or a number is below 1.

        Examples
        --------
        >>> import tempfile
        >>> import reach_analytics as reach
        >>> with reach.sandbox.serve("demo") as sb, tempfile.TemporaryDirectory() as directory:
        ...     store = reach.Store(directory + "/reach")
        ...     for moment in sb.scenario.moments[3:12:4]:
        ...         sb.advance(moment)
        ...         run = reach.collect(reach.Client(**sb.credentials), store, progress=False)
        ...     changes = reach.open_history(store).changes(since="1h")
        ...     print(reach.measures.changes_in_words(changes).splitlines()[0])
        Batches: 10 new, 10 settled and 1 failed.
        """
        return self._since(self._at(self._earlier_moment(since)), top, n_resamples, seed)

    def compare(
        self,
        later: History,
        *,
        top: int | None = 20,
        n_resamples: int = 9999,
        seed: int = 0,
    ) -> pd.DataFrame:
        """What changed from the moment of this history to that of a later one of the same store;
        see `changes`.

        Raises
        ------
        ValueError
            If the other is not later, or of another store or part. A part with a ``since`` so long
            before its moment is another one at each.
        """
        if later.location != self.location or later.part != self.part:
            mine, other = (f"{one.location} {one.part}".strip() for one in (self, later))
            raise ValueError(f"two moments of one history are compared, found {mine} and {other}")
        if later.moment <= self.moment:
            raise ValueError(
                f"compare takes a history of after {self.moment}, found {later.moment}; swap them"
            )
        return later._since(self, top, n_resamples, seed)

    def _earlier_moment(self, since: Moment) -> pd.Timestamp:
        then = moment_of(since, "since", self.moment, self.timezone)
        if then is None or pd.Timestamp(then) >= self.moment:
            raise ValueError(f"since must be before {self.moment}, found {since!r}")
        return pd.Timestamp(then)

    def _at(self, then: pd.Timestamp) -> State:
        """What was known at an earlier moment; the last one asked for is kept."""
        kept = self._earlier
        if kept is None or kept.as_of != then:
            kept = self._earlier = State(
                self.tables.at(then.to_pydatetime()),
                location=self.location,
                as_of=then,
                released_may_fail=self.released_may_fail,
                damages=self.damages,
                bar=self._bar,
                catalog=self._catalog,
                timezone=self.timezone,
            )
        return kept

    def _since(self, earlier: State, top: int | None, n_resamples: int, seed: int) -> pd.DataFrame:
        if n_resamples < 1 or (top is not None and top < 1):
            raise ValueError(
                f"top and n_resamples must be at least 1, found {top} and {n_resamples}"
            )
        recent = self.tables.observed_since(earlier.moment)
        conventions = self._conventions()
        turnover = self.tables.read(recent.turnover(conventions, earlier.moment)).to_pandas()
        arrivals = self._cache.read(recent.arrivals(conventions), ARRIVALS)
        then = earlier._known
        if self.tables.part.names_kinds:  # which a batch may have changed
            then = replace(then, batches=earlier._batches_of(self._known.batches))
        return changes_between(
            then,
            self._known,
            turnover,
            arrivals.loc[arrivals["verdict"] == "arrived", RESOURCE_KEY],
            top=top,
            n_resamples=n_resamples,
            seed=seed,
        )
