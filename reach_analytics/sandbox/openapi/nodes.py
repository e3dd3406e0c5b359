"""The small parts that an OpenAPI document is put together from."""

from __future__ import annotations

from typing import Any

Node = dict[str, Any]

TEXT: Node = {"type": "string"}
NAME: Node = {"type": "string", "minLength": 1, "maxLength": 1000}
COUNT: Node = {"type": "integer", "minimum": 0}
TIME: Node = {"type": "string", "format": "date-time"}
FLAG: Node = {"type": "boolean", "default": False}


def responses(status: int, data: Node, *refused: int, example: Any = None) -> Node:
    return {str(status): response("As asked", data, example)} | refusals(*refused)


def refusals(*statuses: int) -> Node:
    """These, and the two that any request may get for its Host header."""
    refused = sorted({*statuses, 400, 421})
    return {str(code): {"$ref": f"#/components/responses/Refused{code}"} for code in refused}


def response(description: str, data: Node, example: Any = None) -> Node:
    envelope = object_of({"success": {"const": True}, "message": TEXT, "data": data}, "all")
    response = plain(description, envelope)
    if example is not None:
        body = {"success": True, "message": "OK", "data": example}
        response["content"]["application/json"]["example"] = body
    return response


def plain(description: str, schema: Node) -> Node:
    return {"description": description, "content": json(schema)}


def json(schema: Node) -> Node:
    return {"application/json": {"schema": schema}}


def ref(name: str) -> Node:
    return {"$ref": f"#/components/schemas/{name}"}


def parameter(name: str) -> Node:
    return {"$ref": f"#/components/parameters/{name}"}


def query(name: str, schema: Node, description: str) -> Node:
    return {"name": name, "in": "query", "schema": schema, "description": description}


def path(name: str, description: str) -> Node:
    schema = {"type": "string", "minLength": 1}
    return {
        "name": name,
        "in": "path",
        "required": True,
        "schema": schema,
        "description": description,
    }


def paging() -> list[Node]:
    return [
        query("cursor", TEXT, "Where the last page said that the next begins"),
        query("limit", whole(1, 10**9 - 1), "Rows a page"),
    ]


def whole(low: int, high: int) -> Node:
    return {"type": "integer", "minimum": low, "maximum": high}


def array_of(name: str) -> Node:
    return {"type": "array", "items": ref(name)}


def listing(name: str) -> Node:
    return object_of({"results": array_of(name), "pagination": ref("Pagination")}, "all")


def or_null(schema: Node) -> Node:
    return {**schema, "type": [schema["type"], "null"]}


def object_of(properties: Node, required: Any = ()) -> Node:
    names = list(properties) if required == "all" else list(required)
    return {"type": "object", "properties": properties, "required": names}


def closed(properties: Node, required: Any = ()) -> Node:
    return object_of(properties, required) | {"additionalProperties": False}
