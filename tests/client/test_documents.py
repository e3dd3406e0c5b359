"""Reading batch documents, and comparing their states."""

from __future__ import annotations

import copy
import json
import random
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from reach_analytics._plausible import MENDED
from reach_analytics.client.documents import (
    batch_from_json,
    extra_json,
    microseconds,
    schema_from_value,
)
from reach_analytics.collector._observe.fingerprint import state_hash
from tests.support.strategies import documents

PLUS_TWO = timezone(timedelta(hours=2))


def read(value: object):
    return batch_from_json(json.dumps(value).encode())


def mark(value: object) -> str:
    return state_hash(read(value), has_pending_details=True)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-03-02T06:00:00Z", datetime(2026, 3, 2, 6, tzinfo=UTC)),
        ("2026-03-02T06:00:00.5Z", datetime(2026, 3, 2, 6, 0, 0, 500000, tzinfo=UTC)),
        ("2026-03-02T06:00:00.123456Z", datetime(2026, 3, 2, 6, 0, 0, 123456, tzinfo=UTC)),
        ("2026-03-02T06:00:00.123456400Z", datetime(2026, 3, 2, 6, 0, 0, 123456, tzinfo=UTC)),
        ("2026-03-02T08:00:00+02:00", datetime(2026, 3, 2, 8, tzinfo=PLUS_TWO)),
        ("2026-03-02T08:00:00+0200", datetime(2026, 3, 2, 6, tzinfo=UTC)),
        ("2026-03-02 06:00:00Z", datetime(2026, 3, 2, 6, tzinfo=UTC)),
        ("2026-03-02T06:00:00", datetime(2026, 3, 2, 6, tzinfo=UTC)),
        ("2026-03-02T06:00Z", datetime(2026, 3, 2, 6, tzinfo=UTC)),
        ("2026-03-02T07:00+01", datetime(2026, 3, 2, 6, tzinfo=UTC)),
        ("2026-03-02", datetime(2026, 3, 2, tzinfo=UTC)),
    ],
)
def test_timestamps_are_read_in_all_forms(text, moment):
    found = read({"batchId": "b", "status": "s", "createdAt": text}).created_at
    assert found.tzinfo is not None
    assert microseconds(found) == round(moment.timestamp() * 1e6)


def test_absent_and_null_fields_are_the_same():
    bare = {"batchId": "b", "status": "s"}
    nulls = {**bare, "progress": None, "errors": {"summary": None}, "createdAt": None}
    assert read(bare) == read(nulls)
    assert mark(bare) == mark(nulls)


def test_unknown_statuses_types_and_fields_are_kept():
    document = read({"batchId": "b", "status": "paused", "batchType": "NEW", "novel": [1]})
    assert (document.status, document.batch_type, document.extra) == (
        "paused",
        "NEW",
        {"novel": [1]},
    )


def test_counts_may_be_written_as_whole_floats():
    document = batch_from_json(
        b'{"batchId": "b", "status": "s", "progress": {"totalRecords": 12.0, "successRate": 50}}'
    )
    assert (document.total_records, document.success_rate) == (12, 50.0)


def test_integers_beyond_64_bits_are_kept_in_unknown_fields():
    assert read({"batchId": "b", "status": "s", "n": 10**40}).extra == {"n": 10**40}


@pytest.mark.parametrize("depth", [60, 70, 900, 5000])
@pytest.mark.parametrize("place", ["novel", "errors"])
def test_deep_nesting_is_kept_as_text_without_a_crash(place, depth):
    deep = b"[" * depth + b"]" * depth
    value = b'{"summary": %s}' % deep if place == "errors" else deep
    document = batch_from_json(
        b'{"batchId": "b", "status": "s", "%s": %s}' % (place.encode(), value)
    )
    kept = document.error_summary if place == "errors" else extra_json(document)
    assert deep.decode() in kept.replace('"', "")
    assert (MENDED in document.extra) == (depth > 64)
    assert len(state_hash(document, has_pending_details=False)) == 32


