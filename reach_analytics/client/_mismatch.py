"""Where a JSON value is not what a type asks for, as people need to read it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from msgspec import inspect

_JSON_NAMES = {
    dict: "object",
    list: "array",
    str: "str",
    bool: "bool",
    int: "int",
    float: "float",
    type(None): "null",
}


class Mismatch(NamedTuple):
    """The first value that does not fit: its JSON path, what it is, and what it should be."""

    where: str
    found: str
    expected: str


def excerpt(value: Any, limit: int = 60) -> str:
    """A short, printable form of a found value."""
    text = value[: limit * 4].decode(errors="replace") if isinstance(value, bytes) else str(value)
    shown = ascii(text[:limit])
    return shown + "…" if len(text) > limit else shown


def first_mismatch(value: Any, kind: Any, where: str = "$") -> Mismatch | None:
    """The first part of a plain JSON value that a msgspec type would reject.

    Parameters
    ----------
    value
        As `json.loads` returns it.
    kind
        A struct, or another type that `msgspec.convert` takes.
    where : str
        The JSON path of ``value``.

    Examples
    --------
    >>> first_mismatch([1, "two"], list[int])
    Mismatch(where='$[1]', found="str 'two'", expected='int')
    """
    return _first(value, inspect.type_info(kind), where)


def _first(value: Any, kind: inspect.Type, where: str) -> Mismatch | None:
    if isinstance(kind, inspect.UnionType):
        if value is None and kind.includes_none:
            return None
        [kind] = [one for one in kind.types if not isinstance(one, inspect.NoneType)]
        found = _first(value, kind, where)
        if found is not None and found.where == where:
            found = found._replace(expected=f"{found.expected} or null")
        return found
    if isinstance(kind, inspect.StructType):
        return _first_in_object(value, kind, where)
    if isinstance(kind, inspect.ListType):
        if not isinstance(value, list):
            return _wrong(value, where, "array")
        members = (_first(one, kind.item_type, f"{where}[{i}]") for i, one in enumerate(value))
        return next((found for found in members if found), None)
    return _first_of_leaf(value, kind, where)


def _first_in_object(value: Any, kind: inspect.StructType, where: str) -> Mismatch | None:
    if not isinstance(value, dict):
        return _wrong(value, where, "object")
    fields = {field.encode_name: field for field in kind.fields}
    for name in (name for name in value if name in fields):
        if (found := _first(value[name], fields[name].type, f"{where}.{name}")) is not None:
            return found
    for name, field in fields.items():
        if field.required and name not in value:
            return Mismatch(f"{where}.{name}", "nothing", "a value")
    return None


def _first_of_leaf(value: Any, kind: inspect.Type, where: str) -> Mismatch | None:
    match kind:
        case inspect.StrType(min_length=least):
            if not isinstance(value, str):
                return _wrong(value, where, "str")
            return (
                _wrong(value, where, "a text that is not empty")
                if len(value) < (least or 0)
                else None
            )
        case inspect.BoolType():
            return None if isinstance(value, bool) else _wrong(value, where, "bool")
        case inspect.IntType():
            return None if _is_count(value, kind) else _wrong(value, where, _range(kind))
        case inspect.FloatType():
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            return None if is_number else _wrong(value, where, "number")
        case inspect.DateTimeType():
            return None if _is_timestamp(value) else _wrong(value, where, "an ISO 8601 timestamp")
        case inspect.DictType():
            return None if isinstance(value, dict) else _wrong(value, where, "object")
    return None  # anything goes


def _is_count(value: Any, kind: inspect.IntType) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if isinstance(value, float) and not value.is_integer():
        return False
    least, most = kind.ge, kind.le
    return (least is None or value >= least) and (most is None or value <= most)


def _range(kind: inspect.IntType) -> str:
    limits = [("from", kind.ge), ("to", kind.le)]
    return " ".join(["int", *(f"{word} {limit}" for word, limit in limits if limit is not None)])


def _is_timestamp(value: Any) -> bool:
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except (TypeError, ValueError):
        return False


def _wrong(value: Any, where: str, expected: str) -> Mismatch:
    name = _JSON_NAMES.get(type(value), "number")
    plain = value is None or isinstance(value, dict | list)
    return Mismatch(where, name if plain else f"{name} {excerpt(value)}", expected)
