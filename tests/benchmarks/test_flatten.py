"""From the store to the `dependencies` frame: ours, bare DuckDB and pandas, in one run.

    pytest tests/benchmarks/test_flatten.py --benchmark-enable

The printed table gives each time relative to the fastest. The memory test prints the peak of a
separate process as a multiple of the resulting frame.
"""

from __future__ import annotations

import json
import subprocess
import sys

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import reach_analytics as reach
from reach_analytics.tables import (
    DEPENDENCIES,
    MISSING_DEPENDENCY,
    PENDING_RESOURCE,
    STORED_OBSERVATIONS,
    STORED_SNAPSHOTS,
    TIME,
    shown,
)

EACH = 100  # pending resources in a batch
MISSING = 2  # dependencies that each of them misses

NAMES = ["tenant_id", "batch_id", "pending_id", "external_id", "schema_definition_id"]
NAMES += ["schema_name", "created_at", "expires_at", "missing_schema_definition_id"]
NAMES += ["missing_external_id", "missing_schema_name"]


@pytest.fixture(scope="module")
def store(full_size, tmp_path_factory) -> reach.Store:
    """1M dependency rows in 5000 batches; 10k in 50 otherwise."""
    store = reach.Store(tmp_path_factory.mktemp("flatten") / "store")
    store.append(*tables(5000 if full_size else 50))
    return store


def tables(batches: int) -> tuple[pa.Table, pa.Table]:
    resources = batches * EACH
    rows = resources * MISSING
    when = pa.array(1_772_431_200_000_000 + np.arange(resources) * 1000).cast(TIME)
    missing = pa.StructArray.from_arrays(
        [texts("5f0c{:032}", rows, 3), texts("CUST-{}", rows, 50_000), texts("contacts", rows)],
        fields=list(MISSING_DEPENDENCY),
    )
    waiting = pa.StructArray.from_arrays(
        [
            *(texts("{:036}", resources), texts("TX-{}", resources)),
            *(texts("5f0c-transactions", resources), texts("transactions", resources), when, when),
            pa.ListArray.from_arrays(offsets(resources, MISSING), missing),
        ],
        fields=list(PENDING_RESOURCE),
    )
    own = {
        "tenant_id": texts("t{}", batches, 7),
        "batch_id": texts("{:036}", batches),
        "state_hash": texts("{:032}", batches),
        "pending_resources": pa.ListArray.from_arrays(offsets(batches, EACH), waiting),
        "has_pending_details": pa.array([True] * batches),
        "ok": pa.array([True] * batches),
        "complete": pa.array([True] * batches),
        "run_id": texts("run", batches),
        "scope": texts("detail", batches),
    }
    moment = pa.array([1_772_431_200_000_000] * batches).cast(TIME)
    own |= dict.fromkeys(["first_received_at", "sent_at", "received_at", "ingested_at"], moment)
    own |= dict.fromkeys(["snapshot_date", "observed_date"], moment.cast(pa.date32()))
    return tuple(
        pa.table([own.get(f.name, pa.nulls(batches, f.type)) for f in t.schema], schema=t.schema)
        for t in (STORED_SNAPSHOTS, STORED_OBSERVATIONS)
    )


def texts(pattern: str, count: int, different: int | None = None) -> pa.Array:
    return pa.array([pattern.format(i % (different or count)) for i in range(count)])


def offsets(count: int, each: int) -> pa.Array:
    return pa.array(np.arange(count + 1) * each, pa.int32())


def ours(store: reach.Store) -> pd.DataFrame:
    return reach.open_history(store).dependencies()


def bare_duckdb(store: reach.Store) -> pd.DataFrame:
    query = f"""
        SELECT tenant_id, batch_id, p.id, p.resource_external_id, p.schema_definition_id,
               p.schema_name, p.created_at, p.expires_at, m.schema_definition_id, m.external_id,
               m.schema_name
        FROM (SELECT tenant_id, batch_id, p, unnest(p.missing_dependencies) AS m
              FROM (SELECT tenant_id, batch_id, unnest(pending_resources) AS p
                    FROM read_parquet({store.files(STORED_SNAPSHOTS)})))
    """
    with duckdb.connect() as connection:
        table = connection.sql(query).to_arrow_table()
    return table.rename_columns(NAMES).to_pandas(split_blocks=True)


def with_pandas(store: reach.Store) -> pd.DataFrame:
    """The usual way: explode, json_normalize, explode, json_normalize."""
    batches = pd.read_parquet(
        store.files(STORED_SNAPSHOTS), columns=["tenant_id", "batch_id", "pending_resources"]
    )
    one = batches.explode("pending_resources", ignore_index=True)
    flat = pd.concat([one, pd.json_normalize(one.pop("pending_resources").tolist())], axis=1)
    each = flat.explode("missing_dependencies", ignore_index=True)
    missing = pd.json_normalize(each.pop("missing_dependencies").tolist()).add_prefix("missing_")
    renamed = {"id": "pending_id", "resource_external_id": "external_id"}
    return pd.concat([each, missing], axis=1).rename(columns=renamed)[NAMES]


WAYS = {"ours": ours, "bare DuckDB": bare_duckdb, "pandas": with_pandas}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.benchmark(group="dependencies from the store")
def test_flatten(benchmark, store, way, full_size):
    rounds = {"pandas": 2}.get(way, 7) if full_size else 1
    frame = benchmark.pedantic(WAYS[way], args=(store,), rounds=rounds, warmup_rounds=1)
    expected = with_pandas(store) if not full_size else None
    if expected is not None:
        sort = ["pending_id", "missing_external_id"]
        pd.testing.assert_frame_equal(
            frame[NAMES].sort_values(sort, ignore_index=True).astype(str),
            expected.sort_values(sort, ignore_index=True).astype(str),
        )


MEASURE = r"""
import json, re, sys
from tests.benchmarks import test_flatten as bench
import reach_analytics as reach, pandas, pyarrow, duckdb, ibis
store = reach.Store(sys.argv[1])
reach.open_history(store).tables.dependencies.limit(1).to_pyarrow()  # loads what any query loads
def memory(name):  # in /proc, since getrusage's peak is inherited from the parent process
    return int(re.search(name + r":\s+(\d+) kB", open("/proc/self/status").read())[1]) * 1024
before = memory("VmRSS")
frame = bench.WAYS[sys.argv[2]](store)
print(json.dumps([memory("VmHWM") - before, int(frame.memory_usage(deep=True).sum())]))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_of_flattening(store, full_size, capsys):
    """Peak memory growth of a process that flattens, compared with the size of its frame."""
    for way in WAYS if full_size else ["ours"]:
        done = subprocess.run(
            [sys.executable, "-c", MEASURE, store.location, way],
            capture_output=True,
            text=True,
            check=True,
        )
        grown, size = json.loads(done.stdout)
        assert size > 0
        with capsys.disabled():
            if full_size:
                print(f"\n{way}: frame {size / 1e6:.0f} MB, peak growth {grown / size:.2f} x")


def test_the_frame_has_the_documented_columns(store):
    assert ours(store).columns.tolist() == [column.name for column in shown(DEPENDENCIES)]
