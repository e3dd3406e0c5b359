"""A part of a history: what filtering the whole by hand gives."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import networkx as nx
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reach_analytics as reach
from reach_analytics import measures
from reach_analytics.client import SchemaDefinition, Tenant
from reach_analytics.collector._observe.catalog import catalog
from reach_analytics.collector._observe.rows import to_tables
from reach_analytics.errors import UnknownNameError
from tests.support.effort import UNSHRUNK, examples
from tests.support.observations import batch, minute, observation

SHIPPED = Path(__file__).parents[2] / "data" / "demo"
KEY = ["tenant_id", "batch_id"]
WAIT = [*KEY, "pending_id", "external_id", "schema_definition_id"]
TENANTS = ["Harbour Books", "Northside Dental", "Pine & Co"]
SCHEMAS = ["contacts", "locations", "transactions"]
STATUSES = ["success", "partial_success", "failure", "processing"]
TYPES = ["PARTNER_RESOURCE_JSON_INGEST"]


@pytest.fixture(scope="module")
def whole() -> reach.history.History:
    return reach.open_history(SHIPPED)


@st.composite
def filters(draw) -> dict:
    some = {
        "tenant": st.lists(st.sampled_from(TENANTS), min_size=1, max_size=3),
        "schema": st.lists(st.sampled_from(SCHEMAS), min_size=1, max_size=3),
        "status": st.lists(st.sampled_from(STATUSES[:2]), min_size=1, max_size=2),
        "batch_type": st.just(TYPES),
        "since": st.integers(121, 480).map(lambda minutes: f"{minutes}min"),
        "until": st.integers(1, 120).map(lambda minutes: timedelta(minutes=minutes)),
    }
    names = draw(st.sets(st.sampled_from(sorted(some)), min_size=1, max_size=4))
    return {name: draw(some[name]) for name in sorted(names)}


class ByHand:
    """The frames of a whole history, filtered with pandas."""

    def __init__(self, whole, asked: dict) -> None:
        self.whole, self.asked = whole, asked
        spans = {name: asked.get(name) for name in ("since", "until")}
        self.since, self.until = (
            None if value is None else whole.moment - pd.Timedelta(value)
            for value in spans.values()
        )

    def of(self, frame: pd.DataFrame, *names: str) -> pd.DataFrame:
        columns = {"tenant": "tenant_name", "schema": "schema_name"}
        for name in names:
            if name in self.asked:
                frame = frame[frame[columns.get(name, name)].isin(self.asked[name])]
        return frame.reset_index(drop=True)

    def in_time(self, frame: pd.DataFrame, time: str) -> pd.DataFrame:
        if self.since is not None:
            frame = frame[frame[time] >= self.since]
        if self.until is not None:
            frame = frame[frame[time] < self.until]
        return frame.reset_index(drop=True)

    def inside(self, frame: pd.DataFrame, keys: pd.DataFrame, names: list[str]) -> pd.DataFrame:
        both = frame[names].merge(keys[names].drop_duplicates(), "left", indicator=True)
        return frame[(both["_merge"] == "both").to_numpy()].reset_index(drop=True)

    def fitting(self) -> pd.DataFrame:
        return self.of(self.whole.batches(), "tenant", "schema", "status", "batch_type")

    def batches(self) -> pd.DataFrame:
        return self.in_time(self.fitting(), "created_at")

    def observations(self) -> pd.DataFrame:
        rows = self.of(self.whole.observations(), "tenant")
        if {"schema", "status", "batch_type"} & {*self.asked}:
            rows = self.inside(rows, self.fitting(), KEY)
        return self.in_time(rows, "sent_at")

    def _of_kinds(self, rows: pd.DataFrame) -> pd.DataFrame:
        kinds = self.of(self.whole.batches(), "status", "batch_type")
        return self.inside(self.of(rows, "tenant", "schema"), kinds, KEY)

    def pending(self) -> pd.DataFrame:
        rows = self._of_kinds(self.whole.pending())
        return rows if self.until is None else self.begun(rows)

    def dependencies(self) -> pd.DataFrame:
        rows = self._of_kinds(self.whole.dependencies())
        return rows if self.until is None else self.begun(rows)

    def begun(self, rows: pd.DataFrame) -> pd.DataFrame:
        return rows[rows["created_at"] < self.until].reset_index(drop=True)

    def wait_intervals(self) -> pd.DataFrame:
        rows = self._of_kinds(self.whole.wait_intervals())
        rows = rows if self.until is None else self.begun(rows)
        if self.since is not None:
            rows = rows[rows["gone_by"].isna() | (rows["gone_by"] >= self.since)]
        return rows.reset_index(drop=True)

    def wait_outcomes(self) -> pd.DataFrame:
        return self.inside(self.whole.wait_outcomes(), self.wait_intervals(), WAIT)

    def missing_intervals(self) -> pd.DataFrame:
        return self.inside(self.whole.missing_intervals(), self.wait_intervals(), WAIT)

    def departures(self) -> pd.DataFrame:
        return self.inside(self.whole.departures(), self.batches(), KEY)


FRAMES = ["batches", "observations", "pending", "dependencies", "wait_intervals"]
FRAMES += ["wait_outcomes", "missing_intervals", "departures"]


@settings(max_examples=examples(12), phases=UNSHRUNK)
@given(asked=filters())
def test_frames_are_those_filtered_by_hand(whole, asked):
    part, by_hand = whole.filter(**asked), ByHand(whole, asked)
    for name in FRAMES:
        pd.testing.assert_frame_equal(getattr(part, name)(), getattr(by_hand, name)(), obj=name)


@settings(max_examples=examples(6), phases=UNSHRUNK)
@given(asked=filters())
def test_measures_are_those_of_the_frames_filtered_by_hand(whole, asked):
    part, by_hand, now = whole.filter(**asked), ByHand(whole, asked), whole.moment
    waits, observations = by_hand.wait_outcomes(), by_hand.observations()
    batches, pending = by_hand.batches(), by_hand.pending()
    lost = part.reconciliation(by="tenant_id")
    for found, expected in (
        (part.success(by="schema_name"), measures.success(batches, by="schema_name")),
        (part.status(), measures.status(batches)),
        (part.errors(), measures.errors(batches)),
        (part.health(), measures.health(batches, pending, lost, as_of=now)),
        (
            part.release_rates(by="schema_name"),
            measures.release_rates(waits, by="schema_name", as_of=now),
        ),
        (part.backlog(), measures.backlog(waits, freq="1h", as_of=now)),
        (part.expiring(), measures.expiring(pending, as_of=now)),
        (part.arrivals(), measures.arrivals(waits, by_hand.missing_intervals())),
        (part.throughput(), measures.throughput(observations)),
        (part.quality(), measures.quality(observations)),
        (part.coverage(), measures.coverage(observations, as_of=now)),
    ):
        told = found.drop(columns="tenant_name", errors="ignore")
        pd.testing.assert_frame_equal(told, expected)
    assert part.reconciliation()["records"].sum() == batches["total_records"].sum()


@pytest.mark.parametrize("tenant", TENANTS)
def test_a_tenant_s_graph_is_that_of_its_rows(whole, tenant):
    part = whole.filter(tenant=tenant)
    own = part.dependencies(), part.pending()
    for name in ("bottlenecks", "upload_plan", "choke_points", "deadlocks", "depth"):
        found = getattr(part, name)().drop(columns="tenant_name")
        pd.testing.assert_frame_equal(found, getattr(measures, name)(*own), obj=name)


@pytest.mark.parametrize("schema", SCHEMAS)
def test_the_graph_of_a_schema_reaches_up_to_what_somebody_must_deliver(whole, schema):
    """By networkx, over the dependencies of all: a resource, and all that it waits for in turn."""
    part, rows, every = whole.filter(schema=schema), whole.dependencies(), whole.pending()
    key = ["tenant_id", "schema_definition_id", "external_id"]
    missing = ["tenant_id", "missing_schema_definition_id", "missing_external_id"]
    graph = nx.DiGraph()
    own = rows[key].itertuples(index=False, name=None)
    graph.add_edges_from(zip(own, rows[missing].itertuples(index=False, name=None), strict=True))
    begin = {*part.pending()[key].itertuples(index=False, name=None)} & {*graph}
    reached = begin.union(*(nx.descendants(graph, one) for one in begin))

    def above(frame):
        inside = [row in reached for row in frame[key].itertuples(index=False, name=None)]
        return frame[inside].reset_index(drop=True)

    expected = measures.bottlenecks(above(rows), above(every))
    pd.testing.assert_frame_equal(part.bottlenecks().drop(columns="tenant_name"), expected)
    plan = part.upload_plan(top=None)
    assert set(plan["external_id"]) <= set(expected.loc[expected["is_root"], "external_id"])
    assert plan["position"].tolist() == list(range(1, len(plan) + 1))
    assert plan["running_total"].iloc[-1:].tolist() == [plan["frees"].sum()] * (len(plan) > 0)


def test_parts_of_parts_are_what_is_in_both(whole):
    once = whole.filter(tenant="Pine & Co", schema="transactions", since="3h", until="1h")
    twice = whole.filter(until="1h", schema=["transactions", "contacts"])
    twice = twice.filter(since="3h", tenant=TENANTS).filter(tenant="pine & co")
    twice = twice.filter(schema=["transactions", "locations"], until="30min")
    for name in FRAMES:
        pd.testing.assert_frame_equal(getattr(once, name)(), getattr(twice, name)(), obj=name)
    assert once.tenants()["tenant_name"].tolist() == ["Pine & Co"]
    nothing = once.filter(tenant="Harbour Books")
    assert len(nothing.batches()) == len(nothing.bottlenecks()) == len(nothing.upload_plan()) == 0
    assert nothing.moment == whole.moment


def test_a_part_says_what_it_is(whole):
    part = whole.filter(tenant="PINE", schema="Transactions", status="success", since="2h")
    for told in ("tenant Pine & Co", "schema transactions", "status success"):
        assert told in repr(part)
    span = "since 2026-03-02 12:00:00 UTC (batches by creation, observations by time, waits by"
    assert span in repr(part)
    assert whole.part == ""
    assert "tenant" not in repr(whole)


def test_a_name_that_nobody_has_is_told_with_the_nearest(whole):
    for asked, told in (
        ({"tenant": "Northsid"}, r"no tenant is called 'Northsid'; did you mean 'NORTHSIDE'"),
        ({"schema": "transaction"}, "did you mean 'transactions'"),
        ({"status": "sucess"}, "no status is called 'sucess'; did you mean .*'success'"),
        ({"batch_type": "zzz"}, "there are: 'PARTNER_RESOURCE_JSON_INGEST'"),
        ({"tenant": ["Pine & Co", "zzzzzz"]}, "there are: 'Harbour Books', 'Northside Dental', "),
    ):
        with pytest.raises(UnknownNameError, match=told):
            whole.filter(**asked)


def test_odd_filters_are_refused(whole):
    for asked, error, told in (
        ({"since": "2"}, ValueError, "a number needs a unit"),
        ({"since": 3}, ValueError, "since must be a length of time"),
        ({"since": "1h", "until": "2h"}, ValueError, "since must be before until"),
        ({"tenant": 7}, TypeError, "takes names or ids, found 7"),
        ({"tenant": [None]}, TypeError, "takes names or ids, found None"),
    ):
        with pytest.raises(error, match=told):
            whole.filter(**asked)


def test_all_of_it_is_left_by_a_filter_that_asks_for_nothing(whole):
    for name in FRAMES:
        found = getattr(whole.filter(), name)()
        pd.testing.assert_frame_equal(found, getattr(whole, name)(), obj=name)


def test_a_part_has_reports_exports_plots_and_sql(whole, tmp_path):
    part = whole.filter(tenant="Pine & Co", since="3h")
    page = part.report(tmp_path / "report.html").read_text("utf-8")
    assert "Pine &amp; Co" in page
    assert "Harbour" not in page
    assert '<span class="part">tenant Pine &amp; Co; since 2026-03-02 11:00:00 UTC' in page
    files = {path.stem: path for path in part.export(tmp_path / "out")}
    pd.testing.assert_frame_equal(pd.read_parquet(files["pending"]), part.pending())
    assert reach.plot_bottlenecks(part.bottlenecks()).data
    [count] = part.sql("SELECT count(*) AS n FROM wait_outcomes")["n"]
    assert count == len(part.wait_outcomes())


def test_a_time_at_the_edge_is_inside_since_and_outside_until(tmp_path):
    store = reach.Store(tmp_path / "store")
    seen = [observation(batch(waits={"A": "x"}), n) for n in (0, 10)]
    store.append(*to_tables([*seen, observation(batch(waits={}), 20)], minute(30)))
    history = reach.open_history(store)
    sent = history.observations()["sent_at"]
    assert len(history.filter(since=sent[1]).observations()) == 2
    assert len(history.filter(until=sent[1]).observations()) == 1
    gone = history.wait_intervals()["gone_by"][0]
    assert len(history.filter(since=gone).wait_outcomes()) == 1
    assert len(history.filter(since=gone + pd.Timedelta("1us")).wait_outcomes()) == 0


def test_waits_of_which_nobody_knows_when_they_began_are_not_cut(tmp_path):
    store = reach.Store(tmp_path / "store")
    seen = [observation(batch(waits={"A": "x"}), n) for n in (0, 10, 60)]
    snapshots, stored = to_tables(seen, minute(90))
    lists = snapshots["pending_resources"].to_pylist()
    for resources in lists:
        for one in resources:
            one["created_at"] = None
    place = snapshots.column_names.index("pending_resources")
    kind = snapshots.schema.field(place)
    store.append(snapshots.set_column(place, kind, pa.array([*lists], kind.type)), stored)
    part = reach.open_history(store).filter(until="30min")
    assert len(part.pending()) == len(part.dependencies()) == len(part.wait_outcomes()) == 1
    assert part.bottlenecks()["external_id"].tolist() == ["x"]


@pytest.fixture
def named_alike(tmp_path):
    """Two versions of a schema, and a tenant that is called by the id of another."""
    store = reach.Store(tmp_path / "store")
    for tenant in ("t", "o"):
        own = observation(batch("b", waits={"A": "x"}), 0, tenant_id=tenant)
        store.append(*to_tables([own], minute(9)))
    schema = observation(batch(waits={}), 0).document.schema_definition_id
    both = [SchemaDefinition(id="v2", name="s"), SchemaDefinition(id=schema or "v1", name="s")]
    learned = catalog([Tenant(id="o", name="t"), Tenant(id="t", name="Pine")], both, minute(0))
    store.append_catalog(learned.tenants, learned.schema_definitions)
    return reach.open_history(store)


def test_an_id_means_what_has_it_and_not_what_is_called_so(named_alike):
    assert named_alike.filter(tenant="t").batches()["tenant_id"].tolist() == ["t"]
    assert named_alike.filter(tenant="Pine").batches()["tenant_id"].tolist() == ["t"]
    assert len(named_alike.filter(schema="v2").batches()) == 0
    assert named_alike.filter(schema="v2").schemas()["schema_definition_id"].tolist() == ["v2"]
    missing = named_alike.dependencies().query("tenant_id == 't'").iloc[0]
    key = missing["missing_schema_definition_id"], missing["missing_external_id"]
    released = named_alike.what_if([("t", *key)]).query("outcome == 'released'")
    assert released["tenant_id"].tolist() == ["t"]
