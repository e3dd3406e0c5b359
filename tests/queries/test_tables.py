"""From the stored tables to frames: latest, flattening, as-of; nothing is lost."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime

import ibis
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reach_analytics as reach
from reach_analytics import tables
from reach_analytics.client import PendingResource
from reach_analytics.client.documents import microseconds
from reach_analytics.collector._observe.rows import to_tables
from reach_analytics.history import History
from reach_analytics.queries.tables import Tables
from reach_analytics.tables import LIST
from tests.support.effort import examples
from tests.support.observations import batch, minute, observation
from tests.support.strategies import documents


def history(*observations, as_of: datetime | None = None) -> History:
    snapshots, stored = to_tables(observations, minute(999))
    return History(Tables(ibis.memtable(snapshots), ibis.memtable(stored), as_of))


def test_a_batch_whose_last_observation_has_nothing_pending_keeps_no_old_rows():
    seen = history(observation(batch(waits={"A": "x"}), 0), observation(batch(waits={}), 1))
    assert len(seen.pending()) == len(seen.dependencies()) == 0
    assert seen.batches()["pending_resources_count"].tolist() == [0]


def test_waits_are_judged_by_conventions_that_somebody_states():
    snapshots, stored = to_tables([observation(batch(waits={"A": "x"}), 0)], minute(999))
    tables = Tables(ibis.memtable(snapshots), ibis.memtable(stored))
    with pytest.raises(ValueError, match="open these tables as a history"):
        tables.wait_outcomes.to_pyarrow()
    assert History(tables).tables.wait_outcomes.count().to_pyarrow().as_py() == 1


def test_a_missing_list_with_a_count_of_zero_ends_the_waits_too():
    none = batch(progress={"pendingRecords": 0})
    assert (
        len(history(observation(batch(waits={"A": "x"}), 0), observation(none, 1)).pending()) == 0
    )


def test_a_listing_shows_the_newer_counts_but_ends_no_wait():
    listed = batch(status="success", progress={"pendingRecords": 0})
    seen = history(observation(batch(waits={"A": "x"}), 0), observation(listed, 1, scope=LIST))
    assert seen.batches()["status"].tolist() == ["success"]
    assert seen.pending()["external_id"].tolist() == ["A"]


def test_a_failed_observation_changes_nothing_but_is_kept():
    seen = history(observation(batch(waits={"A": "x"}), 0), observation(None, 1, batch_id="b"))
    assert seen.batches()["observed_at"].tolist() == [minute(0) + pd.Timedelta(seconds=1)]
    assert len(seen.pending()) == 1
    observations = seen.observations()
    assert observations["ok"].tolist() == [True, False]
    assert observations["error"].isna().tolist() == [True, False]
    assert observations["changed"].tolist() == [True, pd.NA]


def test_of_two_simultaneous_observations_that_of_the_batch_itself_counts():
    listed = batch(status="processing")
    seen = history(observation(listed, 0, scope=LIST), observation(batch(status="success"), 0))
    assert seen.batches()["status"].tolist() == ["success"]


def test_changed_compares_with_the_previous_good_observation_of_the_same_scope():
    same, other = batch(status="a"), batch(status="b")
    seen = history(
        observation(same, 0),
        observation(other, 1, scope=LIST),
        observation(None, 2, batch_id="b"),
        observation(same, 3),
        observation(other, 4),
        observation(same, 5),
    )
    assert seen.observations()["changed"].tolist() == [True, True, pd.NA, False, True, True]


def test_as_of_shows_what_was_known_then():
    observations = [
        observation(batch(waits={"A": "x"}), 0),
        observation(batch(waits={"B": "yz"}), 10),
    ]
    then = history(*observations, as_of=minute(5))
    assert then.dependencies()["missing_external_id"].tolist() == ["x"]
    assert len(then.observations()) == 1
    exactly = history(*observations, as_of=minute(10) + pd.Timedelta(seconds=1))
    assert sorted(exactly.dependencies()["missing_external_id"]) == ["y", "z"]
    assert len(history(*observations, as_of=minute(-1)).batches()) == 0


def test_one_batch_id_in_two_tenants_is_two_batches():
    seen = history(
        observation(batch(waits={"A": "x"}), 0, tenant_id="t1"),
        observation(batch(waits={}), 1, tenant_id="t2"),
    )
    assert seen.batches()["tenant_id"].tolist() == ["t1", "t2"]
    assert seen.pending()["tenant_id"].tolist() == ["t1"]


def test_a_resource_that_misses_nothing_is_pending_and_has_no_dependencies():
    seen = history(observation(batch(waits={"A": "", "B": "x"})))
    assert seen.pending()["missing_count"].tolist() == [0, 1]
    assert seen.dependencies()["external_id"].tolist() == ["B"]


def test_without_observations_every_frame_is_empty_with_its_types():
    seen = history()
    for name in ("batches", "observations", "pending", "dependencies"):
        table = getattr(tables, name.upper())
        like = replace(table, columns=tables.shown(table))
        pd.testing.assert_frame_equal(getattr(seen, name)(), like.empty())


def test_times_do_not_depend_on_the_zone_of_the_machine_or_the_engine(tmp_path, monkeypatch):
    monkeypatch.setenv("TZ", "America/New_York")
    engine = ibis.duckdb.connect()
    engine.raw_sql("SET TimeZone = 'Asia/Tokyo'")
    store = reach.Store(tmp_path / "store")
    store.append(*to_tables([observation(batch(waits={"A": "x"}), n) for n in (0, 5)], minute(9)))
    seen = reach.open_history(store, as_of=minute(1), engine=engine)
    assert seen.observations()["sent_at"].tolist() == [minute(0)]
    assert str(seen.pending()["observed_at"].dtype) == "datetime64[us, UTC]"


def brute_dependencies(observations) -> list[tuple]:
    """By a plain loop over the newest document of each batch."""
    newest = {}
    for value, seen in observations:
        if seen.lists_pending:
            newest[seen.tenant_id, seen.batch_id] = (value, seen)
    return sorted(
        tuple(
            str(part)
            for part in (
                seen.tenant_id,
                seen.batch_id,
                resource.get("id"),
                resource.get("resourceExternalId"),
                missing.get("schemaDefinitionId"),
                missing.get("externalId"),
                missing.get("schemaName"),
            )
        )
        for value, seen in newest.values()
        for resource in value.get("pendingResources") or []
        for missing in resource.get("missingDependencies") or []
    )


@settings(max_examples=examples(60))
@given(values=st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("tu"), documents())))
def test_flattening_agrees_with_a_plain_loop_over_the_json(values):
    observations = [
        (value, observation({**value, "batchId": batch_id}, number, tenant_id=tenant))
        for number, (batch_id, tenant, value) in enumerate(values)
    ]
    seen = history(*[one for _, one in observations])
    names = ["tenant_id", "batch_id", "pending_id", "external_id"]
    names += ["missing_schema_definition_id", "missing_external_id", "missing_schema_name"]
    rows = seen.dependencies()[names].astype(object)
    found = sorted(map(tuple, rows.where(rows.notna(), "None").to_numpy().tolist()))
    assert found == brute_dependencies(observations)
    per_resource = seen.pending()["missing_count"].sum()
    assert per_resource == len(found)
    listed = seen.pending().groupby(["tenant_id", "batch_id"]).size()
    for (tenant, batch_id), count in listed.items():
        own = [o for _, o in observations if (o.tenant_id, o.batch_id) == (tenant, batch_id)]
        last = [o for o in own if o.lists_pending][-1]
        assert count == len(last.document.pending_resources)


@settings(max_examples=examples(15))
@given(values=st.lists(documents(), min_size=1, max_size=12))
def test_nothing_of_a_document_is_lost_on_its_way_through_the_store(values, tmp_path_factory):
    """Each document rebuilt from the store equals the original."""
    store = reach.Store(tmp_path_factory.mktemp("round") / "trip")
    observations = [observation({**v, "batchId": f"b{n}"}, n) for n, v in enumerate(values)]
    store.append(*to_tables(observations, minute(999)))
    snapshots, _ = store.tables()
    rows = {row["batch_id"]: row for row in snapshots.to_pyarrow().to_pylist()}
    for number, value in enumerate(values):
        rebuilt = rebuild(rows[f"b{number}"])
        assert rebuilt == canonical({**value, "batchId": f"b{number}"})


TOP = {
    **{"batchId": "batch_id", "status": "status", "batchType": "batch_type"},
    **{"createdAt": "created_at", "startedAt": "started_at", "completedAt": "completed_at"},
    **{"schemaName": "schema_name", "schemaDefinitionId": "schema_definition_id"},
}
PROGRESS = {
    f"{name}Records": f"{name}_records"
    for name in ("total", "processed", "successful", "pending", "failed")
} | {"successRate": "success_rate"}
RESOURCE = {
    **{"id": "id", "resourceExternalId": "resource_external_id", "schemaName": "schema_name"},
    **{"schemaDefinitionId": "schema_definition_id"},
    **{"createdAt": "created_at", "expiresAt": "expires_at"},
}
MISSING = {
    **{"schemaDefinitionId": "schema_definition_id", "externalId": "external_id"},
    **{"schemaName": "schema_name"},
}


def rebuild(row: dict) -> dict:
    """The JSON document that a stored row stands for, nulls left out."""
    extra = json.loads(row["extra"]) if row["extra"] else {}
    document = named(row, TOP)
    document["progress"] = named(row, PROGRESS) | extra.pop("progress", {})
    document["errors"] = {
        name: json.loads(row[f"error_{name}"])
        for name in ("summary", "details")
        if row[f"error_{name}"] is not None
    } | extra.pop("errors", {})
    if row["error_message"] is not None:
        document["errors"]["message"] = row["error_message"]
    waits = extra.pop("pendingResources", {})
    if row["pending_resources"] is not None:
        document["pendingResources"] = [
            rebuild_resource(resource, waits.get(str(i), {}))
            for i, resource in enumerate(row["pending_resources"])
        ]
    return tidy(document | extra)


def rebuild_resource(resource: dict, extra: dict) -> dict:
    unknown = extra.pop("missingDependencies", {})
    built = named(resource, RESOURCE) | extra
    if resource["missing_dependencies"] is not None:
        built["missingDependencies"] = [
            named(missing, MISSING) | unknown.get(str(i), {})
            for i, missing in enumerate(resource["missing_dependencies"])
        ]
    return built


def named(row: dict, names: dict[str, str]) -> dict:
    return {
        outside: microseconds(row[inside]) if isinstance(row[inside], datetime) else row[inside]
        for outside, inside in names.items()
        if row[inside] is not None
    }


def canonical(value: dict) -> dict:
    """The original, nulls of known and unknown fields left out and times as microseconds."""

    def times(item: dict) -> dict:
        return {
            k: microseconds(datetime.fromisoformat(v))
            if k in {"createdAt", "startedAt", "completedAt", "expiresAt"}
            else v
            for k, v in item.items()
            if v is not None
        }

    document = times(value)
    for name in ("progress", "errors"):
        document[name] = {k: v for k, v in (value.get(name) or {}).items() if v is not None}
    if value.get("pendingResources") is not None:
        document["pendingResources"] = []
        for resource in value["pendingResources"]:
            built = times(resource)
            if built.get("missingDependencies") is not None:
                built["missingDependencies"] = [
                    {k: v for k, v in missing.items() if v is not None}
                    for missing in built["missingDependencies"]
                ]
            document["pendingResources"].append(built)
        if not document["pendingResources"] and document["progress"].get("pendingRecords"):
            del document["pendingResources"]  # beside such a count an empty list tells nothing
    return tidy(document)


def tidy(document: dict) -> dict:
    """An object without fields is equivalent to none, and no waits to an empty list if the batch
    counts none."""
    empty = {name for name in ("progress", "errors") if document.get(name) == {}}
    if document.get("progress", {}).get("pendingRecords") == 0:
        document.setdefault("pendingResources", [])
    return {k: v for k, v in document.items() if k not in empty}


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"])
def test_implausible_stored_values_are_read_as_missing(moment, tmp_path):
    """As from another writer: this version would not store them."""
    odd = datetime.fromisoformat(moment)
    waits = PendingResource(id="p", created_at=odd, expires_at=odd)
    seen = observation(batch(), 0)
    document = replace(
        seen.document,
        **dict.fromkeys(("created_at", "started_at", "completed_at"), odd),
        **{"total_records": 2**63 - 1, "failed_records": -(2**63), "processed_records": 10**12},
        pending_resources=[waits],
    )
    store = reach.Store(tmp_path / "s")
    store.append(*to_tables([replace(seen, document=document)], minute(0)))
    history = reach.open_history(store)
    for frame in (history.batches(), history.observations()):
        row = frame.iloc[0]
        assert row[["created_at", "started_at", "completed_at"]].isna().all()
        assert row[["total_records", "failed_records"]].isna().all()
        assert row["processed_records"] == 10**12
    for frame in (
        history.pending(),
        history.wait_intervals(),
        history.expiring(),
        history.observation_log(),
    ):
        assert frame.filter(["created_at", "expires_at"]).isna().all(axis=None)
    assert history.report(tmp_path / "r.html").exists()
