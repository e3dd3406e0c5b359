"""Access: tokens, and the tenant that a request acts as."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import jwt
from starlette.exceptions import HTTPException
from starlette.requests import Request

from reach_analytics.sandbox import assumptions
from reach_analytics.sandbox._world.state import Tenant
from reach_analytics.sandbox._world.world import World

_MOST_REMEMBERED = 1000


class Access:
    """The secret that tokens are signed with, and the partner they name.

    Parameters
    ----------
    secret, partner_id : str
    wall_clock : callable
        Seconds since 1970; tokens live in real time, whatever the world's clock says.
    """

    def __init__(
        self, secret: str, partner_id: str, wall_clock: Callable[[], float] = time.time
    ) -> None:
        self.secret = secret
        self.partner_id = partner_id
        self._wall_clock = wall_clock
        self._verified: dict[str, dict[str, Any]] = {}

    def token(self, *, lifetime_s: float = 86_400, **claims: Any) -> str:
        """A partner token; with claims, among them ``tenantExternalId``, a tenant token."""
        now = int(self._wall_clock())
        kind = claims or {"type": "partner"}
        payload = {"partnerId": self.partner_id, **kind, "iat": now, "exp": now + int(lifetime_s)}
        return jwt.encode(payload, self.secret, algorithm=assumptions.ALGORITHM)

    def claims(self, request: Request) -> dict[str, Any]:
        """The claims of the request's token; 401 if it is invalid or has expired."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        claims = self._verify(token.strip() if scheme.lower() == "bearer" else "")
        if claims["exp"] <= self._wall_clock():
            raise _unauthorized("the token has expired")
        return claims

    def partner(self, request: Request) -> None:
        """Refuse anyone but the partner with 401 or 403."""
        if self.claims(request).get("type") != "partner":
            raise HTTPException(403, "this route takes partner tokens only")

    def tenant(self, request: Request, world: World) -> Tenant:
        """The tenant to act as: the token's own, or the one a partner names in the header."""
        claims = self.claims(request)
        named = request.headers.get("reach-tenant-id")
        if claims.get("type") == "partner":
            if not named:
                raise HTTPException(400, "a partner token needs the header reach-tenant-id")
            tenant = world.tenants.get(named)
        else:
            own = claims.get("tenantExternalId")
            tenant = world.tenant_of(own) if isinstance(own, str) else None
            if tenant is not None and named not in (None, tenant.id):
                tenant = None
        if tenant is None:
            raise HTTPException(403, "no such tenant for this token")
        return tenant

    def _verify(self, token: str) -> dict[str, Any]:
        """A token's claims; verified once and remembered, since they cannot change."""
        if token in self._verified:
            return self._verified[token]
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self.secret,
                algorithms=[assumptions.ALGORITHM],
                options={"verify_exp": False, "verify_iat": False, "require": ["exp"]},
            )
        except (jwt.InvalidTokenError, ValueError, RecursionError):
            raise _unauthorized("invalid or missing token") from None
        end = claims["exp"]
        if isinstance(end, bool) or not isinstance(end, int | float) or not math.isfinite(end):
            raise _unauthorized("the token's exp must be a number")
        if claims.get("partnerId") != self.partner_id:
            raise _unauthorized("the token is not of this partner")
        if len(self._verified) >= _MOST_REMEMBERED:
            self._verified.clear()
        self._verified[token] = claims
        return claims

    def __repr__(self) -> str:
        return f"Access(partner_id={self.partner_id!r})"


def _unauthorized(message: str) -> HTTPException:
    return HTTPException(401, message, {"WWW-Authenticate": "Bearer"})
