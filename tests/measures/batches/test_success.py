"""Success fractions, status counts and health, small enough to check by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import betaln

from reach_analytics import tables
from reach_analytics.errors import FrameError
from reach_analytics.measures import health, status, success
from tests.support.batches import T0, batches


def test_fractions_are_pooled_and_the_mean_is_not():
    """90 of 100, 50 of 100 and 10 of 10: 150/210 pooled, (0.9 + 0.5 + 1)/3 as the mean."""
    table = success(
        batches(
            ("s", 0, "success", 100, 90, 10, 0),
            ("s", 0, "success", 100, 50, 50, 0),
            ("s", 0, "success", 10, 10, 0, 0),
        )
    )
    assert table["settled_fraction"].tolist() == pytest.approx([150 / 210])
    assert table["batch_mean_fraction"].tolist() == pytest.approx([0.8])
    assert table["batches"].tolist() == [3]


def interval(*rows: tuple[int, int]) -> pd.Series:
    """The interval columns for batches of (successful, settled)."""
    return success(batches(*[("s", 0, "x", n, s, n - s, 0) for s, n in rows])).iloc[0]


def test_the_interval_is_widened_by_how_batches_differ():
    """Golden case: deff 28.43 (computed by hand)."""
    row = interval((90, 100), (50, 100), (10, 10))
    assert row["design_effect"] == pytest.approx(28.43, abs=0.005)
    assert row["settled_low_fraction"] < 0.45
    assert row["settled_high_fraction"] > 0.91
    assert row["interval"] == "descriptive"  # three batches say little about their variation


def by_integration(*pairs: tuple[int, int]) -> tuple[float, float]:
    """The interval by summing the beta-binomial posterior over a fine grid of both unknowns."""
    p = np.linspace(0.0005, 0.9995, 1500)[:, None]
    r = np.concatenate([[1e-6], np.geomspace(1e-4, 0.95, 120)])[None, :]
    a, b = p * (1 / r - 1), (1 - p) * (1 / r - 1)
    told = sum(betaln(a + s, b + n - s) - betaln(a, b) for s, n in pairs)
    edges = np.concatenate([[0], (r[0, 1:] + r[0, :-1]) / 2, [1]])
    mass = 0.7 * np.diff(np.sqrt(edges))
    mass[0] += 0.3
    weight = (np.exp(told - told.max()) * mass / np.sqrt(p * (1 - p))).sum(axis=1)
    below = np.cumsum(weight) / weight.sum()
    low, high = np.interp([0.025, 0.975], below, p[:, 0])
    return float(low), float(high)


@pytest.mark.parametrize(
    "pairs",
    [
        [(8, 10), (9, 10), (7, 10), (8, 10), (10, 10), (6, 10), (9, 10), (8, 10), (7, 10), (9, 10)],
        [
            (90, 100),
            (50, 100),
            (99, 100),
            (80, 100),
            (95, 100),
            (70, 90),
            (88, 100),
            (97, 110),
            (60, 80),
            (91, 99),
        ],
        [(30, 60)] * 12,
        [(19, 20)] * 6 + [(40, 50), (190, 200), (280, 300), (70, 90)],
    ],
)
def test_the_interval_agrees_with_integration_over_a_grid(pairs):
    row, (low, high) = interval(*pairs), by_integration(*pairs)
    assert row["interval"] == "adjusted"
    width = high - low
    assert row["settled_low_fraction"] == pytest.approx(low, abs=0.2 * width)
    assert row["settled_high_fraction"] == pytest.approx(high, abs=0.2 * width)


@pytest.mark.parametrize(
    ("successful", "settled", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_one_batch_has_wilson_s_interval(successful, settled, low, high):
    """Published: Newcombe, Statistics in Medicine 17 (1998), table I."""
    row = interval((successful, settled))
    assert row["settled_low_fraction"] == pytest.approx(low, abs=5e-5)
    assert row["settled_high_fraction"] == pytest.approx(high, abs=5e-5)
    assert (row["interval"], pd.isna(row["design_effect"])) == ("descriptive", True)


def test_an_interval_is_adjusted_from_ten_batches_of_similar_size_unless_all_succeeded():
    assert interval(*[(8, 10), (9, 10)] * 5)["interval"] == "adjusted"
    assert interval(*[(8, 10), (9, 10)] * 4)["interval"] == "descriptive"
    assert interval(*[(10, 10)] * 9)["interval"] == "descriptive"
    assert interval((800, 1000), *[(1, 2)] * 9)["interval"] == "descriptive"  # effectively one


def test_if_all_or_none_succeeded_the_interval_ends_there():
    assert interval(*[(10, 10)] * 9)["settled_high_fraction"] == 1
    assert interval(*[(0, 10)] * 9)["settled_low_fraction"] == 0


def test_similar_batches_do_not_narrow_the_interval_below_chance():
    row, one = interval(*[(5, 10)] * 9), interval((45, 90))
    assert row["design_effect"] == 0
    assert row["settled_low_fraction"] <= one["settled_low_fraction"] + 0.01
    assert row["settled_low_fraction"] > one["settled_low_fraction"] - 0.05


def test_without_settled_records_there_is_no_interval():
    row = success(batches(("s", 0, "processing", 5, 0, 0, 5))).iloc[0]
    names = ["design_effect", "settled_low_fraction", "settled_high_fraction", "interval"]
    assert row[names].isna().all()


@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.integers(0, 40)).filter(lambda t: sum(t) > 0),
        min_size=1,
        max_size=12,
    )
)
def test_the_interval_holds_the_fraction_and_agrees_with_the_formula(pairs):
    """Compared with the sums of the formula, batch by batch."""
    row = interval(*[(s, s + f) for s, f in pairs])
    n, k = sum(s + f for s, f in pairs), len(pairs)
    p = sum(s for s, _ in pairs) / n
    assert row["settled_low_fraction"] - 1e-9 <= p <= row["settled_high_fraction"] + 1e-9
    if k > 1 and 0 < p < 1:
        spread = sum((s - p * (s + f)) ** 2 for s, f in pairs)
        variance = k / (k - 1) * spread / n**2
        assert row["design_effect"] == pytest.approx(variance * n / (p * (1 - p)), abs=1e-6)


def test_waiting_records_lower_only_the_strict_fraction():
    [row] = success(batches(("s", 0, "partial_success", 10, 6, 2, 2))).to_dict("records")
    assert (row["settled_fraction"], row["strict_fraction"]) == (0.75, 0.6)


def test_no_data_is_null_and_not_zero():
    table = success(
        batches(("none", 0, "processing", None, None, None, None), ("zero", 0, "x", 0, 0, 0, 0)),
        by="schema_name",
    )
    fractions = ["settled_fraction", "strict_fraction", "batch_mean_fraction"]
    assert table[fractions].isna().all(axis=None)
    assert table["total_records"].tolist() == [pd.NA, 0]


def test_a_batch_without_a_count_is_left_out_of_the_fractions_that_need_it():
    table = success(
        batches(("s", 0, "success", 10, 8, 2, 0), ("s", 0, "success", 10, 10, None, None))
    )
    assert table["settled_fraction"].tolist() == [0.8]
    assert table["strict_fraction"].tolist() == [0.9]


def test_groups_and_buckets_are_sorted_and_those_without_a_value_are_kept():
    table = success(
        batches(
            ("b", 61, "success", 1, 1, 0, 0),
            ("a", 5, "success", 1, 1, 0, 0),
            ("a", 65, "success", 1, 0, 1, 0),
            (None, None, "success", 1, 1, 0, 0),
        ),
        by="schema_name",
        freq="1h",
    )
    assert table["schema_name"].fillna("-").tolist() == ["a", "a", "b", "-"]
    assert table["bucket"].tolist()[:3] == [T0, T0 + pd.Timedelta("1h"), T0 + pd.Timedelta("1h")]
    assert table["settled_fraction"].tolist() == [1, 0, 1, 1]


@pytest.mark.parametrize(
    ("freq", "start"), [("W", "2026-03-02"), ("M", "2026-03-01"), ("Y", "2026-01-01")]
)
def test_calendar_buckets_follow_the_calendar(freq, start):
    table = success(batches(("s", 0, "success", 1, 1, 0, 0)), freq=freq)
    assert table["bucket"].tolist() == [pd.Timestamp(start, tz="UTC")]


@pytest.mark.parametrize("freq", ["often", "0h", "-1h", "2W", "3M", "B"])
def test_an_unknown_width_is_explained(freq):
    with pytest.raises(ValueError, match="freq must be a length of time like '15min'"):
        success(batches(("s", 0, "success", 1, 1, 0, 0)), freq=freq)


@pytest.mark.parametrize("by", ["status", ["schema_name", "schema_name"], "total_records"])
def test_columns_that_cannot_be_grouped_by_are_refused(by):
    with pytest.raises(ValueError, match="by takes columns of the batches"):
        status(batches(("s", 0, "success", 1, 1, 0, 0)), by=by)


def test_times_without_an_offset_are_utc():
    rows = batches(("s", 5, "success", 1, 1, 0, 0))
    naive = rows.assign(created_at=rows["created_at"].dt.tz_localize(None))
    for freq in ("1h", "D", "W"):
        pd.testing.assert_frame_equal(success(rows, freq=freq), success(naive, freq=freq))


@pytest.mark.parametrize("measure", [success, status])
def test_empty_in_empty_out_in_the_same_types(measure):
    kwargs = {"by": "schema_name", "freq": "1h"}
    empty = measure(tables.BATCHES.empty(), **kwargs)
    full = measure(batches(("s", 0, "success", 1, 1, 0, 0)), **kwargs)
    assert len(empty) == 0
    assert empty.dtypes.to_dict() == full.dtypes.to_dict()
    assert len(measure(tables.BATCHES.empty())) == 0


@pytest.mark.parametrize("measure", [success, status])
def test_row_order_does_not_matter(measure):
    rows = batches(*[("ab"[n % 2], n * 7, "success", n, n // 2, n // 3, 0) for n in range(30)])
    shuffled = rows.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(
        measure(rows, by="schema_name", freq="1h"), measure(shuffled, by="schema_name", freq="1h")
    )


def test_the_input_is_not_changed():
    rows = batches(("s", 0, "success", 1, 1, 0, 0))
    before = rows.copy(deep=True)
    success(rows, by="schema_name", freq="1h")
    pd.testing.assert_frame_equal(rows, before)


def test_all_statuses_are_counted_including_unknown_and_missing_ones():
    table = status(
        batches(
            ("s", 0, "success", 2, 2, 0, 0),
            ("s", 0, "success", 3, 3, 0, 0),
            ("s", 0, "paused", 1, 0, 0, 0),
            ("s", 0, None, None, None, None, None),
        )
    )
    assert table["status"].fillna("-").tolist() == ["paused", "success", "-"]
    assert table["batches"].tolist() == [1, 2, 1]
    assert table["total_records"].tolist() == [1, 5, pd.NA]


def test_status_can_be_grouped_by_itself_only_once():
    assert status(batches(("s", 0, "success", 1, 1, 0, 0)), by="schema_name").columns[1] == "status"


def test_wrong_columns_are_named():
    with pytest.raises(FrameError, match=r"`failed_records`.*history\.batches\(\)"):
        success(batches(("s", 0, "success", 1, 1, 0, 0)).drop(columns="failed_records"))
    with pytest.raises(TypeError, match=r"DataFrame.*found list"):
        success([])


def test_health_tells_tenants_apart_and_measures_expiry_from_the_moment():
    rows = batches(("s", 0, "failure", 4, 0, 4, 0), ("s", 0, "processing", 4, 3, 1, 0))
    rows["tenant_id"] = ["t1", "t2"]
    minutes = [-5, 0, 1, 60, 61, None]
    pending = tables.PENDING.conform(
        pd.DataFrame(
            {
                "tenant_id": "t2",
                "expires_at": [
                    pd.NaT if m is None else T0 + pd.Timedelta(minutes=m) for m in minutes
                ],
                "missing_count": 1,
            }
        )
    )
    one, two = health(rows, pending, as_of=T0).to_dict("records")
    assert (one["failed_batches"], one["processing_batches"], one["pending_resources"]) == (1, 0, 0)
    assert pd.isna(one["next_expiry"])
    assert (two["pending_resources"], two["overdue"], two["expiring_soon"]) == (6, 2, 2)
    assert two["next_expiry"] == T0 + pd.Timedelta(minutes=1)
    assert two["settled_fraction"] == 0.75


def test_health_of_nothing_has_no_rows():
    empty = health(tables.BATCHES.empty(), tables.PENDING.empty(), as_of=T0)
    pd.testing.assert_frame_equal(empty, tables.HEALTH.empty())


def test_if_large_batches_differ_the_interval_extends_to_the_fraction_and_says_so():
    """Four large ones of 99 %, thirty small ones of 50 %: the pooled fraction is not their mean."""
    row = interval(*[(99_000, 100_000)] * 4, *[(5, 10)] * 30)
    assert row["settled_low_fraction"] < row["settled_fraction"] <= row["settled_high_fraction"]
    assert row["interval"] == "descriptive"
