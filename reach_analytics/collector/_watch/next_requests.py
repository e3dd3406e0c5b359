"""What a watch sends next: deadlines first, then listing pages and single batches in turn."""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta

from reach_analytics.collector._schedule.policy import Due, Kind
from reach_analytics.collector._schedule.tenant_schedule import Tenant, TenantSchedule

_FRESH = timedelta(seconds=1)  # for this long what was taken out counts as the most urgent


class NextRequests:
    """The most urgent of what is due, taken out of the schedule's queue."""

    def __init__(self, schedule: TenantSchedule, now: datetime) -> None:
        self._schedule = schedule
        self._taken: deque[Due] = deque()
        self._taken_at = now
        self._pages: deque[Tenant] = deque()
        self._is_turn_of_pages = True

    def __bool__(self) -> bool:
        return bool(self._taken or self._pages)

    def is_stale(self, now: datetime) -> bool:
        """Whether what was taken out is done, or something else may be more urgent by now."""
        return not self._taken or now - self._taken_at >= _FRESH

    def put_back(self, now: datetime) -> None:
        """Return what was taken out and not sent."""
        while self._taken:
            self._schedule.queue.put_back(self._taken.popleft())
        self._taken_at = now

    def take(self, now: datetime, most: int) -> None:
        """Take out the most urgent entries, at most ``most``."""
        due = self._schedule.queue.take(now, most)
        self._taken.extend(self._schedule.plan(due, now, self._pages))

    def add_page(self, tenant: Tenant) -> None:
        """Add the next page of a tenant's listing."""
        self._pages.append(tenant)

    def pop(self) -> Due | Tenant | None:
        """The next request: a page of the tenant's listing, or what is due; None if none is."""
        while self._taken and self._taken[0] in self._schedule.queue:
            self._taken.popleft()  # a listing has shown it in the meantime
        is_urgent = bool(self._taken) and self._taken[0].kind == Kind.DEADLINE
        if self._pages and not is_urgent and (self._is_turn_of_pages or not self._taken):
            self._is_turn_of_pages = False
            return self._pages.popleft()
        if self._taken:
            self._is_turn_of_pages = True
            return self._taken.popleft()
        return None
