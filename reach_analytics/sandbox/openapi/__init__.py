"""The contract of the routes as an OpenAPI 3.1 document, written from the API's reference.

It says what is documented, and what the sandbox adds where nothing is (see `assumptions`). Servers
and clients made by others can be held against it.
"""

from __future__ import annotations

from functools import cache

import msgspec

from reach_analytics.sandbox.openapi import paths, schemas
from reach_analytics.sandbox.openapi.nodes import TEXT, Node, json, ref

REASONS = {
    400: "The request is not what this document says",
    401: "No token, or one that is forged or has ended",
    403: "The token may not do this, or not for this tenant; or a page of another site asks",
    404: "There is no such thing for this tenant",
    409: "The name is taken",
    413: "The body is too large",
    415: "The body is not JSON",
    421: "The Host header names another host than the sandbox's",
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
        "paths": {**paths.batch_paths(), **paths.partner_paths(), **paths.sandbox_paths()},
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
            },
            "parameters": _parameters(),
            "schemas": schemas.schemas(),
            "responses": {
                f"Refused{status}": {
                    "description": reason,
                    "content": json(ref("Refusal")),
                    **(
                        {"headers": {"WWW-Authenticate": {"schema": TEXT}}} if status == 401 else {}
                    ),
                }
                for status, reason in REASONS.items()
            },
        },
    }


def _parameters() -> Node:
    return {
        "Tenant": {
            "name": "reach-tenant-id",
            "in": "header",
            "required": False,
            "description": "The tenant to act as; needed with a partner token",
            "schema": TEXT,
        }
    }
