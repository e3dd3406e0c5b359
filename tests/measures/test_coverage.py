"""How far the picture can be trusted, and which schemas wait for which."""

from __future__ import annotations

import pandas as pd
import pytest

import reach_analytics as reach
from reach_analytics import columns
from reach_analytics.client.documents import schema_from_value
from reach_analytics.client.references import declared_references
from reach_analytics.collector.observe import LIST
from reach_analytics.errors import FrameError
from reach_analytics.measures import arrivals, coverage, schema_graph, still_missing, waiting
from tests.looks import batch, look, minute
from tests.measures.waits import frame
from tests.test_spells import history


def covered(*looks, at: float = 60, **options) -> dict:
    [row] = coverage(history(*looks).looks(), as_of=minute(at), **options).to_dict("records")
    return row


def counted(pending: int, **fields) -> dict:
    return {"progress": {"totalRecords": 10, "pendingRecords": pending}, **fields}


def test_a_batch_with_a_full_and_fresh_list_is_covered():
    row = covered(look(batch(waits={"A": "x", "B": "x"}), 30))
    assert (row["batches_waiting"], row["batches_covered"], row["coverage_fraction"]) == (1, 1, 1.0)
    assert (row["resources_counted"], row["resources_listed"]) == (2, 2)
    assert row["oldest_list"] == pd.Timedelta(minutes=30) - pd.Timedelta(seconds=1)


def test_an_old_list_a_short_one_and_none_at_all_do_not_cover():
    row = covered(
        look(batch("old", waits={"A": "x"}), -60),
        look(batch("short", waits={"B": "x"}, **counted(5)), 50),
        look(batch("none", **counted(3)), 50, scope=LIST),
        look(batch("done", waits={}), 50),
        look(batch("good", waits={"C": "x"}), 50),
        fresh="30min",
    )
    assert (row["batches_waiting"], row["batches_covered"]) == (4, 1)
    assert row["coverage_fraction"] == 0.25
    assert (row["batches_stale"], row["batches_partial"]) == (1, 2)
    assert (row["resources_counted"], row["resources_listed"]) == (10, 3)


def test_a_newer_listing_decides_whether_a_batch_waits_at_all():
    looks = look(batch(waits={"A": "x"}), 30), look(batch(**counted(0)), 40, scope=LIST)
    row = covered(*looks)
    assert row["batches_waiting"] == 0
    assert pd.isna(row["coverage_fraction"])


def test_tenants_are_told_apart_and_failed_looks_do_not_count():
    looks = [look(batch(waits={"A": "x"}), 30, tenant_id=t) for t in "tu"]
    found = coverage(
        history(*looks, look(None, 50, batch_id="b", tenant_id="v")).looks(), as_of=minute(60)
    )
    assert found["tenant_id"].tolist() == ["t", "u"]


def test_empty_in_empty_out_and_another_frame_is_told_what_to_pass():
    empty = coverage(columns.LOOKS.empty(), as_of=minute(0))
    pd.testing.assert_frame_equal(empty, columns.COVERAGE.empty())
    with pytest.raises(FrameError, match=r"pass history\.looks\(\)"):
        coverage(pd.DataFrame({"x": [1]}), as_of=minute(0))
    with pytest.raises(ValueError, match="fresh must be a length"):
        coverage(columns.LOOKS.empty(), as_of=minute(0), fresh="0s")


def test_what_a_later_look_elsewhere_proves_to_be_there_is_missing_no_more():
    """Batch b is looked at first; then batch c, which waited for x too, is free of it."""
    other = [
        look(batch("c", waits={"B": missing}, created=0, expires=999), at)
        for missing, at in (("xy", 0), ("y", 20))
    ]
    seen = history(look(batch(waits={"A": "xz"}, created=0, expires=999), 10), *other)
    links = seen.spell_dependencies()
    found = arrivals(waiting(seen.spells(), links), links)
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
    found = schema_graph(columns.DEPENDENCIES.conform(rows))
    assert found[["schema_name", "missing_schema_name"]].to_numpy().tolist() == [["s", "s"]]


def definition(name: str, *references, schema: dict | None = None) -> dict:
    return {
        "id": f"id-{name}",
        "name": name,
        "referenceSchemas": list(references),
        "schema": schema,
    }


def test_what_is_declared_stands_beside_what_is_seen():
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


def test_the_sandbox_declares_all_that_is_seen_of_it(demo):
    sandbox, store = demo
    with reach.Client(**sandbox.credentials) as client:
        found = reach.open_history(store).schema_graph(client.schema_definitions())
    assert found.loc[found["resources"] > 0, "declared"].all()
    assert len(found) >= 4


def test_no_dependencies_and_no_definitions_make_an_empty_graph():
    empty = schema_graph(columns.DEPENDENCIES.empty())
    pd.testing.assert_frame_equal(empty, columns.SCHEMA_GRAPH.empty())
    both = schema_graph(columns.DEPENDENCIES.empty(), columns.DECLARED.empty())
    pd.testing.assert_frame_equal(both, columns.SCHEMA_GRAPH.empty())
    with pytest.raises(FrameError, match=r"pass client\.schema_definitions\(\)"):
        schema_graph(columns.DEPENDENCIES.empty(), pd.DataFrame({"x": [1]}))


def test_of_two_looks_at_one_moment_the_one_at_the_batch_itself_counts():
    listed = look(batch(**counted(0)), 30, scope=LIST)
    row = covered(listed, look(batch(waits={"A": "x"}), 30))
    assert (row["batches_waiting"], row["batches_covered"]) == (1, 1)


def test_looks_after_the_moment_do_not_count():
    assert len(coverage(history(look(batch(waits={"A": "x"}), 30)).looks(), as_of=minute(20))) == 0


def test_a_schema_goes_by_what_is_declared_for_its_id_whatever_it_was_called():
    declared = columns.DECLARED.conform(
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
