"""Bearer tokens: given as text, made by a callable, or signed here with the shared secret.

The API takes JSON Web Tokens signed by the caller with the secret that Reach issues. Two kinds
exist: a partner token sees every tenant of the partner, a tenant token sees one. That the signature
is HS256 is an assumption (the documentation's sample uses its library's default).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import jwt
import requests
from requests.auth import AuthBase

from reach_analytics.errors import ConfigError, ReachError

__all__ = ["ALGORITHM", "BearerAuth", "PartnerSigner", "TenantSigner", "TokenSource"]

ALGORITHM = "HS256"

TokenSource = str | Callable[[], str]


class _Signer:
    """A callable that gives a valid token, signing a new one shortly before the old one expires."""

    def __init__(
        self,
        secret: str,
        claims: Mapping[str, Any],
        *,
        lifetime_s: float,
        renew_before_s: float,
        clock: Callable[[], float],
    ) -> None:
        if not secret:
            raise ConfigError("the shared secret is empty; pass the one that Reach issued")
        if not 0 <= renew_before_s < lifetime_s:
            raise ValueError(
                f"renew_before_s must be at least 0 and below lifetime_s={lifetime_s:g}, "
                f"found {renew_before_s:g}"
            )
        self._secret = secret
        self._claims = dict(claims)
        self._lifetime_s = lifetime_s
        self._renew_before_s = renew_before_s
        self._clock = clock
        self._lock = threading.Lock()
        self._token = ""
        self._renew_at = float("-inf")

    def __call__(self) -> str:
        """The current token."""
        with self._lock:
            now = self._clock()
            if now >= self._renew_at:
                self._token = self._mint(now)
                self._renew_at = now + self._lifetime_s - self._renew_before_s
            return self._token

    def _mint(self, now: float) -> str:
        times = {"iat": int(now), "exp": int(now + self._lifetime_s)}
        return jwt.encode({**self._claims, **times}, self._secret, algorithm=ALGORITHM)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._claims['partnerId']!r})"


class PartnerSigner(_Signer):
    """Signs partner tokens, which see every tenant of the partner.

    Parameters
    ----------
    secret : str
        The shared secret. It is kept in memory only, and never shown.
    partner_id : str
        The partner's id.
    lifetime_s, renew_before_s : float
        Lifetime of a token, and how long before its expiry the next one is signed, in seconds.
    clock : callable
        Seconds since 1970; the system's by default.

    Examples
    --------
    >>> signer = PartnerSigner("a secret of at least thirty-two bytes", "partner-1")
    >>> signer
    PartnerSigner('partner-1')
    >>> signer().count(".")
    2
    """

    def __init__(
        self,
        secret: str,
        partner_id: str,
        *,
        lifetime_s: float = 3600,
        renew_before_s: float = 120,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(
            secret,
            {"partnerId": partner_id, "type": "partner"},
            lifetime_s=lifetime_s,
            renew_before_s=renew_before_s,
            clock=clock,
        )


class TenantSigner(_Signer):
    """Signs tenant tokens, which see one tenant, on behalf of one of its users.

    Parameters
    ----------
    secret, partner_id, lifetime_s, renew_before_s, clock
        As for `PartnerSigner`.
    tenant_external_id : str
        Your own id of the tenant (business).
    external_id, email, name : str
        Your own id of the user, and the user's email and name.
    """

    def __init__(
        self,
        secret: str,
        partner_id: str,
        *,
        tenant_external_id: str,
        external_id: str,
        email: str,
        name: str,
        lifetime_s: float = 3600,
        renew_before_s: float = 120,
        clock: Callable[[], float] = time.time,
    ) -> None:
        claims = {
            "partnerId": partner_id,
            "tenantExternalId": tenant_external_id,
            "externalId": external_id,
            "email": email,
            "name": name,
        }
        super().__init__(
            secret,
            claims,
            lifetime_s=lifetime_s,
            renew_before_s=renew_before_s,
            clock=clock,
        )


class BearerAuth(AuthBase):
    """Puts the bearer token on each request, and shows it nowhere else.

    It is passed to requests as ``auth=``, since requests otherwise lets a ``~/.netrc`` entry for
    the host replace an Authorization header.
    """

    def __init__(self, source: TokenSource) -> None:
        self._source = source if callable(source) else _checked(source)

    def token(self) -> str:
        """The current token, checked to be valid in a header."""
        if not callable(self._source):
            return self._source
        try:
            given = self._source()
        except ReachError:
            raise
        except Exception as error:
            raise ConfigError(f"the token could not be made: {type(error).__name__}") from error
        return _checked(given)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Sign a request, as requests asks."""
        request.headers["Authorization"] = f"Bearer {self.token()}"
        return request

    def claims(self) -> dict[str, Any]:
        """The claims of the token, unverified; empty if it is not a JSON Web Token."""
        try:
            claims: dict[str, Any] = jwt.decode(self.token(), options={"verify_signature": False})
        except jwt.InvalidTokenError:
            return {}
        return claims

    def __repr__(self) -> str:
        return "BearerAuth(***)"


def _checked(token: object) -> str:
    if not isinstance(token, str):
        raise ConfigError(f"expected the token to be text, found {type(token).__name__}")
    stripped = token.strip().removeprefix("Bearer ").strip()
    if not stripped:
        raise ConfigError("the token is empty; set REACH_TOKEN or pass token=")
    if not all("!" <= character <= "~" for character in stripped):
        raise ConfigError("the token has a space, line break or non-ASCII character inside")
    return stripped
