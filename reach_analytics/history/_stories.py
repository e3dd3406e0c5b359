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
from reach_analytics.tables import BATCHES, BOTTLENECKS, PENDING, WAIT_OUTCOMES

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
        stories = tell(self._known_of(name, batches)) if len(batches) else ()
        if not stories:
            part = f" in {self.part}" if self.part else ""
            raise UnknownNameError(
                f"nothing that was observed{part} is called {name!r}; explain takes an external "
                "id, the id of a pending resource, or that of a batch, exactly as it is written"
            )
        return Explanation(name, stories)

    def _known_of(self, name: str, mentioned: pa.Table) -> Known:
        """What was observed of the tenants in which the name occurs."""
        tables = self.tables.of_tenants(sorted(set(mentioned["tenant_id"].to_pylist())))
        waits = tables.current
        named = waits.resources.filter(
            (waits.resources.external_id == name) | (waits.resources.pending_id == name)
        )
        resources = tables.read(named.select("resource", *_RESOURCE))
        keys = waits.named_keys.filter(waits.named_keys.external_id == name)
        found = tables.read(keys.select("key", *_KEY))
        looks = tables.read(tables.looks_at(mentioned, name))
        batches = BATCHES.to_pandas(tables.read(tables.batches_among(mentioned)))
        failed = failed_records(batches)
        return Known(
            name,
            self.moment.tz_convert(self.timezone),
            stored_graph(waits),
            PENDING.only(_RESOURCE).to_pandas(resources).assign(resource=resources["resource"]),
            BOTTLENECKS.only(_KEY).to_pandas(found).assign(key=found["key"]),
            [_dated(row, self.timezone) for row in looks.sort_by(_ORDER).to_pylist()],
            batches,
            failed[failed["external_id"] == name],
            partial(self._outcomes_of, tables, name),
            self._tenant_name,
        )

    def _outcomes_of(self, tables: Tables, name: str) -> pd.DataFrame:
        rows = tables.wait_outcomes_under(self._conventions())
        return self._cache.read(rows.filter(rows.external_id == name), WAIT_OUTCOMES)

    def _tenant_name(self, tenant_id: str) -> str:
        return str(self._catalog.names_of(pd.Series([tenant_id], dtype="str")).iloc[0])


_ORDER = [("sent_at", "ascending"), ("received_at", "ascending"), ("batch_id", "ascending")]


def _dated(row: dict[str, Any], timezone: str) -> dict[str, Any]:
    """A row with its times as Timestamps in a zone."""
    names = ("sent_at", "received_at")
    return row | {name: pd.Timestamp(row[name]).tz_convert(timezone) for name in names}
