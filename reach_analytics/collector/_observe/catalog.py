"""What the API says of tenants and schema definitions, as rows to store."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from reach_analytics.client import SchemaDefinition, Tenant
from reach_analytics.client._references import references
from reach_analytics.tables import STORED_SCHEMAS, STORED_TENANTS, Table

_MOST = 2**63 - 1
_TENANT = {"tenant_id": "id"}
_SCHEMA = {"schema_definition_id": "id", "schema_name": "name", "version": "version_number"}


@dataclass(frozen=True)
class Catalog:
    """Rows of `tables.STORED_TENANTS` and `tables.STORED_SCHEMAS`."""

    tenants: pa.Table
    schema_definitions: pa.Table


def catalog(
    tenants: Iterable[Tenant], definitions: Iterable[SchemaDefinition], received_at: datetime
) -> Catalog:
    """The rows, one for each id."""
    by_id = {tenant.id: tenant for tenant in tenants}
    schemas = {definition.id: definition for definition in definitions}
    named = {"references": [references(one) for one in schemas.values()]}
    return Catalog(
        _rows(STORED_TENANTS, list(by_id.values()), _TENANT, received_at, {}),
        _rows(STORED_SCHEMAS, list(schemas.values()), _SCHEMA, received_at, named),
    )


def _rows(
    table: Table,
    documents: list[Tenant] | list[SchemaDefinition],
    spelled: dict[str, str],
    received_at: datetime,
    others: dict[str, list[Any]],
) -> pa.Table:
    columns: dict[str, list[Any]] = others | {"received_at": [received_at] * len(documents)}
    columns |= {
        name: [getattr(document, spelled.get(name, name)) for document in documents]
        for name in table.names
        if name not in columns
    }
    fitting = {name: [_fitting(value) for value in columns[name]] for name in table.names}
    return pa.table(fitting, schema=table.schema)


def _fitting(value: Any) -> Any:
    """The value as a column can hold it: null for a number that none can, and text in UTF-8."""
    if isinstance(value, list):
        return [_fitting(item) for item in value]
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    return None if isinstance(value, int) and abs(value) > _MOST else value
