"""Throughput of observations compared with a bare loop and with dlt, and memory of a pass.

    pytest tests/benchmarks/test_collect.py --benchmark-enable -s

All of them query the same server, in a separate process, over loopback. The bare loop is `requests`
with as many threads, which reads each answer as JSON and keeps nothing.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import requests

import reach_analytics as reach

THREADS = 8
YEAR = """
import json, sys
import reach_analytics as reach
with reach.sandbox.serve("year") as sandbox:
    sandbox.advance(sandbox.scenario.moments[int(sys.argv[1])])
    tenant = max(sandbox.world.batches_of, key=lambda t: len(sandbox.world.batches_of[t]))
    ids = [batch.id for batch in sandbox.world.batches_of[tenant]]
    told = {"url": sandbox.url, "token": sandbox.token(), "tenant": tenant, "ids": ids}
    print(json.dumps(told), flush=True)
    sys.stdin.read()
"""


@contextmanager
def running(program: str, *arguments: str) -> Iterator[str]:
    """A program in a separate process, and the line it prints when it is ready."""
    command = [sys.executable, "-c", program, *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process.stdout.readline()
    finally:
        process.communicate("")


@pytest.fixture(scope="module")
def year(full_size):
    """(url, token, tenant, ids) of the year's world, served by another process."""
    with running(YEAR, "-1" if full_size else "1") as told:
        yield json.loads(told)


def bare(year, ids: list[str]) -> float:
    """Observations per second of a `requests` loop."""
    own = threading.local()

    def observation(batch_id: str) -> dict:
        if not hasattr(own, "session"):
            own.session = requests.Session()
            own.session.trust_env = False
            own.session.headers["Authorization"] = f"Bearer {year['token']}"
            own.session.headers["reach-tenant-id"] = year["tenant"]
        url = f"{year['url']}/api/batches/{batch_id}?includePendingDetails=true"
        return own.session.get(url, timeout=10).json()

    with ThreadPoolExecutor(THREADS) as pool:
        begun = time.perf_counter()
        assert all(answer["success"] for answer in pool.map(observation, ids))
        return len(ids) / (time.perf_counter() - begun)


def client_of(year) -> reach.Client:
    options = {"token": year["token"], "tenant_id": year["tenant"], "base_url": year["url"]}
    return reach.Client(**options, threads=THREADS)


def ours(year, ids: list[str], place) -> float:
    """Observations per second of `collect`, including reading, comparing and storing."""
    with client_of(year) as client:
        begun = time.perf_counter()
        run = reach.collect(client, place, batch_ids=ids, progress=False)
        taken = time.perf_counter() - begun
    assert (run.observations, run.failed_observations) == (len(ids), 0)
    return len(ids) / taken


def listed_by_us(year, place) -> tuple[int, float]:
    with client_of(year) as client:
        begun = time.perf_counter()
        run = reach.collect(client, place, progress=False)
        return run.batches, time.perf_counter() - begun


def listed_by_dlt(year, place) -> tuple[int, float]:
    dlt = pytest.importorskip("dlt")
    from dlt.sources.rest_api import rest_api_source

    source = rest_api_source(
        {
            "client": {
                "base_url": year["url"],
                "auth": {"type": "bearer", "token": year["token"]},
                "headers": {"reach-tenant-id": year["tenant"]},
                "paginator": {
                    "type": "cursor",
                    "cursor_path": "data.pagination.cursor",
                    "cursor_param": "cursor",
                },
            },
            "resources": [
                {
                    "name": "batches",
                    "endpoint": {
                        "path": "api/batches",
                        "params": {"limit": "100"},
                        "data_selector": "data.results",
                    },
                }
            ],
        }
    )
    pipeline = dlt.pipeline(
        "reach",
        pipelines_dir=str(place / "work"),
        destination=dlt.destinations.filesystem(f"file://{place / 'out'}"),
        dataset_name="reach",
    )
    begun = time.perf_counter()
    pipeline.run(source, loader_file_format="parquet")
    taken = time.perf_counter() - begun
    return pipeline.last_trace.last_normalize_info.row_counts["batches"], taken


def test_collect_is_nearly_as_fast_as_a_bare_loop(year, tmp_path, full_size, capsys):
    ids = year["ids"][:3000] if full_size else year["ids"][:30]
    rounds = 5 if full_size else 1
    pairs = []
    for number in range(rounds):
        pairs.append((bare(year, ids), ours(year, ids, tmp_path / f"s{number}")))
    share = statistics.median(us / them for them, us in pairs)
    with capsys.disabled():
        them, us = (statistics.median(column) for column in zip(*pairs, strict=True))
        print(
            f"\nlooks a second: requests {them:,.0f}, collect {us:,.0f}; median share {share:.0%}"
        )
    assert share > (0.7 if full_size else 0)


