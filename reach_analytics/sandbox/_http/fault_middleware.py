"""The fault middleware: it checks the ``Host``, injects faults, logs requests and sets ``Date``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, timedelta
from email.utils import format_datetime
from typing import Any, TypeVar

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reach_analytics.sandbox._http.hosts import Hosts
from reach_analytics.sandbox._http.paging import FAULTS
from reach_analytics.sandbox._http.web import refusal
from reach_analytics.sandbox._simulation import Simulation
from reach_analytics.sandbox.faults import (
    ClockSkew,
    Drop,
    Failure,
    Fault,
    Latency,
    Malformed,
    RateLimit,
    Truncate,
)

CONTROL, DOCUMENT = "/_sandbox/", "/openapi.json"  # the sandbox's own routes have no faults
CONNECTION = "sandbox.connection"  # the scope's key for the server side of the connection

F = TypeVar("F")


class FaultMiddleware:
    """ASGI middleware around the routes of one simulation."""

    def __init__(self, app: ASGIApp, simulation: Simulation, hosts: Hosts) -> None:
        self.app = app
        self.simulation = simulation
        self.hosts = hosts
        self._second = -1
        self._date = b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"the sandbox speaks HTTP only, found {scope['type']}")
        own = scope["path"].startswith(CONTROL)
        if refused := self.hosts.refusal(scope["headers"], own=own):
            await refused(scope, receive, self._dated(send, 0.0))
            return
        with self.simulation.lock:
            self.simulation.catch_up()
            spared = own or scope["path"] == DOCUMENT
            faults = [] if spared else self.simulation.faults.draw(scope["method"], scope["path"])
        if spared:
            await self.app(scope, receive, self._dated(send, 0.0))
            return
        answer = _Answer(self._dated(send, _skew(faults)), lambda a: self._log(scope, a, faults))
        try:
            if faults:
                await self._strike(scope, receive, answer, faults)
            else:
                await self.app(scope, receive, answer)
        finally:
            answer.log()

    async def _strike(
        self, scope: Scope, receive: Receive, answer: _Answer, faults: Sequence[Fault]
    ) -> None:
        """Answer a request that faults hit, in the order that `faults` documents."""
        connection = scope["extensions"][CONNECTION]
        if latency := _first(faults, Latency):
            await _pause(latency.delay_s, connection)
            with self.simulation.lock:
                self.simulation.catch_up()
        drop = _first(faults, Drop)
        if drop and not drop.after:
            answer.log()
            await _hang_up(connection.abort, receive)
            return
        held = _Held()
        try:
            await (_refused(faults) or self.app)({**scope, FAULTS: faults}, receive, held)
        finally:
            if held.start and not drop:
                await self._deliver(held, connection, receive, answer, faults)
        if drop:
            answer.log()
            await _hang_up(connection.abort, receive)

    async def _deliver(
        self,
        held: _Held,
        connection: Any,
        receive: Receive,
        answer: _Answer,
        faults: Sequence[Fault],
    ) -> None:
        """Send an answer whose body faults may corrupt."""
        if malformed := _first(faults, Malformed):
            held.replace(_mangled(held.body, malformed))
        truncate = _first(faults, Truncate)
        answer.complete = truncate is None
        await answer(held.start)
        if truncate is None:
            await answer({"type": "http.response.body", "body": held.body})
            return
        kept = held.body[: int(len(held.body) * truncate.keep)]
        answer.log()
        await answer({"type": "http.response.body", "body": kept, "more_body": True})
        await _hang_up(connection.close, receive)

    def _dated(self, send: Send, skew_s: float) -> Send:
        async def dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"date", self._now(skew_s))]
            await send(message)

        return dated

    def _now(self, skew_s: float) -> bytes:
        """The world's time in header format."""
        moment = self.simulation.world.time
        if skew_s:
            return _http_date(moment + timedelta(seconds=skew_s))
        second = int(moment.timestamp())
        if second != self._second:
            self._second, self._date = second, _http_date(moment)
        return self._date

    def _log(self, scope: Scope, answer: _Answer, faults: Sequence[Fault]) -> None:
        tenant = next((v for k, v in scope["headers"] if k == b"reach-tenant-id"), None)
        self.simulation.log(
            scope["method"],
            scope["path"],
            scope["query_string"].decode("latin-1"),
            None if tenant is None else tenant.decode("latin-1"),
            answer.status,
            answer.complete and answer.status is not None,
            tuple(str(fault.__struct_config__.tag) for fault in faults),
        )


class _Answer:
    """Sends an answer, keeps its status, and logs it before its last byte is sent, so that a client
    that has the answer finds it in the log."""

    def __init__(self, send: Send, log: Callable[[_Answer], None]) -> None:
        self.status: int | None = None
        self.complete = True
        self._send = send
        self._log: Callable[[_Answer], None] | None = log

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif not message.get("more_body", False):
            self.log()
        await self._send(message)

    def log(self) -> None:
        """Log it, once."""
        if self._log is not None:
            log, self._log = self._log, None
            log(self)


class _Held:
    """Buffers an answer."""

    def __init__(self) -> None:
        self.start: Message = {}
        self.body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.start = message
        else:
            self.body += message.get("body", b"")

    def replace(self, body: bytes) -> None:
        """Replace the body and its length."""
        headers = [(k, v) for k, v in self.start["headers"] if k != b"content-length"]
        self.start["headers"] = [*headers, (b"content-length", b"%d" % len(body))]
        self.body = body


def _refused(faults: Sequence[Fault]) -> ASGIApp | None:
    """The error answer that a fault demands, if any."""
    if limit := _first(faults, RateLimit):
        return refusal(429, "too many requests", {"Retry-After": str(limit.retry_after_s)})
    if failure := _first(faults, Failure):
        after = failure.retry_after_s
        headers = {} if after is None else {"Retry-After": str(after)}
        return refusal(failure.status, "the server is out of order", headers)
    return None


def _mangled(body: bytes, fault: Malformed) -> bytes:
    return body[: len(body) // 2] if fault.body is None else fault.body.encode("utf-8", "replace")


def _first(faults: Sequence[Any], kind: type[F]) -> F | None:
    return next((fault for fault in faults if isinstance(fault, kind)), None)


def _skew(faults: Sequence[Fault]) -> float:
    return sum(fault.seconds for fault in faults if isinstance(fault, ClockSkew))


def _http_date(moment: Any) -> bytes:
    return format_datetime(moment.astimezone(UTC), usegmt=True).encode()


async def _pause(seconds: float, connection: Any) -> None:
    """Wait, but not for a client that has disconnected."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and not connection.is_closing():
        await asyncio.sleep(min(left, 0.05))


async def _hang_up(end: Any, receive: Receive) -> None:
    """End the connection, and wait until the server has seen it."""
    end()
    while (await receive())["type"] != "http.disconnect":
        pass
