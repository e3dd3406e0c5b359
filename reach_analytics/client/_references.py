"""Which schemas refer to which, as their definitions declare."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd

from reach_analytics.client.documents import SchemaDefinition
from reach_analytics.tables import DECLARED

_PREFIX = "reach:schemas/"


def declared_references(definitions: Iterable[SchemaDefinition]) -> pd.DataFrame:
    """One row per (schema definition, schema that it refers to).

    Parameters
    ----------
    definitions : iterable of SchemaDefinition
        As from ``client.schema_definitions()``.

    Returns
    -------
    pandas.DataFrame
        schema_definition_id, schema_name, references_schema: the name or id, from
        ``referenceSchemas`` and from each ``$ref`` in the JSON Schema. Null in the
        one row of a definition that refers to nothing.

    Examples
    --------
    >>> from reach_analytics.client._references import declared_references
    >>> len(declared_references([]))
    0
    """
    rows = [
        {
            "schema_definition_id": definition.id,
            "schema_name": definition.name,
            "references_schema": target,
        }
        for definition in definitions
        for target in (*references(definition),) or (None,)
    ]
    return DECLARED.conform(pd.DataFrame(rows, columns=DECLARED.names))


def references(definition: SchemaDefinition) -> list[str]:
    """The names or ids of the schemas that one declares references to, each once."""
    return list(dict.fromkeys(_targets(definition)))


def _targets(definition: SchemaDefinition) -> Iterator[str]:
    for item in definition.reference_schemas:
        # The form of an entry is not documented: a name, an id, or an object with one.
        found = item if isinstance(item, str) else _named(item)
        if found:
            yield found
    todo: list[Any] = [definition.document.get("schema")]
    while todo:
        value = todo.pop()
        if isinstance(value, dict):
            reference = value.get("$ref")
            if isinstance(reference, str) and reference.startswith(_PREFIX):
                target = reference.removeprefix(_PREFIX)
                if target:
                    yield target
            todo += value.values()
        elif isinstance(value, list):
            todo += value


def _named(item: Any) -> str | None:
    if not isinstance(item, dict):
        return None
    return next((item[k] for k in ("id", "name") if isinstance(item.get(k), str)), None)
