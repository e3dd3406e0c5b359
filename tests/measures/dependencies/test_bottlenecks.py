"""Bottlenecks and the dependency graph."""

from __future__ import annotations

import random

import networkx as nx
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reach_analytics import tables
from reach_analytics.errors import FrameError
from reach_analytics.measures import bottlenecks, dependency_graph
from reach_analytics.measures._graph import reachability
from reach_analytics.measures._graph.model import read_pending_graph
from tests.support import brute
from tests.support.effort import count, examples
from tests.support.graphs import graphs
from tests.support.waits import at, frame

COUNTS = ["direct", "direct_sole", "blocked", "unlock"]


def counts(waits) -> dict[str, tuple[int, ...]]:
    table = bottlenecks(frame(waits)).set_index("external_id")
    return {key: tuple(row) for key, row in table[COUNTS].T.items()}


def released(waits, delivered=(), forced=()) -> set[str]:
    """Keys of the released resources, by the package's own closure."""
    graph = read_pending_graph(frame(waits), None, "test")
    keys = graph.names.keys()["external_id"]
    done = graph.names.resources().index[graph.names.resources()["external_id"].isin(list(forced))]
    flags = graph.closure(keys.index[keys.isin(list(delivered))], done)
    return set(graph.names.resources()["pending_id"][flags].str.split("-").str[1])


def tainted(waits) -> set[str]:
    graph = read_pending_graph(frame(waits), None, "test")
    return set(graph.names.resources()["external_id"][graph.tainted])


def test_chain_counts_everything_behind_the_root():
    """G1: A waits for x, B for A, C for B."""
    waits = {"A": "x", "B": "A", "C": "B"}
    assert counts(waits)["x"] == (1, 1, 3, 3)
    nodes = dependency_graph(frame(waits)).nodes
    assert nodes.set_index("external_id")["depth"].to_dict() == {"x": 0, "A": 1, "B": 2, "C": 3}


def test_diamond_is_unlocked_as_a_whole():
    """G2: B and C wait for A, D for both."""
    waits = {"A": "x", "B": "A", "C": "A", "D": "BC"}
    assert counts(waits)["x"] == (1, 1, 4, 4)
    assert released(waits, forced="A") == set("ABCD")
    assert released(waits, forced="B") == set("B")


def test_shared_dependents_are_unlocked_only_together():
    """G3: B needs x and y."""
    waits = {"A": "x", "B": "xy", "C": "y", "D": "B"}
    assert counts(waits)["x"] == counts(waits)["y"] == (2, 1, 3, 1)
    assert released(waits, "xy") == set("ABCD")


def test_pairs_of_roots_can_beat_the_best_single_one():
    """G4: three resources need x and y, two need z."""
    waits = {"A": "xy", "B": "xy", "C": "xy", "D": "z", "E": "z"}
    assert counts(waits) == {"x": (3, 0, 3, 0), "y": (3, 0, 3, 0), "z": (2, 2, 2, 2)}
    assert released(waits, "xy") == set("ABC")
    assert bottlenecks(frame(waits))["external_id"].tolist() == ["z", "x", "y"]


def test_a_deadlock_and_its_dependents_are_never_unlocked():
    """G5: A and B wait for each other, C for A."""
    waits = {"A": "B", "B": "A", "C": "A", "D": "x"}
    assert counts(waits)["x"] == (1, 1, 1, 1)
    assert tainted(waits) == set("ABC")
    nodes = dependency_graph(frame(waits)).nodes.set_index("external_id")
    assert set(nodes.index[nodes["in_cycle"]]) == {"A", "B"}


def test_a_root_into_a_deadlock_unlocks_only_what_is_outside():
    """G6: A also waits for x, but for B too, which waits for A."""
    assert counts({"A": "Bx", "B": "A", "D": "x"})["x"] == (2, 1, 3, 1)


def test_either_of_two_pending_resources_with_one_key_provides_it():
    """G7: A1 and A2 both have key A."""
    waits = [("A", "x"), ("A", "y"), ("B", "A")]
    assert counts(waits)["x"] == (1, 1, 2, 2)
    assert released(waits, "x") == {"A", "B"}
    table = bottlenecks(frame(waits))
    assert table.loc[table["is_root"], "unlock"].sum() == 4


def test_an_upload_sent_twice_is_no_alternative_to_itself_and_counts_twice():
    waits = [("A", "x"), ("A", "x"), ("B", "A")]
    assert counts(waits) == {"x": (2, 2, 3, 3), "A": (1, 1, 1, 1)}


