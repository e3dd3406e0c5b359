"""A limit on the time of a whole exchange, from connecting to the last byte of the answer.

The timeouts of a socket begin anew with each byte that comes, and `http.client` reads the status
line, the headers and the sizes of chunks to their ends before it gives anything back: a server that
sends a byte now and then holds a thread for days. So each exchange lets it be known which socket it
is on, and one thread for all of them shuts the sockets of those whose time is up, which ends their
reading at once.
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

_TINY_S = 0.001  # no timeout of a socket may be zero, which would mean not to block


class Exchange:
    """One request and its answer, and the socket they go over."""

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
        """Say which socket it goes over from now on."""
        with self._lock:
            self._socket = sock
            if self.is_cut:
                _shut(sock)

    def cut(self) -> None:
        """End it, in whatever state it is."""
        with self._lock:
            self.is_cut = True
            _shut(self._socket)

    def hasten(self, ends_at: float) -> None:
        """Let it end sooner than it might have."""
        if ends_at < self.ends_at:
            self.ends_at, self.is_hastened = ends_at, True


class Exchanges:
    """The exchanges under way; those that last for more than ``deadline_s`` are cut."""

    def __init__(self, deadline_s: float) -> None:
        self._deadline_s = deadline_s
        self._under_way: set[Exchange] = set()
        self._lock = threading.Lock()
        self._changed = threading.Event()
        self._watcher: threading.Thread | None = None

    @contextmanager
    def begin(self) -> Iterator[Exchange]:
        """An exchange of this thread, under way until the block ends."""
        exchange = Exchange(time.monotonic() + self._deadline_s)
        with self._lock:
            self._under_way.add(exchange)
            if self._watcher is None:
                self._watcher = threading.Thread(target=self._watch, daemon=True)
                self._watcher.start()
        _CURRENT.exchange = exchange
        try:
            yield exchange
        finally:
            _CURRENT.exchange = None
            with self._lock:
                self._under_way.discard(exchange)

    def hasten(self, grace_s: float) -> None:
        """Cut what is still under way after so many seconds."""
        ends_at = time.monotonic() + grace_s
        with self._lock:
            for exchange in self._under_way:
                exchange.hasten(ends_at)
        self._changed.set()

    def _watch(self) -> None:
        """Cut what is late, for as long as anything is under way.

        Nothing that begins while this sleeps can end sooner than a deadline from now, so that a
        request need not wake it.
        """
        while (wake_at := self._cut_late()) is not None:
            self._changed.wait(max(0.0, wake_at - time.monotonic()))
            self._changed.clear()

    def _cut_late(self) -> float | None:
        """Cut what is late; when to look again, None if nothing is under way."""
        with self._lock:
            now = time.monotonic()
            if not self._under_way:
                self._watcher = None
                return None
            for exchange in self._under_way:
                if exchange.ends_at <= now:
                    exchange.cut()
            ends = [e.ends_at for e in self._under_way if not e.is_cut]
            return min([*ends, now + self._deadline_s])


_CURRENT = threading.local()


def current() -> Exchange | None:
    """The exchange of this thread, if one is under way."""
    return getattr(_CURRENT, "exchange", None)


def _shut(sock: Any) -> None:
    """Shut a socket down, so that whoever reads from it finds its end."""
    while sock is not None and not isinstance(sock, socket.socket):
        sock = getattr(sock, "socket", None)  # TLS within TLS, as by some proxies
    if sock is not None:
        with contextlib.suppress(OSError):  # it was closed, or never connected
            # Not sock.shutdown, which would take the TLS away from under its reader.
            socket.socket.shutdown(sock, socket.SHUT_RDWR)


# -- connections that say which socket they use --------------------------------------------------


class _Reporting:
    """What is put before a connection class of urllib3, of whatever kind."""

    sock: Any
    timeout: Any

    def _new_conn(self) -> Any:
        exchange = current()
        if exchange is not None and isinstance(self.timeout, int | float):
            self.timeout = max(_TINY_S, min(self.timeout, exchange.left_s))
        return _used(super()._new_conn())  # type: ignore[misc]

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]
        _used(self.sock)  # another one than at first, if it has got TLS

    def request(self, *args: Any, **kwargs: Any) -> None:
        _used(self.sock)  # one from the pool
        super().request(*args, **kwargs)  # type: ignore[misc]


def _used(sock: Any) -> Any:
    exchange = current()
    if exchange is not None and sock is not None:
        exchange.use(sock)
    return sock


def report_sockets(session: requests.Session) -> None:
    """Have the session's connections say which sockets they use, those through a proxy too.

    Connections that it has made before, and adapters that are not of requests' own kind, do not.
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
    # The names are kept, since they show in logs and messages.
    reporting = type(connection.__name__, (_Reporting, connection), {})
    return type(pool.__name__, (pool,), {"ConnectionCls": reporting})
