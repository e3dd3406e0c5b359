"""Deadlocks and depth: paper cases, and brute force over small random graphs."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reach_analytics import tables
from reach_analytics.errors import FrameError
from reach_analytics.measures import deadlocks, depth
from tests.support import brute
from tests.support.waits import at, frame


def members(table: pd.DataFrame) -> list[set[str]]:
    return [set(rows["external_id"]) for _, rows in table.groupby("deadlock")]


def depths(table: pd.DataFrame) -> dict[str, int | None]:
    keys = table["external_id"]
    return {k: None if pd.isna(d) else int(d) for k, d in zip(keys, table["depth"], strict=True)}


def test_two_that_need_each_other_taint_their_dependents():
    """Golden case G5."""
    table = deadlocks(frame({"A": "B", "B": "A", "C": "A", "D": "x"}))
    assert members(table) == [{"A", "B"}]
    assert table["members"].tolist() == [2, 2]
    assert table["tainted"].tolist() == [3, 3]
    assert table["unlock"].tolist() == [3, 3]


def test_a_cycle_that_needs_a_root_as_well_is_a_deadlock():
    """Golden case G6: A needs B and x, B needs A."""
    table = deadlocks(frame({"A": ["B", "x"], "B": "A", "D": "x"}))
    assert members(table) == [{"A", "B"}]
    unlocked = dict(zip(table["external_id"], table["unlock"], strict=True))
    assert unlocked == {"A": 1, "B": 0}


def test_a_self_reference_is_a_deadlock_of_one():
    assert members(deadlocks(frame({"A": "A", "B": "x"}))) == [{"A"}]


def test_a_cycle_that_an_alternative_opens_is_no_deadlock():
    waits = frame([("A", "B"), ("B", "A"), ("A", "x")])
    assert deadlocks(waits).empty
    assert not depth(waits)["depth"].isna().any()


def test_the_deadlock_that_taints_most_comes_first():
    waits = frame({"A": "A", "B": "B", "C": "B", "D": "C"})
    table = deadlocks(waits)
    assert table[["deadlock", "external_id", "tainted"]].to_numpy().tolist() == [
        [1, "B", 3],
        [2, "A", 1],
    ]


def test_a_deadlock_behind_another_is_separate_and_its_dependents_are_tainted_by_both():
    table = deadlocks(frame({"A": "B", "B": "A", "C": ["D", "A"], "D": "C"}))
    assert members(table) == [{"A", "B"}, {"C", "D"}]
    assert table["tainted"].tolist() == [4, 4, 2, 2]


def test_needed_by_is_the_first_expiry_that_the_deadlock_costs():
    table = deadlocks(frame({"A": "B", "B": "A"}, expires={"A": 30, "B": 10}))
    assert dict(zip(table["external_id"], table["needed_by"], strict=True)) == {
        "B": at(30),
        "A": at(10),
    }


def test_a_chain_s_depth_counts_its_links():
    """Golden case G1."""
    table = depth(frame({"A": "x", "B": "A", "C": "B"}))
    assert depths(table) == {"A": 1, "B": 2, "C": 3}
    assert table["external_id"].tolist() == ["C", "B", "A"]
    assert table["root_external_id"].tolist() == ["x", "x", "x"]


def test_the_longest_of_several_chains_counts_and_is_named():
    table = depth(frame({"A": "x", "B": "A", "C": ["B", "y"]}))
    row = table.iloc[0]
    assert (row["external_id"], row["depth"], row["root_external_id"]) == ("C", 3, "x")


def test_what_is_stuck_has_no_depth():
    table = depth(frame({"A": "B", "B": "A", "C": ["A", "x"], "D": "x"}))
    assert depths(table) == {"A": None, "B": None, "C": None, "D": 1}
    assert table["root_external_id"].isna().tolist() == [False, True, True, True]


def test_a_resource_that_misses_nothing_has_depth_zero_and_the_next_one():
    waits = frame({"B": "A"})
    ready = frame({"A": "x"}).assign(missing_count=0)
    table = depth(waits, tables.PENDING.conform(ready))
    assert depths(table) == {"A": 0, "B": 1}


def test_a_chain_on_something_present_ends_at_no_root():
    ready = tables.PENDING.conform(frame({"A": "x"}).assign(missing_count=0))
    table = depth(frame({"B": "A"}), ready).set_index("external_id")
    assert pd.isna(table.loc["B", "root_external_id"])


def test_empty_in_empty_out():
    for measure, table in ((deadlocks, tables.DEADLOCKS), (depth, tables.DEPTH)):
        pd.testing.assert_frame_equal(measure(tables.DEPENDENCIES.empty()), table.empty())
        with pytest.raises(FrameError, match=r"history\.dependencies\(\)"):
            measure(pd.DataFrame({"a": [1]}))


graphs = st.lists(
    st.tuples(st.sampled_from("ABCDE"), st.frozensets(st.sampled_from("ABCDExy"), max_size=3)),
    max_size=9,
)


def lost(pairs: brute.Pairs) -> tuple[set[int], set[str]]:
    """Resources and keys that no delivery of roots unlocks."""
    own = {key for key, _ in pairs}
    roots = {key for _, missed in pairs for key in missed} - own
    freed = brute.closure(pairs, roots)
    stuck = {i for i, (_, missed) in enumerate(pairs) if i not in freed and missed}
    return stuck, own - {pairs[i][0] for i in freed}


@given(graphs)
def test_members_reach_themselves_within_the_blocked_part(pairs):
    """By a traversal from every blocked key, comparing which return to their start."""
    pairs = [(key, missed) for key, missed in pairs if missed]
    stuck, keys = lost(pairs)
    reach = {}
    for key in keys:
        found, new = set(), {key}
        while new:
            step = {i for i in stuck if pairs[i][1] & new}
            brought = {pairs[i][0] for i in step} & keys
            new = brought - found
            found |= brought
        reach[key] = found
    circles = {frozenset(o for o in reach[k] if k in reach[o]) for k in keys if k in reach[k]}
    assert {frozenset(found) for found in members(deadlocks(frame(pairs)))} == circles


@given(graphs)
def test_depth_is_the_round_in_which_a_resource_is_released(pairs):
    """Deliver all roots, and release one link of every chain per round."""
    pairs = [(key, missed) for key, missed in pairs if missed]
    own = {key for key, _ in pairs}
    there = {key for _, missed in pairs for key in missed} - own
    expected: dict[int, int] = {}
    number = 0
    while True:
        number += 1
        new = {i for i, (_, missed) in enumerate(pairs) if missed <= there} - expected.keys()
        if not new:
            break
        expected |= dict.fromkeys(new, number)
        there |= {pairs[i][0] for i in new}
    table = depth(frame(pairs)).sort_values("pending_id")
    found = dict(zip(table["pending_id"], table["depth"], strict=True))
    for i, (key, _) in enumerate(pairs):
        shown = found[f"p{i}-{key}"]
        assert (None if pd.isna(shown) else shown) == expected.get(i)


@given(graphs, st.integers(0, 3))
def test_row_order_does_not_matter(pairs, seed):
    waits = frame(pairs)
    shuffled = waits.sample(frac=1, random_state=seed)
    for measure in (deadlocks, depth):
        pd.testing.assert_frame_equal(measure(shuffled), measure(waits))


def chains(waits: dict[str, frozenset[str]], name: str) -> set[tuple[int, str]]:
    """(links, root) of every chain from ``name`` down to a root, by enumeration."""
    if name not in waits:
        return {(0, name)}
    return {(links + 1, root) for key in waits[name] for links, root in chains(waits, key)}


@given(
    st.dictionaries(st.sampled_from("ABCDE"), st.frozensets(st.sampled_from("wxyz"), min_size=1)),
    st.lists(st.tuples(st.sampled_from("ABCDE"), st.sampled_from("ABCDE")), max_size=6),
)
def test_the_deep_end_is_the_root_of_a_longest_chain(roots, links):
    waits = dict(roots)
    for one, other in links:  # upward only, so that nothing waits for itself
        if one > other and one in waits and other in waits:
            waits[one] |= {other}
    table = depth(frame(waits))
    for row in table.itertuples():
        ends = chains(waits, row.external_id)
        assert (row.depth, row.root_external_id) in ends
        assert row.depth == max(links for links, _ in ends)
