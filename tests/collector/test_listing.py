"""How far a listing is read: no order of its rows hides what is new."""

from __future__ import annotations

import json
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from reach_analytics.client.paging import Listing
from reach_analytics.client.transport import Answer
from reach_analytics.collector._schedule.listing_scan import ListingScan
from reach_analytics.tables import LIST
from tests.support.observations import batch, minute, observation

OVERLAP = timedelta(minutes=15)


class Client:
    """Returns the pages of a listing of batches, each created at its minute."""

    def __init__(self, made: list[float | None], total: int | None = None) -> None:
        self.made, self.total = made, len(made) if total is None else total

    def batches(self, page_size: int) -> Listing:
        def fetch(cursor: str | None) -> Answer:
            start = int(cursor or 0)
            end = start + page_size
            more = {"hasNextPage": end < len(self.made), "total": self.total, "cursor": str(end)}
            page = {
                "results": [{"row": at} for at in range(start, min(end, len(self.made)))],
                "pagination": more,
            }
            data = json.dumps(page).encode()
            return Answer(data, "/api/batches", 200, minute(0), minute(0))

        return Listing(fetch, lambda row, path, where: None)


def rows(made: list[float | None], start: int, size: int):
    documents = [
        batch(f"b{number}", **({} if at is None else {"createdAt": minute(at).isoformat()}))
        for number, at in enumerate(made[start : start + size], start)
    ]
    return [observation(document, scope=LIST) for document in documents]


def read(made, newest, known: int, *, page_size=3, may_resweep=False, total=None, **options):
    """The batches that a listing scan finds, and the pages it takes."""
    scan = ListingScan(
        Client(made, total),
        newest=None if newest is None else minute(newest),
        overlap=OVERLAP,
        page_size=page_size,
        **options,
    )
    seen: list[str] = []
    pages = 0
    while True:
        scan.next_page()
        observations = rows(made, pages * page_size, page_size)
        pages += 1
        scan.take(observations)
        seen += [one.batch_id for one in observations]
        if not scan.goes_on(known, may_resweep=may_resweep):
            return seen, pages, scan


NEWEST_FIRST = [float(-10 * n) for n in range(30)]  # one each ten minutes, the newest at 0


def test_a_listing_with_the_newest_first_is_read_back_to_known_batches():
    seen, pages, scan = read(NEWEST_FIRST, newest=-40, known=26)
    assert pages == 3  # the newest four, then back behind -40 and the overlap
    assert not scan.complete
    assert {"b0", "b1", "b2", "b3"} <= set(seen)


def test_without_new_batches_it_takes_one_page():
    assert read(NEWEST_FIRST, newest=0, known=30)[1] == 1


def test_a_page_of_known_batches_is_no_reason_to_stop():
    """Page one has the newest known batch, and two created just before it."""
    made = [0.0, -1.0, -2.0, -3.0, -4.0, -40.0, -50.0]
    assert read(made, newest=0, known=7)[1] == 2


def test_a_new_tenant_is_read_to_the_end():
    seen, _, scan = read(NEWEST_FIRST, newest=None, known=0)
    assert len(seen) == 30
    assert scan.complete


def test_oldest_first_is_read_to_the_end():
    assert len(read(NEWEST_FIRST[::-1], newest=-40, known=26)[0]) == 30


@given(st.permutations(list(range(14))), st.integers(1, 13))
def test_no_order_hides_a_new_batch_from_a_scan_that_may_read_on(order, known):
    """In any order new batches are found, since the listing says how many there are."""
    made = [float(-10 * n) for n in order]
    newest = max(at for at in made if at <= -10 * (14 - known))
    seen, _, _ = read(made, newest=newest, known=known, may_resweep=True)
    fresh = {f"b{i}" for i, at in enumerate(made) if at > newest}
    assert fresh <= set(seen)


@given(st.lists(st.integers(0, 400), min_size=1, max_size=20), st.integers(0, 400))
def test_rows_that_fall_within_the_overlap_are_read_far_enough(made, newest):
    """Rows out of order by up to the overlap, as from several machines, hide nothing new."""
    falling = sorted(made, reverse=True)
    jumbled = [float(at) - (7 if n % 2 else 0) for n, at in enumerate(falling)]
    known = [at for at in jumbled if at <= newest]
    if not known:
        return
    seen, _, _ = read(jumbled, newest=max(known), known=len(known))
    assert {f"b{i}" for i, at in enumerate(jumbled) if at > max(known)} <= set(seen)


def test_rows_without_a_date_are_read_until_the_announced_number_is_known():
    made = [None] * 9
    assert read(made, newest=None, known=0)[1] == 3
    assert read(made, newest=-5, known=8)[1] == 3
    assert read(made, newest=-5, known=9)[1] == 1


def test_wanted_rows_are_searched_for_as_far_as_it_pays():
    _, pages, scan = read(NEWEST_FIRST, newest=0, known=30, wanted={"b7"}, reach=3)
    assert pages == 3
    assert scan.wanted == set()
    _, pages, scan = read(NEWEST_FIRST, newest=0, known=30, wanted={"b20"}, reach=2)
    assert pages == 2
    assert scan.wanted == {"b20"}


def test_positions_tell_where_each_batch_was():
    assert read(NEWEST_FIRST, newest=-40, known=26)[2].positions["b4"] == 4
