"""JSON answers of the API (camelCase) as typed documents, with nothing lost.

Only ``batchId`` and ``status`` are guaranteed; every other field may be absent or null, and
both become ``None``. Values of a wrong type are an error, unknown enum values are not. Fields the
reference does not name are kept in ``BatchDocument.extra``, and so is what is implausible: times
and counts beyond the bounds of `reach_analytics._plausible`, an empty text for a time, a ``NaN``.

Assumptions made here, because the reference is silent: a timestamp is ISO 8601, and one without
an offset is UTC; ``errors.summary`` and ``errors.details`` may have any shape.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec
import msgspec.inspect

from reach_analytics._plausible import EPOCH, MENDED, MOST, are_meant
from reach_analytics.client import _lenient
from reach_analytics.client._payload import convert, dump, raise_invalid, raise_not_json

__all__ = [
    "BatchDocument",
    "Count",
    "Identifier",
    "MissingDependency",
    "PendingResource",
    "SchemaDefinition",
    "Tenant",
    "Time",
    "batch_from_json",
    "extra_json",
    "is_deep",
    "microseconds",
    "schema_from_value",
    "tenant_from_value",
]

logger = logging.getLogger("reach_analytics.client")

Count = Annotated[int, msgspec.Meta(ge=0, le=MOST)]  # others are parsed slowly, and set aside there
Identifier = Annotated[str, msgspec.Meta(min_length=1)]
Time = Annotated[datetime, msgspec.Meta(tz=True)]  # others are parsed slowly, and made UTC there

_MICROSECOND = timedelta(microseconds=1)


class MissingDependency(msgspec.Struct, rename="camel", forbid_unknown_fields=True, frozen=True):
    """A resource that another one refers to and that has not arrived."""

    schema_definition_id: str | None = None
    external_id: str | None = None
    schema_name: str | None = None


class PendingResource(msgspec.Struct, rename="camel", forbid_unknown_fields=True, frozen=True):
    """A resource that waits for its missing dependencies until it expires."""

    id: str | None = None
    resource_external_id: str | None = None
    schema_definition_id: str | None = None
    schema_name: str | None = None
    created_at: Time | None = None
    expires_at: Time | None = None
    missing_dependencies: list[MissingDependency] | None = None


class _Progress(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    total_records: Count | None = None
    processed_records: Count | None = None
    successful_records: Count | None = None
    pending_records: Count | None = None
    failed_records: Count | None = None
    success_rate: float | None = None


class _Errors(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    summary: msgspec.Raw = msgspec.Raw(b"null")
    details: msgspec.Raw = msgspec.Raw(b"null")
    message: str | None = None


class _Batch(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    batch_id: Identifier
    status: str
    batch_type: str | None = None
    progress: _Progress | None = None
    created_at: Time | None = None
    started_at: Time | None = None
    completed_at: Time | None = None
    schema_name: str | None = None
    schema_definition_id: str | None = None
    errors: _Errors | None = None
    pending_resources: list[PendingResource] | None = None


# Created at import, by one thread: msgspec inspects a type when it is first used, and threads that
# do so at once crash the process (msgspec 0.22).
_BATCH = msgspec.json.Decoder(_Batch)


@dataclass(frozen=True, kw_only=True)
class BatchDocument:
    """The status of one batch as the API reported it, in this package's column names.

    Counts are records; ``success_rate`` runs from 0 to 100; timestamps are aware. Absent and null
    fields are ``None``. ``pending_resources`` is ``None`` when the answer did not list them.
    ``extra`` holds the fields that the API's reference does not name, and implausible values of
    known ones, nested as they came, list members by their position. ``$mended`` in it counts what
    had to be repaired to be read at all.
    """

    batch_id: str
    status: str
    batch_type: str | None = None
    schema_name: str | None = None
    schema_definition_id: str | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    total_records: int | None = None
    processed_records: int | None = None
    successful_records: int | None = None
    pending_records: int | None = None
    failed_records: int | None = None
    success_rate: float | None = None
    error_message: str | None = None
    error_summary: str | None = None
    error_details: str | None = None
    pending_resources: list[PendingResource] | None = None
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Tenant:
    """A tenant (business) of the partner. ``document`` is the whole answer, with unknown fields."""

    id: str
    name: str | None = None
    external_id: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    deleted_at: datetime | None = None
    document: dict[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, kw_only=True)
class SchemaDefinition:
    """A schema definition. ``reference_schemas`` are the schemas it declares references to.

    ``document`` is the whole answer, with unknown fields.
    """

    id: str
    name: str | None = None
    category: str | None = None
    version_number: int | None = None
    external_id_field: str | None = None
    reference_schemas: list[Any] = field(default_factory=list)
    created_at: datetime | None = None
    updated_at: datetime | None = None
    deactivated_at: datetime | None = None
    document: dict[str, Any] = field(default_factory=dict, repr=False)


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970 UTC; a time without an offset counts as UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - EPOCH) // _MICROSECOND


def batch_from_json(raw: bytes, *, path: str = "", where: str = "$.data") -> BatchDocument:
    """Read one batch document.

    Parameters
    ----------
    raw : bytes
        The JSON of ``data``, or of one member of ``data.results``.
    path, where
        What was requested, and where ``raw`` is in the answer; for the error message.

    Raises
    ------
    PayloadError
        If it is not JSON, lacks ``batchId`` or ``status``, or a known field has a wrong type.

    Examples
    --------
    >>> batch_from_json(b'{"batchId": "b1", "status": "success", "novel": 1}').extra
    {'novel': 1}
    """
    try:
        wire = _BATCH.decode(raw)
        if _is_sound(wire):
            return _flatten(wire, {})
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    return _flatten(*_read_slowly(raw, path, where))


def _is_sound(wire: _Batch) -> bool:
    """Whether everything in a document is plausible and readable; raises for free-form values that
    cannot be read."""
    if not are_meant((wire.created_at, wire.started_at, wire.completed_at)):
        return False
    for resource in wire.pending_resources or ():
        if not are_meant((resource.created_at, resource.expires_at)):
            return False
    free = (wire.errors.summary, wire.errors.details) if wire.errors else ()
    return not any(is_deep(msgspec.json.decode(raw)) for raw in free)


def _read_slowly(raw: bytes, path: str, where: str) -> tuple[_Batch, dict[str, Any]]:
    """Read a document with unknown fields, whole-number floats, or implausible values; a wrong
    type raises here."""
    plain, mended = _plain(raw, path, where)
    known, extra = _split(plain, _SHAPE)
    batch_id = plain.get("batchId") if isinstance(plain, dict) else None
    if mended:
        extra[MENDED] = dict(sorted(mended.items()))
        logger.info("batch %a at %s was repaired to be read: %s", batch_id, where, extra[MENDED])
    try:
        return msgspec.convert(known, _Batch), extra
    except msgspec.ValidationError as error:
        raise_invalid(error, known, _Batch, path=path, where=where, batch_id=batch_id)


def _plain(raw: bytes, path: str, where: str) -> tuple[Any, Counter[str]]:
    """A document as plain Python, and what had to be repaired."""
    try:
        plain = msgspec.json.decode(raw)
        if not is_deep(plain):
            return plain, Counter()
        cause: Exception = RecursionError("nested too deeply")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        cause = error
    try:
        return _lenient.value(raw)
    except _lenient.UnreadableError:
        name = _lenient.batch_id(raw)
        raise_not_json(raw, cause, path=path, where=where, batch_id=name)


def is_deep(plain: Any) -> bool:
    """Whether a value is nested more deeply than `_lenient.DEPTH`."""
    level = [plain] if isinstance(plain, dict | list) else []
    for _ in range(_lenient.DEPTH):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


_LEAVES = {
    msgspec.inspect.DateTimeType: datetime,
    msgspec.inspect.IntType: int,
    msgspec.inspect.FloatType: float,
    msgspec.inspect.RawType: msgspec.Raw,
}


def _shape(kind: msgspec.inspect.Type) -> Any:
    """The known part of a document, as `_split` reads it.

    A dict of fields for a struct, a one-element list for a list of them, the type of a time, a
    number or a value kept as its JSON text, and None for another leaf.
    """
    if isinstance(kind, msgspec.inspect.UnionType):
        [kind] = [one for one in kind.types if not isinstance(one, msgspec.inspect.NoneType)]
    if isinstance(kind, msgspec.inspect.StructType):
        return {each.encode_name: _shape(each.type) for each in kind.fields}
    if isinstance(kind, msgspec.inspect.ListType):
        return [_shape(kind.item_type)]
    return _LEAVES.get(type(kind))


_SHAPE: dict[str, Any] = _shape(msgspec.inspect.type_info(_Batch))

_NOTHING: dict[str, Any] = {}


def _split(value: Any, shape: Any) -> tuple[Any, Any]:
    """A JSON value as (what ``shape`` knows, what it does not); the latter without nulls."""
    if shape is msgspec.Raw:
        return msgspec.Raw(dump(value, sort_keys=False)), _NOTHING
    if isinstance(value, _lenient.NoNumber):
        return None, str(value)
    if shape is datetime and isinstance(value, str):
        return _time(value)
    if shape is int and isinstance(value, int | float) and not isinstance(value, bool):
        return _count(value)
    if isinstance(shape, dict) and isinstance(value, dict):
        pairs = {key: _split(value[key], shape[key]) for key in shape if key in value}
        extra = {key: rest for key, (_, rest) in pairs.items() if rest != _NOTHING}
        extra |= {k: v for k, v in value.items() if k not in shape and v is not None}
        return {key: known for key, (known, _) in pairs.items()}, extra
    if isinstance(shape, list) and isinstance(value, list):
        members = [_split(member, shape[0]) for member in value]
        extra = {str(i): rest for i, (_, rest) in enumerate(members) if rest != _NOTHING}
        return [known for known, _ in members], extra
    return value, _NOTHING


def _time(text: str) -> tuple[str | None, Any]:
    """A timestamp as `_split` returns it; an implausible one is set aside unchanged."""
    known = _aware(text)
    try:
        plausible = are_meant((datetime.fromisoformat(known),))
    except ValueError:
        plausible = bool(text)  # so that the error shows it
    return (known, _NOTHING) if plausible else (None, text)


def _count(number: float) -> tuple[float | None, Any]:
    """A count as `_split` returns it; an implausible one is set aside unchanged."""
    if isinstance(number, float) and not number.is_integer():
        return number, _NOTHING  # so that the error shows it
    return (int(number), _NOTHING) if 0 <= number <= MOST else (None, number)


def _aware(text: str) -> str:
    """An ISO 8601 timestamp of any form in the one that msgspec reads; without an offset it is UTC.
    Other text is unchanged, so that the error shows it."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat()


