"""Observations on their way to the store: buffered, and written in groups."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from reach_analytics.collector._observe.catalog import Catalog
from reach_analytics.collector._observe.rows import RecordedObservation, to_tables
from reach_analytics.errors import StoreError
from reach_analytics.store import Store

logger = logging.getLogger("reach_analytics.collector")

_REST = 4  # for this many times the last write's duration, age alone starts no write
HEAVIEST = 50_000  # pending resources in the buffer: about 100 MB


@dataclass
class WriteBuffer:
    """Observations that are not written yet.

    Attributes
    ----------
    group : int
        How many observations to write at once; fewer where they list many pending resources.
    seconds : float
        Write sooner if the oldest observation is this old.
    observations, failed_observations, new_states : int
        What the store has acknowledged.
    writes : int
        How often the store was written to.
    taken : int
        Observations added, written or not.
    batches : set
        (tenant_id, batch_id) of every observation added.
    """

    store: Store
    now: Callable[[], datetime]
    group: int = 2000
    seconds: float = 10.0
    observations: int = 0
    failed_observations: int = 0
    new_states: int = 0
    writes: int = 0
    taken: int = 0
    batches: set[tuple[str, str]] = field(default_factory=set)
    _held: list[RecordedObservation] = field(default_factory=list)
    _catalog: Catalog | None = None
    _new_states: set[tuple[str, str, str]] = field(default_factory=set)
    _weight: int = 0
    seconds_passed: Callable[[], float] = time.monotonic
    _took: float = 0.0
    _written_at: float = float("-inf")

    def take(self, observation: RecordedObservation, *, old_state: bool = False) -> None:
        """Add an observation.

        ``old_state`` says that its state is already stored or buffered.
        """
        self.batches.add((observation.tenant_id, observation.batch_id))
        self._held.append(observation)
        self.taken += 1
        if observation.document is not None:
            self._weight += len(observation.document.pending_resources or ())
        if observation.state_hash is not None and not old_state:
            self._new_states.add(
                (observation.tenant_id, observation.batch_id, observation.state_hash)
            )

    def take_catalog(self, catalog: Catalog) -> None:
        """Take what the API says of tenants and schemas, to be written with the observations."""
        self._catalog = catalog

    @property
    def is_full(self) -> bool:
        """Whether it is time to write, by count."""
        return len(self._held) >= self.group or self._weight >= HEAVIEST

    def is_due(self, now: datetime) -> bool:
        """Whether it is time to write, by age.

        A store that is slow to write to is written to less often, in larger groups.
        """
        due_at = self.due_at()
        if due_at is None or due_at > now:
            return False
        return self.seconds_passed() - self._written_at >= _REST * self._took

    def due_at(self) -> datetime | None:
        """When the buffer is to be written at the latest."""
        if not self._held:
            return None
        return self._held[0].received_at + timedelta(seconds=self.seconds)

    def write(self) -> None:
        """Write everything in the buffer; if that fails, it stays there."""
        self._write_observations()
        self._write_catalog()

    def _write_observations(self) -> None:
        if not self._held:
            return
        held, began = self._held, self.seconds_passed()
        appended = self.store.append(*to_tables(held, self.now(), self._new_states))
        self._held, self._new_states, self._weight = [], set(), 0
        self.observations += appended.observations
        self.failed_observations += sum(observation.document is None for observation in held)
        self.new_states += appended.snapshots
        self.writes += 1
        self._written_at = self.seconds_passed()
        self._took = self._written_at - began

    def _write_catalog(self) -> None:
        """Write what was learned of tenants and schemas, if there is a store; only names rest on
        it, so that what prevents it is told, and ends nothing."""
        learned = self._catalog
        if learned is None or not (self.writes or self.store.exists()):
            return
        self._catalog = None
        try:
            self.store.append_catalog(learned.tenants, learned.schema_definitions)
        except StoreError as error:
            logger.warning("names were not kept: %s", error, extra={"event": "no_names"})
