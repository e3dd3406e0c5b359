"""What an overview is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

__all__ = ["LONG_AGO", "SOON", "Glance"]

SOON = pd.Timedelta("1h")  # what expires by then is urgent
LONG_AGO = pd.Timedelta("1h")  # what was known then may be over


@dataclass(frozen=True)
class Glance:
    """What was known at a moment, and at an earlier one.

    Attributes
    ----------
    now : pandas.Timestamp
    last_observation : pandas.Timestamp or None
    since : pandas.Timestamp or None
        The earlier moment; None where there is nothing to compare with.
    health, coverage, plan, deadlocks, stuck, changes : pandas.DataFrame
        As the methods of a `History` give them, with ``tenant_name``; changes since ``since``.
    success : pandas.DataFrame
        As ``history.success()``: one row, or none without batches.
    missing : int
        How many missing dependencies somebody has to deliver.
    of_tenants : bool
        Whether this is all of some tenants, so that the plan is of what waits here and no more.
    unreconciled : int
        How many records are in batches whose counts contradict each other.
    before : mapping of str to float
        The key figures at the earlier moment.
    clock : pandas.Timestamp, optional
        What a clock shows, where ``now`` is that of the last observation.
    """

    now: pd.Timestamp
    last_observation: pd.Timestamp | None
    since: pd.Timestamp | None
    health: pd.DataFrame
    success: pd.DataFrame
    coverage: pd.DataFrame
    plan: pd.DataFrame
    deadlocks: pd.DataFrame
    stuck: pd.DataFrame
    changes: pd.DataFrame
    missing: int
    of_tenants: bool
    unreconciled: int
    before: Mapping[str, float]
    clock: pd.Timestamp | None = None

    def count(self, name: str) -> int:
        """The sum of a count of `health` over all tenants."""
        return int(self.health[name].sum())

    @property
    def age(self) -> pd.Timedelta:
        """How old what is known is."""
        last = self.now if self.last_observation is None else self.last_observation
        return max(self.now - last, pd.Timedelta(0))

    @property
    def running(self) -> bool:
        """Whether anything may change by itself: something waits, or is processed."""
        return bool(self.waiting or self.count("processing_batches"))

    @property
    def listed(self) -> int:
        """How many records wait, as listed."""
        return self.count("pending_resources")

    @property
    def waiting(self) -> int:
        """How many records wait: as listed, or as the batches count them where that is more."""
        return max(self.listed, int(self.coverage["resources_counted"].sum()))

    @property
    def too_old(self) -> bool:
        """Whether so much may have happened since then that nobody can tell how it stands."""
        return self.age > LONG_AGO and self.running

    @property
    def silence(self) -> pd.Timedelta:
        """How long ago ``now`` is, by the clock; 0 without one."""
        since = pd.Timedelta(0) if self.clock is None else self.clock - self.now
        return max(since, pd.Timedelta(0))

    @property
    def outdated(self) -> bool:
        """Whether, by the clock, so much may have happened since that it is another story now."""
        return self.silence > LONG_AGO and self.running

    @property
    def expiring_soon(self) -> int:
        """How many of those that wait expire within the hour."""
        return self.count("expiring_soon")

    def changed(self, about: str, change: str) -> int:
        """How many of a kind changed so since the earlier moment."""
        own = self.changes[(self.changes["about"] == about) & (self.changes["change"] == change)]
        return int(own["size"].sum())
