"""The shapes of what goes in and comes out."""

from __future__ import annotations

from reach_analytics.sandbox import assumptions
from reach_analytics.sandbox.openapi.nodes import (
    COUNT,
    FLAG,
    NAME,
    TEXT,
    TIME,
    Node,
    array_of,
    closed,
    object_of,
    or_null,
    whole,
)

_STATUSES = ["success", "partial_success", "failure", "processing"]


def schemas() -> Node:
    return {
        "Refusal": object_of(
            {"success": {"const": False}, "message": TEXT, "data": {"type": "null"}}, "all"
        ),
        **_batch_schemas(),
        **_body_schemas(),
        **_sandbox_schemas(),
        "Pagination": object_of(
            {"hasNextPage": {"type": "boolean"}, "total": COUNT, "cursor": or_null(TEXT)}, "all"
        ),
        **_partner_schemas(),
    }


def _batch_schemas() -> Node:
    progress = {
        f"{kind}Records": COUNT
        for kind in ("total", "processed", "successful", "pending", "failed")
    }
    return {
        "Batch": object_of(
            {
                "batchId": TEXT,
                "status": {"enum": _STATUSES},
                "batchType": {"enum": list(assumptions.BATCH_TYPES)},
                "progress": object_of(
                    {**progress, "successRate": {"type": "number", "minimum": 0, "maximum": 100}}
                ),
                "createdAt": TIME,
                "startedAt": TIME,
                "completedAt": TIME,
                "schemaName": TEXT,
                "schemaDefinitionId": TEXT,
                "errors": object_of(
                    {"summary": {"type": "object"}, "details": {"type": "object"}, "message": TEXT}
                ),
                "pendingResources": array_of("PendingResource"),
            },
            ["batchId", "status"],
        ),
        "PendingResource": _pending(),
        "Accepted": object_of(
            {
                "batchId": or_null(TEXT),
                "message": TEXT,
                "recordCount": COUNT,
                "schemaDefinitionId": TEXT,
            },
            "all",
        ),
    }


def _pending() -> Node:
    dependency = {"schemaDefinitionId": TEXT, "externalId": TEXT, "schemaName": TEXT}
    return object_of(
        {
            "id": TEXT,
            "resourceExternalId": TEXT,
            "schemaDefinitionId": TEXT,
            "schemaName": TEXT,
            "createdAt": TIME,
            "expiresAt": TIME,
            "missingDependencies": {"type": "array", "items": object_of(dependency, "all")},
        },
        "all",
    )


def _partner_schemas() -> Node:
    return {
        "Tenant": object_of(
            {
                "id": TEXT,
                "name": TEXT,
                "externalId": TEXT,
                "website": or_null(TEXT),
                "createdAt": TIME,
                "updatedAt": TIME,
                "deletedAt": or_null(TIME),
            },
            ["id", "name", "externalId"],
        ),
        "Schema": object_of(
            {
                "id": TEXT,
                "name": TEXT,
                "pluralName": or_null(TEXT),
                "description": or_null(TEXT),
                "category": {"enum": list(assumptions.CATEGORIES)},
                "versionNumber": {"type": "integer"},
                "referenceSchemas": {"type": "array", "items": TEXT},
                "schema": {"type": "object"},
                "externalIdField": TEXT,
                "createdAt": TIME,
                "updatedAt": TIME,
                "deactivatedAt": or_null(TIME),
            },
            ["id", "name", "schema"],
        ),
    }


def _body_schemas() -> Node:
    most = {"maxItems": assumptions.MAX_RECORDS}
    return {
        "Resources": closed(
            {"resources": {"type": "array", "items": {"type": "object"}, **most}}, ["resources"]
        ),
        "Deletion": closed(
            {
                "externalIds": {"type": "array", "items": TEXT, **most},
                "cascade": FLAG,
                "deleteAll": FLAG,
                "dryRun": FLAG,
            }
        ),
        "NewTenant": closed(
            {"name": NAME, "externalId": NAME, "website": or_null(TEXT)}, ["name", "externalId"]
        ),
        "NewSchema": closed(
            {
                "name": NAME,
                "schema": {
                    "description": "A JSON Schema (2020-12) of an object",
                    **object_of(
                        {"type": {"const": "object"}, "properties": {"type": "object"}}, "all"
                    ),
                },
                "category": {"enum": list(assumptions.CATEGORIES)},
                "pluralName": or_null(TEXT),
                "description": or_null(TEXT),
                "externalIdField": NAME,
            },
            ["name", "schema"],
        ),
    }


def _sandbox_schemas() -> Node:
    return {
        "Clock": object_of(
            {"now": TIME, "speed": {"type": "number"}, "scenario": TEXT, "seed": COUNT}, "all"
        ),
        "Turn": closed(
            {
                "advanceSeconds": {"type": "number", "minimum": 0, "maximum": 1e9},
                "to": or_null(TIME),
                "speed": or_null({"type": "number", "minimum": 0, "maximum": 1e6}),
            }
        ),
        "Reset": closed({"scenario": or_null(TEXT), "seed": or_null(whole(0, 2**53 - 1))}),
        "State": {"type": "object", "description": "What GET gave"},
        "Faults": object_of({"faults": {"type": "array"}, "counts": {"type": "array"}}, "all"),
        "NewFaults": closed(
            {"faults": {"type": "array", "maxItems": 100, "items": {"oneOf": _faults()}}},
            ["faults"],
        ),
    }


def _faults() -> list[Node]:
    when = {
        "path": {"type": "string", "description": "A pattern as of the shell"},
        "method": or_null(TEXT),
        "every": or_null({"type": "integer", "minimum": 1, "maximum": 10**6}),
        "probability": or_null({"type": "number", "minimum": 0, "maximum": 1}),
        "seed": whole(-(10**6), 10**6),
        "times": or_null(whole(0, 10**6)),
    }
    after = whole(0, 3600)
    kinds: dict[str, Node] = {
        "rate_limit": {"retryAfterS": after},
        "error": {"status": whole(500, 599), "retryAfterS": or_null(after)},
        "latency": {"delayS": {"type": "number", "minimum": 0, "maximum": 3600}},
        "drop": {"after": {"type": "boolean"}},
        "truncate": {"keep": {"type": "number", "minimum": 0, "exclusiveMaximum": 1}},
        "malformed": {"body": or_null(TEXT)},
        "duplicate_page": {},
        "reorder_pages": {},
        "repeat_cursor": {},
        "clock_skew": {"seconds": {"type": "number", "minimum": -1e8, "maximum": 1e8}},
    }
    return [closed({"kind": {"const": k}, **when, **own}, ["kind"]) for k, own in kinds.items()]
