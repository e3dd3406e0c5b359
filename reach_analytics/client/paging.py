"""Following a listing from cursor to cursor, lazily."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

from reach_analytics.client.payload import convert, json_value, raise_not_json
from reach_analytics.client.transport import Answer
from reach_analytics.errors import PagingError, PayloadError

logger = logging.getLogger("reach_analytics.client")

T = TypeVar("T")


_REPEATS = 3  # of one page under new cursors, after which nobody believes in an end


class _Pagination(msgspec.Struct, rename="camel"):
    has_next_page: bool
    total: int | None = None
    cursor: str | None = None


class _Results(msgspec.Struct):
    results: list[msgspec.Raw]
    pagination: _Pagination


_RESULTS = msgspec.json.Decoder(_Results)  # made here: see documents.py


@dataclass(frozen=True)
class Page:
    """One page of a listing: its rows as JSON, and the answer they came in."""

    rows: list[bytes]
    answer: Answer
    total: int | None
    next_cursor: str | None


class Listing(Iterator[T], Generic[T]):
    """The rows of a listing, one request per page, each sent when its rows are wanted.

    A row that cannot be read raises its `PayloadError` from ``next``, and the listing can still be
    continued behind it. A page that cannot be read ends the listing.

    Attributes
    ----------
    received : int
        Rows received so far, readable or not.
    pages : int
        Pages received so far.
    total : int or None
        Rows the server says there are (``pagination.total`` of the newest page).
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
        self._pages = self.iter_pages()
        self._rows: Iterator[tuple[int, bytes]] = iter(())
        self._path = ""
        self.received = 0
        self.pages = 0
        self.total: int | None = None
        self.complete = False

    @property
    def shortfall(self) -> int | None:
        """``total`` minus ``received`` of a complete listing; None before that.

        Other than zero, rows came or went while the pages were read.
        """
        return self.total - self.received if self.complete and self.total is not None else None

    def __iter__(self) -> Listing[T]:
        return self

    def __next__(self) -> T:
        while True:
            for index, row in self._rows:
                return self._read(row, self._path, f"$.data.results[{index}]")
            page = next(self._pages)
            self._rows, self._path = iter(enumerate(page.rows)), page.answer.path

    def iter_pages(self) -> Iterator[Page]:
        """The pages, lazily.

        Raises
        ------
        PagingError
            If a cursor comes back a second time, or the next page has none, or one page comes again
            and again under new ones.
        """
        cursor: str | None = None
        seen: set[str] = set()
        last, repeats = None, 0
        while True:
            page = read_page(self._fetch(cursor))
            repeats = repeats + 1 if page.rows == last else 0
            last = page.rows
            if repeats == _REPEATS:
                raise _paging_error(page.answer, "the same page again and again", "another page")
            self.pages += 1
            self.received += len(page.rows)
            self.total = page.total
            self.complete = page.next_cursor is None
            yield page
            if page.next_cursor is None:
                break
            if page.next_cursor in seen:
                raise _paging_error(page.answer, "the same cursor again", "a new one")
            cursor = page.next_cursor
            seen.add(cursor)
        if self.shortfall:
            logger.warning("received %d rows of %d announced", self.received, self.total)

    def __repr__(self) -> str:
        state = "complete" if self.complete else "more to come"
        return f"<Listing: {self.received} of {self.total} rows received, {state}>"


def read_page(answer: Answer) -> Page:
    """The page in an answer; a `PayloadError` if it is none."""
    try:
        results = _RESULTS.decode(answer.data)
    except (msgspec.ValidationError, RecursionError):
        plain = json_value(answer.data, path=answer.path, where="$.data")
        convert(plain, _Shown, path=answer.path, where="$.data")
        raise  # not reached while _Shown and _Results agree on what fits
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise_not_json(answer.data, error, path=answer.path, where="$.data")
    pagination = results.pagination
    if pagination.has_next_page and not pagination.cursor:
        raise _paging_error(answer, "no cursor beside hasNextPage: true", "the next page's cursor")
    return Page(
        rows=[bytes(row) for row in results.results],
        answer=answer,
        total=pagination.total,
        next_cursor=pagination.cursor if pagination.has_next_page else None,
    )


class _Shown(msgspec.Struct):
    """`_Results` for a plain value: msgspec makes ``Raw`` only while reading bytes."""

    results: list[object]
    pagination: _Pagination


msgspec.json.Decoder(_Shown)  # likewise


def _paging_error(answer: Answer, found: str, expected: str) -> PayloadError:
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
