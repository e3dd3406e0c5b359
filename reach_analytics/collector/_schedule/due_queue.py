"""The due queue: what is due when, put in as it is learned and taken out when its time comes."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

from reach_analytics.collector._schedule.policy import Due, Kind, at_once, brought_back, order

Key = tuple[str, str]

_MISSED = (Kind.DEADLINE, Kind.POLL, Kind.LISTING)  # kinds that matter when late


class DueQueue:
    """One entry for each batch and each listing; a new entry replaces the old one.

    Examples
    --------
    >>> from datetime import datetime, timedelta, UTC
    >>> from reach_analytics.collector._schedule.policy import Due, Kind
    >>> noon = datetime(2026, 3, 2, 12, tzinfo=UTC)
    >>> queue = DueQueue()
    >>> queue.put(Due("t", "b", noon, Kind.POLL, noon - timedelta(minutes=1)))
    >>> queue.take(noon - timedelta(seconds=1)), [due.batch_id for due in queue.take(noon)]
    ([], ['b'])
    """

    def __init__(self) -> None:
        self._entries: dict[Key, Due] = {}
        self._later: list[tuple[datetime, int, Due]] = []
        self._ready: dict[Key, Due] = {}
        self._count = itertools.count()

    def put(self, due: Due) -> None:
        """Add an entry, replacing the one for the same batch or listing."""
        self._entries[due.key] = due
        self._ready.pop(due.key, None)
        heapq.heappush(self._later, (due.at, next(self._count), due))
        if len(self._later) > 2 * len(self._entries) + 1000:
            self._build(self._entries.values())  # replaced entries would stay until their time

    def put_back(self, due: Due) -> None:
        """Add again what was taken out and not done, unless a newer entry exists."""
        if due.key not in self._entries:
            self.put(due)

    def __contains__(self, due: Due) -> bool:
        return due.key in self._entries

    def drop_tenant(self, tenant_id: str) -> None:
        """Remove all entries of a tenant."""
        for key in [key for key in self._entries if key[0] == tenant_id]:
            del self._entries[key]
            self._ready.pop(key, None)

    def take(self, now: datetime, most: int | None = None) -> list[Due]:
        """Take out what is due by now, the most urgent first, at most ``most``."""
        self._collect_ready(now)
        taken = order(self._ready.values(), now, most)
        for due in taken:
            del self._ready[due.key], self._entries[due.key]
        return taken

    def next_at(self) -> datetime | None:
        """When the next entry is due; in the past if one is due already."""
        if self._ready:
            return min(due.at for due in self._ready.values())
        self._skip_replaced()
        return self._later[0][0] if self._later else None

    def overdue(self, now: datetime, since: datetime, least: timedelta) -> int:
        """How many are late, after ``since``, by more than ``least`` and their own interval."""
        self._collect_ready(now)
        late = (
            (now - max(due.at, since), due.at - due.since)
            for due in self._ready.values()
            if due.kind in _MISSED
        )
        return sum(by > max(interval, least) for by, interval in late)

    def expedite(self, kinds: Collection[Kind], now: datetime) -> None:
        """Make everything of these kinds due now."""
        for due in self.entries():
            if due.kind in kinds:
                self.put(at_once(due, now))

    def set_back(self, now: datetime) -> None:
        """Adjust all entries to a clock that was set back to ``now``."""
        self._build([brought_back(due, now) for due in self._entries.values()])

    def entries(self) -> list[Due]:
        """All entries, in no particular order."""
        return list(self._entries.values())

    def _build(self, entries: Iterable[Due]) -> None:
        kept = list(entries)
        self._entries = {due.key: due for due in kept}
        self._ready = {}
        self._later = [(due.at, next(self._count), due) for due in kept]
        heapq.heapify(self._later)

    def _collect_ready(self, now: datetime) -> None:
        while self._later and self._later[0][0] <= now:
            _, _, due = heapq.heappop(self._later)
            if self._entries.get(due.key) is due:
                self._ready[due.key] = due

    def _skip_replaced(self) -> None:
        while self._later and self._entries.get(self._later[0][2].key) is not self._later[0][2]:
            heapq.heappop(self._later)
