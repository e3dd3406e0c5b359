"""An endless listing is abandoned but its rows are kept; a long one is read to its end."""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

import reach_analytics as reach
from reach_analytics.client.paging import Listing, Page
from reach_analytics.client.transport import Answer
from reach_analytics.errors import PagingError, TransportError
from tests.support.hostile import ok, serve

NOW = datetime(2026, 3, 2, tzinfo=UTC)


def pages_of(
    rows_of: Callable[[int], list[dict]], *, total: object = None, last: int | None = None
) -> tuple[Listing, list[int]]:
    """A listing whose n-th page has these rows, and the numbers of the requested pages."""
    asked: list[int] = []

    def fetch(cursor: str | None) -> Answer:
        number = int(cursor or 0)
        asked.append(number)
        assert len(asked) < 5000, "it is followed for ever"
        more = {
            "hasNextPage": number != last,
            "total": total(number) if callable(total) else total,
            "cursor": str(number + 1),
        }
        data = json.dumps({"results": rows_of(number), "pagination": more}).encode()
        return Answer(data, "/api/batches", 200, NOW, NOW)

    return Listing(fetch, lambda row, path, where: json.loads(row)), asked


def followed(listing: Listing) -> tuple[list[Page], str]:
    """The pages it returned, and the error after them."""
    pages: list[Page] = []
    with pytest.raises(PagingError) as caught:
        pages.extend(listing.iter_pages())
    return pages, str(caught.value)


def named(*names: object, **fields) -> list[dict]:
    return [{"batchId": name, "status": "success"} | fields for name in names]


def fresh(number: int, count: int = 100) -> list[dict]:
    return named(*(f"b{number * count + at}" for at in range(count)))


def test_alternating_pages_are_abandoned():
    listing, asked = pages_of(lambda n: named("ab"[n % 2]))
    pages, told = followed(listing)
    assert (len(pages), len(asked)) == (12, 12)
    assert "10 pages in a row with nothing new" in told
    assert listing.next_page() is None


def test_the_same_rows_with_one_changing_field_are_abandoned():
    listing, asked = pages_of(lambda n: named("a", "b", lastSeen=n))
    pages, _ = followed(listing)
    assert (len(pages), len(asked)) == (11, 11)


def test_unreadable_or_nameless_rows_do_not_keep_a_listing_going():
    listing, asked = pages_of(lambda n: [{"n": n}, {"batchId": n}, {"batchId": "a"}])
    followed(listing)
    assert len(asked) == 11


def test_ever_new_rows_beyond_the_total_are_abandoned():
    listing, asked = pages_of(fresh, total=10)
    pages, told = followed(listing)
    assert (len(pages), len(asked)) == (11, 11)
    assert "1,100 rows of 10 announced" in told


@pytest.mark.parametrize("total", [None, 0, -5])
def test_a_long_listing_without_a_total_is_read_to_its_end(total, caplog):
    listing, _ = pages_of(lambda n: fresh(n, 2), total=total, last=2500)
    with caplog.at_level(logging.WARNING):
        assert sum(len(page.rows) for page in listing.iter_pages()) == 5002
    told = [r.message for r in caplog.records if "goes on" in r.message]
    assert [message.split()[4] for message in told] == ["1000", "2000"]


def test_a_listing_that_grows_while_it_is_read_is_read_to_its_end():
    """It doubles meanwhile; the total of the newest page counts."""
    listing, _ = pages_of(fresh, total=lambda n: 2000 + 100 * n, last=40)
    assert sum(len(page.rows) for page in listing.iter_pages()) == 4100


def test_fewer_than_ten_pages_without_new_rows_are_accepted():
    listing, _ = pages_of(lambda n: named(f"b{n // 9}", n=n), last=99)
    assert sum(len(page.rows) for page in listing.iter_pages()) == 100


def test_a_failed_page_can_be_requested_again():
    fails = itertools.chain([False, True], itertools.repeat(False))
    listing, asked = pages_of(lambda n: named(f"b{n}"), last=2)
    fetch = listing._fetch

    def shaky(cursor: str | None) -> Answer:
        if next(fails):
            raise TransportError("no")
        return fetch(cursor)

    listing._fetch = shaky
    assert listing.next_page().next_cursor == "1"
    with pytest.raises(TransportError):
        listing.next_page()
    assert listing.next_page().next_cursor == "2"
    assert listing.next_page().next_cursor is None
    assert listing.next_page() is None
    assert asked == [0, 1, 2]


def test_rows_before_the_error_are_not_lost_when_read_one_by_one():
    def page(connection) -> None:
        number = len(server.requests)
        more = {"hasNextPage": number < 40, "cursor": str(number), "total": 1}
        connection.sendall(ok({"results": named("ab"[number % 2]), "pagination": more}))

    found: list[str] = []
    with serve(page) as server, reach.Client(token="abc", base_url=server.url) as own:
        listing = own.batches()
        with pytest.raises(PagingError):
            found.extend(batch.batch_id for batch in listing)
    assert found == ["b", "a"] * 6
    assert next(listing, None) is None
