"""Sending one GET until it is answered: timeouts, retries, rate limit, and telling faults apart.

A retry is a new attempt in every way: it waits for the rate limiter, and takes a fresh token. That,
and that a body cut short while being read is retried too, is why the loop is here and not in
urllib3's ``Retry``, which sees only the headers arrive.
"""

from __future__ import annotations

import html
import ipaddress
import logging
import random
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec
import requests
import urllib3
from requests.adapters import HTTPAdapter

from reach_analytics.client.auth import BearerAuth
from reach_analytics.client.payload import convert, excerpt, json_value, raise_not_json
from reach_analytics.errors import (
    ApiError,
    AuthError,
    ConfigError,
    NotFoundError,
    PayloadError,
    ReachError,
    TransportError,
)

logger = logging.getLogger("reach_analytics.client")

RETRYABLE_STATUS = frozenset({429, 500, 502, 503, 504})


class HaltedError(Exception):
    """A request was not sent, since nothing more is to be. No fault of anybody's."""


@dataclass(frozen=True)
class RetryPolicy:
    """How often to try, and how long to wait between.

    The wait after attempt *n* is drawn evenly from 0 to ``min(cap_s, base_s * 2**(n - 1))`` ("full
    jitter"). A ``Retry-After`` above zero takes its place, up to ``max_retry_after_s``; a server
    that asks for more is not waited for, and the error says so.

    Parameters
    ----------
    attempts : int
        Requests sent at most, the first included.
    base_s, cap_s, max_retry_after_s : float
        Seconds.
    """

    attempts: int = 5
    base_s: float = 0.5
    cap_s: float = 30.0
    max_retry_after_s: float = 120.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"attempts must be at least 1, found {self.attempts}")

    def wait(
        self, attempt: int, retry_after: float | None, uniform: Callable[[float, float], float]
    ) -> float | None:
        """Seconds to wait after the failed ``attempt`` (from 1); None to give up."""
        if attempt >= self.attempts:
            return None
        if retry_after is not None and retry_after > 0:
            return retry_after if retry_after <= self.max_retry_after_s else None
        # The exponent is bounded so that many attempts cannot overflow a float.
        return uniform(0.0, min(self.cap_s, self.base_s * 2.0 ** min(attempt - 1, 60)))


