"""The contract of the routes as an OpenAPI 3.1 document, written from the API's reference.

It says what is documented, and what the sandbox adds where nothing is (see `assumptions`). Servers
and clients made by others can be held against it.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from reach_analytics.sandbox import assumptions

Node = dict[str, Any]

_TEXT: Node = {"type": "string"}
_NAME: Node = {"type": "string", "minLength": 1, "maxLength": 1000}
_COUNT: Node = {"type": "integer", "minimum": 0}
_TIME: Node = {"type": "string", "format": "date-time"}
_FLAG: Node = {"type": "boolean", "default": False}
_STATUSES = ["success", "partial_success", "failure", "processing"]
_BATCH_ID = "3f0e7c0a-6a52-4c7e-9a37-5b7f0f6e2a11"
_REASONS = {
    400: "The request is not what this document says",
    401: "No token, or one that is forged or has ended",
    403: "The token may not do this, or not for this tenant",
    404: "There is no such thing for this tenant",
    409: "The name is taken",
    413: "The body is too large",
    415: "The body is not JSON",
    422: "The request is well-formed, and cannot be carried out",
}


@cache
def as_json() -> bytes:
    """The document as JSON."""
    return msgspec.json.encode(document())


def document() -> Node:
    """The document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Reach, as far as batches go",
            "version": "1.0.0",
            "description": "Batch uploads, their status, and what they wait for.",
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}],
        "tags": [
            {"name": "batches", "description": "For one tenant"},
            {"name": "partner", "description": "For the partner"},
            {"name": "sandbox", "description": "The sandbox's own"},
        ],
        "paths": {**_batch_paths(), **_partner_paths(), **_sandbox_paths()},
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
            },
            "parameters": _parameters(),
            "schemas": _schemas(),
            "responses": {
                f"Refused{status}": {
                    "description": reason,
                    "content": _json(_ref("Refusal")),
                    **(
                        {"headers": {"WWW-Authenticate": {"schema": _TEXT}}}
                        if status == 401
                        else {}
                    ),
                }
                for status, reason in _REASONS.items()
            },
        },
    }


def _batch_paths() -> Node:
    status = {
        "operationId": "getBatch",
        "summary": "Status, progress and errors of a batch",
        "tags": ["batches"],
        "parameters": [
            _path("batchId", "The batch"),
            _query("includePendingDetails", {"enum": ["true", "false"]}, "List what waits"),
            _parameter("Tenant"),
        ],
        "responses": _responses(200, _ref("Batch"), 400, 401, 403, 404, example=_BATCH),
    }
    listing = {
        "operationId": "listBatches",
        "summary": "All batches of a tenant, page by page",
        "tags": ["batches"],
        "parameters": [
            *_paging(),
            _query("batchType", {"enum": list(assumptions.BATCH_TYPES)}, "Only this type"),
            _query("sortBy", _TEXT, "The order; without effect here"),
            _parameter("Tenant"),
        ],
        "responses": _responses(200, _listing("Batch"), 400, 401, 403, 422, example=_page(_BATCH)),
    }
    writes = {"parameters": [_path("schema", "Name, ignoring case, or id"), _parameter("Tenant")]}
    for method, name, what in (
        ("post", "postBatch", "Upload resources"),
        ("patch", "patchBatch", "Change resources that are there"),
        ("delete", "deleteBatch", "Delete resources"),
    ):
        writes[method] = _write(method, name, what)  # type: ignore[assignment]
    return {
        "/api/batches/{batchId}": {"get": status},
        "/api/batches": {"get": listing},
        "/api/resources/{schema}/batch": writes,
    }


def _write(method: str, name: str, what: str) -> Node:
    query = [
        _query("dependencyWaitTimeout", _whole(0, assumptions.MAX_WAIT_S), "Seconds to wait"),
        _query("ignoreUnknownFields", {"enum": ["true", "false"]}, "Leave them out"),
    ]
    if method == "post":
        query.append(_query("onconflict", {"enum": ["upsert", "reject"]}, "If it is there"))
    body, parameters, extra = "Resources", query, [415]
    if method == "delete":
        body, parameters, extra = "Deletion", [], [415, 422]
    responses = _responses(202, _ref("Accepted"), 400, 401, 403, 404, 413, *extra)
    responses["202"]["links"] = {
        "status": {"operationId": "getBatch", "parameters": {"batchId": _POSTED}}
    }
    if method == "delete":
        responses |= {"200": _response("A dry run: nothing was deleted", _ref("Accepted"))}
    return {
        "operationId": name,
        "summary": what,
        "tags": ["batches"],
        "parameters": parameters,
        "requestBody": {"required": True, "content": _json(_ref(body))},
        "responses": responses,
    }


