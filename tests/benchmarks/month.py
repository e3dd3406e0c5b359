"""A month of a middling partner: a store of many batches and waits, made at once.

Each batch has four states and eight observations, two of each state, which list 0, 40, 20 and 10
pending resources; each of these misses one or two keys of its tenant. By their age some batches
still wait, in others the rest has expired.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

import reach_analytics as reach
from reach_analytics.tables import (
    MISSING_DEPENDENCY,
    PENDING_RESOURCE,
    STORED_OBSERVATIONS,
    STORED_SNAPSHOTS,
    TIME,
    Table,
)

MINUTE, DAY = 60_000_000, 86_400_000_000
START = DAY * 20_514  # 2026-03-02
DAYS, TENANTS, KEYS = 30, 200, 500
LISTED = (0, 40, 20, 10)  # pending resources of each state
AFTER = np.array([0, 2, 10, 20, 60, 90, 180, 200]) * MINUTE  # observations, since its creation
LIVES = np.repeat([600, 100], [10, 30]) * MINUTE  # of a batch's waits, in the order of its lists
CHUNK = 5_000  # batches


def build(store: reach.Store, batches: int, seed: int = 0) -> reach.Store:
    """Write the batches to an empty store."""
    dice = np.random.default_rng(seed)
    store.append(*(t.schema.empty_table() for t in (STORED_SNAPSHOTS, STORED_OBSERVATIONS)))
    for first in range(0, batches, CHUNK):
        number = np.arange(first, min(first + CHUNK, batches))
        created = START + (number * (DAYS * DAY // batches)) + dice.integers(0, MINUTE, len(number))
        for table, rows in (
            (STORED_SNAPSHOTS, _states(number, created, dice)),
            (STORED_OBSERVATIONS, _observations(number, created)),
        ):
            write_deltalake(DeltaTable(store.uri(table)), rows, mode="append")
    return store


def _states(number: np.ndarray, created: np.ndarray, dice: np.random.Generator) -> pa.Table:
    count = len(number)
    lists = np.tile(LISTED, count)
    batch, state = np.repeat(number, 4), np.tile(np.arange(4), count)
    first = np.repeat(created, 4) + AFTER[state * 2]
    # Of 40 numbered resources, a state lists the first ones.
    owner = np.repeat(np.arange(len(lists)), lists)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(lists) - lists, lists)
    resource = batch[owner] * 40 + within
    done = np.where(state == 0, 0, 100 - lists)
    columns = {
        **_keys(batch),
        "state_hash": _texts("{:08x}{:024x}", state, batch),
        "first_received_at": _times(first),
        "status": pa.array(np.where(state == 0, "processing", "partial_success")),
        "batch_type": _same("PARTNER_RESOURCE_JSON_INGEST", len(batch)),
        "schema_name": _same("transactions", len(batch)),
        "schema_definition_id": _same("5f0c-transactions", len(batch)),
        "created_at": _times(np.repeat(created, 4)),
        "started_at": _times(np.repeat(created, 4)),
        "total_records": pa.array([100] * len(batch)),
        "processed_records": pa.array(np.where(state == 0, 0, 100)),
        "successful_records": pa.array(np.maximum(done - (state == 3) * 5, 0)),
        "pending_records": pa.array(lists),
        "failed_records": pa.array((state == 3) * 5),
        "has_pending_details": pa.array([True] * len(batch)),
        "pending_resources": _pending(resource, np.repeat(created, 4)[owner], lists),
    }
    return _table(STORED_SNAPSHOTS, columns, first)


def _pending(resource: np.ndarray, created: np.ndarray, lists: np.ndarray) -> pa.Array:
    misses = 1 + resource % 2
    owner = np.repeat(np.arange(len(resource)), misses)
    tenant = (resource[owner] // 40) % TENANTS
    # What a resource misses is its own choice, and the same in every state that lists it.
    second = np.r_[False, owner[1:] == owner[:-1]][: len(owner)]
    key = (resource[owner] * 2_654_435_761 + second * 7) % KEYS
    missing = pa.StructArray.from_arrays(
        [
            _same("5f0c-contacts", len(owner)),
            _texts("CON-{}-{}", tenant, key),
            _same("contacts", len(owner)),
        ],
        fields=list(MISSING_DEPENDENCY),
    )
    rows = pa.StructArray.from_arrays(
        [
            _texts("{:08x}-0000-4000-8000-{:012x}", resource % 977, resource),
            _texts("TX-{}", resource),
            _same("5f0c-transactions", len(resource)),
            _same("transactions", len(resource)),
            _times(created + 2 * MINUTE),
            _times(created + 2 * MINUTE + LIVES[resource % 40]),
            pa.ListArray.from_arrays(_offsets(misses), missing),
        ],
        fields=list(PENDING_RESOURCE),
    )
    return pa.ListArray.from_arrays(_offsets(lists), rows)


def _observations(number: np.ndarray, created: np.ndarray) -> pa.Table:
    batch, place = np.repeat(number, 8), np.tile(np.arange(8), len(number))
    sent = np.repeat(created, 8) + AFTER[place] + batch % 1000 * 1000
    columns = {
        **_keys(batch),
        "run_id": _same("1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed", len(batch)),
        "sent_at": _times(sent),
        "received_at": _times(sent + 200_000),
        "ingested_at": _times(sent + 400_000),
        "scope": _same("detail", len(batch)),
        "ok": pa.array([True] * len(batch)),
        "complete": pa.array([True] * len(batch)),
        "http_status": pa.array([200] * len(batch)),
        "state_hash": _texts("{:08x}{:024x}", place // 2, batch),
    }
    return _table(STORED_OBSERVATIONS, columns, sent)


def _keys(batch: np.ndarray) -> dict[str, pa.Array]:
    return {
        "tenant_id": _texts("{:08x}-5717-4562-b3fc-2c963f66afa6", batch % TENANTS),
        "batch_id": _texts("{:08x}-0000-4562-b3fc-{:012x}", batch * 7919 % 2**31, batch),
    }


def _table(kind: Table, columns: dict[str, pa.Array], when: np.ndarray) -> pa.Table:
    days = pa.array(when // DAY, pa.int32()).cast(pa.date32())
    known = {**columns, kind.partition: days}
    arrays = [
        known[f.name].cast(f.type) if f.name in known else pa.nulls(len(when), f.type)
        for f in kind.schema
    ]
    return pa.Table.from_arrays(arrays, schema=kind.schema)


def _texts(pattern: str, *numbers: np.ndarray) -> pa.Array:
    return pa.array(
        [pattern.format(*row) for row in zip(*(n.tolist() for n in numbers), strict=True)]
    )


def _same(text: str, count: int) -> pa.Array:
    return pa.array([text]).take(pa.array(np.zeros(count, np.int64)))


def _times(micros: np.ndarray) -> pa.Array:
    return pa.array(micros, pa.int64()).cast(TIME)


def _offsets(lengths: np.ndarray) -> pa.Array:
    return pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
