"""The sandbox's own routes, under ``/_sandbox/``: clock, faults, reset, state, truth, requests.

They take no token and have no faults. The server listens on loopback unless told otherwise, and
answers to no host but its own; see `hosts`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, TypeVar

from msgspec import Meta
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from reach_analytics.sandbox import scenario
from reach_analytics.sandbox._http import documents, web
from reach_analytics.sandbox._http.web import Body, ok, route
from reach_analytics.sandbox._saving import StateError
from reach_analytics.sandbox._simulation import MAX_SPEED, Simulation
from reach_analytics.sandbox.faults import Fault

MAX_BYTES = 1_000_000
MAX_STATE_BYTES = 128_000_000  # twice the largest of the shipped scenarios, `year` at its end
MAX_ROWS = 10_000
MAX_SEED = 2**53 - 1

T = TypeVar("T")


class _Turn(Body, frozen=True):
    """Turn the clock forward by seconds or to a time, and let it run or stop it."""

    advance_seconds: Annotated[float, Meta(ge=0, le=1e9)] = 0.0
    to: Annotated[datetime, Meta(tz=True)] | None = None
    speed: Annotated[float, Meta(ge=0, le=MAX_SPEED)] | None = None


class _Reset(Body, frozen=True):
    scenario: str | None = None
    seed: Annotated[int, Meta(ge=0, le=MAX_SEED)] | None = None


class _Faults(Body, frozen=True):
    faults: Annotated[list[Fault], Meta(max_length=100)]


class Control:
    """The control routes of one simulation."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation

    def routes(self) -> list[Route]:
        return [
            route("/_sandbox/clock", GET=self.read_clock, POST=self.turn_clock),
            route("/_sandbox/faults", GET=self.read_faults, PUT=self.set_faults),
            route("/_sandbox/reset", POST=self.reset),
            route("/_sandbox/state", GET=self.save, PUT=self.load),
            route("/_sandbox/ground_truth", GET=self.ground_truth),
            route("/_sandbox/requests", GET=self.requests),
        ]

    async def read_clock(self, _: Request) -> Response:
        return self._clock()

    async def turn_clock(self, request: Request) -> Response:
        body = await _read(request, _Turn)
        with self.simulation.lock:
            self.simulation.catch_up()
            try:
                until = body.to or self.simulation.world.time
                self.simulation.advance(until + timedelta(seconds=body.advance_seconds))
            except (ValueError, OverflowError) as error:
                raise HTTPException(422, str(error)) from None
            if body.speed is not None:
                self.simulation.run(body.speed)
            return self._clock()

    async def read_faults(self, _: Request) -> Response:
        return self._faults()

    async def set_faults(self, request: Request) -> Response:
        body = await _read(request, _Faults)
        self.simulation.set_faults(body.faults)
        return self._faults()

    async def reset(self, request: Request) -> Response:
        body = await _read(request, _Reset)
        known = scenario.shipped()
        if body.scenario not in (None, *known):  # a request must not read files
            raise HTTPException(422, f"no scenario of this name; there are: {', '.join(known)}")
        wanted = None if body.scenario is None else scenario.find(body.scenario)
        self.simulation.reset(wanted, body.seed)
        return self._clock()

    async def save(self, _: Request) -> Response:
        return Response(self.simulation.save(), media_type="application/json")

    async def load(self, request: Request) -> Response:
        web.demand_json(request)
        body = await web.read_bytes(request, MAX_STATE_BYTES)
        try:
            self.simulation.load(body)
        except StateError as error:
            raise HTTPException(422, str(error)) from None
        return self._clock()

    async def ground_truth(self, request: Request) -> Response:
        with self.simulation.lock:
            return _rows(request, self.simulation.world.ground_truth, documents.fact)

    async def requests(self, request: Request) -> Response:
        with self.simulation.lock:
            return _rows(request, list(self.simulation.requests), documents.request)

    def _clock(self) -> Response:
        with self.simulation.lock:
            self.simulation.catch_up()
            world = self.simulation.world
            return ok(
                {
                    "now": documents.timestamp(world.time),
                    "speed": self.simulation.speed,
                    "scenario": self.simulation.scenario.name,
                    "seed": self.simulation.seed,
                }
            )

    def _faults(self) -> Response:
        with self.simulation.lock:
            faults = self.simulation.faults
            counts = list(zip(faults.seen, faults.struck, strict=True))
            rows = [{"seen": seen, "struck": struck} for seen, struck in counts]
            return ok({"faults": faults.rules, "counts": rows})


async def _read(request: Request, type: type[T]) -> T:
    return await web.read_body(request, type, whole_floats=True, limit=MAX_BYTES)


def _rows(request: Request, rows: Sequence[Any], show: Callable[[Any], Any]) -> Response:
    """The part of a log that the query's ``offset`` and ``limit`` ask for."""
    offset = web.whole(request, "offset", 0, 0, 10**9 - 1)
    limit = web.whole(request, "limit", MAX_ROWS, 1, MAX_ROWS)
    part = rows[offset : offset + limit]
    return ok({"results": [show(row) for row in part], "total": len(rows)})
