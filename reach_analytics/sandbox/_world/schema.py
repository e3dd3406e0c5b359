"""Schema definitions: what a record must look like, and what it refers to."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple

from reach_analytics.sandbox import assumptions

REFERENCE = "reach:schemas/"
EACH = None  # a step into every item of an array
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,99}")
_REFERRING = ("$ref", "$dynamicRef", "$id", "$anchor", "$dynamicAnchor", "$schema", "$vocabulary")
# Where JSON Schema has schemas within schemas: as the values of an object, in a list, or alone.
_OBJECTS = ("properties", "patternProperties", "dependentSchemas", "$defs")
_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
_SINGLE = (
    *("items", "additionalProperties", "not", "if", "then", "else", "contains"),
    *("propertyNames", "unevaluatedItems", "unevaluatedProperties", "contentSchema"),
)

Path = tuple[str | None, ...]


class Key(NamedTuple):
    """What identifies a resource within a tenant."""

    schema_id: str
    external_id: str


class Reference(NamedTuple):
    """A path in a record that names a resource of another schema."""

    path: Path
    target: str

    def values(self, record: Any, depth: int = 0) -> Iterator[str]:
        """The external ids at this path of a record."""
        if depth == len(self.path):
            if isinstance(record, str):
                yield record
        elif self.path[depth] is EACH:
            for item in record if isinstance(record, list) else ():
                yield from self.values(item, depth + 1)
        elif isinstance(record, dict):
            yield from self.values(record.get(self.path[depth]), depth + 1)


@dataclass
class Schema:
    """A schema definition: its JSON Schema, and the fields that refer to other schemas."""

    id: str
    name: str
    category: str
    document: dict[str, Any]
    created_at: datetime
    external_id_field: str = "externalId"
    plural_name: str | None = None
    description: str | None = None

    @cached_property
    def fields(self) -> frozenset[str]:
        """The names of the fields that the schema knows."""
        return frozenset(self.document.get("properties", {}))

    @cached_property
    def references(self) -> list[Reference]:
        """Every path that refers to another schema."""
        return [
            Reference(path, node["$ref"].removeprefix(REFERENCE))
            for node, path in _subschemas(self.document, ())
            if "$ref" in node and path is not None
        ]

    @cached_property
    def problems(self) -> Callable[[Mapping[str, Any]], list[str]]:
        """What is wrong with a record, as messages; empty if nothing is."""
        from jsonschema import Draft202012Validator  # slow to import, and only worlds need it

        validator = Draft202012Validator(_plain(self.document))

        def problems(record: Mapping[str, Any]) -> list[str]:
            try:
                return sorted(_message(error) for error in validator.iter_errors(record))
            except Exception as error:
                # A foreign schema and record can make the validator raise anything, as for numbers
                # too large for ``multipleOf``. The record fails, and the clock goes on.
                return [f"cannot be validated: {type(error).__name__}"]

        return problems


def check(name: str, document: Mapping[str, Any], external_id_field: str) -> None:
    """Raise a ValueError that says why, if this is not a schema definition."""
    from jsonschema import Draft202012Validator, SchemaError

    if not _NAME.fullmatch(name):
        raise ValueError(
            "name must be 1 to 100 URL-safe characters and begin with a letter or digit"
        )
    if document.get("type") != "object" or not isinstance(document.get("properties"), dict):
        raise ValueError("schema must be a JSON Schema of type object with properties")
    if external_id_field not in document["properties"]:
        raise ValueError(f"schema has no property {external_id_field!r}, the externalIdField")
    if is_deep(document):
        raise ValueError(f"schema is nested more than {assumptions.MAX_DEPTH} deep")
    try:
        Draft202012Validator.check_schema(document)
    except SchemaError as error:
        raise ValueError(f"schema is not a JSON Schema: {_message(error)}") from None
    for node, path in _subschemas(document, ()):
        _check_node(node, path)


def is_deep(value: Any, limit: int = assumptions.MAX_DEPTH) -> bool:
    """Whether lists and objects are nested more than ``limit`` deep."""
    level = [value]
    for _ in range(limit):
        level = [
            item
            for node in level
            if isinstance(node, dict | list)
            for item in (node.values() if isinstance(node, dict) else node)
        ]
        if not level:
            return False
    return any(isinstance(node, dict | list) for node in level)


def _subschemas(node: Any, path: Path | None) -> Iterator[tuple[dict[str, Any], Path | None]]:
    """A schema and all those within it, each with its path in a record; None where records do not
    share one path, as within combinations and patterns."""
    if not isinstance(node, dict):
        return
    yield node, path
    for word in _OBJECTS:
        for name, inner in node.get(word, {}).items():
            known = path is not None and word == "properties"
            yield from _subschemas(inner, (*path, name) if known and path is not None else None)
    for word in _LISTS:
        for inner in node.get(word, ()):
            yield from _subschemas(inner, None)
    for word in _SINGLE:
        known = word == "items" and "prefixItems" not in node
        inside = (*path, EACH) if known and path is not None else None
        yield from _subschemas(node.get(word), inside)


def _check_node(node: Mapping[str, Any], path: Path | None) -> None:
    """Allow only our own references, at paths all records share, and patterns that compile."""
    for word in _REFERRING:
        value = node.get(word, REFERENCE if word == "$ref" else None)
        if value is not None and not (word == "$ref" and str(value).startswith(REFERENCE)):
            raise ValueError(f"schema may refer to {REFERENCE}… only, found a {word}")
    if "$ref" in node and not path:
        raise ValueError("a reference may be a field, an array's items, or nested in these only")
    patterns = [node["pattern"]] if "pattern" in node else []
    patterns += node.get("patternProperties", {})
    for pattern in (*patterns, "|".join(node.get("patternProperties", {}))):
        try:
            re.compile(pattern)  # the validator joins those of properties with |
        except (re.error, OverflowError, RecursionError):
            raise ValueError("schema has a pattern that is not a regular expression") from None


def _plain(node: Any) -> Any:
    """The schema with each reference replaced by what its value must be: a text or null."""
    if not isinstance(node, dict):
        return node
    plain = {word: value for word, value in node.items() if word != "$ref"}
    if "$ref" in node:
        plain["type"] = ["string", "null"]
    if "properties" in node:
        plain["properties"] = {name: _plain(inner) for name, inner in node["properties"].items()}
    if "items" in node:
        plain["items"] = _plain(node["items"])
    return plain


def _message(error: Any) -> str:
    text: str = error.message
    return text if len(text) <= 300 else text[:299] + "…"