_NESTED = ("progress", "errors")
_PLAIN = tuple(name for name in _Batch.__struct_fields__ if name not in _NESTED)
_COUNTS = _Progress.__struct_fields__


def _flatten(wire: _Batch, extra: dict[str, Any]) -> BatchDocument:
    progress, errors = wire.progress or _Progress(), wire.errors or _Errors()
    fields = {name: getattr(wire, name) for name in _PLAIN}
    for name in _COUNTS:
        fields[name] = getattr(progress, name)
    return BatchDocument(
        error_message=errors.message,
        error_summary=_text(errors.summary),
        error_details=_text(errors.details),
        extra=extra,
        **fields,
    )


def _text(raw: msgspec.Raw) -> str | None:
    """The JSON text of a free-form value, unchanged; None for null."""
    content = bytes(raw).strip()
    return None if content == b"null" else content.decode()


def extra_json(document: BatchDocument) -> str | None:
    """``extra`` as JSON text; None if there is nothing in it."""
    return dump(document.extra).decode() if document.extra else None


def tenant_from_value(value: Any, *, path: str = "", where: str = "$.data.results[]") -> Tenant:
    """One tenant of a tenant listing."""
    wire = convert(_with_times(value), _Tenant, path=path, where=where)
    return Tenant(**msgspec.structs.asdict(wire), document=value)


