"""How complete the observations are, and which schemas wait for which."""

from __future__ import annotations

import pandas as pd
import pytest

import reach_analytics as reach
from reach_analytics import tables
from reach_analytics.client._references import declared_references
from reach_analytics.client.documents import schema_from_value
from reach_analytics.errors import FrameError
from reach_analytics.measures import arrivals, coverage, schema_graph, still_missing, wait_outcomes
from reach_analytics.tables import LIST
from tests.support.histories import history
from tests.support.observations import batch, minute, observation
from tests.support.waits import frame


def covered(*observations, at: float = 60, **options) -> dict:
    [row] = coverage(history(*observations).observations(), as_of=minute(at), **options).to_dict(
        "records"
    )
    return row


def counted(pending: int, **fields) -> dict:
    return {"progress": {"totalRecords": 10, "pendingRecords": pending}, **fields}


def test_a_batch_with_a_full_and_fresh_list_is_covered():
    row = covered(observation(batch(waits={"A": "x", "B": "x"}), 30))
    assert (row["batches_waiting"], row["batches_covered"], row["coverage_fraction"]) == (1, 1, 1.0)
    assert (row["resources_counted"], row["resources_listed"]) == (2, 2)
    assert row["oldest_list"] == pd.Timedelta(minutes=30) - pd.Timedelta(seconds=1)


def test_an_old_a_truncated_and_a_missing_list_do_not_cover():
    row = covered(
        observation(batch("old", waits={"A": "x"}), -60),
        observation(batch("short", waits={"B": "x"}, **counted(5)), 50),
        observation(batch("none", **counted(3)), 50, scope=LIST),
        observation(batch("done", waits={}), 50),
        observation(batch("good", waits={"C": "x"}), 50),
        fresh="30min",
    )
    assert (row["batches_waiting"], row["batches_covered"]) == (4, 1)
    assert row["coverage_fraction"] == 0.25
    assert (row["batches_stale"], row["batches_partial"]) == (1, 2)
    assert (row["resources_counted"], row["resources_listed"]) == (10, 3)


def test_a_newer_listing_decides_whether_a_batch_waits_at_all():
    observations = (
        observation(batch(waits={"A": "x"}), 30),
        observation(batch(**counted(0)), 40, scope=LIST),
    )
    row = covered(*observations)
    assert row["batches_waiting"] == 0
    assert pd.isna(row["coverage_fraction"])


def test_tenants_are_separate_and_failed_observations_do_not_count():
    observations = [observation(batch(waits={"A": "x"}), 30, tenant_id=t) for t in "tu"]
    found = coverage(
        history(*observations, observation(None, 50, batch_id="b", tenant_id="v")).observations(),
        as_of=minute(60),
    )
    assert found["tenant_id"].tolist() == ["t", "u"]


def test_empty_in_empty_out_and_another_frame_is_told_what_to_pass():
    empty = coverage(tables.OBSERVATIONS.empty(), as_of=minute(0))
    pd.testing.assert_frame_equal(empty, tables.COVERAGE.empty())
    with pytest.raises(FrameError, match=r"pass history\.observations\(\)"):
        coverage(pd.DataFrame({"x": [1]}), as_of=minute(0))
    with pytest.raises(ValueError, match="fresh must be a length"):
        coverage(tables.OBSERVATIONS.empty(), as_of=minute(0), fresh="0s")


def test_what_a_later_observation_proves_present_is_no_longer_missing():
    """Batch b is observed first; then batch c, which also waited for x, no longer does."""
    other = [
        observation(batch("c", waits={"B": missing}, created=0, expires=999), at)
        for missing, at in (("xy", 0), ("y", 20))
    ]
    seen = history(observation(batch(waits={"A": "xz"}, created=0, expires=999), 10), *other)
    links = seen.missing_intervals()
    found = arrivals(wait_outcomes(seen.wait_intervals(), links), links)
    assert sorted(seen.dependencies()["missing_external_id"]) == ["x", "y", "z"]
    left = still_missing(seen.dependencies(), found)
    assert sorted(left["missing_external_id"]) == ["y", "z"]


