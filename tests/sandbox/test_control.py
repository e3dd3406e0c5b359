"""How much the sandbox's own routes read: a bounded amount, none of which is kept."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from reach_analytics import sandbox as sandboxes
from reach_analytics.sandbox._http.control import MAX_BYTES, MAX_STATE_BYTES
from reach_analytics.sandbox._simulation import Simulation
from reach_analytics.sandbox.assumptions import MAX_BODY_BYTES
from reach_analytics.sandbox.scenario import find

LIMITS = [
    ("POST", "/_sandbox/clock", MAX_BYTES),
    ("POST", "/_sandbox/reset", MAX_BYTES),
    ("PUT", "/_sandbox/faults", MAX_BYTES),
    ("PUT", "/_sandbox/state", MAX_STATE_BYTES),
    ("POST", "/partner/tenants", MAX_BODY_BYTES),
]


@pytest.fixture(scope="module")
def own():
    with sandboxes.serve("healthy") as sandbox:
        yield sandbox


def begin(sandbox, method: str, path: str, *headers: str) -> socket.socket:
    """A connection over which the head of a request has been sent."""
    host, port = sandbox.url.removeprefix("http://").split(":")
    token = f"Authorization: Bearer {sandbox.token()}"
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", token, *headers]
    lines += ["Content-Type: application/json", "", ""]
    connection = socket.create_connection((host, int(port)), 20)
    connection.sendall("\r\n".join(lines).encode())
    return connection


def answer(connection: socket.socket) -> tuple[int, dict]:
    got = b""
    while not got.endswith(b"}"):
        part = connection.recv(65536)
        assert part, got
        got += part
    head, _, document = got.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(document)


@pytest.mark.parametrize(("method", "path", "limit"), LIMITS)
def test_a_body_announced_as_too_large_is_refused_before_it_arrives(own, method, path, limit):
    for size in (limit + 1, 2**63 - 1):
        with begin(own, method, path, f"Content-Length: {size}") as connection:
            status, document = answer(connection)
        assert (status, document["success"], document["data"]) == (413, False, None)
        assert str(limit) in document["message"]


@pytest.mark.parametrize(("method", "path", "limit"), LIMITS[:3])
def test_a_body_that_grows_too_large_is_refused_while_it_arrives(own, method, path, limit):
    with begin(own, method, path, "Transfer-Encoding: chunked") as connection:
        for _ in range(limit // 50_000 + 1):
            connection.sendall(b"c350\r\n" + b" " * 50_000 + b"\r\n")
        assert answer(connection)[0] == 413  # though it has not ended


@pytest.mark.parametrize(("method", "path", "limit"), LIMITS[:2])
def test_a_body_of_exactly_the_limit_is_read(own, method, path, limit):
    body = b"{}".ljust(limit)
    with begin(own, method, path, f"Content-Length: {limit}") as connection:
        connection.sendall(body)
        assert answer(connection)[0] == 200


def test_a_year_fits_well_within_the_state_limit():
    """The largest of the shipped scenarios; simulated to its end it has 66 MB."""
    simulation = Simulation(find("year"), 0)
    sizes = []
    for day in (10, 40):
        simulation.advance(simulation.scenario.moments[day])
        sizes.append(len(simulation.save()))
    at_the_end = sizes[0] + (sizes[1] - sizes[0]) * (365 - 10) / (40 - 10)
    assert 55e6 < at_the_end < 0.6 * MAX_STATE_BYTES


SERVE = """
import sys
from reach_analytics import sandbox
with sandbox.serve("healthy") as sb:
    print(sb.url, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def apart():
    """(address, current memory in MB, peak memory in MB) of a sandbox in a separate process."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def held(what: str) -> float:
        status = Path(f"/proc/{process.pid}/status").read_text()
        return int(re.search(rf"{what}:\s+(\d+) kB", status)[1]) / 1024

    with process:
        url = process.stdout.readline().strip()
        yield url, lambda: held("VmRSS"), lambda: held("VmHWM")
        process.stdin.close()
        process.wait(20)


def endless(megabytes: int):
    for _ in range(megabytes):
        yield b" " * 1_000_000


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_a_huge_upload_takes_no_more_memory_than_the_limit_and_only_temporarily(
    apart,
):
    url, now, most = apart
    before = now()
    kind = {"Content-Type": "application/json"}
    for megabytes, status in ((1500, 413), (120, 422), (120, 422)):
        put = requests.put(
            url + "/_sandbox/state", data=endless(megabytes), headers=kind, timeout=60
        )
        assert (put.status_code, put.json()["success"]) == (status, False)
    end = time.monotonic() + 10
    while now() > before + 30 and time.monotonic() < end:
        time.sleep(0.05)  # it is freed once the answer is sent
    assert now() < before + 30
    assert most() < before + 1.5 * MAX_STATE_BYTES / 1e6
