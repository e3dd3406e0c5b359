"""What a story is told from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from reach_analytics.measures._graph.model import PendingGraph
from reach_analytics.measures._shared.arrays import Ints, offsets_of, ranges
from reach_analytics.measures.stories.phrases import named
from reach_analytics.tables import RESOURCE_KEY

__all__ = ["Key", "Known", "as_key", "missing", "owned", "rows_of"]


@dataclass(frozen=True)
class Known:
    """What was observed of the tenants in which a name occurs.

    Attributes
    ----------
    name : str
    at : pandas.Timestamp
        The moment.
    graph : PendingGraph
        What waits.
    resources : pandas.DataFrame
        Of the pending resources of that name: resource (number), what names them, created_at,
        expires_at, observed_at, and told (whether the list says what they miss).
    keys : pandas.DataFrame
        Of what is missing of that name: key (number), tenant_id, schema_definition_id,
        external_id, schema_name.
    looks : list of dict
        The observations of the batches in which the name occurs, as `queries.mentions.looks_at`,
        in order.
    batches : pandas.DataFrame
        These batches, as `tables.BATCHES`.
    failed : pandas.DataFrame
        The records of that name that the error details of these name.
    outcomes : callable
        Gives the rows of `tables.WAIT_OUTCOMES` of that name; asked for only if one is over.
    arrivals : callable
        Gives the rows of `tables.ARRIVALS` of that name; asked for only if one may have come.
    tenant_name : callable
        What to call a tenant.
    """

    name: str
    at: pd.Timestamp
    graph: PendingGraph
    resources: pd.DataFrame
    keys: pd.DataFrame
    looks: Sequence[dict[str, Any]]
    batches: pd.DataFrame
    failed: pd.DataFrame
    outcomes: Callable[[], pd.DataFrame]
    arrivals: Callable[[], pd.DataFrame]
    tenant_name: Callable[[str], str]

    @cached_property
    def offsets(self) -> Ints:
        """Where the keys that each resource misses begin, among the edges."""
        return offsets_of(self.graph.needs)

    def missed_by(self, resources: Ints) -> Ints:
        """The keys that any of these resources misses."""
        edges = ranges(self.offsets[resources], self.offsets[resources + 1])
        return np.unique(self.graph.edge_key[edges])

    def names(self, keys: Ints) -> list[str]:
        """Schema and id of each key."""
        rows = self.graph.names.keys(keys)
        pairs = zip(rows["schema_name"], rows["external_id"], strict=True)
        return [named(schema, external_id) for schema, external_id in pairs]

    def values(self, keys: Ints) -> list[dict[str, Any]]:
        """The same as plain values."""
        rows = self.graph.names.keys(keys)[["schema_name", "external_id"]]
        return [
            {str(name): None if pd.isna(value) else value for name, value in row.items()}
            for row in rows.to_dict("records")
        ]


Key = tuple[str | None, str | None, str | None]
"""tenant_id, schema_definition_id, external_id."""


def as_key(values: Iterable[Any]) -> Key:
    """The values as a key, with None for null."""
    tenant, schema, external_id = (None if pd.isna(value) else value for value in values)
    return tenant, schema, external_id


def rows_of(rows: pd.DataFrame, key: Key) -> pd.DataFrame:
    """The rows that are about a key."""
    own = [as_key(values) == key for values in rows[RESOURCE_KEY].itertuples(index=False)]
    return rows[np.array(own, bool)]


def owned(look: Mapping[str, Any], key: Key) -> list[dict[str, Any]]:
    """The pending resources of a key in a list."""
    if look["tenant_id"] != key[0]:
        return []
    pairs = ("schema_definition_id", "resource_external_id")
    return [one for one in look["own"] or () if tuple(one[n] for n in pairs) == key[1:]]


def missing(look: Mapping[str, Any], key: Key) -> list[dict[str, Any]]:
    """The mentions of a key as missing in a list."""
    if look["tenant_id"] != key[0]:
        return []
    pairs = ("schema_definition_id", "external_id")
    return [one for one in look["missed"] or () if tuple(one[n] for n in pairs) == key[1:]]
