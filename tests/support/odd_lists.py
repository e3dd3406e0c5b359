"""Lists of what waits as no API should give them, for Hypothesis."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from reach_analytics.collector._observe.rows import RecordedObservation
from tests.support.observations import batch, counts, minute, observation

maybe = st.sampled_from
KEYS = st.fixed_dictionaries(
    {
        "schemaDefinitionId": maybe([None, "s", "t"]),
        "externalId": maybe([None, "A", "B"]),
        "schemaName": maybe([None, "n", "m"]),
    }
)
RESOURCES = st.fixed_dictionaries(
    {
        "id": maybe([None, "1", "2", "3"]),
        "resourceExternalId": maybe([None, "A", "B"]),
        "schemaDefinitionId": maybe([None, "s", "t"]),
        "createdAt": maybe([None, minute(0).isoformat(), minute(1).isoformat()]),
        "expiresAt": maybe([None, minute(3).isoformat(), minute(9).isoformat()]),
        "missingDependencies": st.none() | st.lists(KEYS, max_size=3),
    }
)
SEEN = st.tuples(
    maybe(["b1", "b2"]),
    maybe([0.0, 0.0, 3.5]),  # minutes until the answer
    st.none() | st.lists(RESOURCES, max_size=4),
)


def observed(seen: list[Any]) -> list[RecordedObservation]:
    """The observations of a list of `SEEN`, a minute apart."""
    observations = []
    for at, (batch_id, slow, listed) in enumerate(seen):
        document = batch(waits={}, batch_id=batch_id, progress=counts(10, at, 0))
        document |= {} if listed is None else {"pendingResources": listed}
        one = observation(document, at, batch_id=batch_id)
        observations.append(replace(one, received_at=minute(at + 0.1 + slow)))
    return observations
