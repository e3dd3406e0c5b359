"""Looks on their way to the store: taken in hand, and written in groups."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from reach_analytics.collector.observe import Observed, to_tables
from reach_analytics.store import Store

_REST = 4  # times as long as a write took, no other one is begun for age alone
HEAVIEST = 50_000  # pending resources in hand: about 100 MB


@dataclass
class Hand:
    """What has been seen and is not written yet.

    Attributes
    ----------
    group : int
        So many looks are written at once; fewer, where they list many pending resources,
    seconds : float
        or where the oldest is so old.
    looks, failed_looks, new_states : int
        What the store has acknowledged.
    writes : int
        How often it was written to.
    taken : int
        Looks taken in hand, written or not.
    batches : set
        (tenant_id, batch_id) of everything taken in hand.
    """

    store: Store
    now: Callable[[], datetime]
    group: int = 2000
    seconds: float = 10.0
    looks: int = 0
    failed_looks: int = 0
    new_states: int = 0
    writes: int = 0
    taken: int = 0
    batches: set[tuple[str, str]] = field(default_factory=set)
    _held: list[Observed] = field(default_factory=list)
    _new_states: set[tuple[str, str, str]] = field(default_factory=set)
    _weight: int = 0
    seconds_passed: Callable[[], float] = time.monotonic
    _took: float = 0.0
    _written_at: float = float("-inf")

    def take(self, look: Observed, *, old_state: bool = False) -> None:
        """Take a look in hand.

        ``old_state`` says that the state it saw is stored, or in hand, already.
        """
        self.batches.add((look.tenant_id, look.batch_id))
        self._held.append(look)
        self.taken += 1
        if look.document is not None:
            self._weight += len(look.document.pending_resources or ())
        if look.state_hash is not None and not old_state:
            self._new_states.add((look.tenant_id, look.batch_id, look.state_hash))

    @property
    def is_full(self) -> bool:
        """Whether it is time to write, by count."""
        return len(self._held) >= self.group or self._weight >= HEAVIEST

    def is_due(self, now: datetime) -> bool:
        """Whether it is time to write, by the age of what is in hand.

        While there is much to do, a store that is slow to write to is written to less often, in
        larger groups.
        """
        due_at = self.due_at()
        if due_at is None or due_at > now:
            return False
        return self.seconds_passed() - self._written_at >= _REST * self._took

    def due_at(self) -> datetime | None:
        """When what is in hand is to be written at the latest."""
        if not self._held:
            return None
        return self._held[0].received_at + timedelta(seconds=self.seconds)

    def write(self) -> None:
        """Write everything in hand; if that fails, it stays in hand."""
        if not self._held:
            return
        held, began = self._held, self.seconds_passed()
        appended = self.store.append(*to_tables(held, self.now(), self._new_states))
        self._held, self._new_states, self._weight = [], set(), 0
        self.looks += appended.observations
        self.failed_looks += sum(look.document is None for look in held)
        self.new_states += appended.snapshots
        self.writes += 1
        self._written_at = self.seconds_passed()
        self._took = self._written_at - began
