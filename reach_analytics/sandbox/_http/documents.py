"""The world as API documents: plain values ready for JSON, after the API's reference."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from reach_analytics.sandbox import assumptions
from reach_analytics.sandbox._simulation import Request
from reach_analytics.sandbox._world.schema import Schema
from reach_analytics.sandbox._world.state import Batch, Fact, Pending, Tenant
from reach_analytics.sandbox._world.world import World


@lru_cache(maxsize=10_000)
def timestamp(moment: datetime | None) -> str | None:
    """ISO 8601 in UTC with milliseconds and ``Z``, as JavaScript writes it."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def batch(world: World, item: Batch, *, pending_details: bool) -> dict[str, Any]:
    """A batch's status; fields without a value yet are left out."""
    failed = sum(item.failures.values())
    document: dict[str, Any] = {
        "batchId": item.id,
        "status": item.status,
        "batchType": item.write.kind,
        "progress": {
            "totalRecords": item.total,
            "processedRecords": item.processed,
            "successfulRecords": item.successful,
            "pendingRecords": len(item.pending),
            "failedRecords": failed,
            "successRate": assumptions.success_rate(total=item.total, successful=item.successful),
        },
        "createdAt": timestamp(item.created_at),
        "schemaName": world.schemas[item.schema_id].name,
        "schemaDefinitionId": item.schema_id,
    }
    if item.started_at is not None:
        document["startedAt"] = timestamp(item.started_at)
    if item.completed_at is not None:
        document["completedAt"] = timestamp(item.completed_at)
    if failed:
        document["errors"] = _errors(item)
    if pending_details:
        document["pendingResources"] = [_pending(world, p) for p in item.pending.values()]
    return document


def _errors(item: Batch) -> dict[str, Any]:
    errors: dict[str, Any] = {"summary": dict(sorted(item.failures.items()))}
    if item.failed_records:
        errors["details"] = {"records": item.failed_records}
    if item.message is not None:
        errors["message"] = item.message
    return errors


def _pending(world: World, item: Pending) -> dict[str, Any]:
    return {
        "id": item.id,
        "resourceExternalId": item.key.external_id,
        "schemaDefinitionId": item.key.schema_id,
        "schemaName": world.schemas[item.key.schema_id].name,
        "createdAt": timestamp(item.created_at),
        "expiresAt": timestamp(item.expires_at),
        "missingDependencies": [
            {
                "schemaDefinitionId": key.schema_id,
                "externalId": key.external_id,
                "schemaName": world.schemas[key.schema_id].name,
            }
            for key in item.missing
        ],
    }


def tenant(item: Tenant) -> dict[str, Any]:
    """A tenant of the partner."""
    return {
        "id": item.id,
        "name": item.name,
        "externalId": item.external_id,
        "website": item.website,
        "createdAt": timestamp(item.created_at),
        "updatedAt": timestamp(item.created_at),
        "deletedAt": None,
    }


def schema(world: World, item: Schema) -> dict[str, Any]:
    """A schema definition; most fields appear in snake_case and camelCase, as in the API."""
    targets = [world.find_schema(reference.target) for reference in item.references]
    twice = {
        "plural_name": item.plural_name or item.name,
        "version_number": 1,
        "reference_schemas": sorted({target.name for target in targets if target}),
        "external_id_field": item.external_id_field,
        "created_at": timestamp(item.created_at),
        "updated_at": timestamp(item.created_at),
        "deactivated_at": None,
    }
    both = twice | {_camel(name): value for name, value in twice.items()}
    return {
        "id": item.id,
        "name": item.name,
        "description": item.description,
        "category": item.category,
        "schema": item.document,
        **both,
    }


def _camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)


def fact(item: Fact) -> dict[str, Any]:
    """A fact of the ground truth, as the sandbox's own route returns it."""
    return {
        "at": timestamp(item.at),
        "event": item.event,
        "tenantId": item.tenant_id,
        "batchId": item.batch_id,
        "pendingId": item.pending_id,
        "schemaDefinitionId": item.key.schema_id,
        "externalId": item.key.external_id,
        "succeeded": item.succeeded,
    }


def request(item: Request) -> dict[str, Any]:
    """A request received, as the sandbox's own route returns it."""
    row = item._asdict() | {"at": timestamp(item.at), "faults": list(item.faults)}
    return {_camel(name): value for name, value in row.items()}
