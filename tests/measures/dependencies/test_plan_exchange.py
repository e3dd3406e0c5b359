"""Better orders inside blocks: every order of small ones, integer programs, and what must not
change."""

from __future__ import annotations

import random
from itertools import combinations, permutations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, milp

from reach_analytics.measures import upload_plan
from reach_analytics.measures._planning.exchange import improved
from reach_analytics.measures._planning.sidney import Block, Signatures, blocks
from tests.support.effort import count
from tests.support.graphs import graphs
from tests.support.waits import at, frame

signature_sets = st.dictionaries(
    st.frozensets(st.integers(0, 5), min_size=1, max_size=4),
    st.integers(1, 9),
    min_size=2,
    max_size=12,
)


def waiting(weights: dict, order: list[int]) -> int:
    """The sum over resources of the place, from 1, of the last of their roots that ``order`` has;
    those with none of them, or more than these, do not count."""
    place = {root: i for i, root in enumerate(order, 1)}
    return sum(w * max(place[root] for root in s) for s, w in weights.items() if s <= {*order})


def inside(weights: dict, before: list[int], block: Block) -> dict:
    """What the roots of a block free, by those of them that it takes after the ones before."""
    found: dict = {}
    for signature, weight in weights.items():
        rest = signature - set(before)
        if rest and rest <= set(block.roots):
            found[rest] = found.get(rest, 0) + weight
    return found


def each_block(weights: dict, effort: int):
    """Each block as it was, as improved, and what it frees."""
    found, signatures = list(blocks(weights)), Signatures.of(weights)
    before: list[int] = []
    for old, new in zip(found, improved(found, signatures, effort), strict=True):
        yield old, new, inside(weights, before, old)
        before += old.roots


