"""Telling a listing that is long from one that does not end."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import msgspec

logger = logging.getLogger("reach_analytics.client")

_REPEATS = 3  # of one page under new cursors, after which nobody believes in an end
_STALE_PAGES = 10  # in a row, that name nothing new
_GROWTH = 1.5  # by so much, and ten pages, a listing may grow while it is read
_TELL_AT = 1000  # pages; then twice as many, and so on


class _Named(msgspec.Struct, rename="camel"):
    batch_id: Any = None
    id: Any = None


_NAMED = msgspec.json.Decoder(_Named)  # made here: see documents.py


class Course:
    """The course that a listing takes, page by page, and why it cannot come to an end.

    A listing may be long, and batches may come while it is read. So it is given up only where it
    gives far more rows than it says there are, or page after page with nothing new on it: the same
    cursor, the same rows, or no batch that it has not named before. Without a total, or with one
    that is not above zero, always new rows are believed.
    """

    def __init__(self) -> None:
        self._cursors: set[str] = set()
        self._named: set[int] = set()
        self._last: Sequence[bytes] | None = None
        self._repeats = self._stale = self._pages = self._received = self._widest = 0

    def is_repeated(self, rows: Sequence[bytes]) -> bool:
        """Whether these rows, which are to be taken next, have come often enough."""
        self._repeats = self._repeats + 1 if rows == self._last else 0
        self._last = rows
        return self._repeats >= _REPEATS

    def take(self, rows: Sequence[bytes], total: int | None, cursor: str | None) -> str | None:
        """Take in a page; what is wrong with it as the way to another page, if anything is."""
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
        if total is not None and 0 < total and self._received > self._most(total):
            return f"{self._received:,} rows, of {total:,} that there are to be, and more to come"
        self._tell(total)
        return None

    def _most(self, total: int) -> float:
        return _GROWTH * total + 10 * self._widest

    def _names_new(self, rows: Sequence[bytes]) -> bool:
        """Whether a row names what none has named before; only hashes are kept of a long listing.

        A row that cannot be read names nothing: as it may change all the time, it must not keep a
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
            words = "a listing has come to %d pages and %d rows, and goes on; it announced %s"
            told = "no total" if total is None else f"{total:,}"
            logger.warning(words, self._pages, self._received, told)