def test_schemas_wait_for_schemas_by_resources_and_distinct_keys():
    rows = frame({"A": "xy", "B": "x"})
    rows.loc[rows["missing_external_id"] == "y", "missing_schema_name"] = "others"
    found = schema_graph(rows)
    names = ["schema_name", "missing_schema_name", "resources", "keys"]
    assert found[names].to_numpy().tolist() == [
        ["things", "things", 2, 1],
        ["things", "others", 1, 1],
    ]
    assert found["declared"].isna().all()


def test_a_schema_without_a_name_goes_by_its_id():
    rows = frame({"A": "x"}).assign(schema_name=None, missing_schema_name=None)
    found = schema_graph(tables.DEPENDENCIES.conform(rows))
    assert found[["schema_name", "missing_schema_name"]].to_numpy().tolist() == [["s", "s"]]


def definition(name: str, *references, schema: dict | None = None) -> dict:
    return {
        "id": f"id-{name}",
        "name": name,
        "referenceSchemas": list(references),
        "schema": schema,
    }


def test_declared_references_appear_beside_observed_ones():
    """Declared by name, by id, in an object, and by a reference inside the JSON Schema."""
    nested = {"properties": {"a": {"items": [{"$ref": "reach:schemas/id-shops"}, {"$ref": "#/x"}]}}}
    values = [
        definition("Sales", "SHOPS", {"id": "id-people"}, {"name": "unknown"}, {"novel": 1}),
        definition("shops", schema=nested),
        definition("people"),
    ]
    declared = declared_references(schema_from_value(value) for value in values)
    rows = frame({"A": "xy"}).assign(schema_name="sales", schema_definition_id="id-Sales")
    rows["missing_schema_name"] = ["Shops", "ghosts"]
    found = schema_graph(rows, declared)
    told = found[["schema_name", "missing_schema_name", "resources", "declared"]]
    assert sorted(map(tuple, told.to_numpy().tolist())) == [
        ("Sales", "ghosts", 1, False),
        ("Sales", "people", 0, True),
        ("Sales", "shops", 1, True),
        ("Sales", "unknown", 0, True),
        ("shops", "shops", 0, True),
    ]


def test_the_sandbox_declares_all_observed_references(demo):
    sandbox, store = demo
    with reach.Client(**sandbox.credentials) as client:
        found = reach.open_history(store).schema_graph(client.schema_definitions())
    assert found.loc[found["resources"] > 0, "declared"].all()
    assert len(found) >= 4


def test_no_dependencies_and_no_definitions_make_an_empty_graph():
    empty = schema_graph(tables.DEPENDENCIES.empty())
    pd.testing.assert_frame_equal(empty, tables.SCHEMA_GRAPH.empty())
    both = schema_graph(tables.DEPENDENCIES.empty(), tables.DECLARED.empty())
    pd.testing.assert_frame_equal(both, tables.SCHEMA_GRAPH.empty())
    with pytest.raises(FrameError, match=r"pass client\.schema_definitions\(\)"):
        schema_graph(tables.DEPENDENCIES.empty(), pd.DataFrame({"x": [1]}))


def test_of_two_simultaneous_observations_that_of_the_batch_itself_counts():
    listed = observation(batch(**counted(0)), 30, scope=LIST)
    row = covered(listed, observation(batch(waits={"A": "x"}), 30))
    assert (row["batches_waiting"], row["batches_covered"]) == (1, 1)


def test_observations_after_the_moment_do_not_count():
    assert (
        len(
            coverage(
                history(observation(batch(waits={"A": "x"}), 30)).observations(), as_of=minute(20)
            )
        )
        == 0
    )


def test_a_schema_has_the_name_declared_for_its_id():
    declared = tables.DECLARED.conform(
        pd.DataFrame(
            {
                "schema_definition_id": ["1", "9"],
                "schema_name": ["things", "store"],
                "references_schema": ["9", None],
            }
        )
    )
    rows = frame({"A": "xy"}).assign(schema_definition_id="1", missing_schema_definition_id="9")
    rows["missing_schema_name"] = ["Shop", None]
    [row] = schema_graph(rows, declared).to_dict("records")
    assert (row["missing_schema_name"], row["resources"], row["keys"]) == ("store", 1, 2)
    assert row["declared"]
