"""JSON in and out, and errors that say what was found, where, and what was expected."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn, TypeVar

import msgspec

from reach_analytics.client import _lenient
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
        raise_invalid(error, value, path, where, None)


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


def excerpt(value: Any, limit: int = 60) -> str:
    """A short, printable form of a found value."""
    text = value[: limit * 4].decode(errors="replace") if isinstance(value, bytes) else str(value)
    shown = ascii(text[:limit])
    return shown + "…" if len(text) > limit else shown


_WRONG_TYPE = re.compile(r"Expected `(?P<expected>.+)`, got `(?P<got>.+?)`( - at `(?P<at>.+)`)?$")
_ABSENT = re.compile(r"missing required field `(?P<name>.+?)`( - at `(?P<at>.+)`)?$")
_OTHER = re.compile(r"(?P<expected>.+?)( - at `(?P<at>.+)`)?$")


def raise_invalid(
    error: msgspec.ValidationError, value: Any, path: str, where: str, batch_id: Any
) -> NoReturn:
    """Raise for JSON that is not what was expected, with a clearer message than msgspec's."""
    location, found, expected = _explain(str(error), value)
    location = where + location.removeprefix("$")
    raise PayloadError(
        f"{_of(path)}expected {expected} at {location}, found {found}",
        where=location,
        found=found,
        expected=expected,
        path=path,
        batch_id=batch_id if isinstance(batch_id, str) and batch_id else None,
    ) from error


def _explain(message: str, value: Any) -> tuple[str, str, str]:
    """Msgspec's message as (location, what was found, what was expected)."""
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


def _value_at(value: Any, location: str) -> Any:
    """The value at a location in msgspec's notation; list indices may be left out as ``[...]``."""
    for name, index in re.findall(r"\.([^.\[\]]+)|\[([^\]]*)\]", location):
        if name and isinstance(value, dict):
            value = value.get(name)
        elif index.isdigit() and isinstance(value, list) and int(index) < len(value):
            value = value[int(index)]
        else:
            return "a value inside"
    return value


def _of(path: str) -> str:
    return f"GET {path}: " if path else ""
