"""Reading a tenant's listing back to what is known, without counting on its order."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from reach_analytics.client import Client
from reach_analytics.client.paging import Page
from reach_analytics.collector.knowledge import is_near
from reach_analytics.collector.observe import Observed


class Walk:
    """One reading of a listing, page by page.

    It ends early only where the listing is seen to begin with the newest batches and to get older:
    in any other order the next page may hold what is new.

    Parameters
    ----------
    client : Client
        Acting as the tenant.
    newest : datetime, optional
        When the newest batch that is known was made.
    overlap : timedelta
        How far behind that the listing is read, and how far out of order its rows may be.
    full : bool
        Read to the end, whatever is found.
    wanted : set of str
        Batches whose rows are wanted, as far as ``reach`` pages go.
    """

    def __init__(
        self,
        client: Client,
        *,
        newest: datetime | None,
        overlap: timedelta,
        full: bool = False,
        wanted: set[str] | None = None,
        reach: int = 1,
        page_size: int = 100,
    ) -> None:
        self.client = client
        self.full = full or newest is None
        self.wanted = wanted or set()
        self.positions: dict[str, int] = {}
        self._listing = client.batches(page_size=page_size)
        self._newest = newest
        self._overlap = overlap
        self._reach = reach
        self._lowest: datetime | None = None
        self._is_dated = True
        self._is_falling = True
        self._is_back = False

    def next_page(self) -> Page | None:
        """The next page, by a request; None behind the last."""
        return self._listing.next_page()

    @property
    def complete(self) -> bool:
        """Whether the last page has been read."""
        return self._listing.complete

    @property
    def shortfall(self) -> str | None:
        """What to say if the listing gave fewer rows than it announced."""
        listing = self._listing
        if (listing.shortfall or 0) <= 0:
            return None
        return f"the listing gave {listing.received} of {listing.total} announced batches"

    def take(self, looks: Sequence[Observed]) -> None:
        """Take in a page's rows, in their order."""
        for index, look in enumerate(looks, self._listing.received - len(looks)):
            self.wanted.discard(look.batch_id)
            self.positions[look.batch_id] = index
            created_at = look.document.created_at if look.document else None
            self._note(created_at if is_near(created_at, look.sent_at) else None)

    def goes_on(self, known: int, *, may_resweep: bool) -> bool:
        """Whether another page is to be read, ``known`` batches of the tenant being known by now.

        A listing that announces more batches than are known has shown less than it should have, and
        is read to its end if that may be.
        """
        if self._listing.complete:
            return False
        if self.full or not self._is_done(known):
            return True
        self.full = may_resweep and (self._listing.total or 0) > known
        return self.full

    def _is_done(self, known: int) -> bool:
        if self.wanted and self._listing.pages < self._reach:
            return False
        if not self._is_dated:
            return self._listing.total == known  # nothing else tells that there is nothing new
        return self._is_falling and self._is_back

    def _note(self, created_at: datetime | None) -> None:
        """Follow the order of the rows: falling from the newest known, and how far down."""
        if created_at is None or self._newest is None:
            self._is_dated = False
            return
        if self._lowest is None:
            self._is_falling = created_at >= self._newest - self._overlap
        elif created_at > self._lowest + self._overlap:
            self._is_falling = False
        self._lowest = min(created_at, self._lowest or created_at)
        self._is_back = created_at < self._newest - self._overlap