@pytest.mark.parametrize("shape", ["cycle", "twice", "alternatives"])
def test_large_cycles_and_chains_uploaded_twice_are_counted_in_reasonable_time(shape):
    """Each would take minutes if every key were traversed separately."""
    size = 3000
    chain = [(f"k{n}", [f"k{n - 1}"]) for n in range(1, size)]
    if shape == "cycle":
        table = bottlenecks(frame([*chain, ("k0", [f"k{size - 1}"])]))
        assert (table["unlock"] == size).all()
    elif shape == "twice":
        table = bottlenecks(frame([*chain, *chain])).set_index("external_id")
        assert table.loc["k0", "unlock"] == 2 * (size - 1)
        assert table.loc[f"k{size - 2}", "unlock"] == 2
    else:
        spokes = [(f"a{n % 50}", [f"r{n}"]) for n in range(size)] + [("end", ["a1"])]
        table = bottlenecks(frame(spokes)).set_index("external_id")
        assert table.loc["r1", "unlock"] == 2
        assert table.loc["r2", "unlock"] == 1


def test_self_reference_is_a_deadlock():
    assert tainted({"A": "A", "B": "x"}) == {"A"}


def test_needed_by_is_the_first_expiry_among_direct_dependents():
    table = bottlenecks(frame({"A": "x", "B": "x"}, expires={"A": 30, "B": 10}))
    assert table["needed_by"].tolist() == [at(10)]


def test_one_external_id_in_two_tenants_is_two_keys():
    both = pd.concat([frame({"A": "x"}, tenant="t1"), frame({"A": "x"}, tenant="t2")])
    assert bottlenecks(both)[["tenant_id", "unlock"]].to_numpy().tolist() == [["t1", 1], ["t2", 1]]


def test_repeated_rows_count_once():
    once = frame({"A": "xy", "B": "x"})
    twice = pd.concat([once, once])
    pd.testing.assert_frame_equal(bottlenecks(once), bottlenecks(twice))


def test_a_resource_that_misses_nothing_is_not_blocked_and_needs_no_delivery():
    """B waits for A, and A is only in `pending`: it misses nothing, so neither needs anything."""
    waits = frame({"B": "A"})
    pending = tables.PENDING.conform(
        waits.assign(external_id="A", pending_id="pA", missing_count=0)
    )
    table = bottlenecks(waits, pending)
    assert table[["external_id", "is_root", "blocked", "unlock"]].to_numpy().tolist() == [
        ["A", False, 1, 0]
    ]


def test_empty_in_empty_out_with_the_same_columns():
    table = bottlenecks(tables.DEPENDENCIES.empty(), tables.PENDING.empty())
    pd.testing.assert_frame_equal(table, tables.BOTTLENECKS.empty())
    graph = dependency_graph(tables.DEPENDENCIES.empty())
    pd.testing.assert_frame_equal(graph.nodes, tables.GRAPH_NODES.empty())
    pd.testing.assert_frame_equal(graph.edges, tables.GRAPH_EDGES.empty())


def test_a_wrong_frame_is_refused_with_what_to_pass():
    with pytest.raises(FrameError, match=r"`missing_external_id`.*history\.dependencies\(\)"):
        bottlenecks(frame({"A": "x"}).drop(columns="missing_external_id"))


def test_null_identifiers_are_counted_and_equal_each_other():
    waits = frame({"A": "x", "B": "x"}).assign(missing_schema_definition_id=None)
    assert bottlenecks(waits)[["direct", "unlock"]].to_numpy().tolist() == [[2, 2]]


def test_counts_agree_with_brute_force_on_random_graphs():
    """Each graph is a tenant of one frame, so this also tests that tenants are separate."""
    rng = random.Random(20260301)
    graphs = {f"t{number}": random_pairs(rng) for number in range(count(2000, 400))}
    table = bottlenecks(pd.concat([frame(pairs, tenant=t) for t, pairs in graphs.items()]))
    for tenant, rows in table.groupby("tenant_id"):
        own = rows.set_index("external_id")[["is_root", *COUNTS]]
        assert {key: tuple(row) for key, row in own.T.items()} == brute.bottlenecks(graphs[tenant])


def random_pairs(rng: random.Random) -> brute.Pairs:
    """Up to 14 resources; half of the graphs repeat keys, and most have a cycle somewhere."""
    keys = "ABCDEFGHIJ"[: rng.randint(1, 10)]
    count = rng.randint(1, 14)
    own = (
        rng.choices(keys, k=count)
        if rng.random() < 0.5
        else rng.sample(keys, min(count, len(keys)))
    )
    return [(key, frozenset(rng.choices(keys + "wxyz", k=rng.randint(1, 4)))) for key in own]


@settings(max_examples=examples(100), deadline=None)
@given(pairs=graphs())
def test_counts_agree_with_brute_force_on_any_graph(pairs):
    table = bottlenecks(frame(pairs)).set_index("external_id")
    found = {key: tuple(row) for key, row in table[["is_root", *COUNTS]].T.items()}
    assert found == brute.bottlenecks(pairs)