@given(value=documents(), seed=st.integers())
def test_the_order_of_lists_and_names_does_not_change_the_state(value, seed):
    rng = random.Random(seed)

    def shuffled(item, *, a_list_of_waits=False):
        if isinstance(item, dict):
            pairs = list(item.items())
            rng.shuffle(pairs)
            waits = {"pendingResources", "missingDependencies"}
            return {k: shuffled(v, a_list_of_waits=k in waits) for k, v in pairs}
        if isinstance(item, list):
            members = [shuffled(member) for member in item]
            if a_list_of_waits:
                rng.shuffle(members)
            return members
        return item

    # Free-form values and unknown fields keep their order: only the API's lists are sets.
    other = shuffled(value)
    for name in ("errors", "novel", "x-y", "Ärger", "batch_id", "progress"):
        if name in value:
            other[name] = value[name]
    assert mark(value) == mark(other)


@given(value=documents(), other=documents())
def test_different_documents_have_different_states(value, other):
    def plain(item):
        if isinstance(item, dict):
            return {k: plain(v) for k, v in item.items() if v is not None}
        return [plain(m) for m in item] if isinstance(item, list) else item

    def known(item):
        cleaned = plain({k: v for k, v in item.items() if k not in {"batchId", "pendingResources"}})
        for name in ("progress", "errors"):
            cleaned = {k: v for k, v in cleaned.items() if k != name or v}
        return json.dumps(cleaned, sort_keys=True)

    assume(known(value) != known(other))
    assume(not value.get("pendingResources") and not other.get("pendingResources"))
    assert mark(value) != mark(other)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(status="failure"),
        lambda d: d["progress"].update(failedRecords=1),
        lambda d: d["errors"]["summary"].update(A=2),
        lambda d: d["pendingResources"].pop(),
        lambda d: d["pendingResources"][0].update(expiresAt="2026-03-02T07:00:00Z"),
        lambda d: d["pendingResources"][0]["missingDependencies"].pop(),
        lambda d: d["pendingResources"][1].update(novel=1),
        lambda d: d.update(novel=1),
    ],
)
def test_every_change_of_a_field_changes_the_state(change):
    value = {
        "batchId": "b",
        "status": "success",
        "progress": {"totalRecords": 2},
        "errors": {"summary": {"A": 1}},
        "pendingResources": [
            {"id": "1", "missingDependencies": [{"externalId": "x"}, {"externalId": "y"}]},
            {"id": "2", "missingDependencies": []},
        ],
    }
    changed = copy.deepcopy(value)
    change(changed)
    assert mark(value) != mark(changed)


def test_fields_about_the_answer_do_not_change_the_state():
    bare = {"batchId": "b", "status": "s"}
    assert mark({**bare, "requestId": "1"}) == mark({**bare, "requestId": "2"})


def test_schema_definitions_are_read_in_either_spelling():
    snake = schema_from_value({"id": "s", "external_id_field": "key", "reference_schemas": ["a"]})
    camel = schema_from_value({"id": "s", "externalIdField": "key", "referenceSchemas": ["a"]})
    assert snake.external_id_field == camel.external_id_field == "key"
    assert snake.reference_schemas == camel.reference_schemas == ["a"]


def test_many_threads_can_read_their_first_document_at_once():
    """msgspec compiles a type at its first use, and crashes if threads do that at once."""
    program = """
import sys, threading
from reach_analytics.client.documents import batch_from_json
from reach_analytics.client.paging import read_page
from reach_analytics.client.transport import _ENVELOPE
document = b'{"batchId": "b", "status": "success", "progress": {}, "errors": {"summary": {}}}'
sys.setswitchinterval(1e-6)
ready = threading.Barrier(8)
def read():
    ready.wait()
    for _ in range(20):
        batch_from_json(document)
        _ENVELOPE.decode(b'{"success": true, "data": {}}')
threads = [threading.Thread(target=read) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""
    for _ in range(5):
        assert subprocess.run([sys.executable, "-c", program]).returncode == 0
