"""Names beside ids, in every frame."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from inspect import getmembers, isfunction, signature

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reach_analytics as reach
from reach_analytics import tables
from reach_analytics.client import SchemaDefinition, Tenant
from reach_analytics.collector._observe.catalog import catalog
from reach_analytics.collector._observe.rows import to_tables
from reach_analytics.history import History
from reach_analytics.history._catalog import Catalog
from reach_analytics.tables import STORED_TENANTS
from tests.support.observations import batch, minute, observation

NINE = datetime(2026, 3, 2, 9, tzinfo=UTC)
OTHERS = {"report", "export", "named", "sql", "filter"}  # which give no frame, or are told which
OTHERS |= {"explain", "join", "compare", "overview", "tenant_reports"}


def known(*tenants: Tenant, schemas=()) -> Catalog:
    learned = catalog(tenants, schemas, NINE)
    stored = {STORED_TENANTS: learned.tenants, tables.STORED_SCHEMAS: learned.schema_definitions}
    return Catalog(stored.__getitem__, None)


def methods(having: Callable[[str], bool] = lambda name: True) -> list[str]:
    public = [name for name, _ in getmembers(History, isfunction) if not name.startswith("_")]
    return [name for name in public if name not in OTHERS and having(name)]


def has_by(name: str) -> bool:
    return "by" in signature(getattr(History, name)).parameters


@pytest.fixture(scope="module")
def named(demo) -> History:
    return reach.open_history(demo[1])


@pytest.mark.parametrize("name", methods())
def test_every_frame_with_a_tenant_begins_with_its_name_and_ends_with_ids(named, name):
    found = getattr(named, name)()
    if name == "dependency_graph":
        found = found.nodes
    assert "tenant_id" not in found.columns or found.columns[0] == "tenant_name"
    if "tenant_id" in found.columns:
        both = found[["tenant_name", "tenant_id"]].dropna().drop_duplicates()
        assert set(both["tenant_name"]) <= {"Pine & Co", "Northside Dental", "Harbour Books"}
        assert both["tenant_id"].is_unique
    ids = [place for place, column in enumerate(found.columns) if column.endswith("_id")]
    ids = [place for place in ids if not found.columns[place].endswith("external_id")]
    assert ids == list(range(len(found.columns) - len(ids), len(found.columns)))


@pytest.mark.parametrize("name", methods(has_by))
def test_by_the_name_is_by_the_tenant(named, name):
    by_id = getattr(named, name)(by="tenant_id")
    by_name = getattr(named, name)(by="tenant_name")
    assert by_name["tenant_name"].is_monotonic_increasing or name == "control_chart"
    columns = ["tenant_id", "chart"] if name == "control_chart" else ["tenant_id"]
    same = [frame.sort_values(columns, kind="stable") for frame in (by_id, by_name)]
    same = [frame[sorted(frame.columns)].reset_index(drop=True) for frame in same]
    pd.testing.assert_frame_equal(*same)


def test_a_tenant_is_called_by_its_name_or_else_its_external_id_or_else_its_id():
    tenants = [
        Tenant(id="1", name="Pine", external_id="PINE"),
        Tenant(id="2", external_id="OAK"),
        Tenant(id="3", name="  "),
        Tenant(id="4", name=""),
    ]
    ids = pd.Series(["1", "2", "3", "4", "5", None], dtype="str")
    names = known(*tenants).names_of(ids)
    assert names.tolist()[:5] == ["Pine", "OAK", "3", "4", "5"]
    assert names.isna().tolist() == [False] * 5 + [True]
    assert names.dtype == "str"


def test_equal_names_are_told_apart():
    ids = ["1f2e3d4c-aaaa", "99999999-bbbb", "99999999-cccc", "x"]
    tenants = [Tenant(id=one, name="Pine") for one in ids[:3]] + [Tenant(id="x", name="Oak")]
    assert list(known(*tenants).tenant_names.values()) == [
        *("Pine (1f2e3d4c)", "Pine (99999999-bbbb)", "Pine (99999999-cccc)"),
        "Oak",
    ]


@given(
    st.dictionaries(
        st.text("ab ()", min_size=1, max_size=4),
        st.none() | st.text("ab ()", max_size=6),
        max_size=8,
    )
)
def test_no_two_tenants_have_one_name(said):
    """Whatever they are called: also by each other's ids, or as another's name with its id."""
    tenants = [Tenant(id=one, name=name) for one, name in said.items()]
    shown = known(*tenants).names_of(pd.Series(list(said), dtype="str"))
    assert shown.is_unique


def test_a_schema_without_a_name_gets_that_of_its_definition():
    schemas = [SchemaDefinition(id="s", name="sales"), SchemaDefinition(id="u")]
    frame = pd.DataFrame(
        {
            "schema_name": pd.Series([None, "own", None, None], dtype="str"),
            "schema_definition_id": pd.Series(["s", "s", "u", None], dtype="str"),
            "missing_schema_name": pd.Series(["x", None, None, None], dtype="str"),
            "missing_schema_definition_id": pd.Series(["s", "s", "s", "z"], dtype="str"),
        }
    )
    found = known(schemas=schemas).named(frame)
    assert found["schema_name"].fillna("–").tolist() == ["sales", "own", "–", "–"]
    assert found["missing_schema_name"].fillna("–").tolist() == ["x", "sales", "sales", "–"]
    assert frame["schema_name"].isna().sum() == 3  # the given one is as it was


def test_tenants_are_those_named_and_those_with_batches(tmp_path):
    store = reach.Store(tmp_path / "store")
    store.append(*to_tables([observation(batch(waits={}), 0)], minute(9)))
    learned = catalog([Tenant(id="o", name="Oak", deleted_at=NINE)], [], NINE)
    store.append_catalog(learned.tenants, learned.schema_definitions)
    history = reach.open_history(store)
    found = history.tenants()
    assert found["tenant_name"].tolist() == ["Oak", "t"]
    assert found["deleted_at"].notna().tolist() == [True, False]
    assert found.columns.tolist() == tables.describe("tenants")["column"].tolist()
    own = pd.DataFrame({"tenant_id": ["t", "o"], "count": [1, 2]})
    assert history.named(own).columns.tolist() == ["tenant_name", "tenant_id", "count"]


def test_sql_knows_names(named):
    found = named.sql(
        "SELECT tenant_name, count(*) AS waits FROM pending "
        "JOIN tenants USING (tenant_name, tenant_id) GROUP BY ALL ORDER BY ALL"
    )
    expected = named.pending().groupby("tenant_name").size()
    assert dict(zip(found["tenant_name"], found["waits"], strict=True)) == expected.to_dict()
    described = named.sql("FROM schemas LIMIT 0").columns.tolist()
    assert described == tables.describe("schemas")["column"].tolist()
    counted = named.sql(
        "SELECT len(\"references\") AS n FROM schemas WHERE schema_name = 'contacts'"
    )
    assert counted["n"].tolist() == [2]


def test_what_if_takes_keys_however_they_are_named(named):
    best = named.bottlenecks().query("is_root").head(1)
    [[tenant, schema, one]] = best[["tenant_name", "schema_name", "external_id"]].to_numpy()
    waiting = named.dependencies()
    waiting = waiting[waiting["missing_external_id"] == one]
    waiting = waiting[waiting["tenant_name"] == tenant]
    expected = named.what_if(best)
    assert (expected["outcome"] == "released").sum() == best["unlock"].iloc[0]
    for key in (waiting, [(tenant, schema, one)], [(best["tenant_id"].iloc[0], schema, one)]):
        pd.testing.assert_frame_equal(named.what_if(key), expected)
    timed = named.what_if({(tenant, schema, one): named.moment})
    assert (timed["outcome"] == "released").sum() == best["unlock"].iloc[0]


def test_a_name_that_looks_like_an_id_is_told_apart():
    other = "f7c1bd87-4da5-4709-9471-3d60c8a70639"
    names = known(Tenant(id="1", name=other), Tenant(id=other.upper(), name="Pine"))
    shown = names.names_of(pd.Series(["1", other], dtype="str"))
    assert shown.tolist() == [f"{other} (1)", other]


def test_by_name_and_id_together(named):
    found = named.success(by=["tenant_name", "tenant_id"])
    assert found.columns.tolist()[:3] == ["tenant_name", "tenant_id", "batches"]
    assert len(found) == 3