def schema_from_value(value: Any, *, path: str = "", where: str = "$.data[]") -> SchemaDefinition:
    """One schema definition. Most fields appear twice in the answer; camelCase wins."""
    document = convert(value, dict[str, Any], path=path, where=where)
    chosen = {
        name: document[spelling]
        for name in _Schema.__struct_fields__
        for spelling in (name, _camel(name))
        if document.get(spelling) is not None
    }
    wire = convert(_with_times(chosen), _Schema, path=path, where=where)
    return SchemaDefinition(**msgspec.structs.asdict(wire), document=document)


def _with_times(value: Any) -> Any:
    """The value with aware timestamps; an empty one, as some servers write it, is None."""
    if not isinstance(value, dict):
        return value
    times = {k: v for k, v in value.items() if k.endswith(("At", "_at")) and isinstance(v, str)}
    return value | {name: _aware(text) if text else None for name, text in times.items()}


class _Tenant(msgspec.Struct, rename="camel", kw_only=True):
    id: Identifier
    name: str | None = None
    external_id: str | None = None
    created_at: Time | None = None
    updated_at: Time | None = None
    deleted_at: Time | None = None


class _Schema(msgspec.Struct, kw_only=True):
    id: Identifier
    name: str | None = None
    category: str | None = None
    version_number: int | None = None
    external_id_field: str | None = None
    reference_schemas: list[Any] = []
    created_at: Time | None = None
    updated_at: Time | None = None
    deactivated_at: Time | None = None


def _camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(word.capitalize() for word in tail)
