"""The world over HTTP: routes, tokens and envelopes as the API documents them."""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import RLock
from typing import Any

import jwt
import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from reach_analytics.sandbox import assumptions, documents
from reach_analytics.sandbox.world import Tenant, World


@dataclass(frozen=True)
class Access:
    """Who may come in: the secret that tokens are signed with, and the partner they name."""

    secret: str
    partner_id: str
    # Tokens live in real time, whatever the world's clock says.
    wall_clock: Callable[[], float] = time.time

    def token(self, *, lifetime_s: float = 86_400, **claims: Any) -> str:
        """A partner token, or with ``tenantExternalId=…`` a tenant token."""
        now = int(self.wall_clock())
        kind = claims or {"type": "partner"}
        payload = {"partnerId": self.partner_id, **kind, "iat": now, "exp": now + int(lifetime_s)}
        return jwt.encode(payload, self.secret, algorithm=assumptions.ALGORITHM)

    def claims(self, request: Request) -> dict[str, Any]:
        """The claims of the request's token; 401 if it is not one of ours or has ended."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        try:
            claims: dict[str, Any] = jwt.decode(
                token if scheme.lower() == "bearer" else "",
                self.secret,
                algorithms=[assumptions.ALGORITHM],
                options={"verify_exp": False, "verify_iat": False, "require": ["exp"]},
            )
        except jwt.InvalidTokenError:
            raise HTTPException(401, "invalid or missing token") from None
        if not isinstance(claims["exp"], int | float) or claims["exp"] <= self.wall_clock():
            raise HTTPException(401, "the token has expired")
        if claims.get("partnerId") != self.partner_id:
            raise HTTPException(401, "the token is not of this partner")
        return claims


class _Envelope(Response):
    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return msgspec.json.encode(content)


def _ok(data: Any, message: str = "OK") -> Response:
    return _Envelope({"success": True, "message": message, "data": data})


async def _refuse(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    body = {"success": False, "message": error.detail, "data": None}
    return _Envelope(body, error.status_code, dict(error.headers or {}))


class Api:
    """The routes. The lock is shared with whoever else turns the world's clock."""

    def __init__(self, world: World, access: Access, lock: RLock) -> None:
        self.world = world
        self.access = access
        self.lock = lock

    def app(self) -> Starlette:
        """The ASGI application."""
        routes = [
            Route("/api/batches", self.list_batches),
            Route("/api/batches/{batch_id}", self.get_batch),
            Route("/partner/tenants", self.list_tenants),
            Route("/partner/schema-definitions", self.list_schemas),
            Route("/_sandbox/clock", self.clock, methods=["GET", "POST"]),
        ]
        return Starlette(routes=routes, exception_handlers={HTTPException: _refuse})

    async def get_batch(self, request: Request) -> Response:
        tenant = self._tenant(request)
        details = _flag(request, "includePendingDetails")
        with self.lock:
            batch = self.world.batches.get(request.path_params["batch_id"])
            if batch is None or batch.tenant_id != tenant.id:
                raise HTTPException(404, "batch not found")
            return _ok(documents.batch(self.world, batch, pending_details=details))

    async def list_batches(self, request: Request) -> Response:
        tenant = self._tenant(request)
        wanted = request.query_params.get("batchType")
        with self.lock:
            batches = self.world.batches_of.get(tenant.id, [])
            if wanted not in (None, assumptions.INGEST):
                batches = []
            newest_first = range(len(batches) - 1, -1, -1)
            page, pagination = _page(request, newest_first)
            rows = [documents.batch(self.world, batches[i], pending_details=False) for i in page]
        return _ok({"results": rows, "pagination": pagination})

    async def list_tenants(self, request: Request) -> Response:
        self._partner(request)
        with self.lock:
            tenants = list(self.world.tenants.values())
            page, pagination = _page(request, range(len(tenants)))
            rows = [documents.tenant(tenants[i]) for i in page]
        return _ok({"results": rows, "pagination": pagination})

    async def list_schemas(self, request: Request) -> Response:
        self._partner(request)
        with self.lock:
            rows = [documents.schema(self.world, s) for s in self.world.schemas.values()]
        return _ok(rows)

    async def clock(self, request: Request) -> Response:
        if request.method == "POST":
            try:
                body = msgspec.json.decode(await request.body(), type=_Turn)
            except msgspec.MsgspecError as error:
                raise HTTPException(400, f"expected advanceSeconds or to: {error}") from None
            with self.lock:
                self.world.advance(body.until(self.world.time))
        return _ok({"now": documents.timestamp(self.world.time)})

    def _partner(self, request: Request) -> None:
        if self.access.claims(request).get("type") != "partner":
            raise HTTPException(403, "this route takes partner tokens only")

    def _tenant(self, request: Request) -> Tenant:
        """The tenant to act as: the token's own, or the one a partner names in the header."""
        claims = self.access.claims(request)
        named = request.headers.get("reach-tenant-id")
        with self.lock:
            if claims.get("type") == "partner":
                if not named:
                    raise HTTPException(400, "a partner token needs the header reach-tenant-id")
                tenant = self.world.tenants.get(named)
            else:
                own = claims.get("tenantExternalId")
                everyone = self.world.tenants.values()
                tenant = next((t for t in everyone if t.external_id == own), None)
                if tenant is not None and named not in (None, tenant.id, tenant.external_id):
                    tenant = None
        if tenant is None:
            raise HTTPException(403, "no such tenant for this token")
        return tenant


