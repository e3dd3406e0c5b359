"""JSON in and out, and errors that say what was found, where, and what was expected."""

from __future__ import annotations

import json
from typing import Any, NoReturn, TypeVar

import msgspec

from reach_analytics.client import _lenient
from reach_analytics.client._mismatch import Mismatch, excerpt, first_mismatch
from reach_analytics.errors import PayloadError

T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)


def json_value(raw: bytes, *, path: str = "", where: str = "$") -> Any:
    """Any JSON value as plain Python, read leniently if need be; a `PayloadError` if unreadable."""
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        cause = error
    try:
        return _lenient.value(raw)[0]
    except _lenient.UnreadableError:
        if isinstance(cause, RecursionError):
            raise _too_deep(path, where) from cause
        raise_not_json(raw, cause, path=path, where=where)


def decode(decoder: msgspec.json.Decoder[S], raw: bytes, *, path: str, where: str) -> S:
    """A JSON object as the decoder's struct, whatever its ``Raw`` members hold.

    What the decoder rejects is split leniently: whether a ``Raw`` member, or one in a list of them,
    can be read shows when it is read.

    Raises
    ------
    PayloadError
        If it is not such an object.
    """
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        known: Any = _split(raw, decoder.type)
    except _lenient.UnreadableError:
        known = json_value(raw, path=path, where=where)  # raises, unless it is not an object
    return convert(known, decoder.type, path=path, where=where)


def _split(raw: bytes, kind: type[msgspec.Struct]) -> dict[str, Any]:
    """The members of a JSON object that the struct knows, for `msgspec.convert`."""
    found = _lenient.members(raw)
    known: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        if (text := found.get(field.encode_name)) is None:
            continue
        if field.type is msgspec.Raw:
            known[field.encode_name] = msgspec.Raw(text)
        elif field.type == list[msgspec.Raw] and text[:1] == b"[":
            known[field.encode_name] = [msgspec.Raw(own) for own in _lenient.elements(text)]
        else:
            known[field.encode_name], _ = _lenient.value(text)
    return known


def _too_deep(path: str, where: str) -> PayloadError:
    return PayloadError(
        f"{_of(path)}the JSON at {where} is nested too deeply to read",
        where=where,
        found="deep nesting",
        expected="the fields of the reference",
        path=path,
    )


def convert(value: Any, kind: type[T], *, path: str, where: str) -> T:
    """A plain JSON value as ``kind``; a `PayloadError` that says what does not fit."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise_invalid(error, value, kind, path=path, where=where, batch_id=None)


def dump(value: Any, *, sort_keys: bool = True) -> bytes:
    """Compact JSON. The standard library's, since it also writes integers over 64 bits."""
    try:
        text = json.dumps(value, sort_keys=sort_keys, ensure_ascii=False, separators=(",", ":"))
    except RecursionError as error:
        raise _too_deep("", "$") from error
    return text.encode()


def raise_not_json(
    raw: bytes, cause: Exception, *, path: str, where: str, batch_id: str | None = None
) -> NoReturn:
    """Raise for bytes that are not JSON, saying what they look like instead."""
    found = _looks_like(raw, cause)
    about = f" (batch {batch_id!a})" if batch_id else ""
    raise PayloadError(
        f"{_of(path)}expected JSON at {where}{about}, found {found}",
        where=where,
        found=found,
        expected="JSON",
        path=path,
        batch_id=batch_id,
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


def raise_invalid(
    cause: msgspec.ValidationError, value: Any, kind: Any, *, path: str, where: str, batch_id: Any
) -> NoReturn:
    """Raise for JSON that is not what ``kind`` asks for, saying where and what it is instead."""
    wrong = first_mismatch(value, kind, where) or Mismatch(where, excerpt(value), str(cause))
    raise PayloadError(
        f"{_of(path)}expected {wrong.expected} at {wrong.where}, found {wrong.found}",
        where=wrong.where,
        found=wrong.found,
        expected=wrong.expected,
        path=path,
        batch_id=batch_id if isinstance(batch_id, str) and batch_id else None,
    ) from cause


def _of(path: str) -> str:
    return f"GET {path}: " if path else ""
