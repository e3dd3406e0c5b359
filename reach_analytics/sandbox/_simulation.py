"""A simulation: a world on its clock, with its faults and its log of requests."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from threading import RLock
from typing import NamedTuple

import msgspec

from reach_analytics.sandbox import _saving
from reach_analytics.sandbox._world.world import END_OF_TIME, World
from reach_analytics.sandbox.faults import Fault, Faults
from reach_analytics.sandbox.scenario import Scenario

TICK = timedelta(microseconds=1)
MAX_SPEED = 1e6
MAX_REQUESTS = 200_000
MAX_LOGGED = 2000  # characters of a path or query


class Request(NamedTuple):
    """A request received: when by the world's clock, what was requested, and the result.

    ``status`` is None where the connection was dropped; ``complete`` is False where the body was
    cut short. ``number`` counts from 1.
    """

    number: int
    at: datetime
    method: str
    path: str
    query: str
    tenant_id: str | None
    status: int | None
    complete: bool
    faults: tuple[str, ...]


class _Saved(msgspec.Struct):
    scenario: Scenario
    seed: int
    speed: float
    faults: list[Fault]
    counts: tuple[list[int], list[int]]
    world: msgspec.Raw


class Simulation:
    """One sandbox without its server. Hold `lock` while accessing the world.

    Parameters
    ----------
    scenario : Scenario
    seed : int
    monotonic : callable
        Seconds of a real clock, which drives the world's when it is set to run.
    """

    def __init__(
        self,
        scenario: Scenario,
        seed: int,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.lock = RLock()
        self.scenario = scenario
        self.seed = seed
        self.world = scenario.world(seed)
        self.faults = Faults()
        self.requests: deque[Request] = deque(maxlen=MAX_REQUESTS)
        self.request_count = 0
        self.speed = 0.0
        self._monotonic = monotonic
        self._last_reading = self.world.time
        self._anchor = (monotonic(), self.world.time)

    def now(self) -> datetime:
        """The world's time. Each reading is later than the one before it, by a microsecond if the
        clock is stopped, so that two requests at the same time can be told apart."""
        with self.lock:
            self.catch_up()
            self._last_reading = max(self.world.time, self._last_reading + TICK)
            return self._last_reading

    def advance(self, until: datetime) -> None:
        """Turn the world's clock forward to ``until``."""
        with self.lock:
            self.catch_up()
            self.world.advance(until)
            self._set_anchor()

    def run(self, speed: float) -> None:
        """Let the world's clock run at ``speed`` times real time; 0 stops it."""
        if not (math.isfinite(speed) and 0 <= speed <= MAX_SPEED):
            raise ValueError(f"speed must be 0 to {MAX_SPEED:g}, found {speed}")
        with self.lock:
            self.catch_up()
            self.speed = speed
            self._set_anchor()

    def catch_up(self) -> None:
        """Turn the world's clock as far as real time has passed."""
        if self.speed:
            since, start = self._anchor
            elapsed = (self._monotonic() - since) * self.speed
            left = (END_OF_TIME - start).total_seconds()
            self.world.advance(start + timedelta(seconds=min(elapsed, left)))

    def reset(self, scenario: Scenario | None = None, seed: int | None = None) -> None:
        """Start over: the scenario from its start, clock stopped, no faults, no log."""
        with self.lock:
            scenario = scenario or self.scenario
            seed = self.seed if seed is None else seed
            self._replace(scenario.world(seed), Faults(), 0.0)
            self.scenario, self.seed = scenario, seed
            self.requests.clear()
            self.request_count = 0

    def set_faults(self, rules: Sequence[Fault]) -> None:
        """Replace the faults in force."""
        with self.lock:
            self.faults = Faults(rules)

    def save(self) -> bytes:
        """The whole state as JSON: world, scenario, clock and faults; not the log of requests."""
        with self.lock:
            self.catch_up()
            faults = self.faults
            return msgspec.json.encode(
                _Saved(
                    self.scenario,
                    self.seed,
                    self.speed,
                    faults.rules,
                    (faults.seen, faults.struck),
                    msgspec.Raw(_saving.dump(self.world)),
                )
            )

    def load(self, body: bytes | bytearray) -> None:
        """Load a saved state; nothing changes if it is not valid.

        Raises
        ------
        StateError
            If it was not written by `save`, or is inconsistent.
        """
        try:
            saved = msgspec.json.decode(body, type=_Saved)
            faults = Faults(saved.faults, saved.counts)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise _saving.StateError(f"not a saved state: {error}") from None
        world = _saving.load(memoryview(saved.world))
        with self.lock:
            self.scenario, self.seed = saved.scenario, saved.seed
            self._replace(world, faults, min(max(saved.speed, 0.0), MAX_SPEED))

    def log(
        self,
        method: str,
        path: str,
        query: str,
        tenant_id: str | None,
        status: int | None,
        complete: bool,
        faults: tuple[str, ...],
    ) -> None:
        """Log a request; the newest `MAX_REQUESTS` are kept."""
        with self.lock:
            self.request_count += 1
            self.requests.append(
                Request(
                    self.request_count,
                    self.world.time,
                    method,
                    path[:MAX_LOGGED],
                    query[:MAX_LOGGED],
                    tenant_id,
                    status,
                    complete,
                    faults,
                )
            )

    def _replace(self, world: World, faults: Faults, speed: float) -> None:
        self.world, self.faults, self.speed = world, faults, speed
        self._last_reading = world.time
        self._set_anchor()

    def _set_anchor(self) -> None:
        self._anchor = (self._monotonic(), self.world.time)
