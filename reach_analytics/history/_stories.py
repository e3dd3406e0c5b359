"""The story of one record, missing key or batch."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd
import pyarrow as pa

from reach_analytics.errors import UnknownNameError
from reach_analytics.history._state import State
from reach_analytics.measures._graph.stored import stored_graph
from reach_analytics.measures.batches.failed_records import failed_records
from reach_analytics.measures.stories.known import Known
from reach_analytics.measures.stories.story import Explanation
from reach_analytics.measures.stories.telling import tell
from reach_analytics.queries.tables import Tables
from reach_analytics.tables import ARRIVALS, BATCHES, BOTTLENECKS, PENDING, WAIT_OUTCOMES

_RESOURCE = ["tenant_id", "batch_id", "pending_id", "external_id", "schema_definition_id"]
_RESOURCE += ["schema_name", "created_at", "expires_at", "observed_at"]
_KEY = ["tenant_id", "schema_definition_id", "external_id", "schema_name"]


class Stories(State):
    """The stories of things by their names."""

    def explain(self, name: str) -> Explanation:
        """What something is, why it waits, and what would free it, in words.

        Of a record that waits: since when and for what, what that waits for in turn, down to what
        somebody has to upload; when it dies if nobody does, what else the same upload frees, and
        what was observed of it. Of one that waits no longer: how that ended. Of what is missing:
        what waits for it. Of a batch: how it fares, and what to upload for it.

        All that is called so is told of, in every tenant; of a part, in its tenants. How a wait
        ended is judged by what was observed of its tenant.

        Parameters
        ----------
        name : str
            An external id, the id of a pending resource, or that of a batch, exactly.

        Returns
        -------
        Explanation
            Printed it is text, in a notebook HTML; ``to_dict()`` has the same for programs, and
            ``stories`` one by one.

        Raises
        ------
        UnknownNameError
            If nothing that was observed is called so.

        Examples
        --------
        >>> import tempfile
        >>> import reach_analytics as reach
        >>> with reach.sandbox.serve("demo") as sb, tempfile.TemporaryDirectory() as directory:
        ...     sb.advance(sb.scenario.moments[5])
        ...     store = reach.Store(directory + "/reach")
        ...     run = reach.collect(reach.Client(**sb.credentials), store, progress=False)
        ...     history = reach.open_history(store)
        ...     first = history.bottlenecks().query("is_root").iloc[0]
        ...     story = history.explain(first["external_id"]).stories[0]
        ...     story.sentences[0]
        'It is missing, and nothing that waits would bring it: it has to be uploaded.'
        """
        if not isinstance(name, str) or not name:
            raise TypeError(f"explain takes an id as text, found {name!r}")
        batches = self.tables.read(self.tables.mentioning(name))
        if len(batches):
            found = tell(self._known_of(name, batches))
            if found.stories:
                return found
        part = f" in {self.part}" if self.part else ""
        raise UnknownNameError(
            f"nothing that was observed{part} is called {name!r}; explain takes an external id, "
            "the id of a pending resource, or that of a batch, exactly as it is written"
        )

    def _known_of(self, name: str, mentioned: pa.Table) -> Known:
        """What was observed of the tenants in which the name occurs."""
        tables = self.tables.of_tenants(sorted(set(mentioned["tenant_id"].to_pylist())))
        looks = tables.read(tables.looks_at(mentioned, name)).sort_by(_ORDER).to_pylist()
        names = _aliases(name, looks)
        waits = tables.current
        every = waits.resources
        named = every.filter(every.external_id.isin(names) | (every.pending_id == name))
        told = named.missing_dependencies.notnull()
        resources = tables.read(named.select("resource", *_RESOURCE, told=told))
        keys = waits.named_keys.filter(waits.named_keys.external_id.isin(names))
        found = tables.read(keys.select("key", *_KEY))
        batches = BATCHES.to_pandas(tables.read(tables.batches_among(mentioned)))
        failed = failed_records(batches)
        extra = {column: resources[column] for column in ("resource", "told")}
        return Known(
            name,
            self.moment.tz_convert(self.timezone),
            stored_graph(waits),
            PENDING.only(_RESOURCE).to_pandas(resources).assign(**extra),
            BOTTLENECKS.only(_KEY).to_pandas(found).assign(key=found["key"]),
            [_dated(row, self.timezone) for row in looks],
            batches,
            failed[failed["external_id"].isin(names)].reset_index(drop=True),
            partial(self._outcomes_of, tables, names),
            partial(self._arrivals_of, tables, names),
            self._tenant_name,
        )

    def _outcomes_of(self, tables: Tables, names: list[str]) -> pd.DataFrame:
        rows = tables.wait_outcomes_under(self._conventions())
        return self._cache.read(rows.filter(rows.external_id.isin(names)), WAIT_OUTCOMES)

    def _arrivals_of(self, tables: Tables, names: list[str]) -> pd.DataFrame:
        rows = tables.arrivals(self._conventions())
        return self._cache.read(rows.filter(rows.external_id.isin(names)), ARRIVALS)

    def _tenant_name(self, tenant_id: str) -> str:
        return str(self._catalog.names_of(pd.Series([tenant_id], dtype="str")).iloc[0])


def _aliases(name: str, looks: list[dict[str, Any]]) -> list[str]:
    """The name, and the external ids of the pending resources of that id."""
    own = (one for look in looks for one in look["own"] or () if one["id"] == name)
    return sorted({name, *(one["resource_external_id"] for one in own)} - {None})


_ORDER = [("sent_at", "ascending"), ("received_at", "ascending"), ("batch_id", "ascending")]


def _dated(row: dict[str, Any], timezone: str) -> dict[str, Any]:
    """A row with its times as Timestamps in a zone."""
    names = ("sent_at", "received_at")
    times = pd.to_datetime([row[name] for name in names], utc=True)  # some engines know no zone
    return row | dict(zip(names, times.tz_convert(timezone), strict=True))
