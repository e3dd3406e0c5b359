"""A tenant's stored resources, which refers to which, and what waits for what."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from reach_analytics.sandbox._world.schema import Key

if TYPE_CHECKING:
    from reach_analytics.sandbox._world.state import Pending, Record


class ResourceStore:
    """The resources of one tenant.

    Two indices are kept up to date: what is stored by what it refers to, and what waits by what it
    needs, so that a resource that is stored or deleted affects only those that need it.
    """

    def __init__(self) -> None:
        self.resources: dict[Key, Record] = {}
        self._needs: dict[Key, tuple[Key, ...]] = {}
        self._referrers: dict[Key, dict[Key, None]] = {}
        self._waiting: dict[Key, dict[str, Pending]] = {}

    def put(self, key: Key, record: Record, needs: tuple[Key, ...]) -> deque[Pending]:
        """Store a resource that refers to ``needs``; returns those that waited only for it."""
        is_new = key not in self.resources
        self._unlink(key)
        self.resources[key] = record
        if needs:
            self._needs[key] = needs
        for need in needs:
            self._referrers.setdefault(need, {})[key] = None
        ready: deque[Pending] = deque()
        for pending in self._waiting.get(key, {}).values() if is_new else ():
            pending.missing.pop(key, None)
            if not pending.missing:
                ready.append(pending)
        return ready

    def remove(self, key: Key) -> None:
        """Delete a resource; it is missing again for waiting records that need it."""
        self._unlink(key)
        del self.resources[key]
        for pending in self._waiting.get(key, {}).values():
            pending.missing[key] = None

    def needs(self, key: Key) -> tuple[Key, ...]:
        """What a stored resource refers to."""
        return self._needs.get(key, ())

    def dependents(self, key: Key) -> dict[Key, None]:
        """Everything stored that refers to a resource, directly or not; not the resource itself.

        A dict and not a set, whose order would differ from one process to the next.
        """
        found: dict[Key, None] = {}
        open_ends = [key]
        while open_ends:
            for referrer in self._referrers.get(open_ends.pop(), ()):
                if referrer not in found:
                    found[referrer] = None
                    open_ends.append(referrer)
        found.pop(key, None)
        return found

    def wait(self, pending: Pending) -> None:
        """Register a record that waits for what it needs."""
        for need in pending.needs:
            self._waiting.setdefault(need, {})[pending.id] = pending

    def leave(self, pending: Pending) -> None:
        """Remove a record that no longer waits."""
        _drop(self._waiting, pending.needs, pending.id)

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits."""
        return not self._waiting

    def _unlink(self, key: Key) -> None:
        _drop(self._referrers, self._needs.pop(key, ()), key)


def _drop(index: dict[Key, Any], keys: tuple[Key, ...], item: object) -> None:
    """Remove an item from an index, and entries that become empty."""
    for key in keys:
        items = index[key]
        del items[item]
        if not items:
            del index[key]
