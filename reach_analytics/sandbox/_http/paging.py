"""Listing pages and their cursors, and the faults of pages.

A cursor names rows themselves, not their positions in the listing, so rows that are added while a
client pages neither duplicate nor hide others.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request

from reach_analytics.sandbox import assumptions
from reach_analytics.sandbox._http.web import whole
from reach_analytics.sandbox.faults import DuplicatePage, Fault, ReorderPages, RepeatCursor

FAULTS = "sandbox.faults"  # the scope's key for the faults that hit a request


class _Cursor(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """Where a page starts. After a reordered page: also how many rows it has, and what is next."""

    row: int
    serial: int = 0
    count: int | None = None
    then: int | None = None


def page(request: Request, order: range) -> tuple[list[int], dict[str, Any]]:
    """The wanted rows of ``order``, and the pagination to show with them."""
    faults: list[Fault] = request.scope.get(FAULTS, [])
    limit = whole(request, "limit", assumptions.DEFAULT_LIMIT, 1, 10**9 - 1)
    limit = min(limit, assumptions.MAX_LIMIT)
    text = request.query_params.get("cursor")
    cursor = _Cursor(order[0] if order else 0) if text is None else _read(text, order)
    start = order.index(cursor.row) if order else 0
    count = limit if cursor.count is None else cursor.count
    rows = list(order[start : start + count])
    following = _row(order, start + count) if cursor.count is None else cursor.then
    after = None if following is None else _Cursor(following)
    for fault in faults if rows else []:
        if isinstance(fault, RepeatCursor):
            return rows, _pagination(order, text or _write(cursor))
        if isinstance(fault, DuplicatePage):
            after = _Cursor(cursor.row, cursor.serial + 1, cursor.count, cursor.then)
        elif isinstance(fault, ReorderPages):
            if cursor.count is None and following is not None:
                second = start + count
                after = _Cursor(cursor.row, cursor.serial, count, _row(order, second + count))
                rows = list(order[second : second + count])
            rows = rows[::-1]
    return rows, _pagination(order, None if after is None else _write(after))


def _pagination(order: range, cursor: str | None) -> dict[str, Any]:
    return {"hasNextPage": cursor is not None, "total": len(order), "cursor": cursor}


def _row(order: range, position: int) -> int | None:
    return order[position] if position < len(order) else None


def _write(cursor: _Cursor) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(cursor)).decode().rstrip("=")


def _read(text: str, order: range) -> _Cursor:
    try:
        if len(text) > 200:
            raise UnicodeError
        padded = text.encode("ascii") + b"=" * (-len(text) % 4)
        plain = base64.b64decode(padded, altchars=b"-_", validate=True)
        cursor = msgspec.json.decode(plain, type=_Cursor)
    except (binascii.Error, UnicodeError, msgspec.MsgspecError):
        cursor = _Cursor(-1)
    valid = cursor.row in order and 0 <= cursor.serial < 10**9
    valid &= cursor.count is None or 0 < cursor.count <= assumptions.MAX_LIMIT
    valid &= cursor.then is None or cursor.then in order
    if not valid:
        raise HTTPException(422, "the cursor is not one of this listing")
    return cursor
