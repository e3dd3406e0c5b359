"""What is due when, of everything known: put in as it is learned, taken out as its time comes."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

from reach_analytics.collector.schedule import Due, Kind, at_once, brought_back, order

Key = tuple[str, str]

_MISSED = (Kind.DEADLINE, Kind.POLL, Kind.LISTING)  # of which it matters that they come late


class Agenda:
    """One entry for each batch and each listing; putting another in takes the former's place.

    Examples
    --------
    >>> from datetime import datetime, timedelta, UTC
    >>> from reach_analytics.collector.schedule import Due, Kind
    >>> noon = datetime(2026, 3, 2, 12, tzinfo=UTC)
    >>> agenda = Agenda()
    >>> agenda.put(Due("t", "b", noon, Kind.POLL, noon - timedelta(minutes=1)))
    >>> agenda.take(noon - timedelta(seconds=1)), [due.batch_id for due in agenda.take(noon)]
    ([], ['b'])
    """

    def __init__(self) -> None:
        self._entries: dict[Key, Due] = {}
        self._later: list[tuple[datetime, int, Due]] = []
        self._ready: dict[Key, Due] = {}
        self._count = itertools.count()

    def put(self, due: Due) -> None:
        """Enter what is due, in place of what was entered for the same batch or listing."""
        self._entries[due.key] = due
        self._ready.pop(due.key, None)
        heapq.heappush(self._later, (due.at, next(self._count), due))
        if len(self._later) > 2 * len(self._entries) + 1000:
            self._build(self._entries.values())  # what was replaced would stay until its time

    def put_back(self, due: Due) -> None:
        """Enter again what was taken out and not done, unless there is news of it."""
        if due.key not in self._entries:
            self.put(due)

    def __contains__(self, due: Due) -> bool:
        return due.key in self._entries

    def drop_tenant(self, tenant_id: str) -> None:
        """Forget everything of a tenant."""
        for key in [key for key in self._entries if key[0] == tenant_id]:
            del self._entries[key]
            self._ready.pop(key, None)

    def take(self, now: datetime, most: int | None = None) -> list[Due]:
        """Take out what is due by now, the most pressing first, at most so many."""
        self._come(now)
        taken = order(self._ready.values(), now, most)
        for due in taken:
            del self._ready[due.key], self._entries[due.key]
        return taken

    def next_at(self) -> datetime | None:
        """When the next entry comes due; the past if one is."""
        if self._ready:
            return min(due.at for due in self._ready.values())
        self._skip_replaced()
        return self._later[0][0] if self._later else None

    def overdue(self, now: datetime, since: datetime, least: timedelta) -> int:
        """How many are late, after ``since``, by more than ``least`` and their own distance."""
        self._come(now)
        late = (
            (now - max(due.at, since), due.at - due.since)
            for due in self._ready.values()
            if due.kind in _MISSED
        )
        return sum(by > max(distance, least) for by, distance in late)

    def hurry(self, kinds: Collection[Kind], now: datetime) -> None:
        """Have everything of these kinds due now."""
        for due in self.entries():
            if due.kind in kinds:
                self.put(at_once(due, now))

    def set_back(self, now: datetime) -> None:
        """Enter all anew by a clock that was set back to ``now``."""
        self._build([brought_back(due, now) for due in self._entries.values()])

    def entries(self) -> list[Due]:
        """Everything entered, in no order."""
        return list(self._entries.values())

    def _build(self, entries: Iterable[Due]) -> None:
        kept = list(entries)
        self._entries = {due.key: due for due in kept}
        self._ready = {}
        self._later = [(due.at, next(self._count), due) for due in kept]
        heapq.heapify(self._later)

    def _come(self, now: datetime) -> None:
        while self._later and self._later[0][0] <= now:
            _, _, due = heapq.heappop(self._later)
            if self._entries.get(due.key) is due:
                self._ready[due.key] = due

    def _skip_replaced(self) -> None:
        while self._later and self._entries.get(self._later[0][2].key) is not self._later[0][2]:
            heapq.heappop(self._later)
