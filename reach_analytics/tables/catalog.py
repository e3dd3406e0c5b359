"""The tables of the catalog: what the API says of tenants and schema definitions."""

from __future__ import annotations

import pyarrow as pa

from reach_analytics.tables.base import INT, STRING, TIME, Column, Table

__all__ = ["SCHEMAS", "STORED_SCHEMAS", "STORED_TENANTS", "TENANTS", "TENANT_NAME"]

TENANT_NAME = Column(
    "tenant_name", STRING, "name of the tenant, or else its external id, or else its id"
)

_NAMES = pa.list_(STRING)

_OF_TENANT = (
    Column("name", STRING, "its name, as the API gives it"),
    Column("external_id", STRING, "your own id of the tenant"),
    Column("created_at", TIME, "when it was created"),
    Column("deleted_at", TIME, "when it was deleted; null if it was not"),
)

_OF_SCHEMA = (
    Column("schema_name", STRING, "name of the schema definition"),
    Column("category", STRING, "its category, such as `transactions_schema`"),
    Column("version", INT, "its version number"),
    Column("external_id_field", STRING, "the field that holds your own id of a record"),
    Column("references", _NAMES, "names or ids of the schemas that it declares references to"),
    Column("created_at", TIME, "when it was created"),
    Column("deactivated_at", TIME, "when it was deactivated; null if it was not"),
)

_SINCE = Column("received_at", TIME, "when the API first said so", False)

STORED_TENANTS = Table(
    "tenants",
    "one row per change of what the API says of a tenant",
    ("tenant_id", "received_at"),
    (Column("tenant_id", STRING, "the tenant (business)", False), _SINCE, *_OF_TENANT),
)

STORED_SCHEMAS = Table(
    "schema_definitions",
    "one row per change of what the API says of a schema definition",
    ("schema_definition_id", "received_at"),
    (
        Column("schema_definition_id", STRING, "id of the schema definition", False),
        _SINCE,
        *_OF_SCHEMA,
    ),
)

_LAST_SAID = Column("received_at", TIME, "when the API first said so; null if it never did")

TENANTS = Table(
    "tenants",
    "one row per tenant that the API named or a batch belongs to",
    ("tenant_id",),
    (*_OF_TENANT, _LAST_SAID, STORED_TENANTS.columns[0]),
    get_it="history.tenants()",
    order=("tenant_name", "tenant_id"),
)

SCHEMAS = Table(
    "schemas",
    "one row per schema definition that the API described",
    ("schema_definition_id",),
    (*_OF_SCHEMA, _SINCE, STORED_SCHEMAS.columns[0]),
    get_it="history.schemas()",
    order=("schema_name", "schema_definition_id"),
)
