"""The routes: what each takes and what it answers."""

from __future__ import annotations

from reach_analytics.sandbox import assumptions
from reach_analytics.sandbox.openapi.examples import BATCH, SCHEMA, TENANT, page_of
from reach_analytics.sandbox.openapi.nodes import (
    COUNT,
    TEXT,
    Node,
    array_of,
    json,
    listing,
    paging,
    parameter,
    path,
    plain,
    query,
    ref,
    refusals,
    response,
    responses,
    whole,
)


def batch_paths() -> Node:
    status = {
        "operationId": "getBatch",
        "summary": "Status, progress and errors of a batch",
        "tags": ["batches"],
        "parameters": [
            path("batchId", "The batch"),
            query("includePendingDetails", {"enum": ["true", "false"]}, "List what waits"),
            parameter("Tenant"),
        ],
        "responses": responses(200, ref("Batch"), 400, 401, 403, 404, example=BATCH),
    }
    every = {
        "operationId": "listBatches",
        "summary": "All batches of a tenant, page by page",
        "tags": ["batches"],
        "parameters": [
            *paging(),
            query("batchType", {"enum": list(assumptions.BATCH_TYPES)}, "Only this type"),
            query("sortBy", TEXT, "The order; without effect here"),
            parameter("Tenant"),
        ],
        "responses": responses(200, listing("Batch"), 400, 401, 403, 422, example=page_of(BATCH)),
    }
    writes: Node = {
        "parameters": [path("schema", "Name, ignoring case, or id"), parameter("Tenant")]
    }
    for method, name, what in (
        ("post", "postBatch", "Upload resources"),
        ("patch", "patchBatch", "Change resources that are there"),
        ("delete", "deleteBatch", "Delete resources"),
    ):
        writes[method] = _write(method, name, what)
    return {
        "/api/batches/{batchId}": {"get": status},
        "/api/batches": {"get": every},
        "/api/resources/{schema}/batch": writes,
    }


def _write(method: str, name: str, what: str) -> Node:
    options = [
        query("dependencyWaitTimeout", whole(0, assumptions.MAX_WAIT_S), "Seconds to wait"),
        query("ignoreUnknownFields", {"enum": ["true", "false"]}, "Leave them out"),
    ]
    if method == "post":
        options.append(query("onconflict", {"enum": ["upsert", "reject"]}, "If it is there"))
    body, parameters, extra = "Resources", options, [415]
    if method == "delete":
        body, parameters, extra = "Deletion", [], [415, 422]
    answers = responses(202, ref("Accepted"), 400, 401, 403, 404, 413, *extra)
    answers["202"]["links"] = {
        "status": {"operationId": "getBatch", "parameters": {"batchId": _POSTED}}
    }
    if method == "delete":
        answers |= {"200": response("A dry run: nothing was deleted", ref("Accepted"))}
    return {
        "operationId": name,
        "summary": what,
        "tags": ["batches"],
        "parameters": parameters,
        "requestBody": {"required": True, "content": json(ref(body))},
        "responses": answers,
    }


_POSTED = "$response.body#/data/batchId"


def partner_paths() -> Node:
    return {
        "/partner/tenants": {
            "get": {
                "operationId": "listTenants",
                "summary": "All tenants of the partner, page by page",
                "tags": ["partner"],
                "parameters": paging(),
                "responses": responses(
                    200, listing("Tenant"), 400, 401, 403, 422, example=page_of(TENANT)
                ),
            },
            "post": {
                "operationId": "createTenant",
                "summary": "A new tenant",
                "tags": ["partner"],
                "requestBody": {"required": True, "content": json(ref("NewTenant"))},
                "responses": responses(201, ref("Tenant"), 400, 401, 403, 409, 413, 415),
            },
        },
        "/partner/schema-definitions": {
            "get": {
                "operationId": "listSchemaDefinitions",
                "summary": "All schema definitions",
                "tags": ["partner"],
                "responses": responses(200, array_of("Schema"), 401, 403, example=[SCHEMA]),
            },
            "post": {
                "operationId": "createSchemaDefinition",
                "summary": "A new schema definition",
                "tags": ["partner"],
                "requestBody": {"required": True, "content": json(ref("NewSchema"))},
                "responses": responses(201, ref("Schema"), 400, 401, 403, 409, 413, 415, 422),
            },
        },
    }


def sandbox_paths() -> Node:
    rows = [
        query("offset", whole(0, 10**9 - 1), "Rows to leave out"),
        query("limit", whole(1, 10_000), "Most rows"),
    ]
    logged = {"type": "object", "required": ["results", "total"], "properties": {"total": COUNT}}
    return {
        "/_sandbox/clock": {
            "get": _own("readClock", "The world's time", ref("Clock")),
            "post": _own("turnClock", "Turn the clock, or let it run", ref("Clock"), "Turn"),
        },
        "/_sandbox/faults": {
            "get": _own("readFaults", "The faults in force", ref("Faults")),
            "put": _own("setFaults", "Put faults in force", ref("Faults"), "NewFaults"),
        },
        "/_sandbox/reset": {
            "post": _own("reset", "Begin anew", ref("Clock"), "Reset"),
        },
        "/_sandbox/state": {
            "get": _own("saveState", "The whole state", None),
            "put": _own("loadState", "Take up a saved state", ref("Clock"), "State"),
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
        operation["responses"] = {"200": plain("The state", {"type": "object"})} | refusals(403)
        return operation
    refused = [403]
    if body is not None:
        operation["requestBody"] = {"required": True, "content": json(ref(body))}
        refused += [413, 415, 422]
    operation["responses"] = responses(200, data, *refused)
    return operation
