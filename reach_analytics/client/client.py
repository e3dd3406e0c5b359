"""`Client`: the four reads of the Reach API that this package needs."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

import requests

from reach_analytics.client._pacing import RetryPolicy
from reach_analytics.client._payload import convert, json_value
from reach_analytics.client.auth import BearerAuth, PartnerSigner, TokenSource
from reach_analytics.client.documents import (
    BatchDocument,
    SchemaDefinition,
    Tenant,
    batch_from_json,
    schema_from_value,
    tenant_from_value,
)
from reach_analytics.client.paging import Listing
from reach_analytics.client.transport import GRACE_S, Answer, Transport, is_loopback
from reach_analytics.errors import ConfigError, PayloadError

__all__ = ["BASE_URL", "Client", "Observation", "utc_now"]

BASE_URL = "https://api.embedreach.com"


@dataclass(frozen=True)
class Observation:
    """A batch as one request found it, and when that request was sent and answered."""

    document: BatchDocument
    sent_at: datetime
    received_at: datetime
    status: int


def utc_now() -> datetime:
    """The system's time, UTC."""
    return datetime.now(UTC)


class Client:
    """Reads batches, tenants and schema definitions from the Reach API.

    Safe to use from several threads. Every GET is retried on connection errors and on 429, 500,
    502, 503 and 504, after growing random delays, or after the ``Retry-After``, for which no other
    thread of the client sends requests either.

    Parameters
    ----------
    token : str or callable, optional
        A bearer token, or a callable that returns one, as `PartnerSigner` and `TenantSigner` do. By
        default ``REACH_TOKEN``, else a partner token signed from ``REACH_SHARED_SECRET`` and
        ``REACH_PARTNER_ID``. It never appears in a repr, a message, a log or a file.
    tenant_id : str, optional
        The tenant to act as, sent as ``reach-tenant-id``; ``REACH_TENANT_ID`` by default, or ""
        for none whatever the environment says. Needed with a partner token for anything that
        belongs to a tenant.
    base_url : str, optional
        ``REACH_BASE_URL`` by default, else the address of Reach.
    timeout : (float, float)
        Seconds to connect, and to wait for the next bytes of an answer.
    deadline_s : float
        Seconds for one request as a whole, from connecting to the last byte of the answer, however
        slowly it arrives. What takes longer is cut off and counts as a failed connection. Only the
        DNS lookup of the host cannot be cut off.
    max_bytes : int
        Largest answer accepted, decompressed.
    retry : RetryPolicy
        How often and how soon to try again.
    requests_per_second : float, optional
        The most requests to start in a second, over all threads; unlimited by default.
    threads : int
        Connections kept open, one for each thread that uses the client at once.
    allow_http : bool
        Permit plain ``http://`` to a host that is not this machine. The token is then sent
        unencrypted.
    session : requests.Session, optional
        Your own session, for a proxy or a certificate; you then size the pool. Its adapters are
        made to report their sockets, for ``deadline_s``; where that is impossible, since they are
        not requests' own or have open connections already, the headers of an answer may take
        longer.
    now, sleep : callable, optional
        The clock for the times of observations (aware datetimes), and how to wait (seconds). The
        clock is the system's by default, or a sandbox's where ``REACH_CLOCK_URL`` names it.

    Raises
    ------
    ConfigError
        If there is no token, or the base URL is unsafe or invalid.

    Examples
    --------
    >>> import reach_analytics as reach
    >>> with reach.sandbox.serve("demo") as sb:
    ...     client = reach.Client(**sb.credentials)
    ...     [tenant.name for tenant in client.tenants()]
    ['Harbour Books', 'Northside Dental', 'Pine & Co']
    """

    def __init__(
        self,
        *,
        token: TokenSource | None = None,
        tenant_id: str | None = None,
        base_url: str | None = None,
        timeout: tuple[float, float] = (5.0, 30.0),
        deadline_s: float = 300.0,
        max_bytes: int = 512 * 1024 * 1024,
        retry: RetryPolicy | None = None,
        requests_per_second: float | None = None,
        threads: int = 8,
        allow_http: bool = False,
        session: requests.Session | None = None,
        now: Callable[[], datetime] | None = None,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        environ = os.environ
        url = base_url or environ.get("REACH_BASE_URL") or BASE_URL
        if threads < 1:
            raise ValueError(f"threads must be at least 1, found {threads}")
        if not all(limit and limit > 0 for limit in (*timeout, deadline_s)):
            raise ValueError(
                "timeout and deadline_s must be above 0: a request must end at some time"
            )
        named = environ.get("REACH_TENANT_ID") if tenant_id is None else tenant_id
        self.tenant_id = _checked_tenant(named or None)
        self.threads = threads
        self._once = False
        self.now = now or _clock_from_environment()
        self._transport = Transport(
            _checked_url(url, allow_http),
            BearerAuth(_token_from_environment() if token is None else token),
            session=session,
            timeout=timeout,
            deadline_s=deadline_s,
            max_bytes=max_bytes,
            retry=retry or RetryPolicy(),
            per_second=requests_per_second,
            pool_size=threads,
            now=self.now,
            sleep=sleep,
        )

    @property
    def base_url(self) -> str:
        """The API's address."""
        return self._transport.base_url

    @property
    def requests_sent(self) -> int:
        """Requests sent so far, retries included, by this client and its `for_tenant` copies."""
        return self._transport.requests_sent

    @property
    def tenant_key(self) -> str:
        """The tenant id under which the store keeps this client's batches.

        ``tenant_id``, or else the ``tenantExternalId`` of a tenant token.

        Raises
        ------
        ConfigError
            If neither is known.
        """
        named = self.tenant_id or self._transport.auth.claims().get("tenantExternalId")
        if not isinstance(named, str) or not named:
            raise ConfigError(
                "which tenant is this? the token names none (a partner's would say so): "
                "pass tenant_id=, set REACH_TENANT_ID, or use for_tenant(id)"
            )
        return named

    @property
    def is_partner(self) -> bool:
        """Whether the token says that it is a partner's."""
        return self._transport.auth.claims().get("type") == "partner"

    def for_tenant(self, tenant_id: str) -> Client:
        """The same client, with its connections and limits, acting as another tenant."""
        other = copy.copy(self)
        other.tenant_id = _checked_tenant(tenant_id)
        return other

    def without_retries(self) -> Client:
        """The same client, with its connections and limits, which sends each request once.

        For callers with their own retry plan that respects ``Retry-After``: this client is not held
        back by it, but holds the others back.
        """
        other = copy.copy(self)
        other._once = True
        return other

    @property
    def retry(self) -> RetryPolicy:
        """How often and how soon it tries again."""
        return self._transport.retry

    def sleep(self, seconds: float) -> None:
        """Wait with the client's ``sleep``, or else at most until `halt`."""
        self._transport.sleep(seconds)

    def batch(self, batch_id: str, *, pending_details: bool = True) -> BatchDocument:
        """The status of one batch.

        Parameters
        ----------
        batch_id : str
            Any text; it is percent-encoded into the path.
        pending_details : bool
            Whether to ask for the pending resources too.

        Raises
        ------
        NotFoundError, AuthError, ApiError, PayloadError, TransportError
        """
        return self.observation(batch_id, pending_details=pending_details).document

    def observation(self, batch_id: str, *, pending_details: bool = True) -> Observation:
        """As `batch`, with the times of the request that got the answer."""
        query = {"includePendingDetails": "true" if pending_details else "false"}
        path = f"/api/batches/{_segment(batch_id)}"
        answer = self._get(path, query, self.tenant_id)
        try:
            document = batch_from_json(answer.data, path=answer.path)
        except PayloadError as error:
            error.status = answer.status
            raise
        return Observation(document, answer.sent_at, answer.received_at, answer.status)

    def batches(
        self, batch_type: str | None = None, *, page_size: int = 100
    ) -> Listing[BatchDocument]:
        """The tenant's batches, page by page on demand, in the server's order.

        A listing may leave out ``pending_resources``; rely on them only from `batch`. A row that
        cannot be read raises its error from ``next``; the listing continues after it.
        """
        query = {"limit": str(page_size)} | ({"batchType": batch_type} if batch_type else {})
        return Listing(self._pager("/api/batches", query), _read_batch)

    def tenants(self, *, page_size: int = 100) -> Listing[Tenant]:
        """The partner's tenants, page by page; needs a partner token."""
        fetch = self._pager("/partner/tenants", {"limit": str(page_size)}, as_partner=True)
        return Listing(fetch, _read_tenant)

    def schema_definitions(self) -> list[SchemaDefinition]:
        """All schema definitions of the partner; needs a partner token."""
        answer = self._get("/partner/schema-definitions", {}, None)
        value = json_value(answer.data, path=answer.path, where="$.data")
        rows = convert(value, list[object], path=answer.path, where="$.data")
        return [
            schema_from_value(row, path=answer.path, where=f"$.data[{index}]")
            for index, row in enumerate(rows)
        ]

    def check_token(self) -> None:
        """Send the cheapest request, to see whether the token is accepted.

        Raises
        ------
        AuthError
            If it is not.
        ApiError, TransportError
            If the check itself failed.
        """
        if self.is_partner:
            self._get("/partner/tenants", {"limit": "1"}, None)
        else:
            self._get("/api/batches", {"limit": "1"}, self.tenant_id)

    def halt(self, grace_s: float = GRACE_S) -> None:
        """Send nothing more, and retry nothing, until `resume`.

        For stopping soon without losing answers in flight: those that have not arrived after
        ``grace_s`` seconds are cut off. It affects all copies of the client, in every thread.
        """
        self._transport.halt(grace_s)

    def resume(self) -> None:
        """Send again."""
        self._transport.halted.clear()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client(base_url={self.base_url!r}, tenant_id={self.tenant_id!r}, token=***)"

    def _pager(
        self, path: str, query: dict[str, str], *, as_partner: bool = False
    ) -> Callable[[str | None], Answer]:
        tenant_id = None if as_partner else self.tenant_id

        def fetch(cursor: str | None) -> Answer:
            page = {} if cursor is None else {"cursor": cursor}
            return self._get(path, query | page, tenant_id)

        return fetch

    def _get(self, path: str, query: dict[str, str], tenant_id: str | None) -> Answer:
        return self._transport.get(path, query, tenant_id, once=self._once)


def _read_batch(row: bytes, path: str, where: str) -> BatchDocument:
    return batch_from_json(row, path=path, where=where)


def _read_tenant(row: bytes, path: str, where: str) -> Tenant:
    return tenant_from_value(json_value(row, path=path, where=where), path=path, where=where)


def _token_from_environment() -> TokenSource:
    environ = os.environ
    if token := environ.get("REACH_TOKEN"):
        return token
    secret, partner_id = environ.get("REACH_SHARED_SECRET"), environ.get("REACH_PARTNER_ID")
    if secret and partner_id:
        return PartnerSigner(secret, partner_id)
    raise ConfigError(
        "no token: pass token=, set REACH_TOKEN, or set REACH_SHARED_SECRET and REACH_PARTNER_ID; "
        'without any, try reach.sandbox.serve("demo")'
    )


def _clock_from_environment() -> Callable[[], datetime]:
    url = os.environ.get("REACH_CLOCK_URL")
    if not url:
        return utc_now
    if not is_loopback(urlsplit(url).hostname or ""):
        raise ConfigError("REACH_CLOCK_URL is for a sandbox on this machine; unset it")
    session = requests.Session()
    session.trust_env = False

    def sandbox_now() -> datetime:
        try:
            told = session.get(url, timeout=5).json()["data"]["now"]
            return datetime.fromisoformat(told)
        except (requests.RequestException, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"no clock at REACH_CLOCK_URL: {type(error).__name__}") from error

    return sandbox_now


def _checked_url(url: str, allow_http: bool) -> str:
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        raise ConfigError(f"base_url must be like {BASE_URL}, found no URL") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigError(f"base_url must be like {BASE_URL}, found no host with http(s) in it")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError("base_url must not carry a user name, password, query or fragment")
    if parts.scheme == "http" and not allow_http and not is_loopback(parts.hostname):
        raise ConfigError(
            f"refusing plain http:// to {parts.hostname}: the token would be sent unencrypted; "
            "use https://, or pass allow_http=True"
        )
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _checked_tenant(tenant_id: str | None) -> str | None:
    if tenant_id is not None and not (tenant_id and all("!" <= c <= "~" for c in tenant_id)):
        raise ConfigError(
            f"tenant_id must be visible ASCII to go into a header, found {tenant_id!a}"
        )
    return tenant_id


def _segment(batch_id: str) -> str:
    """A batch id as one path segment; ``.`` and ``..`` would be resolved on the way."""
    if not isinstance(batch_id, str) or batch_id in {"", ".", ".."}:
        raise ValueError(f"batch_id must be the id of a batch, found {batch_id!r}")
    return quote(batch_id, safe="")