def behind(local: dict, block: Block, base: int) -> bool:
    """Whether it is more than 5 % below the bound anywhere."""
    size = len(block.roots)
    for n in range(1, size + 1):
        freed = base + sum(w for s, w in local.items() if s <= {*block.roots[:n]})
        if freed < 0.95 * (base + n * block.weight // size):
            return True
    return False


@given(signature_sets)
def test_small_blocks_below_the_bound_are_put_in_the_best_of_all_orders(weights):
    base = 0
    for old, new, local in each_block(weights, effort=100):
        if behind(local, old, base):
            best = min(waiting(local, list(tried)) for tried in permutations(old.roots))
            assert waiting(local, new.roots) == best
        else:
            assert new == old
        base += old.weight


def test_what_frees_one_sooner_and_the_rest_no_later_goes_first():
    """Two need w, x and y, one w and y: by what they free per upload the two would go first."""
    waits = frame([("1", "wxy"), ("2", "wxy"), ("3", "wy")])
    assert upload_plan(waits, effort=0)["running_total"].tolist() == [0, 0, 3]
    table = upload_plan(waits)
    assert table["external_id"].tolist()[2] == "x"
    assert table["running_total"].tolist() == [0, 1, 3]


def test_an_order_that_frees_later_by_another_way_is_not_taken():
    """A comes in two ways, of which the blocks know one."""
    waits = frame(
        [("1", "Avy"), ("2", "Avwz"), ("3", "Avwx"), ("A", "BC"), ("C", "y"), ("A", "Bvxz")]
    )
    plain, table = upload_plan(waits, effort=0), upload_plan(waits)
    assert set(table["guarantee"]) == {"heuristic"}
    assert table["running_total"].sum() >= plain["running_total"].sum()


def by_integer_program(local: dict, roots: list[int]) -> int:
    """The least waiting of any order: before[i, j] is 1 where root i comes before root j."""
    pairs = {pair: i for i, pair in enumerate(permutations(roots, 2))}
    first = len(pairs)
    size = first + len(local)
    rows, low, high = [], [], []

    def limit(entries: dict[int, int], least: float, most: float) -> None:
        row = np.zeros(size)
        for column, value in entries.items():
            row[column] += value
        rows.append(row), low.append(least), high.append(most)

    for i, j in combinations(roots, 2):
        limit({pairs[i, j]: 1, pairs[j, i]: 1}, 1, 1)
    for i, j, k in permutations(roots, 3):
        limit({pairs[i, j]: 1, pairs[j, k]: 1, pairs[k, i]: 1}, -np.inf, 2)
    for number, signature in enumerate(local):
        for root in signature:  # comes no sooner than each of its roots
            others = {pairs[other, root]: -1 for other in roots if other != root}
            limit({first + number: 1, **others}, 1, np.inf)
    found = milp(
        np.append(np.zeros(first), list(local.values())),
        integrality=np.append(np.ones(first), np.zeros(len(local))),
        bounds=Bounds(0, np.append(np.ones(first), np.full(len(local), np.inf))),
        constraints=LinearConstraint(np.array(rows), low, high),
    )
    return round(found.fun)


def dense(rng: random.Random, roots: int, sets: int) -> dict:
    """Signatures of a few roots each, of which most share a block."""
    found: dict = {}
    for _ in range(sets):
        one = frozenset(int(rng.random() ** 1.3 * roots) for _ in range(rng.randint(2, 4)))
        found[one] = found.get(one, 0) + rng.randint(1, 9)
    return found


def test_an_integer_program_finds_no_better_order():
    compared = 0
    for seed in range(count(30, 8)):
        for old, new, local in each_block(dense(random.Random(seed), 8, 16), effort=100):
            if new != old:
                assert waiting(local, new.roots) == by_integer_program(local, old.roots)
                compared += len(old.roots) >= 6
    assert compared


@pytest.mark.parametrize("seed", range(count(20, 5)))
def test_in_large_blocks_no_neighbours_are_better_the_other_way_round(seed):
    better = 0
    for old, new, local in each_block(dense(random.Random(seed), 40, 150), effort=10_000):
        assert sorted(new.roots) == sorted(old.roots)
        assert waiting(local, new.roots) <= waiting(local, old.roots)
        better += waiting(local, old.roots) - waiting(local, new.roots)
        if new == old:
            continue
        for n in range(len(new.roots) - 1):
            swapped = [*new.roots[:n], *new.roots[n : n + 2][::-1], *new.roots[n + 2 :]]
            assert waiting(local, new.roots) <= waiting(local, swapped)
    assert better


def test_more_effort_is_never_worse_and_none_changes_nothing():
    weights = dense(random.Random(7), 40, 150)
    sums = []
    for effort in (0, 1, 2, 5, 20, 1000):
        found = list(each_block(weights, effort))
        assert effort or all(new == old for old, new, _ in found)
        sums.append(sum(waiting(local, new.roots) for _, new, local in found))
    assert sums == sorted(sums, reverse=True)
    assert sums[-1] < sums[0]


WAITS = [("A", "xyz"), ("B", "xy"), ("C", "yz"), ("D", "wz"), ("E", "w")]


@given(graphs(), st.integers(1, 9), st.integers(1, 9))
def test_a_plan_with_effort_frees_no_later_whatever_is_shown_or_left_out(pairs, top, max_roots):
    """Cycles, keys that come in several ways, and resources with too many roots included."""
    waits = frame(pairs)
    plain = upload_plan(waits, top=None, max_roots=max_roots, effort=0)
    table = upload_plan(waits, top=None, max_roots=max_roots)
    for name in ("block", "block_frees", "max_running_total", "guarantee"):
        pd.testing.assert_series_equal(table[name], plain[name])
    for (_, new), (_, old) in zip(table.groupby("block"), plain.groupby("block"), strict=True):
        assert set(new["external_id"]) == set(old["external_id"])
        assert new["running_total"].sum() >= old["running_total"].sum()
    part = upload_plan(waits, top=top, max_roots=max_roots)
    pd.testing.assert_frame_equal(part, table.head(top))


def test_top_cuts_large_blocks_where_the_whole_plan_has_them():
    rng = random.Random(3)
    waits = frame(
        [(f"p{i}", [f"x{int(rng.random() ** 2 * 60)}" for _ in range(3)]) for i in range(200)]
    )
    whole = upload_plan(waits, top=None)
    assert (
        whole["running_total"].sum() > upload_plan(waits, top=None, effort=0)["running_total"].sum()
    )
    for top in (1, 7, 20, 45):
        pd.testing.assert_frame_equal(upload_plan(waits, top=top), whole.head(top))


def test_effort_below_zero_is_refused():
    with pytest.raises(ValueError, match="effort"):
        upload_plan(frame(WAITS), effort=-1)


def test_at_a_pace_effort_changes_nothing():
    waits = frame(WAITS, expires=dict.fromkeys("ABCDE", 600))
    pace = {"uploads_per_hour": 1, "as_of": at(0)}
    pd.testing.assert_frame_equal(upload_plan(waits, effort=0, **pace), upload_plan(waits, **pace))
