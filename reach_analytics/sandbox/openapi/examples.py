"""An example of each thing that a client reads."""

from __future__ import annotations

from reach_analytics.sandbox import assumptions
from reach_analytics.sandbox.openapi.nodes import Node

BATCH_ID = "3f0e7c0a-6a52-4c7e-9a37-5b7f0f6e2a11"


def page_of(row: Node) -> Node:
    return {"results": [row], "pagination": {"hasNextPage": False, "total": 1, "cursor": None}}


BATCH: Node = {
    "batchId": BATCH_ID,
    "status": "partial_success",
    "batchType": assumptions.INGEST,
    "progress": {
        "totalRecords": 4,
        "processedRecords": 4,
        "successfulRecords": 2,
        "pendingRecords": 1,
        "failedRecords": 1,
        "successRate": 50,
    },
    "createdAt": "2026-03-02T06:00:00.000Z",
    "startedAt": "2026-03-02T06:00:04.000Z",
    "completedAt": "2026-03-02T06:00:04.800Z",
    "schemaName": "transactions",
    "schemaDefinitionId": "schema-1",
    "errors": {"summary": {"VALIDATION_ERROR": 1}},
    "pendingResources": [
        {
            "id": "pending-1",
            "resourceExternalId": "TX-1",
            "schemaDefinitionId": "schema-1",
            "schemaName": "transactions",
            "createdAt": "2026-03-02T06:00:04.600Z",
            "expiresAt": "2026-03-02T08:00:04.600Z",
            "missingDependencies": [
                {"schemaDefinitionId": "schema-2", "externalId": "CON-1", "schemaName": "contacts"}
            ],
        }
    ],
}
TENANT: Node = {
    "id": "tenant-1",
    "name": "Harbour Books",
    "externalId": "HARBOUR",
    "website": None,
    "createdAt": "2026-03-01T00:00:00.000Z",
    "updatedAt": "2026-03-01T00:00:00.000Z",
    "deletedAt": None,
}
SCHEMA: Node = {
    "id": "schema-1",
    "name": "transactions",
    "pluralName": "transactions",
    "category": "transactions_schema",
    "versionNumber": 1,
    "referenceSchemas": ["contacts"],
    "schema": {
        "type": "object",
        "properties": {
            "externalId": {"type": "string"},
            "contact": {"type": "string"},  # no $ref: tools would follow it
        },
    },
    "externalIdField": "externalId",
    "createdAt": "2026-03-01T00:00:00.000Z",
    "updatedAt": "2026-03-01T00:00:00.000Z",
    "deactivatedAt": None,
}
