"""Sending one GET until it is answered: timeouts, retries, rate limit, and error types.

A retry is a new attempt in every way: it waits for the rate limiter, and takes a fresh token. It
also covers a body that was cut short. So the loop is here and not in urllib3's ``Retry``, which
sees only the headers arrive.
"""

from __future__ import annotations

import ipaddress
import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import msgspec
import requests
import urllib3
from requests.adapters import HTTPAdapter

from reach_analytics.client._deadline import Exchange, Exchanges, report_sockets
from reach_analytics.client._faults import failure_of
from reach_analytics.client._mismatch import excerpt
from reach_analytics.client._pacing import Gate, RateLimiter, RetryPolicy
from reach_analytics.client._payload import decode
from reach_analytics.client._redaction import redact
from reach_analytics.client.auth import BearerAuth
from reach_analytics.errors import (
    ApiError,
    AuthError,
    NotFoundError,
    PayloadError,
    ReachError,
    TransportError,
)

__all__ = [
    "GRACE_S",
    "RETRYABLE_STATUS",
    "Answer",
    "HaltedError",
    "Transport",
    "is_loopback",
    "retry_after_s",
]

logger = logging.getLogger("reach_analytics.client")

RETRYABLE_STATUS = frozenset({429, 500, 502, 503, 504})
GRACE_S = 5.0  # for answers in flight when no more are wanted
_LONG_WAIT_S = 10.0  # delays from here on are logged as warnings


class HaltedError(Exception):
    """A request was not sent, or cut off, because the client was halted. Not a failure."""


@dataclass(frozen=True)
class Answer:
    """A good answer: the JSON of ``data``, and when it was requested and received."""

    data: bytes
    path: str
    status: int
    sent_at: datetime
    received_at: datetime


class _Envelope(msgspec.Struct):
    success: bool | None = True
    message: Any = None
    data: msgspec.Raw = msgspec.Raw(b"")


_ENVELOPE = msgspec.json.Decoder(_Envelope)  # created at import: see documents.py


