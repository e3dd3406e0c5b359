"""Running the sandbox: a real HTTP server on this machine's loopback, in a thread."""

from __future__ import annotations

import ipaddress
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import uvicorn

from reach_analytics.sandbox.app import Access, Api
from reach_analytics.sandbox.scenario import Scenario, find
from reach_analytics.sandbox.world import World

PARTNER_ID = "sandbox-partner"


class Sandbox:
    """A running sandbox.

    Attributes
    ----------
    url : str
        Where it listens.
    scenario : Scenario
        What is played in it.
    world : World
        Its whole state. Turn the clock through `advance`, which holds the server back meanwhile.
    secret : str
        The shared secret that tokens are signed with; drawn anew for each sandbox.
    """

    def __init__(self, url: str, scenario: Scenario, world: World, access: Access) -> None:
        self.url = url
        self.scenario = scenario
        self.world = world
        self.secret = access.secret
        self._access = access
        self._lock = threading.RLock()
        self._ticks = 0

    @property
    def credentials(self) -> dict[str, Any]:
        """Keyword arguments for a client: a partner token, the address, the sandbox's clock."""
        return {
            "token": self._access.token(),
            "tenant_id": "",
            "base_url": self.url,
            "now": self.now,
        }

    @property
    def environment(self) -> dict[str, str]:
        """The same as environment variables."""
        return {
            "REACH_BASE_URL": self.url,
            "REACH_TOKEN": self._access.token(),
            "REACH_CLOCK_URL": f"{self.url}/_sandbox/clock",
        }

    def now(self) -> datetime:
        """The world's time. Each reading is a microsecond later than the one before it, so that
        two requests at one moment of a standing clock can be told apart."""
        with self._lock:
            self._ticks += 1
            return self.world.time + timedelta(microseconds=self._ticks)

    def advance(self, until: datetime) -> None:
        """Turn the world's clock forward to ``until``."""
        if not isinstance(until, datetime) or until.tzinfo is None:
            raise TypeError(f"until must be a datetime with an offset, found {until!r}")
        with self._lock:
            self.world.advance(until)
            self._ticks = 0

    def __repr__(self) -> str:
        return f"<Sandbox {self.scenario.name!r} at {self.url}, {self.world.time:%Y-%m-%d %H:%M}Z>"


@contextmanager
def serve(
    scenario: str | Scenario = "demo",
    *,
    seed: int = 0,
    host: str = "127.0.0.1",
    port: int = 0,
) -> Iterator[Sandbox]:
    """Run a sandbox until the ``with`` block ends.

    Parameters
    ----------
    scenario : str or Scenario
        What to play; ``"demo"`` by default.
    seed : int
        The same seed gives the same world.
    host, port
        Where to listen. Port 0 takes a free one. Only loopback addresses are taken.

    Yields
    ------
    Sandbox

    Examples
    --------
    >>> import reach_analytics as reach
    >>> with reach.sandbox.serve("demo") as sb:
    ...     sb.advance(sb.scenario.moments[0])
    ...     len(list(reach.Client(**sb.credentials).tenants()))
    3
    """
    played = find(scenario) if isinstance(scenario, str) else scenario
    world = played.world(seed)
    if not _is_loopback(host):
        raise ValueError(f"the sandbox listens on loopback only, found host {host!r}")
    with _listen(host, port) as listener:
        address, taken = listener.getsockname()[:2]
        shown = f"[{address}]" if ":" in address else address
        access = Access(secrets.token_urlsafe(48), PARTNER_ID)
        sandbox = Sandbox(f"http://{shown}:{taken}", played, world, access)
        app = Api(world, access, sandbox._lock).app()
        config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off")
        with _running(uvicorn.Server(config), listener):
            yield sandbox


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's algorithm off only where the protocol is named; with it on, each answer
    # of two packets waits 40 ms for the client's delayed acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


@contextmanager
def _running(server: uvicorn.Server, listener: socket.socket) -> Iterator[None]:
    thread = threading.Thread(
        target=server.run, kwargs={"sockets": [listener]}, name="reach-sandbox", daemon=True
    )
    thread.start()
    try:
        while not server.started:
            if not thread.is_alive():
                raise RuntimeError("the sandbox did not start; the log says why")
            time.sleep(0.005)
        yield
    finally:
        server.should_exit = True
        thread.join()