def test_a_listing_loads_faster_than_with_dlt(year, tmp_path, full_size, capsys):
    times = {"collect": [], "dlt": []}
    for number in range(3 if full_size else 1):
        rows, seconds = listed_by_us(year, tmp_path / f"ours{number}")
        times["collect"].append(seconds)
        (tmp_path / f"dlt{number}").mkdir()
        loaded, seconds = listed_by_dlt(year, tmp_path / f"dlt{number}")
        times["dlt"].append(seconds)
        assert loaded == rows == len(year["ids"])
    medians = {name: statistics.median(values) for name, values in times.items()}
    with capsys.disabled():
        told = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in medians.items())
        print(f"\na listing of {rows:,} batches: {told}")
    assert not full_size or medians["collect"] < medians["dlt"]


MANY = """
import json, socket, sys, threading
import uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
COUNT, PAGE, WAITS = int(sys.argv[1]), 100, 100
EXPIRES = "2026-12-01T00:00:00Z"

def batch(number, waits=None):
    progress = {"totalRecords": 200, "processedRecords": 200, "successfulRecords": 100,
                "pendingRecords": WAITS, "failedRecords": 0}
    document = {"batchId": f"b{number:06}", "status": "partial_success", "progress": progress,
                "createdAt": "2026-11-01T00:00:00Z", "schemaName": "visits"}
    return document if waits is None else document | {"pendingResources": waits}

def waits(number):
    return [{"id": f"p{number}-{n}", "resourceExternalId": f"VIS-{number}-{n}",
             "schemaDefinitionId": "s1", "schemaName": "visits",
             "createdAt": "2026-11-01T00:00:00Z", "expiresAt": EXPIRES,
             "missingDependencies": [{"schemaDefinitionId": "s2", "schemaName": "pets",
                                      "externalId": f"PET-{number}-{n}"}]} for n in range(WAITS)]

def answer(data):
    told = {"success": True, "message": "", "data": data}
    return Response(json.dumps(told), media_type="application/json")

async def one(request):
    number = int(request.path_params["batch_id"][1:])
    return answer(batch(number, waits(number)))

async def listing(request):
    start = int(request.query_params.get("cursor", 0))
    end = min(start + PAGE, COUNT)
    more = {"hasNextPage": end < COUNT, "total": COUNT, "cursor": str(end)}
    return answer({"results": [batch(n) for n in range(start, end)], "pagination": more})

listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
listener.bind(("127.0.0.1", 0))
listener.listen(128)
app = Starlette(routes=[Route("/api/batches/{batch_id}", one), Route("/api/batches", listing)])
server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True).start()
print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
sys.stdin.read()
"""
PASS = """
import sys, time
from datetime import timedelta
import reach_analytics as reach
url, place, how = sys.argv[1:]
with reach.Client(token="abc", tenant_id="t", base_url=url) as client:
    begun = time.perf_counter()
    if how == "collect":
        run = reach.collect(client, place, progress=False)
    else:
        day = timedelta(days=1)
        seldom = reach.PollingPolicy(
            min_interval=day, waiting_min_interval=day, max_interval=day
        )
        def wait(seconds):
            raise KeyboardInterrupt  # everything has been observed
        run = reach.watch(client, place, policy=seldom, progress=False, wait=wait)
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(run.observations, time.perf_counter() - begun, int(peak.split()[1]) / 1e6)
"""


def a_pass(count: int, place, how: str) -> tuple[int, float, float]:
    """Observations, seconds and peak memory in GB of a pass; each batch has 100 pending."""
    with running(MANY, str(count)) as url:
        command = [sys.executable, "-c", PASS, url.strip(), str(place), how]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    observations, seconds, peak = done.stdout.split()
    return int(observations), float(seconds), float(peak)


@pytest.mark.parametrize("how", ["collect", "watch"])
def test_memory_stays_flat_however_many_batches_wait(tmp_path, full_size, capsys, how):
    peaks = []
    for count in (10_000, 100_000) if full_size else (50,):
        observations, seconds, peak = a_pass(count, tmp_path / f"{count}", how)
        assert observations == 2 * count
        peaks.append(peak)
        with capsys.disabled():
            told = f"{count:,} batches, 100 pending each: {seconds:,.0f} s, peak {peak:.2f} GB"
            print(f"\n{how}, {told}")
    assert max(peaks) < 1.0
