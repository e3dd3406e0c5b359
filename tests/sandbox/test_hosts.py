"""Which requests the sandbox accepts: by their Host, and by the page that sends them."""

from __future__ import annotations

import json
import socket
from email.utils import parsedate_to_datetime

import pytest

from reach_analytics import sandbox as sandboxes
from reach_analytics.sandbox import faults
from reach_analytics.sandbox._http import openapi
from reach_analytics.sandbox._http.hosts import Hosts

CLOCK = "/_sandbox/clock"
TURN = b'{"advanceSeconds": 60}'


@pytest.fixture(scope="module")
def own():
    with sandboxes.serve("healthy") as sandbox:
        yield sandbox


def ask(sandbox, *headers: str, method="GET", path=CLOCK, body=b"", version="1.1"):
    """Status and document of the answer to a request with just these headers."""
    port = int(sandbox.url.rpartition(":")[2])
    lines = [f"{method} {path} HTTP/{version}", *headers, f"Content-Length: {len(body)}"]
    lines += ["Content-Type: application/json", "Connection: close", "", ""]
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall("\r\n".join(lines).encode("latin-1") + body)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, document = answer.partition(b"\r\n\r\n")
    assert document, answer
    return int(head.split()[1]), json.loads(document), head


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:80",
        "LocalHost:9",
        "localhost.",
        "127.0.0.1",
        "127.0.0.1:8000",
        "127.9.9.9",
        "[::1]",
        "[::1]:8000",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "127.0.0.1:",
        "127.0.0.1.",
        "  127.0.0.1\t",
    ],
)
def test_it_answers_to_loopback_under_any_port(own, host):
    assert ask(own, f"Host: {host}")[0] == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil.localhost",
        "localhost..",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "0.0.0.0",
        "192.168.1.5",
        "[::]",
        "[fe80::1]",
        "[::ffff:10.0.0.1]",
        "a" * 254,
    ],
)
@pytest.mark.parametrize("path", [CLOCK, "/openapi.json", "/api/batches", "/nowhere"])
def test_other_hosts_are_refused_as_misdirected_on_every_route(own, host, path):
    status, document, head = ask(own, f"Host: {host}", path=path)
    assert (status, document["success"], document["data"]) == (421, False, None)
    assert "--allow-host" in document["message"]
    assert b"421 Misdirected Request" in head


@pytest.mark.parametrize(
    "headers",
    [
        (),
        ("Host: ",),
        ("Host: localhost", "Host: localhost"),
        ("Host: localhost", "Host: evil.example"),
        ("Host: user@localhost",),
        ("Host: evil.example@127.0.0.1",),
        ("Host: localhost, evil.example",),
        ("Host: localhost evil.example",),
        ("Host: localhost/",),
        ("Host: http://localhost",),
        ("Host: localhost#",),
        ("Host: localhost:80:80",),
        ("Host: localhost:-1",),
        ("Host: localhost:123456",),
        ("Host: l\xf6calhost",),
        ("Host: %6cocalhost",),
        ("Host: ::1",),
        ("Host: [::1",),
        ("Host: [::1]x",),
        ("Host: [127.0.0.1]",),
        ("Host: [::1%25lo]",),
        ("Host: [::1%lo]",),
        ("Host: .",),
        ("Host: " + "1" * 20_000,),
        ("Host: localhost" + " " * 20_000 + "evil.example",),
    ],
)
def test_missing_repeated_and_invalid_hosts_are_bad_requests(own, headers):
    status, document, _ = ask(own, *headers)
    assert (status, document["success"]) == (400, False)
    assert "Host header" in document["message"]


def test_a_request_without_host_is_refused_in_http_1_0_too(own):
    assert ask(own, version="1.0")[0] == 400
    assert ask(own, "Host: localhost", version="1.0")[0] == 200


