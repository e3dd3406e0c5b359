"""Pending resources that block many others, compared with brute force and networkx."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reach_analytics import tables
from reach_analytics.errors import FrameError
from reach_analytics.measures import choke_points
from reach_analytics.measures._graph.dominators import Dominators
from reach_analytics.measures._graph.model import read_pending_graph
from tests.support import brute
from tests.support.waits import at, frame


def rows(waits) -> dict[str, dict]:
    found = choke_points(frame(waits)).set_index("external_id")
    return found.astype({"above_external_id": "object"}).to_dict("index")


def test_the_middle_of_a_chain_unlocks_itself_and_what_is_behind_it():
    found = rows({"A": "x", "B": "A", "C": "A", "D": "BC"})
    assert {key: row["forced_unlock"] for key, row in found.items()} == {"A": 4, "B": 1, "C": 1}
    assert {key: row["above_external_id"] for key, row in found.items()} == {
        "A": "x",
        "B": "A",
        "C": "A",
    }


def test_what_is_reachable_in_two_ways_has_nothing_above_it():
    found = rows({"A": "xy", "B": "A"})
    assert found["A"]["missing_count"] == 2
    assert pd.isna(found["A"]["above_external_id"])


def test_members_of_a_cycle_unlock_themselves_only_once():
    found = rows({"A": "B", "B": "A", "C": "A"})
    assert {key: (row["forced_unlock"], row["in_cycle"]) for key, row in found.items()} == {
        "A": (3, True),
        "B": (3, True),
    }
    assert rows({"A": "A"})["A"]["forced_unlock"] == 1


def test_the_latest_of_several_expiries_counts():
    waits = frame([("A", "x"), ("A", "y"), ("B", "A")], expires={"A": 10, "B": 20})
    [row] = choke_points(waits).to_dict("records")
    assert (row["waits"], row["forced_unlock"], row["expires_at"]) == (2, 2, at(10))


KEYS = "abcdefg"
GRAPHS = st.lists(
    st.tuples(st.sampled_from(KEYS), st.frozensets(st.sampled_from(KEYS + "xy"), max_size=3)),
    min_size=1,
    max_size=8,
)


@given(pairs=GRAPHS)
def test_forced_unlock_is_what_is_released_if_one_of_them_is_done(pairs):
    pairs = [(key, missed) for key, missed in pairs if missed]
    anyway = brute.closure(pairs, set())
    found = rows(pairs)
    for key, row in found.items():
        owners = [i for i, (own, _) in enumerate(pairs) if own == key]
        best = max(len(brute.closure(pairs, set(), frozenset({i})) - anyway) for i in owners)
        assert row["forced_unlock"] == (0 if set(owners) & anyway else best)
    missed = {k for _, keys in pairs for k in keys}
    assert set(found) == missed & {own for own, _ in pairs}


@given(
    pairs=st.lists(
        st.tuples(st.integers(0, 9), st.frozensets(st.integers(0, 9), min_size=1, max_size=3)),
        max_size=8,
        unique_by=lambda pair: pair[0],
    )
)
def test_what_is_above_is_the_immediate_dominator_as_networkx_finds_it(pairs):
    """One resource per key, without cycles: a key misses lower numbers only."""
    pairs = [(str(key), frozenset(str(k) for k in missed if k < key)) for key, missed in pairs]
    pairs = [(key, missed) for key, missed in pairs if missed]
    graph = nx.DiGraph([(k, own) for own, missed in pairs for k in missed])
    owners = {own for own, _ in pairs}
    graph.add_edges_from(("top", root) for root in set(graph) - owners)
    graph.add_node("top")
    above = nx.immediate_dominators(graph, "top")
    for key, row in rows(pairs).items():
        expected = None if above[key] == "top" else above[key]
        assert (None if pd.isna(row["above_external_id"]) else row["above_external_id"]) == expected


def test_the_published_example_of_dominators():
    """Edges 1→2, 1→3, 2→5, 3→4, 4→5 (networkx' own example): all hang from 1."""
    waits = {"2": "1", "3": "1", "4": "3", "5": "24", "6": "5"}
    graph = read_pending_graph(frame(waits), None, "test")
    names = graph.names.keys()["external_id"]
    above = Dominators.of(graph).above()
    found = {names[k]: names[above[k]] for k in np.flatnonzero(above >= 0)}
    assert found == {"2": "1", "3": "1", "4": "3", "5": "1"}


def test_empty_in_empty_out_and_a_wrong_frame_is_refused():
    empty = choke_points(tables.DEPENDENCIES.empty())
    pd.testing.assert_frame_equal(empty, tables.CHOKE_POINTS.empty())
    pd.testing.assert_frame_equal(choke_points(frame({"A": "x"})), tables.CHOKE_POINTS.empty())
    with pytest.raises(FrameError, match=r"pass history\.dependencies\(\)"):
        choke_points(pd.DataFrame({"x": [1]}))
