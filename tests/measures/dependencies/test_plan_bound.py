"""What no plan can exceed: brute force over all sets of uploads, and linear programs."""

from __future__ import annotations

import random
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.sparse import csr_array

from reach_analytics import tables
from reach_analytics.measures import upload_plan
from tests.support.brute import Pairs, closure
from tests.support.effort import count
from tests.support.graphs import graphs
from tests.support.waits import at, frame


def most(pairs) -> list[int]:
    """How many resources one upload, two and so on free at best, by trying every set of roots."""
    roots = sorted({key for _, missed in pairs for key in missed} - {own for own, _ in pairs})
    anyway = len(closure(pairs, set()))
    return [
        max(len(closure(pairs, set(some))) for some in combinations(roots, size)) - anyway
        for size in range(1, len(roots) + 1)
    ]


def bound(table: pd.DataFrame) -> list[int]:
    return table["max_running_total"].tolist()


def ends(table: pd.DataFrame) -> pd.DataFrame:
    """The last row of each block that frees something."""
    return table[table["block_frees"] > 0].drop_duplicates("block", keep="last")


def test_the_bound_is_a_straight_line_between_the_ends_of_blocks():
    """z frees two; w, x and y together seven: 2, then 7/3 more for each upload is no plan's."""
    waits = frame([*((f"p{i}", "wxy") for i in range(5)), ("4", "z"), ("5", "z")])
    table = upload_plan(waits)
    assert table["running_total"].tolist() == [2, 2, 2, 7]
    assert bound(table) == [2, 3, 5, 7]
    assert table["max_running_total"].dtype == "Int64"


@given(graphs(unique=True))
def test_without_alternatives_no_uploads_exceed_the_bound_and_blocks_reach_it(pairs):
    table, best = upload_plan(frame(pairs), top=None), most(pairs)
    assert all(np.array(bound(table)) >= best)
    reached = ends(table)
    assert (reached["running_total"] == reached["max_running_total"]).all()
    assert bound(reached) == [best[position - 1] for position in reached["position"]]


@given(graphs(), st.integers(1, 9), st.integers(1, 9))
def test_no_uploads_exceed_the_bound_whatever_is_shown_or_left_out(pairs, top, max_roots):
    """Cycles, keys that come in several ways, and resources with too many roots included."""
    waits, best = frame(pairs), most(pairs)
    table = upload_plan(waits, top=None, max_roots=max_roots)
    assert all(np.array(bound(table)) >= best)
    assert bound(table)[-1:] == best[-1:]  # all roots free what any free
    part = upload_plan(waits, top=top, max_roots=max_roots)
    pd.testing.assert_frame_equal(part, table.head(top))


waits_with_ready = st.lists(
    st.tuples(st.sampled_from("ABCDE"), st.frozensets(st.sampled_from("ABCDEwxyz"), max_size=3)),
    min_size=1,
    max_size=10,
)


@given(waits_with_ready)
def test_what_is_free_anyway_is_in_no_bound(pairs):
    """Resources that miss nothing, and what hangs on them only, need no upload."""
    waits = frame(pairs)
    pending = waits_of(pairs)
    table = upload_plan(waits, pending, top=None)
    assert all(np.array(bound(table), int) >= most(pairs))
    assert (table["running_total"] <= table["max_running_total"]).all()


def waits_of(pairs) -> pd.DataFrame:
    """`pending` of the same resources as `frame`'s, also those that miss nothing."""
    rows = frame([(own, missed or ["-"]) for own, missed in pairs])
    rows = rows.assign(missing_count=1).reindex(columns=tables.PENDING.names)
    return tables.PENDING.conform(rows.drop_duplicates("pending_id"))


def test_uploads_sent_twice_leave_the_bound_as_it_is():
    """They are no alternatives, since they miss the same."""
    waits = frame([("A", "xy"), ("A", "xy"), ("B", "A"), ("C", "z")])
    table = upload_plan(waits)
    assert (table["running_total"].tolist(), bound(table)) == ([0, 3, 4], [1, 3, 4])


def test_keys_that_come_in_several_ways_are_granted():
    """A comes with x or with y: B is granted from the start, and neither upload alone frees more
    than its own A besides."""
    table = upload_plan(frame([("A", "x"), ("A", "y"), ("B", "A")]))
    assert (table["running_total"].tolist(), bound(table)) == ([2, 3], [2, 3])
    rare = frame([("A", "vw"), ("A", "xy"), *((f"p{i}", "A") for i in range(5))])
    assert bound(upload_plan(rare)) == [5, 6, 6, 7]