def test_a_rebound_page_cannot_advance_the_clock_and_leaves_no_trace(own):
    before, logged = own.now(), len(own.requests)
    own.set_faults(faults.Failure(times=1))
    for path in (CLOCK, "/api/batches"):
        status, _, head = ask(own, "Host: evil.example", method="POST", path=path, body=TURN)
        assert status == 421
        date = next(line for line in head.splitlines() if line.startswith(b"date: "))
        told = parsedate_to_datetime(date[6:].decode())
        assert abs((told - own.world.time).total_seconds()) <= 1
    assert (own.now() - before).total_seconds() < 1
    assert len(own.requests) == logged
    assert ask(own, "Host: localhost", path="/api/batches")[0] == 503  # by the fault, not used up
    own.set_faults()


@pytest.mark.parametrize(
    "headers",
    [
        ("Sec-Fetch-Site: cross-site",),
        ("Origin: http://evil.example",),
        ("Origin: null",),
        ("Origin: https://localhost.evil.example",),
        ("Origin: http://127.0.0.2",),
        ("Origin: file://",),
        ("Origin: http://localhost", "Origin: http://evil.example"),
        ("Sec-Fetch-Site: cross-site", "Origin: http://localhost:3000"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_pages_of_other_sites_do_not_reach_the_sandboxs_own_routes(own, headers, method):
    before = own.now()
    status, document, _ = ask(own, "Host: localhost", *headers, method=method, body=TURN)
    assert (status, document["success"]) == (403, False)
    assert "other sites" in document["message"]
    assert (own.now() - before).total_seconds() < 1
    # The API's own routes ask for a token, which no such page has.
    assert ask(own, "Host: localhost", *headers, path="/api/batches")[0] == 401


@pytest.mark.parametrize(
    "headers",
    [
        ("Sec-Fetch-Site: none",),
        ("Sec-Fetch-Site: same-origin", "Origin: http://localhost:8000"),
        ("Origin: http://localhost:3000",),
        ("Origin: https://LOCALHOST",),
    ],
)
def test_pages_of_this_host_and_typed_addresses_do(own, headers):
    assert ask(own, "Host: localhost:8000", *headers, method="POST", body=TURN)[0] == 200


def test_elsewhere_it_answers_to_every_address_and_to_the_given_names():
    with sandboxes.serve(
        "healthy", host="0.0.0.0", allow_remote=True, allow_hosts=["Sandbox.", "box.example"]
    ) as sandbox:
        for host in ("10.1.2.3:80", "0.0.0.0", "[fe80::1]", "localhost", "sandbox", "BOX.example"):
            assert ask(sandbox, f"Host: {host}")[0] == 200, host
        for host in ("evil.example", "sandbox.evil.example", "example"):
            assert ask(sandbox, f"Host: {host}")[0] == 421, host
        # A page at an address may still be another site.
        assert ask(sandbox, "Host: 10.1.2.3", "Origin: http://10.6.6.6")[0] == 403


def test_names_may_be_given_on_loopback_too_and_the_refusal_lists_them():
    with sandboxes.serve("healthy", allow_hosts=["api.test"]) as sandbox:
        assert ask(sandbox, "Host: api.test:1234")[0] == 200
        _, document, _ = ask(sandbox, "Host: 10.1.2.3")
        assert "loopback addresses and to 127.0.0.1, api.test, localhost" in document["message"]


@pytest.mark.parametrize("name", ["", "a b", "box:80", "http://box", "*", "[::1]:80", "a" * 300])
def test_odd_host_names_are_refused(name):
    with pytest.raises(ValueError, match="names and addresses without port"):
        Hosts("127.0.0.1", [name])


def test_it_answers_to_the_name_it_listens_on():
    hosts = Hosts("Box.Example")
    assert hosts.refusal([(b"host", b"box.example:80")], own=True) is None
    assert Hosts("127.0.0.1", ["fe80::1"]).refusal([(b"host", b"[FE80::1]")], own=True) is None


def test_the_contract_names_these_refusals():
    for path, item in openapi.document()["paths"].items():
        for method in item.keys() - {"parameters"}:
            answers = item[method]["responses"].keys()
            assert {"400", "421"} <= answers, (path, method)
            assert not path.startswith("/_sandbox/") or "403" in answers
