"""Clocks that tests control."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

SECOND = timedelta(seconds=1)


class Clock:
    """A clock that only waits advance. Each reading is later than the one before."""

    def __init__(self) -> None:
        self.time = datetime(2026, 3, 2, tzinfo=UTC)
        self.waits = 0
        self.at: list[tuple[datetime, Callable[[], object]]] = []

    def now(self) -> datetime:
        self.time += timedelta(microseconds=1)
        return self.time

    def wait(self, seconds: float) -> None:
        self.waits += 1
        assert self.waits < 100_000, "it never stops waiting"
        self.time += seconds * SECOND
        while self.at and self.at[0][0] <= self.time:
            self.at.pop(0)[1]()


def turning(sandbox, *events: tuple[datetime, Callable[[], object]]):
    """A wait that advances the sandbox's clock, with events at their times."""
    left = sorted(events, key=lambda event: event[0])

    def wait(seconds: float) -> None:
        until = sandbox.now() + seconds * SECOND
        while left and left[0][0] <= until:
            at, happen = left.pop(0)
            sandbox.advance(max(at, sandbox.now()))
            happen()
        sandbox.advance(max(until, sandbox.now()))

    return wait
