"""The camelCase border: JSON answers of the API become typed documents, and nothing is lost.

Only ``batchId`` and ``status`` can be counted on; every other field may be absent or null, and
both become ``None``. Values of a wrong type are an error, unknown enum values are not. Fields the
reference does not name are kept in ``BatchDocument.extra``.

Assumptions made here, because the reference is silent: a timestamp is ISO 8601, and one without
an offset is UTC; ``errors.summary`` and ``errors.details`` may have any shape.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, NoReturn, TypeVar

import msgspec

from reach_analytics.errors import PayloadError

Count = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Identifier = Annotated[str, msgspec.Meta(min_length=1)]
T = TypeVar("T")

# Unknown top-level fields that would describe the answer rather than the batch. They are stored
# with the first answer that carries them, and do not make a new state.
VOLATILE_FIELDS = frozenset({"requestId", "serverTime", "traceId"})

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
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
    created_at: datetime | None = None
    expires_at: datetime | None = None
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
    created_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    schema_name: str | None = None
    schema_definition_id: str | None = None
    errors: _Errors | None = None
    pending_resources: list[PendingResource] | None = None


@dataclass(frozen=True, kw_only=True)
class BatchDocument:
    """The status of one batch as the API reported it, in this package's column names.

    Counts are records; ``success_rate`` runs from 0 to 100; timestamps are aware. Absent and null
    fields are ``None``. ``pending_resources`` is ``None`` when the answer did not list them.
    ``extra`` holds the fields that the API's reference does not name, nested as they came, list
    members by their position.
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
    """A tenant (business) of the partner. ``document`` is the whole answer, unknown fields too."""

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

    ``document`` is the whole answer, unknown fields too.
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
    """Microseconds since 1970 UTC; a moment without an offset counts as UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH) // _MICROSECOND


def batch_from_json(raw: bytes, *, path: str = "", where: str = "$.data") -> BatchDocument:
    """Read one batch document.

    Parameters
    ----------
    raw : bytes
        The JSON of ``data``, or of one member of ``data.results``.
    path, where
        What was asked for, and where in the answer ``raw`` stands; for the error's message.

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
        wire, extra = msgspec.json.decode(raw, type=_Batch), dict[str, Any]()
    except (msgspec.ValidationError, RecursionError):
        wire, extra = _read_slowly(raw, path, where)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise_not_json(raw, error, path=path, where=where)
    return _flatten(wire, extra, path, where)


def _read_slowly(raw: bytes, path: str, where: str) -> tuple[_Batch, dict[str, Any]]:
    """Read a document with unknown fields or whole-number floats; a wrong type raises here."""
    plain = json_value(raw, path=path, where=where)
    known, extra = _split(plain, _SHAPE)
    try:
        return msgspec.convert(known, _Batch), extra
    except msgspec.ValidationError as error:
        batch_id = plain.get("batchId") if isinstance(plain, dict) else None
        _raise_invalid(error, plain, path, where, batch_id)


# The known part of a batch document: a dict of known fields, a one-element list for a list of
# such, `int` for a count, None for a leaf, Raw for a value kept as its JSON text.
_DEPENDENCY = {"schemaDefinitionId": None, "externalId": None, "schemaName": None}
_RESOURCE = {
    **dict.fromkeys(["id", "resourceExternalId", "schemaDefinitionId", "schemaName"]),
    **dict.fromkeys(["createdAt", "expiresAt"]),
    "missingDependencies": [_DEPENDENCY],
}
_COUNTS = ["totalRecords", "processedRecords", "successfulRecords"]
_SHAPE: dict[str, Any] = {
    **dict.fromkeys(["batchId", "status", "batchType", "createdAt", "startedAt", "completedAt"]),
    **dict.fromkeys(["schemaName", "schemaDefinitionId"]),
    "progress": {
        **dict.fromkeys([*_COUNTS, "pendingRecords", "failedRecords"], int),
        "successRate": None,
    },
    "errors": {"summary": msgspec.Raw, "details": msgspec.Raw, "message": None},
    "pendingResources": [_RESOURCE],
}


def _split(value: Any, shape: Any) -> tuple[Any, Any]:
    """A JSON value as (what ``shape`` knows, what it does not); the latter without nulls."""
    if shape is msgspec.Raw:
        return msgspec.Raw(_dump(value, sort_keys=False)), {}
    if shape is int and isinstance(value, float) and value.is_integer():
        return int(value), {}
    if isinstance(shape, dict) and isinstance(value, dict):
        pairs = {key: _split(value[key], shape[key]) for key in shape if key in value}
        extra = {key: rest for key, (_, rest) in pairs.items() if rest}
        extra |= {k: v for k, v in value.items() if k not in shape and v is not None}
        return {key: known for key, (known, _) in pairs.items()}, extra
    if isinstance(shape, list) and isinstance(value, list):
        members = [_split(member, shape[0]) for member in value]
        extra = {str(i): rest for i, (_, rest) in enumerate(members) if rest}
        return [known for known, _ in members], extra
    return value, {}


