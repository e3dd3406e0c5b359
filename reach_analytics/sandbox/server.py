"""Running the sandbox: a real HTTP server in a thread, on the loopback interface."""

from __future__ import annotations

import asyncio
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from reach_analytics.sandbox import scenario as scenarios
from reach_analytics.sandbox._http.access import Access
from reach_analytics.sandbox._http.app import app
from reach_analytics.sandbox._http.fault_middleware import CONNECTION
from reach_analytics.sandbox._http.hosts import Hosts, is_loopback
from reach_analytics.sandbox._simulation import Request, Simulation
from reach_analytics.sandbox._world.world import World
from reach_analytics.sandbox.faults import Fault
from reach_analytics.sandbox.scenario import Scenario

__all__ = ["PARTNER_ID", "Sandbox", "serve"]

PARTNER_ID = "sandbox-partner"
_GRACE_S = 1.0  # for running requests to end when the sandbox stops


class Sandbox:
    """A running sandbox.

    Attributes
    ----------
    url : str
        Where it listens.
    secret : str
        The shared secret that tokens are signed with; new for each sandbox.
    """

    def __init__(self, url: str, simulation: Simulation, access: Access) -> None:
        self.url = url
        self.secret = access.secret
        self._simulation = simulation
        self._access = access

    @property
    def scenario(self) -> Scenario:
        """The scenario that is played."""
        return self._simulation.scenario

    @property
    def world(self) -> World:
        """The whole state, at the clock's time now. Turn the clock with `advance`, which blocks
        the server meanwhile."""
        with self._simulation.lock:
            self._simulation.catch_up()
            return self._simulation.world

    @property
    def requests(self) -> list[Request]:
        """The requests received since the last reset, without the sandbox's own routes; the newest
        200,000."""
        with self._simulation.lock:
            return list(self._simulation.requests)

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

    def token(self, **claims: Any) -> str:
        """A one-day partner token; with claims such as ``tenantExternalId``, a tenant token."""
        return self._access.token(**claims)

    def now(self) -> datetime:
        """The world's time. Each reading is later than the one before it, by a microsecond if the
        clock is stopped, so that two requests at the same time can be told apart."""
        return self._simulation.now()

    def advance(self, until: datetime) -> None:
        """Turn the world's clock forward to ``until``."""
        if not isinstance(until, datetime) or until.tzinfo is None:
            raise TypeError(f"until must be a datetime with an offset, found {until!r}")
        self._simulation.advance(until)

    def run(self, speed: float) -> None:
        """Let the world's clock run at ``speed`` times real time; 0 stops it."""
        self._simulation.run(speed)

    def set_faults(self, *faults: Fault) -> None:
        """Replace the faults in force; without arguments there are none.

        Examples
        --------
        >>> import reach_analytics as reach
        >>> from reach_analytics.sandbox import faults
        >>> with reach.sandbox.serve("healthy") as sb, reach.Client(**sb.credentials) as client:
        ...     sb.set_faults(faults.Failure(status=502, times=1))
        ...     names = [tenant.name for tenant in client.tenants()]
        ...     statuses = [request.status for request in sb.requests]
        >>> names, statuses
        (['Alder Clinic', 'Birch Clinic'], [502, 200])
        """
        self._simulation.set_faults(faults)

    def reset(self, scenario: str | Path | Scenario | None = None, seed: int | None = None) -> None:
        """Start over, with another scenario or seed if given: the clock is stopped at the start,
        there are no faults, and the log of requests is empty."""
        self._simulation.reset(None if scenario is None else _scenario(scenario), seed)

    def save(self, path: str | Path) -> None:
        """Write the whole state to a file: world, scenario, clock and faults."""
        Path(path).write_bytes(self._simulation.save())

    def load(self, path: str | Path) -> None:
        """Load a saved state; nothing changes if it is not valid."""
        self._simulation.load(Path(path).read_bytes())

    def __repr__(self) -> str:
        return f"<Sandbox {self.scenario.name!r} at {self.url}, {self.world.time:%Y-%m-%d %H:%M}Z>"


