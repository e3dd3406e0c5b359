"""When success changed lastingly."""

from __future__ import annotations

from itertools import pairwise, permutations
from math import sqrt

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reach_analytics import tables
from reach_analytics.errors import FrameError
from reach_analytics.measures.batches.change_point import arrangements, change_point
from tests.support.batches import T0, batches
from tests.support.effort import examples
from tests.support.series import series


def of_10(*successes: int) -> pd.DataFrame:
    return series(*[(s, 10) for s in successes])


def only(table: pd.DataFrame) -> pd.Series:
    assert len(table) == 1
    return table.iloc[0]


@pytest.mark.parametrize(("good", "orders"), [((9,) * 4 + (3,) * 4, 70), ((9,) * 3 + (3,) * 3, 20)])
def test_only_two_orders_show_as_large_a_change_as_a_clean_break(good, orders):
    """Golden: 2/70 for eight batches, 2/20 for six."""
    row = only(change_point(of_10(*good), min_batches=6))
    assert row["p_value"] == pytest.approx(2 / orders)
    assert row["adjusted_p_value"] == row["p_value"]
    assert row["changed_at"] == T0 + pd.Timedelta(minutes=len(good) // 2)
    assert (row["before_fraction"], row["after_fraction"]) == (0.9, 0.3)
    assert row["statistic"] == pytest.approx(0.6 / sqrt(0.24 * 4 / (10 * len(good))))


def brute(pairs: list[tuple[int, int]]) -> tuple[list[float], float]:
    """(statistic of each split, p-value), by going through every permutation."""
    p = sum(s for s, _ in pairs) / sum(n for _, n in pairs)

    def scores(order):
        for split in range(1, len(order)):
            (s, n), (t, m) = np.sum(order[:split], axis=0), np.sum(order[split:], axis=0)
            yield abs(s / n - t / m) / sqrt(p * (1 - p) * (1 / n + 1 / m))

    own = list(scores(pairs))
    as_large = [max(scores(order)) >= max(own) - 1e-9 for order in permutations(pairs)]
    return own, sum(as_large) / len(as_large)


pairs = st.tuples(st.integers(0, 4), st.integers(1, 4)).map(lambda t: (min(t), t[1]))
mixed = st.lists(pairs, min_size=2, max_size=5).filter(
    lambda rows: 0 < sum(s for s, _ in rows) < sum(n for _, n in rows)
)


@settings(max_examples=examples(30))
@given(mixed)
def test_it_agrees_with_going_through_every_permutation(pairs):
    row = only(change_point(series(*pairs), min_batches=2))
    statistics, p_value = brute(pairs)
    assert row["statistic"] == pytest.approx(max(statistics))
    assert row["p_value"] == pytest.approx(p_value)
    split = int((row["changed_at"] - T0) / pd.Timedelta(minutes=1))
    assert statistics[split - 1] == pytest.approx(max(statistics))
    good, size = np.sum(pairs[:split], axis=0)
    assert row["before_fraction"] == pytest.approx(good / size)
    good, size = np.sum(pairs[split:], axis=0)
    assert row["after_fraction"] == pytest.approx(good / size)


def test_a_drawn_p_value_is_close_to_the_exact_one():
    rows = of_10(9, 8, 9, 7, 5, 6, 4, 6, 7)
    exact = only(change_point(rows, n_resamples=100_000))["p_value"]
    drawn = only(change_point(rows, n_resamples=20_000))["p_value"]
    assert exact != drawn
    assert drawn == pytest.approx(exact, abs=4 * sqrt(exact * (1 - exact) / 20_000))


def test_a_drawn_p_value_counts_the_order_that_was_seen():
    rows = series(*[(90 + i % 7, 100) for i in range(30)], *[(10 + i % 7, 100) for i in range(30)])
    assert only(change_point(rows, n_resamples=99))["p_value"] == 0.01


def test_one_seed_gives_one_answer_whatever_the_other_groups_are():
    rows = series(*[((i * 37) % 50 + 20, 100) for i in range(12)])
    others = rows.assign(schema_name="t", batch_id=rows["batch_id"] + "x")
    both = change_point(pd.concat([rows, others]), by="schema_name", n_resamples=500)
    alone = only(change_point(rows, n_resamples=500))
    assert both["p_value"].tolist() == [alone["p_value"]] * 2
    assert only(change_point(rows, n_resamples=500, seed=1))["p_value"] != alone["p_value"]


def test_p_values_are_adjusted_over_the_groups_that_have_one():
    """Benjamini and Hochberg by hand: 2/70 and 1 of two tests give 4/70 and 1."""
    rows = batches(
        *[("a", i, "x", 10, 9 if i < 4 else 3, 1 if i < 4 else 7, 0) for i in range(8)],
        *[("b", i, "x", 10, 5, 5, 0) for i in range(8)],
        *[("c", i, "x", 10, 10, 0, 0) for i in range(8)],
        ("d", 0, "x", 10, None, None, 0),
    )
    table = change_point(rows, by="schema_name")
    assert table["schema_name"].tolist() == list("abcd")
    assert table["p_value"].tolist()[:2] == pytest.approx([2 / 70, 1])
    assert table["adjusted_p_value"].tolist()[:2] == pytest.approx([4 / 70, 1])
    assert table["reason"].fillna("-").tolist() == [
        "-",
        "-",
        "all succeeded",
        "fewer than 8 settled batches",
    ]
    assert table["batches"].tolist() == [8, 8, 8, 0]
    names = ["changed_at", "before_fraction", "after_fraction", "statistic", "p_value"]
    assert table.loc[2:, [*names, "adjusted_p_value"]].isna().all(axis=None)


def test_too_few_batches_or_no_success_give_a_reason():
    assert only(change_point(of_10(*[5] * 7)))["reason"] == "fewer than 8 settled batches"
    assert only(change_point(of_10(*[0] * 8)))["reason"] == "none succeeded"


@pytest.mark.parametrize("counts", [[1], [4], [1, 1], [3, 2], [2, 2, 2], [1, 4, 1], [1] * 6])
def test_arrangements_are_all_orders_once(counts):
    found = [tuple(row) for row in arrangements(np.array(counts)).tolist()]
    things = [kind for kind, count in enumerate(counts) for _ in range(count)]
    assert sorted(found) == sorted(set(permutations(things)))


@settings(max_examples=examples(20))
@given(mixed, st.randoms())
def test_row_order_does_not_matter(pairs, random):
    rows = series(*pairs)
    order = random.sample(range(len(rows)), len(rows))
    table = change_point(rows, by="schema_name", min_batches=2)
    pd.testing.assert_frame_equal(
        change_point(rows.iloc[order], by="schema_name", min_batches=2), table
    )


@settings(max_examples=examples(20))
@given(mixed, st.integers(2, 5))
def test_several_times_the_records_leave_the_p_value_and_raise_the_statistic(pairs, factor):
    one = only(change_point(series(*pairs), min_batches=2))
    large = only(change_point(series(*[(s * factor, n * factor) for s, n in pairs]), min_batches=2))
    assert large["p_value"] == pytest.approx(one["p_value"])
    assert large["statistic"] == pytest.approx(one["statistic"] * factor**0.5)


@pytest.mark.parametrize("by", [None, "schema_name"])
def test_empty_in_empty_out_in_the_same_types_and_nulls_give_a_reason(by):
    full = change_point(of_10(*[9] * 4, *[3] * 4), by=by)
    empty = change_point(tables.BATCHES.empty(), by=by)
    assert len(empty) == 0
    nulls = tables.BATCHES.conform(pd.DataFrame({"tenant_id": ["t"], "batch_id": ["b"]}))
    table = change_point(nulls, by=by)
    assert only(table)["reason"] == "fewer than 8 settled batches"
    for other in (empty, table):
        assert other.dtypes.to_dict() == full.dtypes.to_dict()


def test_wrong_columns_and_arguments_are_named():
    with pytest.raises(FrameError, match=r"`successful_records`.*history\.batches\(\)"):
        change_point(of_10(1, 2).drop(columns="successful_records"))
    with pytest.raises(ValueError, match="n_resamples must be at least 1"):
        change_point(of_10(1, 2), n_resamples=0)
    with pytest.raises(ValueError, match="min_batches must be at least 2"):
        change_point(of_10(1, 2), min_batches=1)


def correlated(count: int, strength: float, seed: int) -> pd.DataFrame:
    """Batches of 100 whose chances follow each other (an autoregression), without a change."""
    random = np.random.default_rng(seed)
    noise, level = random.standard_normal(count), 0.0
    chances = []
    for shock in noise:
        level = strength * level + np.sqrt(1 - strength**2) * shock
        chances.append(1 / (1 + np.exp(-(1.5 + 0.8 * level))))
    return series(*[(int(random.binomial(100, p)), 100) for p in chances])


def test_autocorrelated_series_are_marked():
    """Three in four of 20 series with an autocorrelation of 0.7, and few without any."""
    flagged = {
        strength: np.mean(
            [
                change_point(correlated(60, strength, seed), n_resamples=199).iloc[0][
                    "autocorrelated"
                ]
                for seed in range(20)
            ]
        )
        for strength in (0.0, 0.7)
    }
    assert flagged[0.7] >= 0.75
    assert flagged[0.0] <= 0.2


def test_the_autocorrelation_is_that_within_the_two_parts():
    """Computed pair by pair, without the pair that the change separates."""
    rows = of_10(9, 8, 9, 8, 9, 3, 4, 3, 4, 3)
    row = change_point(rows).iloc[0]
    assert row["before_fraction"] == pytest.approx(0.86)
    z = [(s - 8.6) / np.sqrt(10 * 0.86 * 0.14) for s in (9, 8, 9, 8, 9)]
    z += [(s - 3.4) / np.sqrt(10 * 0.34 * 0.66) for s in (3, 4, 3, 4, 3)]
    lag = sum(a * b for n, (a, b) in enumerate(pairwise(z)) if n != 4)
    assert row["autocorrelation"] == pytest.approx(lag / sum(x * x for x in z))
    assert not row["autocorrelated"]