def _flatten(wire: _Batch, extra: dict[str, Any], path: str, where: str) -> BatchDocument:
    progress, errors = wire.progress or _Progress(), wire.errors or _Errors()
    return BatchDocument(
        batch_id=wire.batch_id,
        status=wire.status,
        batch_type=wire.batch_type,
        schema_name=wire.schema_name,
        schema_definition_id=wire.schema_definition_id,
        created_at=wire.created_at,
        started_at=wire.started_at,
        completed_at=wire.completed_at,
        total_records=progress.total_records,
        processed_records=progress.processed_records,
        successful_records=progress.successful_records,
        pending_records=progress.pending_records,
        failed_records=progress.failed_records,
        success_rate=progress.success_rate,
        error_message=errors.message,
        error_summary=_text(errors.summary, path, f"{where}.errors.summary"),
        error_details=_text(errors.details, path, f"{where}.errors.details"),
        pending_resources=wire.pending_resources,
        extra=extra,
    )


def _text(raw: msgspec.Raw, path: str, where: str) -> str | None:
    """The JSON text of a free-form value, as it came; None for null."""
    content = bytes(raw)
    return None if json_value(content, path=path, where=where) is None else content.decode().strip()


def state_hash(document: BatchDocument, *, has_pending_details: bool) -> str:
    """Fingerprint of a batch's state: equal states give equal text, whatever order lists came in.

    Pending resources and their dependencies are sorted, times compared as instants, JSON objects
    by content; fields in `VOLATILE_FIELDS` are left out. 32 hexadecimal digits of SHA-256.
    """
    counts = [getattr(document, name) for name in _HASHED]
    times = [_instant(t) for t in (document.created_at, document.started_at, document.completed_at)]
    free = [_canonical(document.error_summary), _canonical(document.error_details)]
    steady = {k: v for k, v in document.extra.items() if k not in VOLATILE_FIELDS}
    unknown_of = steady.pop("pendingResources", {})
    listed = document.pending_resources
    pending = sorted(
        _resource_key(resource, unknown_of.get(str(i), {}))
        for i, resource in enumerate(listed or ())
    )
    head = [counts, times, free, _dump(steady).decode(), has_pending_details]
    return hashlib.sha256(b"\n".join([_dump(head), *pending])).hexdigest()[:32]


_HASHED = (
    *("status", "batch_type", "schema_name", "schema_definition_id", "total_records"),
    *("processed_records", "successful_records", "pending_records", "failed_records"),
    *("success_rate", "error_message"),
)
_encode = msgspec.json.Encoder().encode


def _resource_key(resource: PendingResource, unknown: dict[str, Any]) -> bytes:
    unknown_of = unknown.get("missingDependencies", {})
    dependencies = sorted(
        _encode((d.schema_definition_id, d.external_id, d.schema_name))
        + (_dump(unknown_of[str(i)]) if str(i) in unknown_of else b"")
        for i, d in enumerate(resource.missing_dependencies or ())
    )
    steady = {k: v for k, v in unknown.items() if k != "missingDependencies"}
    own = _encode(
        (
            resource.id,
            resource.resource_external_id,
            resource.schema_definition_id,
            resource.schema_name,
            _instant(resource.created_at),
            _instant(resource.expires_at),
        )
    )
    return b"\t".join([own, *dependencies, *([_dump(steady)] if steady else [])])


def _instant(moment: datetime | None) -> int | None:
    return None if moment is None else microseconds(moment)


def _canonical(text: str | None) -> str | None:
    return None if text is None else _dump(json_value(text.encode())).decode()


def _dump(value: Any, *, sort_keys: bool = True) -> bytes:
    """Compact JSON. The standard library's, since it also writes integers over 64 bits."""
    try:
        text = json.dumps(value, sort_keys=sort_keys, ensure_ascii=False, separators=(",", ":"))
    except RecursionError as error:
        raise _too_deep("", "$") from error
    return text.encode()


def extra_json(document: BatchDocument) -> str | None:
    """The unknown fields as JSON text; None if there are none."""
    return _dump(document.extra).decode() if document.extra else None


def json_value(raw: bytes, *, path: str = "", where: str = "$") -> Any:
    """Any JSON value as plain Python; a `PayloadError` if it is none."""
    try:
        return msgspec.json.decode(raw)
    except RecursionError as error:
        raise _too_deep(path, where) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise_not_json(raw, error, path=path, where=where)


def _too_deep(path: str, where: str) -> PayloadError:
    return PayloadError(
        f"{_of(path)}the JSON at {where} is nested too deeply to read",
        where=where,
        found="deep nesting",
        expected="the fields of the reference",
        path=path,
    )


