"""Which hosts the sandbox answers to, so that no page in a browser can control it.

A page of ``evil.example`` may let its name resolve to 127.0.0.1 once it is loaded (DNS rebinding);
the browser then takes the sandbox for a part of that site. But it cannot keep the name out of the
``Host`` header. Addresses need no resolving, so they cannot be rebound.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache

from starlette.responses import Response

from reach_analytics.sandbox._http.web import refusal

Headers = Iterable[tuple[bytes, bytes]]

_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]{2,45})\]|([A-Za-z0-9._-]{1,254}))(?::[0-9]{0,5})?")
_LONGEST = 300  # bytes; longer ones are invalid
_SCHEME = re.compile(r"https?://")


class Hosts:
    """The hosts that a sandbox answers to, and its refusal of requests meant for others.

    Parameters
    ----------
    bound : str
        Where it listens. If that is loopback, it answers to ``localhost`` and loopback addresses;
        else to every address too, and to ``bound`` if that is a name.
    also : iterable of str
        Further names or addresses, without port.

    Raises
    ------
    ValueError
        If one of these is not a valid host.

    Examples
    --------
    >>> hosts = Hosts("127.0.0.1")
    >>> hosts.refusal([(b"host", b"localhost:8000")], own=True) is None
    True
    >>> hosts.refusal([(b"host", b"evil.example")], own=True).status_code
    421
    """

    def __init__(self, bound: str, also: Iterable[str] = ()) -> None:
        self._addresses = not is_loopback(bound)
        self._named = {"localhost", bound.lower().rstrip(".")}
        for name in also:
            address = _address(name)
            host = _host_of(name) if address is None else str(address)
            if host is None or (address is None and ":" in name):
                raise ValueError(
                    f"allow_hosts takes names and addresses without port, found {name!r}"
                )
            self._named.add(host)

    def refusal(self, headers: Headers, *, own: bool) -> Response | None:
        """The answer to a request that is not for this sandbox, or that another site's page has
        sent to one of its ``own`` routes; None if the request is allowed."""
        given: dict[bytes, list[str]] = {b"host": [], b"origin": [], b"sec-fetch-site": []}
        for name, value in headers:
            if name in given:
                given[name].append(value.decode("latin-1").strip()[:_LONGEST])
        if len(given[b"host"]) != 1:
            return refusal(400, f"one Host header is needed, found {len(given[b'host'])}")
        host = _host_of(given[b"host"][0])
        if host is None:
            return refusal(400, "the Host header is not a host with or without a port")
        if not self._answers_to(host):
            return refusal(421, self._advice(host))
        if own and _is_from_elsewhere(host, given[b"origin"], given[b"sec-fetch-site"]):
            return refusal(403, "pages of other sites cannot control the sandbox")
        return None

    def _answers_to(self, host: str) -> bool:
        if host in self._named or is_loopback(host):
            return True
        return self._addresses and _address(host) is not None

    def _advice(self, host: str) -> str:
        meant = "addresses" if self._addresses else "loopback addresses"
        named = ", ".join(sorted(self._named))
        return (
            f"this sandbox answers to {meant} and to {named}, found Host {host!r}; "
            "allow_hosts, or --allow-host, names others"
        )


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Whether this name or address is this machine's own, whatever a name server says."""
    address = _address(host)
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    return host == "localhost" if address is None else address.is_loopback


def _is_from_elsewhere(host: str, origins: list[str], sites: list[str]) -> bool:
    """Whether the headers show that a page of another host sent this."""
    if "cross-site" in sites:
        return True
    return any(_host_of(_SCHEME.sub("", origin, 1)) != host for origin in origins)


@lru_cache(maxsize=256)
def _host_of(text: str) -> str | None:
    """The host of a ``Host`` header in normal form, without its port; None if it is invalid."""
    found = _HOST.fullmatch(text)
    if found is None:
        return None
    six, name = found.groups()
    if name:
        return name.lower().removesuffix(".") or None
    address = _address(six)
    return str(address) if isinstance(address, ipaddress.IPv6Address) else None


@lru_cache(maxsize=256)
def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
