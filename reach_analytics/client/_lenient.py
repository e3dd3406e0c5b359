"""Reading JSON that is not quite valid: one odd character must not hide a whole page.

Some servers write what no strict parser accepts: half a surrogate pair (a text cut in an emoji),
``NaN``, raw control characters, bytes that are not UTF-8, endless nesting. Where strict parsing
fails, an object or list is split here by its brackets, so that each member can be read, or fail, by
itself. Nothing here recurses deeper than `DEPTH`.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

DEPTH = 64
"""Values nested deeper than this are kept as their JSON text."""

NOT_UNICODE = "text that is no Unicode"
NO_NUMBER = "number that is none"
TOO_DEEP = "value nested too deeply"

_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{},:]', re.DOTALL)
_CLOSED_BY = {b"{": b"}", b"[": b"]"}
_DIGITS = 4000  # Python refuses to turn many more into a number, and to print them


class UnreadableError(ValueError):
    """Not even the brackets match."""


class NoNumber(str):
    """A value in the place of a number that cannot be stored as one: ``NaN``, ``1e999``."""


def members(raw: bytes) -> dict[str, bytes]:
    """The members of a JSON object, each as its JSON; an `UnreadableError` if it is not an object.

    Examples
    --------
    >>> members(b'{"a": [1, NaN], "b": "]"}')
    {'a': b'[1, NaN]', 'b': b'"]"'}
    """
    found: dict[str, bytes] = {}
    for piece in _pieces(raw, b"{"):
        quoted = _TOKEN.match(piece)
        if quoted is None or quoted[0][:1] != b'"':
            raise UnreadableError("a member without a name")
        colon = piece.find(b":", quoted.end())
        if colon < 0 or piece[quoted.end() : colon].strip():
            raise UnreadableError("a member without a value")
        name, _ = value(quoted[0])
        found[name] = piece[colon + 1 :].strip()
    return found


def elements(raw: bytes) -> list[bytes]:
    """The elements of a JSON list, each as its JSON; an `UnreadableError` if it is not a list."""
    return list(_pieces(raw, b"["))


def batch_id(raw: bytes) -> str | None:
    """The batch id of a document, however broken the rest of it is."""
    try:
        found, _ = value(members(raw).get("batchId", b"null"))
    except UnreadableError:
        return None
    return found if isinstance(found, str) and found else None


def value(raw: bytes) -> tuple[Any, Counter[str]]:
    """A JSON value, read leniently, and how often what had to be repaired.

    Half a surrogate pair and a byte that is not UTF-8 are kept as the text of their escape (as
    ``\\ud83d``), so that different texts stay different; an invalid number, as a `NoNumber`; what
    is nested too deeply, as its JSON text.

    Raises
    ------
    UnreadableError
        If it cannot be read at all.

    Examples
    --------
    >>> found, mended = value(b'{"a": "x\\\\ud83d", "b": NaN}')
    >>> found, dict(mended)
    ({'a': 'x\\\\ud83d', 'b': 'NaN'}, {'text that is no Unicode': 1, 'number that is none': 1})
    """
    mended: Counter[str] = Counter()
    text = _bounded(raw, mended).decode("utf-8", "surrogateescape")
    try:
        plain = json.loads(
            text, strict=False, parse_constant=NoNumber, parse_int=_whole, parse_float=_fraction
        )
    except (ValueError, RecursionError) as error:
        raise UnreadableError(str(error)) from error
    return _mend(plain, mended), mended


def _pieces(raw: bytes, opener: bytes) -> Iterator[bytes]:
    """The parts between the commas of the outermost object or list."""
    body = raw.strip()
    if body[:1] != opener:
        raise UnreadableError(f"no {opener.decode()} at the start")
    start = 1
    for token, depth, at in _tokens(body):
        if depth == 1 and token == b",":
            yield _not_empty(body[start:at])
            start = at + 1
        if depth == 0:
            last = body[start:at].strip()
            if last or start > 1:
                yield _not_empty(last)
            if at + 1 < len(body):
                raise UnreadableError("more after its end")
            return


def _not_empty(piece: bytes) -> bytes:
    if not piece.strip():
        raise UnreadableError("nothing between two commas")
    return piece.strip()


def _tokens(raw: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The brackets and commas outside of strings, with the depth after them and their position."""
    open_: list[bytes] = []
    for match in _TOKEN.finditer(raw):
        token = match[0]
        if token in _CLOSED_BY:
            open_.append(_CLOSED_BY[token])
        elif token in (b"}", b"]") and (not open_ or open_.pop() != token):
            raise UnreadableError(f"a {token.decode()} that closes nothing")
        if len(token) == 1:
            yield token, len(open_), match.start()
    if open_:
        raise UnreadableError("it breaks off")


def _bounded(raw: bytes, mended: Counter[str]) -> bytes:
    """The JSON with what is nested deeper than `DEPTH` as text."""
    pieces: list[bytes] = []
    done, start = 0, -1
    for token, depth, at in _tokens(raw):
        if depth == DEPTH + 1 and token in _CLOSED_BY and start < 0:
            start = at
        elif depth == DEPTH and start >= 0 and token not in _CLOSED_BY and token != b",":
            text = raw[start : at + 1].decode("utf-8", "surrogateescape")
            pieces += [raw[done:start], json.dumps(text).encode()]
            done, start = at + 1, -1
            mended[TOO_DEEP] += 1
    return b"".join([*pieces, raw[done:]])


def _whole(digits: str) -> int | NoNumber:
    return int(digits) if len(digits) <= _DIGITS else NoNumber(digits)


def _fraction(digits: str) -> float | NoNumber:
    number = float(digits)
    return number if math.isfinite(number) else NoNumber(digits)


def _mend(plain: Any, mended: Counter[str]) -> Any:
    """The value with strings that UTF-8 can encode; repairs are counted."""
    if isinstance(plain, NoNumber):
        mended[NO_NUMBER] += 1
        return plain
    if isinstance(plain, str):
        text = plain.encode("utf-8", "backslashreplace").decode()
        if text != plain:
            mended[NOT_UNICODE] += 1
        return text
    if isinstance(plain, dict):
        return {_mend(name, mended): _mend(inner, mended) for name, inner in plain.items()}
    if isinstance(plain, list):
        return [_mend(inner, mended) for inner in plain]
    return plain
