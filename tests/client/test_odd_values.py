"""Implausible values of known fields: absent, and kept as they came."""

from __future__ import annotations

import json

import pytest

from reach_analytics.client.documents import batch_from_json
from reach_analytics.collector._observe.fingerprint import state_hash
from reach_analytics.errors import PayloadError

TIMES = [
    "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00+01:00",
    "0001-01-01T00:00:00",
    "1969-12-31T23:59:59Z",
    "1970-01-01T00:00:00Z",
    "1970-01-01T01:00:00+01:00",
    "2262-01-01T00:00:00Z",
    "9999-12-31T23:59:59-14:00",
    "9999-12-31T23:59:59.9999999Z",
    "",
]


def read(**fields):
    return batch_from_json(json.dumps({"batchId": "b", "status": "s"} | fields).encode())


@pytest.mark.parametrize("text", TIMES)
@pytest.mark.parametrize("field", ["createdAt", "startedAt", "completedAt"])
def test_an_implausible_time_is_absent_and_kept(field, text):
    document = read(**{field: text})
    assert (document.created_at, document.started_at, document.completed_at) == (None, None, None)
    assert document.extra == {field: text}


@pytest.mark.parametrize("text", TIMES)
def test_in_a_pending_resource_it_is_kept_by_position(text):
    resources = [{"id": "1", "createdAt": "2026-03-02T06:00:00Z"}, {"id": "2", "expiresAt": text}]
    document = read(pendingResources=resources)
    assert [r.id for r in document.pending_resources] == ["1", "2"]
    assert document.pending_resources[0].created_at is not None
    assert document.pending_resources[1].expires_at is None
    assert document.extra == {"pendingResources": {"1": {"expiresAt": text}}}


@pytest.mark.parametrize("text", ["1970-01-01T00:00:01Z", "2026-03-02", "2261-12-31T23:59:59Z"])
def test_a_time_within_the_bounds_is_accepted(text):
    document = read(createdAt=text)
    assert document.created_at is not None
    assert document.extra == {}


@pytest.mark.parametrize("number", [-1, -(2**63), 10**12 + 1, 2**63, 10**30, 1e308, -1.0])
def test_an_implausible_count_is_absent_and_kept(number):
    document = read(progress={"totalRecords": number, "failedRecords": 3})
    assert (document.total_records, document.failed_records) == (None, 3)
    assert document.extra == {"progress": {"totalRecords": number}}


@pytest.mark.parametrize("number", [0, 10**12, 12.0])
def test_a_count_within_the_bounds_is_accepted(number):
    assert read(progress={"totalRecords": number}).total_records == number


@pytest.mark.parametrize("wrong", ["x", "yesterday", 5, 1.5, True, []])
def test_what_is_not_a_time_at_all_is_still_an_error(wrong):
    with pytest.raises(PayloadError) as caught:
        read(createdAt=wrong)
    assert (caught.value.where, caught.value.batch_id) == ("$.data.createdAt", "b")


def test_states_that_differ_in_set_aside_values_are_different():
    marks = [
        state_hash(read(**fields), has_pending_details=False)
        for fields in (
            {},
            {"createdAt": "0001-01-01T00:00:00Z"},
            {"createdAt": "9999-12-31T23:59:59Z"},
            {"progress": {"totalRecords": -1}},
            {"progress": {"totalRecords": -2}},
        )
    ]
    assert len(set(marks)) == len(marks)