@contextmanager
def serve(
    scenario: str | Path | Scenario = "demo",
    *,
    seed: int = 0,
    host: str = "127.0.0.1",
    port: int = 0,
    speed: float = 0.0,
    faults: Sequence[Fault] = (),
    allow_remote: bool = False,
    allow_hosts: Sequence[str] = (),
    monotonic: Callable[[], float] = time.monotonic,
) -> Iterator[Sandbox]:
    """Run a sandbox until the ``with`` block ends.

    Parameters
    ----------
    scenario : str, Path or Scenario
        What to play: one of ``demo``, ``healthy``, ``late_dependencies``, ``deadlock``,
        ``expiry_storm`` and ``year``, a file of your own, or one built in Python.
    seed : int
        The same seed gives the same world.
    host, port
        Where to listen. Port 0 takes a free one. Only loopback addresses are accepted, unless
        ``allow_remote`` is true: anyone who can reach the sandbox can turn its clock and reset it.
    allow_hosts : sequence of str
        Names that it answers to besides ``localhost`` and addresses, such as its own in a container
        network. Requests for any other host are refused with 421, so that no page in a browser can
        control it by having its own name resolve to this machine.
    speed : float
        How many times faster than real time the world's clock runs; 0 stops it until it is turned.
    faults : sequence of Fault
        What goes wrong: see `reach_analytics.sandbox.faults`.
    monotonic : callable
        The real clock, in seconds.

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
    if not is_loopback(host) and not allow_remote:
        raise ValueError(
            f"the sandbox listens on loopback only, found host {host!r}; "
            "allow_remote=True has it listen elsewhere"
        )
    if not 0 <= port <= 65535:
        raise ValueError(f"port must be 0 to 65535, found {port}")
    hosts = Hosts(host, allow_hosts)
    simulation = Simulation(_scenario(scenario), seed, monotonic=monotonic)
    simulation.set_faults(faults)
    simulation.run(speed)
    with _listen(host, port) as listener:
        address, taken = listener.getsockname()[:2]
        shown = f"[{address}]" if ":" in address else address
        access = Access(secrets.token_urlsafe(48), PARTNER_ID)
        with _running(_server(simulation, access, hosts), listener):
            yield Sandbox(f"http://{shown}:{taken}", simulation, access)


class _Protocol(AutoHTTPProtocol):  # type: ignore[valid-type,misc]  # known at run time only
    """uvicorn's protocol (on httptools if it is installed, else h11), which also passes the
    connection to the application, so that it can be dropped."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        inner: Any = self.app

        async def shown(scope: Any, receive: Any, send: Any) -> None:
            scope.setdefault("extensions", {})[CONNECTION] = transport
            await inner(scope, receive, send)

        self.app: Any = shown


def _server(simulation: Simulation, access: Access, hosts: Hosts) -> uvicorn.Server:
    return uvicorn.Server(
        uvicorn.Config(
            app(simulation, access, hosts),
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_level="warning",
            access_log=False,
            date_header=False,
            server_header=False,
            proxy_headers=False,
        )
    )


def _scenario(wanted: str | Path | Scenario) -> Scenario:
    if isinstance(wanted, Scenario):
        return wanted
    return scenarios.read(wanted) if isinstance(wanted, Path) else scenarios.find(wanted)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's algorithm off only if the protocol is given; with it on, each answer of
    # two packets waits 40 ms for the client's delayed acknowledgement.
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
        thread.join(_GRACE_S)
        while thread.is_alive():
            # Requests that do not end by themselves: half sent, not read, or held by a fault.
            for connection in list(server.server_state.connections):
                connection.loop.call_soon_threadsafe(connection.transport.abort)
            thread.join(0.1)