def test_what_needs_more_roots_than_are_looked_at_is_granted_beyond_so_many_uploads():
    waits = frame([("A", "abcde"), ("B", "a"), ("C", "b")])
    assert bound(upload_plan(waits, max_roots=4)) == [1, 2, 2, 2, 3]
    assert bound(upload_plan(waits, max_roots=2)) == [1, 2, 3, 3, 3]


def test_what_is_in_a_deadlock_is_no_alternative():
    table = upload_plan(frame([("A", "xy"), ("A", "D"), ("D", "D"), ("B", "A")]))
    assert (table["running_total"].tolist(), bound(table)) == ([0, 2], [1, 2])


def test_deadlocks_are_in_no_bound():
    table = upload_plan(frame({"A": "B", "B": "A", "C": ["A", "y"], "D": "x"}))
    assert (table["running_total"].tolist(), bound(table)) == ([1, 1], [1, 1])


def test_at_a_pace_there_is_no_bound():
    waits = frame([("A", "x"), ("B", "y")], expires={"A": 90, "B": 600})
    table = upload_plan(waits, uploads_per_hour=1, as_of=at(0))
    assert table["max_running_total"].isna().all()
    assert bound(upload_plan(waits)) == [1, 2]  # without one nothing expires


def test_an_empty_plan_has_an_empty_bound():
    assert bound(upload_plan(tables.DEPENDENCIES.empty())) == []
    assert bound(upload_plan(frame({"A": "B", "B": "A"}))) == []


def random_waits(rng: random.Random, roots: int, resources: int) -> Pairs:
    """Resources over so many roots, some in chains; a few roots are missed far more than others."""
    found = []
    for number in range(resources):
        missed = {f"x{int(rng.random() ** 2 * roots)}" for _ in range(rng.randint(1, 4))}
        if number and rng.random() < 0.3:
            missed.add(f"r{rng.randrange(number)}")
        found.append((f"r{number}", frozenset(missed)))
    return found


def root_sets(pairs) -> list[frozenset[str]]:
    """The roots of each resource, which miss only earlier ones."""
    of: dict[str, frozenset[str]] = {}
    for own, missed in pairs:
        of[own] = frozenset().union(*(of.get(key, frozenset([key])) for key in missed))
    return list(of.values())


def relaxed(sets: list[frozenset[str]], uploads: int) -> float:
    """The most that is freed where roots and resources may count in part, by linprog: each
    resource at most as much as each of its roots."""
    place = {root: i for i, root in enumerate(sorted(frozenset().union(*sets)))}
    edges = [(i, place[root]) for i, one in enumerate(sets) for root in one]
    rows, size = np.arange(len(edges)), len(place)
    resource, root = np.array(edges).T
    ones = np.ones(len(edges))
    # The last row counts the uploads.
    entries = np.concatenate([ones, -ones, np.ones(size)])
    row = np.concatenate([rows, rows, np.full(size, len(edges))])
    column = np.concatenate([size + resource, root, np.arange(size)])
    limits = csr_array((entries, (row, column)), shape=(len(edges) + 1, size + len(sets)))
    right = np.append(np.zeros(len(edges)), uploads)
    gain = np.append(np.zeros(size), -np.ones(len(sets)))
    return -linprog(gain, A_ub=limits, b_ub=right, bounds=(0, 1)).fun


@pytest.mark.parametrize("seed", range(count(10, 3)))
def test_the_bound_is_the_optimum_of_the_linear_relaxation(seed):
    rng = random.Random(seed)
    pairs = random_waits(rng, rng.randint(20, 60), 250)
    table, sets = upload_plan(frame(pairs), top=None), root_sets(pairs)
    for uploads in rng.sample(range(1, len(table) + 1), 12):
        optimum = relaxed(sets, uploads)
        assert bound(table)[uploads - 1] == int(optimum + 1e-6)


@pytest.mark.parametrize("seed", range(count(20, 4)))
def test_no_random_plan_exceeds_the_bound(seed):
    """Every second time with alternatives, and resources with too many roots."""
    rng = random.Random(seed)
    pairs = random_waits(rng, 30, 300)
    if seed % 2:
        pairs = [
            (f"r{rng.randrange(250)}" if n > 250 else own, m) for n, (own, m) in enumerate(pairs)
        ]
    table = upload_plan(frame(pairs), top=None, max_roots=6 if seed % 2 else 64)
    roots, anyway = table["external_id"].tolist(), len(closure(pairs, set()))
    for _ in range(10):
        rng.shuffle(roots)
        for uploads in range(1, len(roots) + 1, 3):
            freed = len(closure(pairs, set(roots[:uploads]))) - anyway
            assert freed <= bound(table)[uploads - 1]