class Transport:
    """GETs paths below a base URL with one session, from any number of threads."""

    def __init__(
        self,
        base_url: str,
        auth: BearerAuth,
        *,
        session: requests.Session | None,
        timeout: tuple[float, float],
        deadline_s: float,
        max_bytes: int,
        retry: RetryPolicy,
        per_second: float | None,
        pool_size: int,
        now: Callable[[], datetime],
        sleep: Callable[[float], None] | None,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.base_url = base_url
        self.auth = auth
        self.now = now
        self.requests_sent = 0
        self._session = session or _pooled_session(base_url, pool_size)
        report_sockets(self._session)
        self._timeout = timeout
        self._deadline_s = deadline_s
        self._exchanges = Exchanges(deadline_s)
        self._max_bytes = max_bytes
        self.retry = retry
        self.halted = threading.Event()
        # By default a wait ends early when the client is halted.
        self.sleep: Callable[[float], object] = sleep or self.halted.wait
        self._limiter = RateLimiter(per_second, sleep=self.sleep)
        self._gate = Gate(sleep=self.sleep)
        self._has_warned = False
        self._uniform = uniform
        self._lock = threading.Lock()

    def get(
        self, path: str, query: dict[str, str], tenant_id: str | None, *, once: bool = False
    ) -> Answer:
        """The answer to a GET, after as many retries as the policy allows.

        With ``once``, it is not retried, nor held back by another request's ``Retry-After``.

        Raises
        ------
        TransportError, ApiError, PayloadError
            The last attempt's error.
        """
        attempt = 1
        while True:
            self._wait_for_permission(once)
            if self.halted.is_set():
                raise HaltedError
            try:
                answer = self._attempt(path, query, tenant_id)
            except ReachError as error:
                asked = self._heed(error)
                delay = None if once else self._delay(error, attempt)
                if delay is None or self.halted.is_set():
                    raise
                self._tell(error, attempt, delay)
                if not asked:
                    self.sleep(delay)
                if self.halted.is_set():
                    raise
            else:
                self._has_warned = False
                return answer
            attempt += 1

    def _delay(self, error: ReachError, attempt: int) -> float | None:
        if not error.retryable:
            return None
        return self.retry.wait(attempt, getattr(error, "retry_after", None), self._uniform)

    def halt(self, grace_s: float) -> None:
        """Send nothing more, and cut off what is still running after ``grace_s`` seconds."""
        self.halted.set()
        self._exchanges.hasten(grace_s)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _wait_for_permission(self, once: bool) -> None:
        """Return when a request may be sent.

        The rate limit comes after the gate, so that threads that waited there do not all send at
        once; and the gate may close during the wait for the rate limit.
        """
        if once:
            self._limiter.wait()
            return
        passed = self._gate.wait()
        self._limiter.wait()
        self._gate.wait(passed)

    def _heed(self, error: ReachError) -> bool:
        """Hold all threads back for a ``Retry-After``; return whether there was one."""
        asked = getattr(error, "retry_after", None)
        if asked is None or not (error.retryable and self.retry.heeds(asked)):
            return False
        self._gate.close(asked)
        return True

    def _tell(self, error: ReachError, attempt: int, delay: float) -> None:
        """Log a retry; long delays as a warning, but only once while nothing answers."""
        is_news = delay >= _LONG_WAIT_S and not self._has_warned
        self._has_warned = self._has_warned or is_news
        level = logging.WARNING if is_news else logging.INFO
        logger.log(level, "%s; attempt %d, next in %.1f s", error, attempt, delay)

    def _attempt(self, path: str, query: dict[str, str], tenant_id: str | None) -> Answer:
        headers = {"Accept": "application/json"}
        if tenant_id is not None:
            headers["reach-tenant-id"] = tenant_id
        with self._lock:
            self.requests_sent += 1
        sent_at = self.now()
        failure: ReachError | None = None
        with self._exchanges.begin() as exchange:
            try:
                response, body = self._exchange(path, query, headers, exchange)
            except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
                failure = failure_of(error, path)
            except (OSError, ValueError, AttributeError):
                if not exchange.is_cut:  # else a library has stumbled over the closed socket
                    raise
        if exchange.is_cut:  # whatever the result: http.client takes cut headers for complete
            failure = self._late(path, exchange)
        if failure is not None:
            # Raised here so that nothing is chained to it: the errors of requests and urllib3 hold
            # the request with its token, and raw bytes of the server that may echo it.
            raise failure
        received_at = self.now()
        logger.debug("GET %s: %d, %d bytes", path, response.status_code, len(body))
        data = self._data(response, body, path)
        return Answer(data, path, response.status_code, sent_at, received_at)

    def _late(self, path: str, exchange: Exchange) -> ReachError:
        if exchange.is_hastened:
            raise HaltedError
        return TransportError(
            f"GET {path}: no complete answer within the {self._deadline_s:g} s of deadline_s",
            path=path,
        )

    def _exchange(
        self, path: str, query: dict[str, str], headers: dict[str, str], exchange: Exchange
    ) -> tuple[requests.Response, bytes]:
        with self._session.get(
            self.base_url + path,
            params=query,
            headers=headers,
            auth=self.auth,
            timeout=self._timeout,
            allow_redirects=False,  # a redirect would carry the token elsewhere
            stream=True,
            hooks={"response": _stay},
        ) as response:
            return response, redact(self._body(response, path, exchange), response)

    def _body(self, response: requests.Response, path: str, exchange: Exchange) -> bytes:
        """Read the whole body within the deadline and the size limit.

        With ``read1``, since requests' own ``iter_content`` returns only full chunks, so that the
        limits would never be checked with a slow server.
        """
        chunks, size = [], 0
        while chunk := response.raw.read1(1 << 16, decode_content=True):
            chunks.append(chunk)
            size += len(chunk)
            if size > self._max_bytes:
                raise PayloadError(
                    f"GET {path}: the answer is larger than {self._max_bytes:,} bytes; "
                    "raise max_bytes if that is intended",
                    found=f"more than {self._max_bytes} bytes",
                    expected=f"at most {self._max_bytes} bytes",
                    path=path,
                    status=response.status_code,
                )
            if exchange.left_s <= 0:
                exchange.cut()
            if exchange.is_cut:
                break
        return b"".join(chunks)

    def _data(self, response: requests.Response, body: bytes, path: str) -> bytes:
        if response.status_code != 200:
            raise self._refusal(response, body, path)
        try:
            return self._opened(response, body, path)
        except PayloadError as error:
            error.status = response.status_code
            raise

    def _opened(self, response: requests.Response, body: bytes, path: str) -> bytes:
        envelope = decode(_ENVELOPE, body, path=path, where="$")
        if envelope.success is False:
            raise self._refusal(response, body, path)
        data = bytes(envelope.data)
        if not data:
            raise PayloadError(
                f"GET {path}: expected the envelope's `data` at $.data, found nothing",
                where="$.data",
                found="nothing",
                expected="data",
                path=path,
            )
        return data

    def _refusal(self, response: requests.Response, body: bytes, path: str) -> ApiError:
        status = response.status_code
        kind = {401: AuthError, 403: AuthError, 404: NotFoundError}.get(status, ApiError)
        said = _message(body)
        hint = _HINTS.get(status, "") if status != 404 or "/batches/" in path else ""
        wait = retry_after_s(response.headers, datetime.now(UTC))
        if wait is not None and wait > 0:
            hint += f"; it asks to wait {wait:g} s"
        refused = f"status {status}" if status != 200 else "success: false"
        return kind(
            f"GET {path}: {refused}" + (f", {said}" if said else "") + hint,
            status=status,
            path=path,
            retryable=status in RETRYABLE_STATUS,
            retry_after=wait,
        )


_HINTS = {
    401: "; check the token or the shared secret",
    403: "; this token may not do that, or not for this tenant",
    404: "; no such batch for this tenant: check the id and tenant_id",
}


def is_loopback(host: str) -> bool:
    """Whether a host name means this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _stay(response: requests.Response, *_: Any, **__: Any) -> None:
    """Drop the target of a redirect: requests would read its whole body to look ahead."""
    response.headers.pop("Location", None)


def _pooled_session(base_url: str, pool_size: int) -> requests.Session:
    session = requests.Session()
    # A proxy from the environment cannot reach this machine's loopback.
    session.trust_env = not is_loopback(urlsplit(base_url).hostname or "")
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))  # tenants share a session
    adapter = HTTPAdapter(pool_connections=4, pool_maxsize=pool_size, pool_block=True)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def _message(body: bytes) -> str:
    """The message of an error body, if it is the envelope; error bodies are not documented."""
    try:
        envelope = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    message = envelope.get("message") if isinstance(envelope, dict) else None
    return excerpt(message, 200) if isinstance(message, str) and message else ""


def retry_after_s(headers: Any, now: datetime) -> float | None:
    """Seconds that a ``Retry-After`` header asks for, given as seconds or as a date.

    A date is measured against the answer's own ``Date``, so that a wrong clock here does not
    matter. None if there is no such header or it cannot be read.
    """
    text = headers.get("Retry-After", "").strip()
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        pass
    try:
        until = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    try:
        since = parsedate_to_datetime(headers.get("Date") or "")
    except (ValueError, OverflowError):
        since = now
    return (_aware(until) - _aware(since)).total_seconds()


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
