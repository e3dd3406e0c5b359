"""Telling a long listing from an endless one."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import msgspec

logger = logging.getLogger("reach_analytics.client")

_REPEATS = 3  # of one page under new cursors, after which no end is expected
_STALE_PAGES = 10  # in a row, with nothing new
_GROWTH = 1.5  # a listing may grow by this factor, and ten pages, while it is read
_TELL_AT = 1000  # pages; then twice as many, and so on


class _Named(msgspec.Struct, rename="camel"):
    batch_id: Any = None
    id: Any = None


_NAMED = msgspec.json.Decoder(_Named)  # created at import: see documents.py


class Course:
    """Follows a listing page by page, and tells why it will not end.

    A listing may be long, and batches may be added while it is read. So it is given up only if it
    gives far more rows than it announced, or page after page with nothing new: the same cursor, the
    same rows, or no batch that it has not named before. Without a total, or with one that is not
    above zero, new rows may come without limit.
    """

    def __init__(self) -> None:
        self._cursors: set[str] = set()
        self._named: set[int] = set()
        self._last: Sequence[bytes] | None = None
        self._repeats = self._stale = self._pages = self._received = self._widest = 0

    def is_repeated(self, rows: Sequence[bytes]) -> bool:
        """Whether these rows, the next to be taken, have been repeated too often."""
        self._repeats = self._repeats + 1 if rows == self._last else 0
        self._last = rows
        return self._repeats >= _REPEATS

    def take(self, rows: Sequence[bytes], total: int | None, cursor: str | None) -> str | None:
        """Take in a page; return why no further page can be requested, if so."""
        self._pages += 1
        self._received += len(rows)
        self._widest = max(self._widest, len(rows))
        self._stale = 0 if self._names_new(rows) else self._stale + 1
        if cursor is None:
            return None
        if cursor in self._cursors:
            return "the same cursor again"
        self._cursors.add(cursor)
        if self._stale >= _STALE_PAGES:
            return f"{self._stale} pages in a row with nothing new on them"
        if total is not None and total > 0 and self._received > self._most(total):
            return f"{self._received:,} rows of {total:,} announced, and more to come"
        self._tell(total)
        return None

    def _most(self, total: int) -> float:
        return _GROWTH * total + 10 * self._widest

    def _names_new(self, rows: Sequence[bytes]) -> bool:
        """Whether a row names something new; only hashes are kept, since a listing may be long.

        A row that cannot be read names nothing: it may differ each time, and must not keep a
        listing going.
        """
        before = len(self._named)
        for row in rows:
            try:
                named = _NAMED.decode(row)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                continue
            name = named.batch_id if named.batch_id is not None else named.id
            if isinstance(name, str):
                self._named.add(hash(name))
        return len(self._named) > before

    def _tell(self, total: int | None) -> None:
        times, rest = divmod(self._pages, _TELL_AT)
        if rest == 0 and times & (times - 1) == 0:
            words = "a listing has reached %d pages and %d rows, and goes on; it announced %s"
            told = "no total" if total is None else f"{total:,}"
            logger.warning(words, self._pages, self._received, told)
