"""Reading a tenant's listing back to known batches, without relying on its order."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from reach_analytics.client import Client
from reach_analytics.client.paging import Page
from reach_analytics.collector._observe.rows import RecordedObservation
from reach_analytics.collector._schedule.batch_states import is_near


class ListingScan:
    """One scan of a listing, page by page.

    It ends early only where the listing is seen to run from the newest batches to older ones: in
    any other order, a later page may hold something new.

    Parameters
    ----------
    client : Client
        Acting as the tenant.
    newest : datetime, optional
        When the newest known batch was created.
    overlap : timedelta
        How much further back the listing is read, and how far out of order its rows may be.
    full : bool
        Read to the end in any case.
    wanted : set of str
        Batches whose rows are wanted, within the first ``reach`` pages.
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
        """Request the next page; None after the last."""
        return self._listing.next_page()

    @property
    def complete(self) -> bool:
        """Whether the last page has been read."""
        return self._listing.complete

    @property
    def shortfall(self) -> str | None:
        """A message if the listing gave fewer rows than it announced."""
        listing = self._listing
        if (listing.shortfall or 0) <= 0:
            return None
        return f"the listing gave {listing.received} of {listing.total} announced batches"

    def take(self, observations: Sequence[RecordedObservation]) -> None:
        """Take in the rows of a page, in order."""
        for index, observation in enumerate(
            observations, self._listing.received - len(observations)
        ):
            self.wanted.discard(observation.batch_id)
            self.positions[observation.batch_id] = index
            created_at = observation.document.created_at if observation.document else None
            self._note(created_at if is_near(created_at, observation.sent_at) else None)

    def goes_on(self, known: int, *, may_resweep: bool) -> bool:
        """Whether to read another page, when ``known`` batches of the tenant are known by now.

        A listing that announces more batches than are known has shown too few, and is read to its
        end if ``may_resweep``.
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
        """Track the order of the rows: whether they fall from the newest known, and how far."""
        if created_at is None or self._newest is None:
            self._is_dated = False
            return
        if self._lowest is None:
            self._is_falling = created_at >= self._newest - self._overlap
        elif created_at > self._lowest + self._overlap:
            self._is_falling = False
        self._lowest = min(created_at, self._lowest or created_at)
        self._is_back = created_at < self._newest - self._overlap
