"""A limit on the time of a whole exchange, from connecting to the last byte of the answer.

A socket timeout starts anew with each byte received, and `http.client` reads the status line, the
headers and the chunk sizes to their ends before it returns anything: a server that sends a byte now
and then holds a thread for days. So each exchange reports which socket it uses, and one thread for
all of them shuts down the sockets whose time is up, which ends the reading at once.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests
from requests.adapters import HTTPAdapter

_TINY_S = 0.001  # a socket timeout of zero would mean not to block


class Exchange:
    """One request and its answer, and the socket they use."""

    def __init__(self, ends_at: float) -> None:
        self.ends_at = ends_at
        self.is_cut = False
        self.is_hastened = False
        self._socket: Any = None
        self._lock = threading.Lock()

    @property
    def left_s(self) -> float:
        """Seconds until it is cut."""
        return self.ends_at - time.monotonic()

    def use(self, sock: Any) -> None:
        """Report the socket that it uses from now on."""
        with self._lock:
            self._socket = sock
            if self.is_cut:
                _shut(sock)

    def cut(self) -> None:
        """End it, whatever its state."""
        with self._lock:
            self.is_cut = True
            _shut(self._socket)

    def hasten(self, ends_at: float) -> None:
        """Move its deadline forward, never back."""
        if ends_at < self.ends_at:
            self.ends_at, self.is_hastened = ends_at, True


class Exchanges:
    """The running exchanges; those that take longer than ``deadline_s`` are cut off."""

    def __init__(self, deadline_s: float) -> None:
        self._deadline_s = deadline_s
        self._running: set[Exchange] = set()
        self._lock = threading.Lock()
        self._changed = threading.Event()
        self._watcher: threading.Thread | None = None

    @contextmanager
    def begin(self) -> Iterator[Exchange]:
        """An exchange of this thread, running until the block ends."""
        exchange = Exchange(time.monotonic() + self._deadline_s)
        with self._lock:
            self._running.add(exchange)
            if self._watcher is None:
                self._watcher = threading.Thread(target=self._watch, daemon=True)
                self._watcher.start()
        _CURRENT.exchange = exchange
        try:
            yield exchange
        finally:
            _CURRENT.exchange = None
            with self._lock:
                self._running.discard(exchange)

    def hasten(self, grace_s: float) -> None:
        """Cut off what is still running after ``grace_s`` seconds."""
        ends_at = time.monotonic() + grace_s
        with self._lock:
            for exchange in self._running:
                exchange.hasten(ends_at)
        self._changed.set()

    def _watch(self) -> None:
        """Cut off what is late, for as long as anything is running.

        What starts while this sleeps has a full deadline ahead, so a request need not wake it.
        """
        while (wake_at := self._cut_late()) is not None:
            self._changed.wait(max(0.0, wake_at - time.monotonic()))
            self._changed.clear()

    def _cut_late(self) -> float | None:
        """Cut off what is late; return when to check again, None if nothing is running."""
        with self._lock:
            now = time.monotonic()
            if not self._running:
                self._watcher = None
                return None
            for exchange in self._running:
                if exchange.ends_at <= now:
                    exchange.cut()
            ends = [e.ends_at for e in self._running if not e.is_cut]
            return min([*ends, now + self._deadline_s])


_CURRENT = threading.local()


def current() -> Exchange | None:
    """The exchange of this thread, if one is running."""
    return getattr(_CURRENT, "exchange", None)


def _shut(sock: Any) -> None:
    """Shut a socket down, so that a reader sees its end."""
    while sock is not None and not isinstance(sock, socket.socket):
        sock = getattr(sock, "socket", None)  # TLS within TLS, as by some proxies
    if sock is not None:
        with contextlib.suppress(OSError):  # it was closed, or never connected
            # Not sock.shutdown, which would take the TLS away from under its reader.
            socket.socket.shutdown(sock, socket.SHUT_RDWR)


# -- connections that report their sockets ------------------------------------------------------


class _Reporting:
    """Mixin for urllib3's connection classes."""

    sock: Any
    timeout: Any

    def _new_conn(self) -> Any:
        exchange = current()
        if exchange is not None and isinstance(self.timeout, int | float):
            self.timeout = max(_TINY_S, min(self.timeout, exchange.left_s))
        return _used(super()._new_conn())  # type: ignore[misc]

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]
        _used(self.sock)  # another one than at first, with TLS

    def request(self, *args: Any, **kwargs: Any) -> None:
        _used(self.sock)  # one from the pool
        super().request(*args, **kwargs)  # type: ignore[misc]


def _used(sock: Any) -> Any:
    exchange = current()
    if exchange is not None and sock is not None:
        exchange.use(sock)
    return sock


def report_sockets(session: requests.Session) -> None:
    """Make the session's connections report their sockets, including those through a proxy.

    Connections made before, and adapters that are not requests' own, do not.
    """
    for adapter in session.adapters.values():
        if isinstance(adapter, HTTPAdapter) and "proxy_manager_for" not in vars(adapter):
            _report_from(adapter.poolmanager)
            _report_from_proxies(adapter)


def _report_from_proxies(adapter: HTTPAdapter) -> None:
    make = adapter.proxy_manager_for

    def proxy_manager_for(proxy: str, **options: Any) -> Any:
        return _report_from(make(proxy, **options))

    adapter.proxy_manager_for = proxy_manager_for  # type: ignore[method-assign]


def _report_from(manager: Any) -> Any:
    """A pool manager whose pools make connections that report."""
    manager.pool_classes_by_scheme = {
        scheme: _reporting_pool(pool) for scheme, pool in manager.pool_classes_by_scheme.items()
    }
    return manager


def _reporting_pool(pool: Any) -> Any:
    connection = pool.ConnectionCls
    if issubclass(connection, _Reporting):
        return pool
    # The names are kept, since they appear in logs and messages.
    reporting = type(connection.__name__, (_Reporting, connection), {})
    return type(pool.__name__, (pool,), {"ConnectionCls": reporting})