def convert(value: Any, kind: type[T], *, path: str, where: str) -> T:
    """A plain JSON value as ``kind``; a `PayloadError` that says what did not fit."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        _raise_invalid(error, value, path, where, None)


def tenant_from_value(value: Any, *, path: str = "", where: str = "$.data.results[]") -> Tenant:
    """One tenant of a tenant listing."""
    wire = convert(value, _Tenant, path=path, where=where)
    return Tenant(**msgspec.structs.asdict(wire), document=value)


def schema_from_value(value: Any, *, path: str = "", where: str = "$.data[]") -> SchemaDefinition:
    """One schema definition. Most fields stand twice in the answer; camelCase goes first."""
    document = convert(value, dict[str, Any], path=path, where=where)
    chosen = {
        name: document[spelling]
        for name in _Schema.__struct_fields__
        for spelling in (name, _camel(name))
        if document.get(spelling) is not None
    }
    wire = convert(chosen, _Schema, path=path, where=where)
    return SchemaDefinition(**msgspec.structs.asdict(wire), document=document)


class _Tenant(msgspec.Struct, rename="camel", kw_only=True):
    id: Identifier
    name: str | None = None
    external_id: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    deleted_at: datetime | None = None


class _Schema(msgspec.Struct, kw_only=True):
    id: Identifier
    name: str | None = None
    category: str | None = None
    version_number: int | None = None
    external_id_field: str | None = None
    reference_schemas: list[Any] = []
    created_at: datetime | None = None
    updated_at: datetime | None = None
    deactivated_at: datetime | None = None


def _camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(word.capitalize() for word in tail)


def raise_not_json(raw: bytes, cause: Exception, *, path: str, where: str) -> NoReturn:
    """Raise for bytes that are no JSON, saying what they look like instead."""
    found = _looks_like(raw, cause)
    raise PayloadError(
        f"{_of(path)}expected JSON at {where}, found {found}",
        where=where,
        found=found,
        expected="JSON",
        path=path,
        retryable=True,  # a proxy's page or a cut connection: the next answer may be whole
    ) from cause


def _looks_like(raw: bytes, cause: Exception) -> str:
    head = raw[:200].lstrip().lower()
    if not head:
        return "an empty body"
    if head.startswith((b"<!doctype", b"<html", b"<?xml")):
        return f"an HTML or XML page, beginning {excerpt(raw)}"
    if "truncated" in str(cause):
        return f"JSON that breaks off after {len(raw)} bytes"
    return f"{cause}, in {excerpt(raw)}"


def excerpt(value: Any, limit: int = 60) -> str:
    """A short, printable form of a found value."""
    text = value[: limit * 4].decode(errors="replace") if isinstance(value, bytes) else str(value)
    shown = ascii(text[:limit])
    return shown + "…" if len(text) > limit else shown


_WRONG_TYPE = re.compile(r"Expected `(?P<expected>.+)`, got `(?P<got>.+?)`( - at `(?P<at>.+)`)?$")
_ABSENT = re.compile(r"missing required field `(?P<name>.+?)`( - at `(?P<at>.+)`)?$")
_OTHER = re.compile(r"(?P<expected>.+?)( - at `(?P<at>.+)`)?$")


def _raise_invalid(
    error: msgspec.ValidationError, value: Any, path: str, where: str, batch_id: Any
) -> NoReturn:
    place, found, expected = _explain(str(error), value)
    place = where + place.removeprefix("$")
    raise PayloadError(
        f"{_of(path)}expected {expected} at {place}, found {found}",
        where=place,
        found=found,
        expected=expected,
        path=path,
        batch_id=batch_id if isinstance(batch_id, str) and batch_id else None,
    ) from error


def _explain(message: str, value: Any) -> tuple[str, str, str]:
    """msgspec's message as (place, what was found, what was expected)."""
    if match := _WRONG_TYPE.match(message):
        at = match["at"] or "$"
        return at, f"{match['got']} {excerpt(_value_at(value, at))}", match["expected"]
    if match := _ABSENT.search(message):
        return f"{match['at'] or '$'}.{match['name']}", "nothing", "a value"
    match = _OTHER.match(message)
    at = (match and match["at"]) or "$"
    expected = match["expected"] if match else message
    if expected.startswith("Invalid RFC3339"):
        expected = "an ISO 8601 timestamp"
    return at, excerpt(_value_at(value, at)), expected.removeprefix("Expected ")


def _value_at(value: Any, place: str) -> Any:
    """The value at a place as msgspec writes it; list positions may be left out as ``[...]``."""
    for name, index in re.findall(r"\.([^.\[\]]+)|\[([^\]]*)\]", place):
        if name and isinstance(value, dict):
            value = value.get(name)
        elif index.isdigit() and isinstance(value, list) and int(index) < len(value):
            value = value[int(index)]
        else:
            return "a value inside"
    return value


def _of(path: str) -> str:
    return f"GET {path}: " if path else ""
