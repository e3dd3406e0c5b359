"""Requests per second of the sandbox, and memory of a large world.

    pytest tests/benchmarks/test_sandbox.py --benchmark-enable

wrk (Debian's package) asks for one small batch over 16 connections, server and wrk on a core
each. The reference is a Starlette route that answers with the same bytes and checks nothing.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap

import pytest
import requests

WRK = shutil.which("wrk")
RESOURCES = 1_000_000

SERVE = """
import sys, time
import reach_analytics as reach
with reach.sandbox.serve("healthy") as sandbox:
    sandbox.advance(sandbox.scenario.moments[3])
    batch = next(iter(sandbox.world.batches.values()))
    print(sandbox.url + "/api/batches/" + batch.id, sandbox.token(), batch.tenant_id, flush=True)
    sys.stdin.read()
"""
BARE = """
import asyncio, socket, sys, threading
import uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
body = sys.argv[1].encode()
async def answer(request):
    request.path_params["batch_id"]
    return Response(body, media_type="application/json")
listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
listener.bind(("127.0.0.1", 0))
listener.listen(128)
app = Starlette(routes=[Route("/api/batches/{batch_id}", answer)])
server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True).start()
print(f"http://127.0.0.1:{listener.getsockname()[1]}/api/batches/x", flush=True)
sys.stdin.read()
"""


class Server:
    """A program that prints where it listens, on its own core."""

    def __init__(self, program: str, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        os.sched_setaffinity(self.process.pid, {min(os.sched_getaffinity(0))})
        self.url, *self.access = self.process.stdout.readline().split()

    @property
    def headers(self) -> dict[str, str]:
        token, tenant = self.access or ("none", "none")
        return {"Authorization": f"Bearer {token}", "reach-tenant-id": tenant}

    def stop(self) -> None:
        self.process.communicate("")


@pytest.fixture(scope="module")
def servers():
    ours = Server(SERVE)
    body = requests.get(ours.url, headers=ours.headers, timeout=10).text
    assert json.loads(body)["success"] is True
    both = {"the sandbox": ours, "a bare Starlette route": Server(BARE, body)}
    yield both
    for server in both.values():
        server.stop()


def requests_a_second(server: Server, seconds: int) -> float:
    headers = [part for k, v in server.headers.items() for part in ("-H", f"{k}: {v}")]
    done = subprocess.run(
        [WRK, "-t1", "-c16", f"-d{seconds}s", *headers, server.url],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {max(os.sched_getaffinity(0))}),
    )
    assert "Non-2xx" not in done.stdout, done.stdout
    return float(re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)[1])


@pytest.mark.skipif(WRK is None, reason="wrk is not installed")
def test_requests_for_a_small_batch(servers, full_size, capsys):
    """Alternates between both; prints the medians and their ratio."""
    rounds, seconds = (5, 3) if full_size else (1, 1)
    rates = {name: [] for name in servers}
    for _ in range(rounds):
        for name, server in servers.items():
            rates[name].append(requests_a_second(server, seconds))
    medians = {name: sorted(found)[len(found) // 2] for name, found in rates.items()}
    assert all(medians.values())
    ours, bare = medians.values()
    with capsys.disabled():
        for name, found in rates.items():
            print(f"\n{name}: {medians[name]:,.0f} a second ({min(found):,.0f}-{max(found):,.0f})")
        print(f"ratio: {ours / bare:.2f}")


GROW = """
import random, re, sys
from datetime import UTC, datetime, timedelta
from reach_analytics.sandbox import World
count, wait_s = int(sys.argv[1]), int(sys.argv[2])
rng = random.Random(0)
world = World(datetime(2026, 3, 2, tzinfo=UTC), records_per_second=1000)
tenant = world.add_tenant("T", "t")
to = {"$ref": "reach:schemas/contacts"}
world.add_schema("contacts", "contacts_schema", {"email": {"type": "string"}})
world.add_schema("sales", "transactions_schema", {"of": to, "by": to, "n": {"type": "number"}})
def send(schema, records):
    for i in range(0, len(records), 1000):
        world.ingest(tenant.id, schema, records[i : i + 1000], wait_s=wait_s)
        world.advance(world.time + timedelta(seconds=6))
contacts = count // 10
if not wait_s:
    send("contacts", [{"externalId": f"C-{i:07}", "email": f"{i}@x.io"} for i in range(contacts)])
def name():
    return f"C-{rng.randrange(contacts):07}"
for start in range(0, count - (0 if wait_s else contacts), 10_000):
    send("sales", [{"externalId": f"S-{start + i:07}", "of": name(), "by": name(),
                    "n": rng.random()} for i in range(min(10_000, count))])
held = sum(len(library.resources) for library in world.libraries.values())
held += sum(len(batch.pending) for batch in world.batches.values())
print(held, re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(("what", "wait_s"), [("stored", 0), ("waiting", 86_400)])
def test_memory_of_a_large_world(what, wait_s, full_size, capsys):
    """The peak of a process that holds a world of a million resources."""
    count = RESOURCES if full_size else 2000
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(GROW), str(count), str(wait_s)],
        capture_output=True,
        text=True,
        check=True,
    )
    held, kilobytes = map(int, done.stdout.split())
    assert held >= count
    with capsys.disabled():
        if full_size:
            print(f"\n{held:,} resources {what}: peak {kilobytes / 1e6:.2f} GB")
