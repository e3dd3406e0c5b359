"""Bytes of an unchanged observation on disk, and how fast the latest states are found.

    pytest tests/benchmarks/test_store.py --benchmark-enable

100k batches are observed a hundred times each, over ten days, and do not change. The reference for
the latest states is bare DuckDB on the same files; it takes the last state of each batch and
applies none of the other rules.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

import reach_analytics as reach
from reach_analytics.collector._observe.rows import to_tables
from reach_analytics.tables import STORED_OBSERVATIONS, STORED_SNAPSHOTS, TIME, Table
from tests.support.observations import batch, minute, observation

DAY = 86_400_000_000
START = DAY * 20_514  # 2026-03-02
DAYS, PASSES = 10, 10


@pytest.fixture(scope="module")
def batches(full_size) -> int:
    return 100_000 if full_size else 300


@pytest.fixture(scope="module")
def sizes(batches, tmp_path_factory):
    """(a compacted store, bytes of its observations before and after)."""
    store = reach.Store(tmp_path_factory.mktemp("observations") / "store")
    dice = np.random.default_rng(0)
    own = {
        "tenant_id": [f"t{n % 7}" for n in range(batches)],
        "batch_id": [str(uuid.UUID(bytes=dice.bytes(16))) for _ in range(batches)],
        "state_hash": [dice.bytes(16).hex() for _ in range(batches)],
    }
    store.append(*states(own, batches))
    for number in range(DAYS * PASSES):
        rows = observations(own, batches, number, dice)
        write_deltalake(DeltaTable(store.uri(STORED_OBSERVATIONS)), rows, mode="append")
    before = size(store)
    store.compact(now=datetime(2027, 1, 1, tzinfo=UTC))
    return store, before, size(store)


def states(own: dict, batches: int) -> tuple[pa.Table, pa.Table]:
    counts = dict.fromkeys(["total_records", "processed_records"], [100] * batches)
    times = {"first_received_at": moments([START] * batches)}
    fields = {"status": ["partial_success"] * batches, "has_pending_details": [False] * batches}
    rows = table(STORED_SNAPSHOTS, {**own, **counts, **times, **fields}, batches, [START] * batches)
    return rows, STORED_OBSERVATIONS.schema.empty_table()


def observations(own: dict, batches: int, number: int, dice: np.random.Generator) -> pa.Table:
    """A pass over all batches, each some milliseconds after the one before."""
    step = DAY // PASSES
    sent = START + number * step + np.arange(batches) * 20_000 + dice.integers(0, 9_000, batches)
    times = {
        "sent_at": moments(sent),
        "received_at": moments(sent + dice.integers(50_000, 400_000, batches)),
        "ingested_at": moments(sent + 1_000_000),
    }
    same = {"scope": "detail", "ok": True, "complete": True, "http_status": 200}
    same["run_id"] = str(uuid.UUID(bytes=dice.bytes(16)))
    fields = {name: [value] * batches for name, value in same.items()}
    return table(STORED_OBSERVATIONS, {**own, **times, **fields}, batches, sent)


def table(kind: Table, columns: dict, rows: int, when) -> pa.Table:
    days = pa.array(np.asarray(when) // DAY, pa.int32()).cast(pa.date32())
    known = {**columns, kind.partition: days}
    arrays = [
        pa.array(known[f.name], f.type) if f.name in known else pa.nulls(rows, f.type)
        for f in kind.schema
    ]
    return pa.Table.from_arrays(arrays, schema=kind.schema)


def moments(whole) -> pa.Array:
    return pa.array(np.asarray(whole), pa.int64()).cast(TIME)


def size(store: reach.Store) -> int:
    actions = pa.table(DeltaTable(store.uri(STORED_OBSERVATIONS)).get_add_actions(flatten=True))
    return sum(actions["size_bytes"].to_pylist())


def test_bytes_of_an_unchanged_observation(sizes, batches, full_size, capsys):
    store, before, after = sizes
    every = batches * DAYS * PASSES
    rows = store.tables()[1]
    found = rows.aggregate(rows=rows.count(), folded=rows.repeats.length().sum()).to_pyarrow()
    [(kept, folded)] = [tuple(row.values()) for row in found.to_pylist()]
    assert kept + folded == every
    assert after < before
    with capsys.disabled():
        if full_size:
            print(
                f"\nbytes an observation: {before / every:.1f}, compacted {after / every:.1f}",
                end="",
            )
            print(f" ({kept / every:.0%} of the rows)")
            assert after / every <= 64


def ours(store: reach.Store) -> pa.Table:
    return reach.open_history(store).tables.batches.to_pyarrow()


def bare_duckdb(store: reach.Store) -> pa.Table:
    query = f"""
        SELECT * FROM (
            SELECT tenant_id, batch_id, arg_max(state_hash, sent_at) AS state_hash
            FROM read_parquet({store.files(STORED_OBSERVATIONS)}) WHERE ok GROUP BY ALL
        ) JOIN read_parquet({store.files(STORED_SNAPSHOTS)}) USING (tenant_id, batch_id, state_hash)
    """
    with duckdb.connect() as connection:
        return connection.sql(query).to_arrow_table()


WAYS = {"ours": ours, "bare DuckDB": bare_duckdb}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.benchmark(group="latest states")
def test_latest_states(benchmark, sizes, batches, way, full_size):
    store = sizes[0]
    rounds = 5 if full_size else 1
    rows = benchmark.pedantic(WAYS[way], args=(store,), rounds=rounds, warmup_rounds=1)
    assert rows.num_rows == batches


@pytest.mark.parametrize("durable", [True, False], ids=["durable", "not durable"])
def test_an_append_of_a_few_observations(durable, benchmark, tmp_path):
    """As `watch` appends them; the reference is the same without syncs."""
    store = reach.Store(tmp_path / "store", durable=durable)
    numbers = iter(range(100_000))

    def append() -> None:
        number = next(numbers)
        own = [observation(batch(f"b{number}-{n}", {"A": "xy"}), number) for n in range(3)]
        store.append(*to_tables(own, minute(number)))

    benchmark.pedantic(append, rounds=60, warmup_rounds=3)