_POSTED = "$response.body#/data/batchId"


def _partner_paths() -> Node:
    return {
        "/partner/tenants": {
            "get": {
                "operationId": "listTenants",
                "summary": "All tenants of the partner, page by page",
                "tags": ["partner"],
                "parameters": _paging(),
                "responses": _responses(
                    200, _listing("Tenant"), 400, 401, 403, 422, example=_page(_TENANT)
                ),
            },
            "post": {
                "operationId": "createTenant",
                "summary": "A new tenant",
                "tags": ["partner"],
                "requestBody": {"required": True, "content": _json(_ref("NewTenant"))},
                "responses": _responses(201, _ref("Tenant"), 400, 401, 403, 409, 413, 415),
            },
        },
        "/partner/schema-definitions": {
            "get": {
                "operationId": "listSchemaDefinitions",
                "summary": "All schema definitions",
                "tags": ["partner"],
                "responses": _responses(200, _list("Schema"), 401, 403, example=[_SCHEMA]),
            },
            "post": {
                "operationId": "createSchemaDefinition",
                "summary": "A new schema definition",
                "tags": ["partner"],
                "requestBody": {"required": True, "content": _json(_ref("NewSchema"))},
                "responses": _responses(201, _ref("Schema"), 400, 401, 403, 409, 413, 415, 422),
            },
        },
    }


def _sandbox_paths() -> Node:
    rows = [
        _query("offset", _whole(0, 10**9 - 1), "Rows to leave out"),
        _query("limit", _whole(1, 10_000), "Most rows"),
    ]
    logged = {"type": "object", "required": ["results", "total"], "properties": {"total": _COUNT}}
    return {
        "/_sandbox/clock": {
            "get": _own("readClock", "The world's time", _ref("Clock")),
            "post": _own("turnClock", "Turn the clock, or let it run", _ref("Clock"), "Turn"),
        },
        "/_sandbox/faults": {
            "get": _own("readFaults", "The faults in force", _ref("Faults")),
            "put": _own("setFaults", "Put faults in force", _ref("Faults"), "NewFaults"),
        },
        "/_sandbox/reset": {
            "post": _own("reset", "Begin anew", _ref("Clock"), "Reset"),
        },
        "/_sandbox/state": {
            "get": _own("saveState", "The whole state", None),
            "put": _own("loadState", "Take up a saved state", _ref("Clock"), "State"),
        },
        "/_sandbox/facts": {
            "get": {**_own("facts", "What truly happened", logged), "parameters": rows}
        },
        "/_sandbox/requests": {
            "get": {**_own("requests", "The requests that came in", logged), "parameters": rows}
        },
    }


def _own(name: str, what: str, data: Node | None, body: str | None = None) -> Node:
    """An operation of the sandbox's own, which takes no token."""
    operation: Node = {"operationId": name, "summary": what, "tags": ["sandbox"], "security": []}
    if data is None:
        operation["responses"] = {"200": _plain("The state", {"type": "object"})}
        return operation
    refused = [400]
    if body is not None:
        operation["requestBody"] = {"required": True, "content": _json(_ref(body))}
        refused = [400, 413, 415, 422]
    operation["responses"] = _responses(200, data, *refused)
    return operation


def _parameters() -> Node:
    return {
        "Tenant": {
            "name": "reach-tenant-id",
            "in": "header",
            "required": False,
            "description": "The tenant to act as; needed with a partner token",
            "schema": _TEXT,
        }
    }


