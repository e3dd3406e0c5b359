"""Following a listing from cursor to cursor, lazily."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from reach_analytics._plausible import MOST
from reach_analytics.client._endless import Course
from reach_analytics.client._payload import decode
from reach_analytics.client.transport import Answer
from reach_analytics.errors import PagingError, ReachError

__all__ = ["Listing", "Page", "read_page"]

logger = logging.getLogger("reach_analytics.client")

T = TypeVar("T")


class _Pagination(msgspec.Struct, rename="camel"):
    has_next_page: bool
    total: Any = None  # only informative: an odd one must not cost the rows
    cursor: str | None = None


class _Results(msgspec.Struct):
    results: list[msgspec.Raw]
    pagination: _Pagination


_RESULTS = msgspec.json.Decoder(_Results)  # created at import: see documents.py


@dataclass(frozen=True)
class Page:
    """One page of a listing: its rows as JSON, and the answer they came in."""

    rows: list[bytes]
    answer: Answer
    total: int | None
    next_cursor: str | None
    number: int = 1


class Listing(Iterator[T], Generic[T]):
    """The rows of a listing, one request per page, each sent when its rows are needed.

    A row that cannot be read raises its `PayloadError` from ``next``, and the listing continues
    after it. A page that does not arrive, or cannot be read, ends the listing. So does a
    `PagingError`, if the listing itself does not end; it is raised after the rows received.

    Attributes
    ----------
    received : int
        Rows received so far, readable or not.
    pages : int
        Pages received so far.
    total : int or None
        Rows the server announces (``pagination.total`` of the latest page).
    complete : bool
        Whether the last page has been received.
    """

    def __init__(
        self,
        fetch: Callable[[str | None], Answer],
        read: Callable[[bytes, str, str], T],
    ) -> None:
        self._fetch = fetch
        self._read = read
        self._rows: Iterator[tuple[int, bytes]] = iter(())
        self._path = ""
        self._course = Course()
        self._cursor: str | None = None
        self._fault: PagingError | None = None
        self._is_over = self._is_reported = False
        self.received = 0
        self.pages = 0
        self.total: int | None = None
        self.complete = False

    @property
    def shortfall(self) -> int | None:
        """``total`` minus ``received`` of a complete listing; None before that.

        If it is not zero, rows were added or removed while the pages were read.
        """
        return self.total - self.received if self.complete and self.total is not None else None

    def __iter__(self) -> Listing[T]:
        return self

    def __next__(self) -> T:
        while True:
            for index, row in self._rows:
                return self._read(row, self._path, f"$.data.results[{index}]")
            try:
                page = self.next_page()
            except ReachError:
                self._is_over = True
                raise
            if page is None:
                raise StopIteration
            self._rows, self._path = iter(enumerate(page.rows)), page.answer.path

    def iter_pages(self) -> Iterator[Page]:
        """The remaining pages, lazily; raises as `next_page` does."""
        while (page := self.next_page()) is not None:
            yield page

    def next_page(self) -> Page | None:
        """Request the next page; None after the last.

        Raises
        ------
        PagingError
            If the listing cannot be followed any further: the next page has no cursor, or the
            listing does not end. All pages before it have been returned.
        TransportError, ApiError, PayloadError
            If the page did not arrive, or cannot be read; it can be requested again.
        """
        if self._fault is not None:
            fault, self._fault = self._fault, None
            raise fault
        if self._is_over:
            self._report_shortfall()
            return None
        try:
            page = read_page(self._fetch(self._cursor), self.pages + 1)
            if self._course.is_repeated(page.rows):
                raise _paging_error(page.answer, "the same page repeatedly", "another page")
        except PagingError:
            self._is_over = True
            raise
        self._take(page)
        return page

    def _take(self, page: Page) -> None:
        self.pages += 1
        self.received += len(page.rows)
        self.total = page.total
        self.complete = page.next_cursor is None
        self._cursor = page.next_cursor
        wrong = self._course.take(page.rows, page.total, page.next_cursor)
        if wrong is not None:
            self._fault = _paging_error(page.answer, wrong, "new rows or the end")
        self._is_over = self.complete or wrong is not None

    def _report_shortfall(self) -> None:
        """Log it once, when read past the end; a collector reports it by itself."""
        if self.shortfall and not self._is_reported:
            self._is_reported = True
            logger.warning("received %d rows of %d announced", self.received, self.total)

    def __repr__(self) -> str:
        state = "complete" if self.complete else "more to come"
        return f"<Listing: {self.received} of {self.total} rows received, {state}>"


def read_page(answer: Answer, number: int = 1) -> Page:
    """The page in an answer, the ``number``-th of its listing; a `PayloadError` if invalid."""
    results = decode(_RESULTS, answer.data, path=answer.path, where="$.data")
    pagination = results.pagination
    if pagination.has_next_page and not pagination.cursor:
        raise _paging_error(answer, "no cursor beside hasNextPage: true", "the next page's cursor")
    return Page(
        rows=[bytes(row) for row in results.results],
        answer=answer,
        total=_count(pagination.total),
        next_cursor=pagination.cursor if pagination.has_next_page else None,
        number=number,
    )


def _count(total: Any) -> int | None:
    """The announced number of rows; None if it is not a plausible number."""
    if isinstance(total, bool) or not isinstance(total, int | float):
        return None
    return int(total) if 0 <= total <= MOST and total == int(total) else None


def _paging_error(answer: Answer, found: str, expected: str) -> PagingError:
    where = "$.data.pagination.cursor"
    return PagingError(
        f"GET {answer.path}: expected {expected} at {where}, found {found}; "
        "the listing cannot be followed to its end",
        where=where,
        found=found,
        expected=expected,
        path=answer.path,
        status=answer.status,
    )
