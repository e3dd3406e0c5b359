"""Schema definitions: what a record must look like, and what it refers to."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple

REFERENCE = "reach:schemas/"
EACH = "[]"  # a step into every item of an array
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,99}")
_COMBINATORS = ("allOf", "anyOf", "oneOf")


class Key(NamedTuple):
    """What identifies a resource within a tenant."""

    schema_id: str
    external_id: str


class Reference(NamedTuple):
    """A place in a record that names a resource of another schema."""

    path: tuple[str, ...]
    target: str

    def values(self, record: Any, depth: int = 0) -> Iterator[str]:
        """The external ids that a record has there."""
        if depth == len(self.path):
            if isinstance(record, str):
                yield record
        elif self.path[depth] == EACH:
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
        """Every place that refers to another schema."""
        return list(_references(self.document, ()))

    @cached_property
    def problems(self) -> Callable[[Mapping[str, Any]], list[str]]:
        """What is wrong with a record, as messages; empty if nothing is."""
        from jsonschema import Draft202012Validator  # half a second, and only worlds need it

        validator = Draft202012Validator(_plain(self.document))

        def problems(record: Mapping[str, Any]) -> list[str]:
            try:
                return sorted(_message(error) for error in validator.iter_errors(record))
            except (ArithmeticError, RecursionError, ValueError) as error:
                # Numbers too large for ``multipleOf``, records nested too deeply.
                return [f"cannot be validated: {type(error).__name__}"]

        return problems


def check(name: str, document: Mapping[str, Any], external_id_field: str) -> None:
    """Refuse what is no schema definition with a ValueError that says why."""
    from jsonschema import Draft202012Validator, SchemaError

    if not _NAME.fullmatch(name):
        raise ValueError("name must be 1 to 100 URL-safe characters and begin with one of a-z0-9")
    if document.get("type") != "object" or not isinstance(document.get("properties"), dict):
        raise ValueError("schema must be a JSON Schema of type object with properties")
    if external_id_field not in document["properties"]:
        raise ValueError(f"schema has no property {external_id_field!r}, the externalIdField")
    try:
        Draft202012Validator.check_schema(document)
        _check_node(document)
    except SchemaError as error:
        raise ValueError(f"schema is no JSON Schema: {_message(error)}") from None
    except RecursionError:
        raise ValueError("schema is nested too deeply") from None


def _check_node(node: Any) -> None:
    """Only our own references, and only patterns that can be compiled, wherever they stand."""
    if isinstance(node, list):
        for item in node:
            _check_node(item)
    if not isinstance(node, dict):
        return
    for word, value in node.items():
        if word in ("$ref", "$dynamicRef", "$id", "$anchor", "$dynamicAnchor", "$schema"):
            if not (word == "$ref" and isinstance(value, str) and value.startswith(REFERENCE)):
                raise ValueError(f"schema may refer to {REFERENCE}… only, found a {word}")
        if word == "pattern" and isinstance(value, str):
            _check_pattern(value)
        if word == "patternProperties" and isinstance(value, dict):
            for pattern in value:
                _check_pattern(pattern)
        _check_node(value)


def _check_pattern(pattern: str) -> None:
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError):
        raise ValueError("schema has a pattern that is no regular expression") from None


def _references(node: Any, path: tuple[str, ...]) -> Iterator[Reference]:
    if not isinstance(node, dict):
        return
    target = node.get("$ref")
    if isinstance(target, str) and target.startswith(REFERENCE):
        yield Reference(path, target.removeprefix(REFERENCE))
    for name, rule in node.get("properties", {}).items():
        yield from _references(rule, (*path, name))
    yield from _references(node.get("items"), (*path, EACH))
    for word in _COMBINATORS:
        for rule in node.get(word, ()):
            yield from _references(rule, path)


def _plain(node: Any) -> Any:
    """The document with each reference replaced by what its value must be: a text or null."""
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if not isinstance(node, dict):
        return node
    plain = {word: _plain(value) for word, value in node.items() if word != "$ref"}
    if isinstance(node.get("$ref"), str):
        plain["type"] = ["string", "null"]
    return plain


def _message(error: Any) -> str:
    text: str = error.message
    return text if len(text) <= 300 else text[:299] + "…"