def _schemas() -> Node:
    return {
        "Refusal": _object(
            {"success": {"const": False}, "message": _TEXT, "data": {"type": "null"}}, "all"
        ),
        **_batch_schemas(),
        **_body_schemas(),
        **_sandbox_schemas(),
        "Pagination": _object(
            {"hasNextPage": {"type": "boolean"}, "total": _COUNT, "cursor": _or_null(_TEXT)}, "all"
        ),
        "Tenant": _object(
            {
                "id": _TEXT,
                "name": _TEXT,
                "externalId": _TEXT,
                "website": _or_null(_TEXT),
                "createdAt": _TIME,
                "updatedAt": _TIME,
                "deletedAt": _or_null(_TIME),
            },
            ["id", "name", "externalId"],
        ),
        "Schema": _object(
            {
                "id": _TEXT,
                "name": _TEXT,
                "pluralName": _or_null(_TEXT),
                "description": _or_null(_TEXT),
                "category": {"enum": list(assumptions.CATEGORIES)},
                "versionNumber": {"type": "integer"},
                "referenceSchemas": {"type": "array", "items": _TEXT},
                "schema": {"type": "object"},
                "externalIdField": _TEXT,
                "createdAt": _TIME,
                "updatedAt": _TIME,
                "deactivatedAt": _or_null(_TIME),
            },
            ["id", "name", "schema"],
        ),
    }


def _batch_schemas() -> Node:
    progress = {
        f"{kind}Records": _COUNT
        for kind in ("total", "processed", "successful", "pending", "failed")
    }
    dependency = {"schemaDefinitionId": _TEXT, "externalId": _TEXT, "schemaName": _TEXT}
    return {
        "Batch": _object(
            {
                "batchId": _TEXT,
                "status": {"enum": _STATUSES},
                "batchType": {"enum": list(assumptions.BATCH_TYPES)},
                "progress": _object(
                    {**progress, "successRate": {"type": "number", "minimum": 0, "maximum": 100}}
                ),
                "createdAt": _TIME,
                "startedAt": _TIME,
                "completedAt": _TIME,
                "schemaName": _TEXT,
                "schemaDefinitionId": _TEXT,
                "errors": _object(
                    {"summary": {"type": "object"}, "details": {"type": "object"}, "message": _TEXT}
                ),
                "pendingResources": _list("PendingResource"),
            },
            ["batchId", "status"],
        ),
        "PendingResource": _object(
            {
                "id": _TEXT,
                "resourceExternalId": _TEXT,
                "schemaDefinitionId": _TEXT,
                "schemaName": _TEXT,
                "createdAt": _TIME,
                "expiresAt": _TIME,
                "missingDependencies": {"type": "array", "items": _object(dependency, "all")},
            },
            "all",
        ),
        "Accepted": _object(
            {
                "batchId": _or_null(_TEXT),
                "message": _TEXT,
                "recordCount": _COUNT,
                "schemaDefinitionId": _TEXT,
            },
            "all",
        ),
    }


def _body_schemas() -> Node:
    most = {"maxItems": assumptions.MAX_RECORDS}
    return {
        "Resources": _closed(
            {"resources": {"type": "array", "items": {"type": "object"}, **most}}, ["resources"]
        ),
        "Deletion": _closed(
            {
                "externalIds": {"type": "array", "items": _TEXT, **most},
                "cascade": _FLAG,
                "deleteAll": _FLAG,
                "dryRun": _FLAG,
            }
        ),
        "NewTenant": _closed(
            {"name": _NAME, "externalId": _NAME, "website": _or_null(_TEXT)}, ["name", "externalId"]
        ),
        "NewSchema": _closed(
            {
                "name": _NAME,
                "schema": {"type": "object", "description": "A JSON Schema of type object"},
                "category": {"enum": list(assumptions.CATEGORIES)},
                "pluralName": _or_null(_TEXT),
                "description": _or_null(_TEXT),
                "externalIdField": _NAME,
            },
            ["name", "schema"],
        ),
    }


def _sandbox_schemas() -> Node:
    return {
        "Clock": _object(
            {"now": _TIME, "speed": {"type": "number"}, "scenario": _TEXT, "seed": _COUNT}, "all"
        ),
        "Turn": _closed(
            {
                "advanceSeconds": {"type": "number", "minimum": 0, "maximum": 1e9},
                "to": _or_null(_TIME),
                "speed": _or_null({"type": "number", "minimum": 0, "maximum": 1e6}),
            }
        ),
        "Reset": _closed({"scenario": _or_null(_TEXT), "seed": _or_null(_whole(0, 2**63 - 1))}),
        "State": {"type": "object", "description": "What GET gave"},
        "Faults": _object({"faults": {"type": "array"}, "counts": {"type": "array"}}, "all"),
        "NewFaults": _closed(
            {"faults": {"type": "array", "maxItems": 100, "items": {"oneOf": _faults()}}},
            ["faults"],
        ),
    }


