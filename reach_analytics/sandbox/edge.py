"""Where requests come in and answers go out: the log, the ``Date``, and the faults that strike."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, timedelta
from email.utils import format_datetime
from typing import Any, TypeVar

from starlette.types import ASGIApp, Message, Receive, Scope, Send

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
from reach_analytics.sandbox.stage import Stage
from reach_analytics.sandbox.web import refusal

SPARED = ("/_sandbox/", "/openapi.json")  # no fault strikes the sandbox's own routes
CONNECTION = "sandbox.connection"  # where the server puts its side of the connection in the scope

F = TypeVar("F")


class Edge:
    """ASGI middleware around the routes of one stage."""

    def __init__(self, app: ASGIApp, stage: Stage) -> None:
        self.app = app
        self.stage = stage
        self._second = -1
        self._date = b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"the sandbox speaks HTTP only, found {scope['type']}")
        if scope["path"].startswith(SPARED):
            await self.app(scope, receive, self._dated(send, 0.0))
            return
        with self.stage.lock:
            self.stage.catch_up()
            faults = self.stage.faults.draw(scope["method"], scope["path"])
        answer = _Answer(self._dated(send, _skew(faults)))
        if faults:
            await self._strike(scope, receive, answer, faults)
        else:
            await self.app(scope, receive, answer)
        self._log(scope, answer, faults)

    async def _strike(
        self, scope: Scope, receive: Receive, answer: _Answer, faults: Sequence[Fault]
    ) -> None:
        """Answer a request that faults have struck."""
        connection = scope["extensions"][CONNECTION]
        if latency := _first(faults, Latency):
            await asyncio.sleep(latency.delay_s)
        drop = _first(faults, Drop)
        if drop and not drop.after:
            await _hang_up(connection.abort, receive)
            return
        held = _Held()
        await (_refused(faults) or self.app)({**scope, "sandbox.faults": faults}, receive, held)
        if drop:
            await _hang_up(connection.abort, receive)
            return
        if malformed := _first(faults, Malformed):
            held.replace(_mangled(held.body, malformed))
        if truncate := _first(faults, Truncate):
            answer.complete = False
            await answer(held.start)
            kept = held.body[: int(len(held.body) * truncate.keep)]
            await answer({"type": "http.response.body", "body": kept, "more_body": True})
            await _hang_up(connection.close, receive)
            return
        await answer(held.start)
        await answer({"type": "http.response.body", "body": held.body})

    def _dated(self, send: Send, skew_s: float) -> Send:
        async def dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"date", self._now(skew_s))]
            await send(message)

        return dated

    def _now(self, skew_s: float) -> bytes:
        """The world's time as a header has it."""
        moment = self.stage.world.time
        if skew_s:
            return _http_date(moment + timedelta(seconds=skew_s))
        second = int(moment.timestamp())
        if second != self._second:
            self._second, self._date = second, _http_date(moment)
        return self._date

    def _log(self, scope: Scope, answer: _Answer, faults: Sequence[Fault]) -> None:
        tenant = next((v for k, v in scope["headers"] if k == b"reach-tenant-id"), None)
        self.stage.log(
            scope["method"],
            scope["path"],
            scope["query_string"].decode("latin-1"),
            None if tenant is None else tenant.decode("latin-1"),
            answer.status,
            answer.complete and answer.status is not None,
            tuple(str(fault.__struct_config__.tag) for fault in faults),
        )


class _Answer:
    """Sends an answer, and remembers its status."""

    def __init__(self, send: Send) -> None:
        self.status: int | None = None
        self.complete = True
        self._send = send

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)


class _Held:
    """Holds an answer back."""

    def __init__(self) -> None:
        self.start: Message = {}
        self.body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.start = message
        else:
            self.body += message.get("body", b"")

    def replace(self, body: bytes) -> None:
        """Another body of another length."""
        headers = [(k, v) for k, v in self.start["headers"] if k != b"content-length"]
        self.start["headers"] = [*headers, (b"content-length", b"%d" % len(body))]
        self.body = body


def _refused(faults: Sequence[Fault]) -> ASGIApp | None:
    """The refusal that a fault puts in the place of an answer."""
    if limit := _first(faults, RateLimit):
        return refusal(429, "too many requests", {"Retry-After": str(limit.retry_after_s)})
    if failure := _first(faults, Failure):
        after = failure.retry_after_s
        headers = {} if after is None else {"Retry-After": str(after)}
        return refusal(failure.status, "the server is out of order", headers)
    return None


def _mangled(body: bytes, fault: Malformed) -> bytes:
    return body[: len(body) // 2] if fault.body is None else fault.body.encode()


def _first(faults: Sequence[Any], kind: type[F]) -> F | None:
    return next((fault for fault in faults if isinstance(fault, kind)), None)


def _skew(faults: Sequence[Fault]) -> float:
    return sum(fault.seconds for fault in faults if isinstance(fault, ClockSkew))


def _http_date(moment: Any) -> bytes:
    return format_datetime(moment.astimezone(UTC), usegmt=True).encode()


async def _hang_up(end: Any, receive: Receive) -> None:
    """End the connection, and wait until the server has seen it."""
    end()
    while (await receive())["type"] != "http.disconnect":
        pass
