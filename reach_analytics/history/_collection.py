"""How well do we know: the measures of collection."""

from __future__ import annotations

import pandas as pd

from reach_analytics import measures
from reach_analytics.history._state import Length, State
from reach_analytics.measures._shared.grouping import By, Freq, group_names


class CollectionMeasures(State):
    """The measures of collection."""

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
            self._cache.observation_log,
            waits,
            waits,
            by=by,
            freq=freq,
            gap=gap,
            timezone=self.timezone,
        )