def _faults() -> list[Node]:
    when = {
        "path": {"type": "string", "description": "A pattern as of the shell"},
        "method": _or_null(_TEXT),
        "every": _or_null({"type": "integer", "minimum": 1, "maximum": 10**6}),
        "probability": _or_null({"type": "number", "minimum": 0, "maximum": 1}),
        "seed": _whole(-(10**6), 10**6),
        "times": _or_null(_whole(0, 10**6)),
    }
    after = _whole(0, 3600)
    kinds: dict[str, Node] = {
        "rate_limit": {"retryAfterS": after},
        "error": {"status": _whole(500, 599), "retryAfterS": _or_null(after)},
        "latency": {"delayS": {"type": "number", "minimum": 0, "maximum": 3600}},
        "drop": {"after": {"type": "boolean"}},
        "truncate": {"keep": {"type": "number", "minimum": 0, "exclusiveMaximum": 1}},
        "malformed": {"body": _or_null(_TEXT)},
        "duplicate_page": {},
        "reorder_pages": {},
        "repeat_cursor": {},
        "clock_skew": {"seconds": {"type": "number", "minimum": -1e8, "maximum": 1e8}},
    }
    return [_closed({"kind": {"const": k}, **when, **own}, ["kind"]) for k, own in kinds.items()]


def _responses(status: int, data: Node, *refused: int, example: Any = None) -> Node:
    responses = {str(status): _response("As asked", data, example)}
    for code in refused:
        responses[str(code)] = {"$ref": f"#/components/responses/Refused{code}"}
    return responses


def _response(description: str, data: Node, example: Any = None) -> Node:
    envelope = _object({"success": {"const": True}, "message": _TEXT, "data": data}, "all")
    response = _plain(description, envelope)
    if example is not None:
        body = {"success": True, "message": "OK", "data": example}
        response["content"]["application/json"]["example"] = body
    return response


def _plain(description: str, schema: Node) -> Node:
    return {"description": description, "content": _json(schema)}


def _json(schema: Node) -> Node:
    return {"application/json": {"schema": schema}}


def _ref(name: str) -> Node:
    return {"$ref": f"#/components/schemas/{name}"}


def _parameter(name: str) -> Node:
    return {"$ref": f"#/components/parameters/{name}"}


def _query(name: str, schema: Node, description: str) -> Node:
    return {"name": name, "in": "query", "schema": schema, "description": description}


def _path(name: str, description: str) -> Node:
    schema = {"type": "string", "minLength": 1}
    return {
        "name": name,
        "in": "path",
        "required": True,
        "schema": schema,
        "description": description,
    }


def _paging() -> list[Node]:
    return [
        _query("cursor", _TEXT, "Where the last page said that the next begins"),
        _query("limit", _whole(1, 10**9 - 1), "Rows a page"),
    ]


def _whole(low: int, high: int) -> Node:
    return {"type": "integer", "minimum": low, "maximum": high}


def _list(name: str) -> Node:
    return {"type": "array", "items": _ref(name)}


def _listing(name: str) -> Node:
    return _object({"results": _list(name), "pagination": _ref("Pagination")}, "all")


def _or_null(schema: Node) -> Node:
    return {**schema, "type": [schema["type"], "null"]}


def _object(properties: Node, required: Any = ()) -> Node:
    names = list(properties) if required == "all" else list(required)
    return {"type": "object", "properties": properties, "required": names}


def _closed(properties: Node, required: Any = ()) -> Node:
    return _object(properties, required) | {"additionalProperties": False}


def _page(row: Node) -> Node:
    return {"results": [row], "pagination": {"hasNextPage": False, "total": 1, "cursor": None}}


_BATCH: Node = {
    "batchId": _BATCH_ID,
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
_TENANT: Node = {
    "id": "tenant-1",
    "name": "Harbour Books",
    "externalId": "HARBOUR",
    "website": None,
    "createdAt": "2026-03-01T00:00:00.000Z",
    "updatedAt": "2026-03-01T00:00:00.000Z",
    "deletedAt": None,
}
_SCHEMA: Node = {
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
            "contact": {"$ref": "reach:schemas/contacts"},
        },
    },
    "externalIdField": "externalId",
    "createdAt": "2026-03-01T00:00:00.000Z",
    "updatedAt": "2026-03-01T00:00:00.000Z",
    "deactivatedAt": None,
}