class _Turn(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """The body that turns the clock: forward by seconds, or to a moment."""

    advance_seconds: float = 0.0
    to: datetime | None = None

    def until(self, now: datetime) -> datetime:
        if not 0 <= self.advance_seconds <= 1e9 or (self.to is not None and self.to.tzinfo is None):
            raise HTTPException(400, "advanceSeconds must be 0 to 1e9, and `to` have an offset")
        return (self.to or now) + timedelta(seconds=self.advance_seconds)


def _flag(request: Request, name: str) -> bool:
    text = request.query_params.get(name, "false")
    if text not in ("true", "false"):
        raise HTTPException(400, f"{name} must be true or false")
    return text == "true"


def _page(request: Request, order: range) -> tuple[range, dict[str, Any]]:
    """The wanted part of ``order``, and its pagination.

    A cursor names the next row itself, not its place in the listing, so rows that come in while a
    client pages neither double nor hide others.
    """
    limit = _whole(request.query_params.get("limit", str(assumptions.DEFAULT_LIMIT)), "limit")
    if limit < 1:
        raise HTTPException(400, "limit must be at least 1")
    cursor = request.query_params.get("cursor")
    start = 0 if cursor is None else _index(order, _read_cursor(cursor))
    page = order[start : start + min(limit, assumptions.MAX_LIMIT)]
    rest = order[start + len(page) :]
    return page, {
        "hasNextPage": len(rest) > 0,
        "total": len(order),
        "cursor": _write_cursor(rest[0]) if rest else None,
    }


def _index(order: range, row: int) -> int:
    if row not in order:
        raise HTTPException(400, "the cursor is not one of this listing")
    return order.index(row)


def _whole(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise HTTPException(400, f"{name} must be a whole number")
    return int(text)


def _write_cursor(row: int) -> str:
    return base64.urlsafe_b64encode(b"row:%d" % row).decode()


def _read_cursor(cursor: str) -> int:
    try:
        text = base64.b64decode(cursor.encode("ascii"), altchars=b"-_", validate=True).decode(
            "ascii"
        )
    except (binascii.Error, UnicodeError):
        text = ""
    if not text.startswith("row:"):
        raise HTTPException(400, "the cursor is not one of this listing")
    return _whole(text[4:], "cursor")