class RateLimiter:
    """Spaces calls evenly over all threads: at most ``per_second`` of them start in a second."""

    def __init__(
        self,
        per_second: float | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        if per_second is not None and not per_second > 0:
            raise ValueError(f"requests_per_second must be above 0 or None, found {per_second}")
        self._gap = 0.0 if per_second is None else 1.0 / per_second
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._next = float("-inf")

    def wait(self) -> None:
        """Return when the next call may start."""
        if not self._gap:
            return
        with self._lock:
            start = max(self._clock(), self._next)
            self._next = start + self._gap
        delay = start - self._clock()
        if delay > 0:
            self._sleep(delay)


@dataclass(frozen=True)
class Answer:
    """A good answer: the JSON of ``data``, and when its request was sent and it had arrived."""

    data: bytes
    path: str
    status: int
    sent_at: datetime
    received_at: datetime


class _Envelope(msgspec.Struct):
    success: bool | None = True
    message: Any = None
    data: msgspec.Raw = msgspec.Raw(b"")


_ENVELOPE = msgspec.json.Decoder(_Envelope)  # made here: see documents.py


def redact(body: bytes, response: requests.Response) -> bytes:
    """The body without the token it was asked with, should the server echo it in any spelling."""
    token = response.request.headers.get("Authorization", "").removeprefix("Bearer ")
    for secret in (token, token.rpartition(".")[2]):
        if len(secret) < 8:
            continue
        for spelling in {secret, html.escape(secret), quote(secret, safe="")}:
            body = body.replace(spelling.encode(), b"***")
        if b"\\" in body:
            body = _escaped(secret).sub(b"***", body)
    return body


@lru_cache(maxsize=8)
def _escaped(secret: str) -> re.Pattern[bytes]:
    """The secret in JSON, any of its characters escaped."""
    return re.compile(
        b"".join(
            b"(?:\\\\?" + re.escape(c.encode()) + b"|\\\\u00(?i:%02x))" % ord(c) for c in secret
        )
    )


class _NoRawHeaders(logging.Filter):
    """Keeps headers that cannot be parsed, in which a server may echo the token, out of the log."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "Failed to parse headers" not in str(record.msg)


for _name in ("urllib3.connection", "urllib3.connectionpool"):  # the one or the other, by version
    logging.getLogger(_name).addFilter(_NoRawHeaders())


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
        self._timeout = timeout
        self._deadline_s = deadline_s
        self._max_bytes = max_bytes
        self._retry = retry
        self.halted = threading.Event()
        # By default a wait ends early when there is to be no retry.
        self._sleep: Callable[[float], object] = sleep or self.halted.wait
        self._limiter = RateLimiter(per_second, sleep=self._sleep)
        self._uniform = uniform
        self._lock = threading.Lock()

    def get(self, path: str, query: dict[str, str], tenant_id: str | None) -> Answer:
        """The answer to a GET, after as many retries as the policy allows.

        Raises
        ------
        TransportError, ApiError, PayloadError
            The last attempt's error.
        """
        attempt = 1
        while True:
            self._limiter.wait()
            if self.halted.is_set():
                raise HaltedError
            try:
                return self._attempt(path, query, tenant_id)
            except ReachError as error:
                delay = self._delay(error, attempt)
                if delay is None or self.halted.is_set():
                    raise
                logger.warning("%s; attempt %d, next in %.1f s", error, attempt, delay)
                self._sleep(delay)
                if self.halted.is_set():
                    raise
            attempt += 1

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _delay(self, error: ReachError, attempt: int) -> float | None:
        if not error.retryable:
            return None
        return self._retry.wait(attempt, getattr(error, "retry_after", None), self._uniform)

    def _attempt(self, path: str, query: dict[str, str], tenant_id: str | None) -> Answer:
        headers = {"Accept": "application/json"}
        if tenant_id is not None:
            headers["reach-tenant-id"] = tenant_id
        with self._lock:
            self.requests_sent += 1
        sent_at = self.now()
        failure: ReachError | None = None
        try:
            response, body = self._exchange(path, query, headers)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            failure = _failure(error, path)
        if failure is not None:
            # Raised out here so that nothing is chained to it: what requests and urllib3 raise
            # holds the request with its token, and raw bytes of the server that may echo it.
            raise failure
        received_at = self.now()
        logger.debug("GET %s: %d, %d bytes", path, response.status_code, len(body))
        data = self._data(response, body, path)
        return Answer(data, path, response.status_code, sent_at, received_at)

    def _exchange(
        self, path: str, query: dict[str, str], headers: dict[str, str]
    ) -> tuple[requests.Response, bytes]:
        with self._session.get(
            self.base_url + path,
            params=query,
            headers=headers,
            auth=self.auth,
            timeout=self._timeout,
            allow_redirects=False,  # a redirect would carry the token elsewhere
            stream=True,
        ) as response:
            return response, redact(self._body(response, path), response)

    def _body(self, response: requests.Response, path: str) -> bytes:
        """Read the whole body within the deadline and the size limit.

        With ``read1``, since requests' own ``iter_content`` returns only with a full piece, and a
        server that drips would never let the deadline be looked at.
        """
        end = time.monotonic() + self._deadline_s
        chunks, size = [], 0
        while chunk := response.raw.read1(1 << 16, decode_content=True):
            chunks.append(chunk)
            size += len(chunk)
            if size > self._max_bytes:
                raise PayloadError(
                    f"GET {path}: the answer is larger than {self._max_bytes:,} bytes; "
                    "raise max_bytes if that is meant to be",
                    found=f"more than {self._max_bytes} bytes",
                    expected=f"at most {self._max_bytes} bytes",
                    path=path,
                    status=response.status_code,
                )
            if time.monotonic() > end:
                raise TransportError(
                    f"GET {path}: the answer was still arriving after {self._deadline_s:g} s",
                    path=path,
                )
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
        try:
            envelope = _ENVELOPE.decode(body)
        except (msgspec.ValidationError, RecursionError):
            plain = json_value(body, path=path)
            convert(plain, _Envelope, path=path, where="$")
            raise  # not reached while convert and decode agree on what fits
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise_not_json(body, error, path=path, where="$")
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


def _pooled_session(base_url: str, pool_size: int) -> requests.Session:
    session = requests.Session()
    # A proxy from the environment cannot reach this machine's own loopback.
    session.trust_env = not is_loopback(urlsplit(base_url).hostname or "")
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))  # tenants share a session
    adapter = HTTPAdapter(pool_connections=4, pool_maxsize=pool_size, pool_block=True)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def _failure(error: Exception, path: str) -> ReachError:
    """Our error for what requests, or urllib3 while the body was read, raised."""
    if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.InvalidSchema):
        return ConfigError(f"the base URL cannot be used: {type(error).__name__}")
    if isinstance(error, requests.RequestException):
        retryable = not isinstance(error, requests.exceptions.SSLError)
        words = _in_words(error)
    else:
        retryable, words = True, _in_words_raw(error)
    return TransportError(
        f"GET {path}: {words} ({type(error).__name__})", path=path, retryable=retryable
    )


def _in_words(error: requests.RequestException) -> str:
    kinds = requests.exceptions
    if isinstance(error, kinds.ConnectTimeout):
        return "no connection within the time limit"
    if isinstance(error, kinds.Timeout):
        return "no answer within the time limit"
    if isinstance(error, kinds.SSLError):
        return "the server's certificate was not accepted"
    if isinstance(error, kinds.ProxyError):
        return "the proxy could not be reached"
    return "the connection failed"


def _in_words_raw(error: Exception) -> str:
    if isinstance(error, urllib3.exceptions.TimeoutError):
        return "the answer stopped arriving within the time limit"
    if isinstance(error, urllib3.exceptions.DecodeError):
        return "the answer could not be decompressed"
    return "the connection broke while the answer was arriving"


def _message(body: bytes) -> str:
    """What an error body says, if it is the envelope; error bodies are not documented."""
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
