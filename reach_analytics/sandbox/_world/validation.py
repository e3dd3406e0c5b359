"""Validating one record: what would be stored, what it refers to, or why it is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from reach_analytics.sandbox import assumptions
from reach_analytics.sandbox._world.schema import Key, Schema
from reach_analytics.sandbox._world.state import Record, Write

FindSchema = Callable[[str], Schema | None]


class Refused(Exception):
    """A record fails, with the error code and the message that its batch will show."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def known_fields(definition: Schema, record: Record, *, ignore_unknown: bool) -> Record:
    """The record without unknown fields; raises `Refused` unless these are ignored."""
    unknown = record.keys() - definition.fields
    if unknown and not ignore_unknown:
        raise Refused("UNKNOWN_FIELD", f"unknown: {', '.join(sorted(unknown))[:300]}")
    return {k: v for k, v in record.items() if k not in unknown} if unknown else record


def key_of(definition: Schema, record: Record) -> Key:
    """The key under which a record is stored."""
    name = definition.external_id_field
    external_id = record.get(name)
    if not isinstance(external_id, str) or not external_id:
        raise Refused("VALIDATION_ERROR", f"{name} must be a text that is not empty")
    return Key(definition.id, external_id)


def merged(definition: Schema, stored: Record | None, record: Record, write: Write) -> Record:
    """What would be stored: the record merged into the stored one."""
    if stored is not None and write.rejects_stored:
        raise Refused("CONFLICT", "the resource is stored already")
    if stored is None and write.kind == assumptions.PATCH:
        raise Refused("NOT_FOUND", "there is no such resource")
    result = {k: v for k, v in {**(stored or {}), **record}.items() if v is not None}
    if problems := definition.problems(result):
        raise Refused("VALIDATION_ERROR", "; ".join(problems[:10]))
    return result


def needs(definition: Schema, record: Record, find: FindSchema) -> tuple[Key, ...]:
    """Every resource that a record refers to, each once."""
    found: dict[Key, None] = {}
    for reference in definition.references:
        target = find(reference.target)
        for value in reference.values(record):
            if target is None:
                text = f"no schema {reference.target!r}"
                raise Refused("REFERENCE_SCHEMA_NOT_FOUND", text)
            found[Key(target.id, value)] = None
    return tuple(found)


def names(keys: Iterable[Key]) -> str:
    """External ids for a message: the first ten."""
    ids = [key.external_id for key in keys]
    more = f" and {len(ids) - 10} more" if len(ids) > 10 else ""
    return ", ".join(name[:100] for name in ids[:10]) + more
