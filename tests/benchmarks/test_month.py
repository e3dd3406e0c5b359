"""A month of 100,000 batches: what measures take, beside the two groupings that they rest on.

    pytest tests/benchmarks/test_month.py --benchmark-enable -n0 -s

Each measure runs in a process of its own, on a store that nothing has read, and says what it took
and its peak memory. The two groupings are bare DuckDB on the same files: the first and last sight
of each wait, and of each missing dependency. Answers are compared with those of a small store's
frames elsewhere; here only that each ends, and what it takes.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import reach_analytics as reach
from reach_analytics.tables import STORED_SNAPSHOTS
from tests.benchmarks.month import build

MEASURES = {
    "release_rates": "history.release_rates()",
    "backlog": "history.backlog()",
    "survival": "history.survival()",
    "wait_outcomes": "history.wait_outcomes()",
    "collection_health": "history.collection_health()",
    "observations": "history.observations()",
    "bottlenecks": "history.bottlenecks()",
    "upload_plan": "history.upload_plan()",
    "report": "history.report('report.html')",
    "lost": "history.lost()",
    "a day's changes": "history.changes(since='24h')",
    "a record's story": "history.explain('TX-3983280')",
    "an hour's success": "history.filter(since='1h').success()",
    "a day's success": "history.filter(since='48h').success()",
    "a tenant's plan": "history.filter(tenant=history.tenants().tenant_name[0]).upload_plan(top=5)",
}
HOLDING = {
    "wait_outcomes",
    "observations",
    "survival",
    "lost",
}  # their frames come on top of the limit
LIMITS = [None, "2GB"]

OURS = """
import json, resource, sys, time
import reach_analytics as reach
begun = time.perf_counter()
history = reach.open_history(sys.argv[1], memory_limit=json.loads(sys.argv[2]))
{call}
took = time.perf_counter() - begun
print(json.dumps([took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20]))
"""
BARE = """
import json, resource, sys, time
import duckdb
begun = time.perf_counter()
lists = f"FROM read_parquet({sys.argv[1]}, hive_partitioning=false)"
seen = "min(first_received_at), max(first_received_at)"
own = f"(SELECT tenant_id, batch_id, first_received_at, unnest(pending_resources) p {lists})"
each = f"(SELECT tenant_id, first_received_at, unnest(p.missing_dependencies) m FROM {own})"
wait = "tenant_id, batch_id, p.id"
duckdb.sql(f"CREATE TABLE waits AS SELECT {wait}, {seen} FROM {own} GROUP BY ALL")
key = "tenant_id, m.schema_definition_id, m.external_id"
duckdb.sql(f"CREATE TABLE keys AS SELECT {key}, {seen} FROM {each} GROUP BY ALL")
took = time.perf_counter() - begun
print(json.dumps([took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20]))
"""


def measured(script: str, *arguments: str, cwd) -> tuple[float, float]:
    """Seconds, and peak memory in GiB."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=590,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    took, memory = json.loads(done.stdout.splitlines()[-1])
    return took, memory


@pytest.fixture(scope="module")
def month(full_size, tmp_path_factory) -> tuple[reach.Store, float]:
    """The store, and the seconds that the two groupings take."""
    place = tmp_path_factory.mktemp("month")
    store = build(reach.Store(place / "store", durable=False), 100_000 if full_size else 200)
    took, memory = measured(BARE, json.dumps(store.files(STORED_SNAPSHOTS)), cwd=place)
    print(f"\n{'two groupings, bare DuckDB':30} {took:6.1f} s {memory:5.1f} GB")
    return store, took


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("limit", LIMITS, ids=["", "2GB"])
@pytest.mark.parametrize("name", MEASURES)
def test_what_a_measure_takes(month, full_size, tmp_path, name, limit):
    if not full_size and (limit or name not in ("release_rates", "report")):
        pytest.skip("a few at small size")
    store, bare = month
    script = OURS.format(call=MEASURES[name])
    took, memory = measured(script, store.location, json.dumps(limit), cwd=tmp_path)
    print(f"\n{name:20} {limit or '':9} {took:6.1f} s {memory:5.1f} GB {took / bare:5.1f} x")
    assert limit is None or memory < 3 or name in HOLDING
