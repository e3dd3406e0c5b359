"""The frames of a history, and SQL over them."""

from __future__ import annotations

import pandas as pd

from reach_analytics.history._state import State, schemas_of, tenants_of
from reach_analytics.tables import (
    OBSERVATION_LOG,
    STRING,
    frame_of,
)


class Frames(State):
    """The frames."""

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
        return tenants_of(self.tables, self._catalog)

    def schemas(self) -> pd.DataFrame:
        """One row per schema definition that the API described, by name, with what it declares
        references to."""
        return schemas_of(self.tables, self._catalog)

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