@settings(max_examples=examples(60), deadline=None)
@given(pairs=graphs(unique=True))
def test_with_single_producers_counts_are_ordered_and_roots_share_nothing(pairs):
    table = bottlenecks(frame(pairs))
    roots = table[table["is_root"]]
    assert (roots["direct_sole"] <= roots["unlock"]).all()
    assert (roots["unlock"] <= roots["blocked"]).all()
    assert roots["unlock"].sum() <= len(pairs)


@settings(max_examples=examples(60), deadline=None)
@given(pairs=graphs(), shuffling=st.randoms())
def test_row_order_does_not_matter(pairs, shuffling):
    waits = frame(pairs)
    order = list(range(len(waits)))
    shuffling.shuffle(order)
    pd.testing.assert_frame_equal(bottlenecks(waits), bottlenecks(waits.iloc[order]))


@settings(max_examples=examples(60), deadline=None)
@given(pairs=graphs())
def test_taint_and_cycles_agree_with_brute_force_and_networkx(pairs):
    roots = {k for _, missed in pairs for k in missed} - {own for own, _ in pairs}
    never = set(range(len(pairs))) - brute.closure(pairs, roots)
    graph = read_pending_graph(frame(pairs), None, "test")
    assert graph.tainted.sum() == len(never)
    digraph = nx.DiGraph((missing, own) for own, missed in pairs for missing in missed)
    cycles = {
        k for part in nx.strongly_connected_components(digraph) if len(part) > 1 for k in part
    }
    cycles |= set(nx.nodes_with_selfloops(digraph))
    on_cycle = graph.on_cycle[: graph.key_count]
    assert set(graph.names.keys()["external_id"][on_cycle]) == cycles


@settings(max_examples=examples(60), deadline=None)
@given(pairs=graphs())
def test_graph_accounts_for_every_resource_and_every_edge(pairs):
    graph = dependency_graph(frame(pairs))
    assert graph.nodes["count"].sum() == len(pairs)
    assert graph.edges["count"].sum() == sum(len(missed) for _, missed in pairs)
    assert graph.to_networkx().number_of_edges() == len(graph.edges)


def test_graph_merges_equal_leaves():
    graph = dependency_graph(frame({"A": "x", "B": "x", "C": "x", "D": "xy"}))
    shown = graph.nodes[["kind", "count"]].value_counts().to_dict()
    assert shown == {("group", 3): 1, ("group", 1): 1, ("missing", 0): 2}


def test_graph_of_the_top_root_keeps_the_other_needs_of_its_dependents():
    waits = {"A": "x", "B": "x", "C": "xy", "D": "z"}
    graph = dependency_graph(frame(waits), top=1)
    missing = graph.nodes.loc[graph.nodes["kind"] == "missing", "external_id"]
    assert missing.tolist() == ["x", "y"]
    assert graph.nodes["keys"].sum() == 2
    assert (graph.hidden_missing, graph.hidden_resources) == (1, 1)


def test_graph_merges_the_other_roots_of_dependents_of_the_top_one():
    """Ten sales miss x and another thing each: x, one node for the ten, one for the sales."""
    waits = {f"s{n}": ["x", f"y{n}"] for n in range(10)} | {"a": ["x"], "b": ["y3"]}
    graph = dependency_graph(frame(waits), top=1)
    shown = graph.nodes[["kind", "keys", "count"]].to_numpy().tolist()
    assert sorted(shown) == [
        ["group", 0, 1],
        ["group", 0, 10],
        ["missing", 1, 0],
        ["missing", 10, 0],
    ]
    assert (graph.hidden_missing, graph.hidden_resources) == (0, 1)


def test_graph_always_keeps_deadlocks():
    graph = dependency_graph(frame({"A": "x", "B": "C", "C": "B"}), top=1)
    assert set(graph.nodes["external_id"]) == {"x", "A", "B", "C"}


def test_estimates_of_blocked_are_close_and_the_largest_are_exact(monkeypatch):
    """Twenty chains of thirty, each after the previous one; counted exactly, then by sketches."""
    waits = {
        f"{chain:02}-{link:02}": {
            f"{chain:02}-{link - 1:02}" if link else f"root-{chain}",
            *([f"{chain - 1:02}-29"] if link == 0 and chain else []),
        }
        for chain in range(20)
        for link in range(30)
    }
    exact = bottlenecks(frame(waits))
    assert exact["blocked_exact"].all()
    monkeypatch.setattr(reachability, "_EXACT_KEYS", 50)
    monkeypatch.setattr(reachability, "_AT_ONCE", 10)
    rough = bottlenecks(frame(waits))
    both = exact.merge(rough, on=["external_id"], suffixes=("", "_rough"))
    counted = both[both["blocked_exact_rough"]]
    assert (counted["blocked"] == counted["blocked_rough"]).all()
    guessed = both[~both["blocked_exact_rough"]]
    assert len(guessed) > 400
    error = guessed["blocked_rough"] / guessed["blocked"] - 1
    assert (error**2).mean() ** 0.5 < 2 * reachability.BLOCKED_ERROR
    assert counted["blocked"].max() == both["blocked"].max()
